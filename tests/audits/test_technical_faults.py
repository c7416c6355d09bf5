"""Technical faults: planted ones are found and named, other patients are not, and NaN is a fault and no obstacle."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from medgan_qa.audits.catalogue import HEADINGS, Findings
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.technical_faults import CODE, KINDS, SPECTRAL, technical_faults
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import Checkerboard, Clipped, Fixed, Independent, Plan, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.image_faults import FAULTS
from medgan_qa.record import Measurement

NAN = float("nan")


class Altered:
    """Some cases of a cohort, their images rendered once, and changed if told so."""

    def __init__(self, given: Any, cases: tuple[Case, ...], change: Any = None) -> None:
        self.given, self.cases, self.change = given, cases, change
        self.load = cache(self._load)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.given, name)

    def _load(self, case: Case) -> CaseImages:
        loaded = self.given.load(case)
        return loaded if self.change is None else replace(loaded, image=self.change(loaded.image))


@cache
def population() -> BrainSlices:
    return BrainSlices(people=100)


@cache
def cohort(train: int = 50, test: int = 20) -> Altered:
    """The first patients of each partition, two images each."""
    first = {f"{part}-{k:04d}" for part, people in (("train", train), ("test", test)) for k in range(people)}
    return Altered(population(), tuple(c for c in population().cases if c.patient_id in first))


class Resized:
    """A sampler whose images went through a change of size."""

    def __init__(self, change: Any) -> None:
        self.inner, self.change = planted_sampler(population(), Independent()), change

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def sample(self, n: int, seed: int, first: int = 0) -> np.ndarray:
        return self.change(self.inner.sample(n, seed, first))


def started(plan: Plan, *, samples: int = 30, of: Any = None) -> SynthesisRun:
    return SynthesisRun(planted_sampler(population(), plan), of or cohort(), None, LocalEngine(), 0, samples=samples)


@cache
def audited(plan: Plan, samples: int = 30, train: int = 50, test: int = 20) -> Findings:
    return technical_faults(started(plan, samples=samples, of=cohort(train, test)))


def by_id(findings: Findings) -> dict[str, Measurement]:
    return {e.measurement.id.removeprefix(f"{CODE}."): e.measurement for e in findings.estimates}


@pytest.mark.parametrize(
    ("plan", "kinds"),
    [
        (Checkerboard(0.02), ["grid"]),
        (Clipped(), ["saturated", "quantised"]),
        (Fixed(0.5), ["constant"]),
        (Fixed(NAN), ["not finite", "constant"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_finds_and_names_a_planted_fault(plan: Plan, kinds: list[str]) -> None:
    found = by_id(audited(plan))
    assert found["gross_failure_rate"].value == 1.0
    assert found["gross_failure_rate"].interval.low > 0.9
    assert [found[f"fault_rate[{kind}]"].value for kind in kinds] == [1.0] * len(kinds)


def test_a_sample_in_ten_that_is_no_number() -> None:
    findings, run = audited(Fixed(NAN, dose=0.1), samples=100), started(Fixed(NAN, dose=0.1), samples=100)
    broken = np.isnan(run.sampled.images).all(axis=(1, 2, 3))
    found = by_id(findings)
    assert 0 < broken.sum() < 25
    assert found["fault_rate[not finite]"].value == broken.mean()
    assert broken.mean() <= found["gross_failure_rate"].value <= broken.mean() + 0.05
    flagged = {row["case_id"] for row in findings.rows if "not finite" in row["faults"]}
    assert flagged == {run.sampled.names[k] for k in np.flatnonzero(broken)}
    assert found["checkerboard_excess"].n == 100 - broken.sum()
    assert any("finite" in note for note in findings.notes)


def test_without_any_finite_sample_spectra_say_why_there_is_none() -> None:
    found = by_id(audited(Fixed(NAN)))
    for name in ("checkerboard_excess", "checkerboard_excess[period 4]", "high_band_ratio"):
        assert found[name].value is None
        assert "finite" in found[name].reason


def test_other_patients_have_few_faults() -> None:
    found = by_id(audited(Independent(), samples=120, train=100, test=60))
    for name in ("gross_failure_rate", "gross_failure_rate[real test images]"):
        # Limits from 200 images: the rate that they stand for varies about 1 % itself.
        assert found[name].interval.low <= 0.02
        assert found[name].value <= 0.06
    excess, ratio = found["checkerboard_excess"].interval, found["high_band_ratio"].interval
    assert excess.low < 0.03
    assert excess.high > -0.03
    assert ratio.low < 1.05
    assert ratio.high > 0.95


def test_a_faint_grid_shows_in_the_mean() -> None:
    found = by_id(audited(Checkerboard(0.003)))
    null = found["checkerboard_excess[real against real]"]
    assert found["fault_rate[grid]"].value < 0.5
    assert found["checkerboard_excess"].interval.low > null.interval.high + 0.2


def test_prop_the_rate_follows_the_share_of_broken_samples() -> None:
    rates = [by_id(audited(Fixed(0.5, dose=dose), samples=40))["gross_failure_rate"].value for dose in (0.2, 0.7)]
    assert rates == sorted(rates)
    assert rates == pytest.approx([0.2, 0.7], abs=0.2)


def test_every_measure_belongs_to_one_kind() -> None:
    listed = [name for names in KINDS.values() for name in names]
    assert sorted(listed) == sorted({**FAULTS, **SPECTRAL})


def test_rows_tables_and_exhibits_hold_what_was_found() -> None:
    findings = audited(Clipped())
    assert len(findings.rows) == 30
    assert findings.rows[0]["score"] >= findings.rows[-1]["score"]
    [table] = findings.tables.values()
    assert len(table) == 30
    assert {"case_id", "patient_id", "outside", "faults", *FAULTS, *SPECTRAL} <= set(table[0])
    kinds = {exhibit.id: exhibit for exhibit in findings.exhibits}
    assert {e.kind for e in kinds.values()} == {"counts", "curves", "sheet", "panels"}
    curves = kinds[f"{CODE}-spectrum"].data["series"]
    assert [len(entry[key]) for entry in curves for key in ("x", "y", "low", "high")] == [len(curves[0]["x"])] * 8
    rules = [case["rule"] for case in kinds[f"{CODE}-samples"].data["cases"]]
    assert (rules.count("worst"), rules.count("random")) == (8, 4)
    assert all(exhibit.file in findings.arrays for exhibit in kinds.values() if exhibit.file)


def test_too_few_real_images_say_how_many_are_needed() -> None:
    findings = technical_faults(started(Independent(), of=cohort(20, 20)))
    assert "40 real images" in findings.missing
    assert "99 are needed" in findings.missing
    assert not findings.estimates
    assert technical_faults(started(Independent(), of=cohort(20, 20)), false_alarm=0.05).missing is None


def test_few_samples_or_test_patients_are_too_few() -> None:
    assert "5 samples" in technical_faults(started(Independent(), samples=5)).missing
    assert "1 test patients" in technical_faults(started(Independent(), of=cohort(50, 1))).missing


def test_without_training_images_half_of_the_test_patients_set_the_limits() -> None:
    findings = technical_faults(started(Checkerboard(0.02), of=cohort(0, 100)))
    found = by_id(findings)
    real = found["gross_failure_rate[real test images]"]
    assert found["gross_failure_rate"].value == 1.0
    assert (real.n, real.clusters) == (100, 50)
    assert not any("real against real" in name for name in found)
    assert any("half of the patients" in note for note in findings.notes)


def test_identical_real_images_leave_no_range() -> None:
    first = cohort().load(cohort().cases[0]).image
    findings = technical_faults(
        started(Independent(), samples=10, of=Altered(cohort(), cohort().cases, lambda image: first))
    )
    assert by_id(findings)["gross_failure_rate"].value == 1.0
    assert by_id(findings)["gross_failure_rate[real test images]"].value == 0.0


@pytest.mark.parametrize(("step", "missing"), [(3, False), (5, True)])
def test_small_images_are_measured_as_far_as_they_go(step: int, missing: bool) -> None:
    def smaller(images: np.ndarray) -> np.ndarray:
        return images[..., ::step, ::step]

    small = Altered(cohort(), cohort().cases, smaller)
    run = SynthesisRun(Resized(smaller), small, None, LocalEngine(), 0, samples=10)  # type: ignore[arg-type]
    findings = technical_faults(run)
    assert ("13 x 13" in (findings.missing or "")) is missing
    if not missing:
        assert "fault_rate[grid]" not in by_id(findings)
        assert any("Spectra were left out" in note for note in findings.notes)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_refuses_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="false-alarm rate"):
        technical_faults(started(Independent()), false_alarm=rate)


def test_the_documentation_has_its_headings() -> None:
    document = technical_faults.__doc__ or ""
    assert [document.index(heading) for heading in HEADINGS] == sorted(document.index(h) for h in HEADINGS)
