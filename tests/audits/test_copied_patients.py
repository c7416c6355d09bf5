"""MEM-001: planted copies are found under every disguise, fresh patients are not, and nothing passes by emptiness."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.audits._memory import Scale, calibrated, flagged_rate, least_share
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.copied_patients import copied_patients, disguise, transformed
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import (
    TRANSFORMS,
    Copies,
    DuplicatedTraining,
    Fixed,
    Independent,
    Plan,
    disguised,
    planted_sampler,
)
from medgan_qa.criteria import Declared
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.copies import aligned_neighbors
from medgan_qa.stats.calibration import excess_test

FALSE_ALARM = 0.02
"""Fifty held-out patients allow no less."""


@cache
def brains(people: int = 50) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


class Changed:
    """A cohort with some cases left out, or with other pixels."""

    def __init__(
        self,
        cohort: Any,
        keep: Callable[[Case], bool] = lambda case: True,
        pixels: Callable[[Case, CaseImages], CaseImages] = lambda case, images: images,
    ) -> None:
        self._cohort, self._pixels = cohort, pixels
        self.cases = tuple(case for case in cohort.cases if keep(case))

    def __getattr__(self, name: str) -> object:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        return self._pixels(case, self._cohort.load(case))


def with_image(images: CaseImages, image: np.ndarray) -> CaseImages:
    return CaseImages(image=image, target=None, lesion_mask=images.lesion_mask, spacing_mm=images.spacing_mm)


def run_of(plan: Plan, cohort: Any = None, sampled_from: Any = None, samples: int | None = None) -> SynthesisRun:
    cohort = brains() if cohort is None else cohort
    subject = planted_sampler(sampled_from or cohort, plan)
    return SynthesisRun(subject, cohort, None, LocalEngine(), 0, samples=samples, extractors=("pixels",))


@cache
def audited(plan: Plan) -> tuple[SynthesisRun, Findings]:
    run = run_of(plan)
    return run, copied_patients(run, false_alarm=FALSE_ALARM)


@cache
def planted(plan: Plan) -> np.ndarray:
    """Samples that are copies: those that the sampler without a fault draws otherwise."""
    given_, clean = audited(plan)[0].generated.images, audited(Independent())[0].generated.images
    copies: np.ndarray = (given_ != clean).any(axis=(1, 2, 3))
    return copies


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"MEM-001.{name}").measurement


def flagged(findings: Findings) -> np.ndarray:
    table = sorted(findings.tables["exhibits/MEM-001-samples.csv"], key=lambda row: row["case_id"])
    return np.array([row["copy"] for row in table])


def test_fresh_patients_are_no_copies() -> None:
    run, findings = audited(Independent())
    assert findings.missing is None
    assert findings.veto is None
    assert findings.rows == []
    rate = value(findings, "copy_rate")
    assert rate.value == 0
    assert rate.interval.low == 0
    assert rate.interval.high == pytest.approx(1 - 0.05 ** (1 / len(run.sampled)))
    assert value(findings, "excess_p").value == 1
    assert value(findings, "copied_patients").value == 0
    assert value(findings, "flagged_held_out").value <= FALSE_ALARM
    # A clean report still shows what near means.
    rules = [case["rule"] for case in findings.exhibits[-1].data["cases"]]
    assert rules == ["nearest not flagged"] * 4 + ["random"] * 4


@pytest.mark.parametrize("plan", [Copies(0.2), Copies(0.2, TRANSFORMS)], ids=["as they are", "disguised"])
def test_every_copy_is_found_and_nothing_else(plan: Copies) -> None:
    findings = audited(plan)[1]
    assert np.array_equal(flagged(findings), planted(plan))
    rate = value(findings, "copy_rate")
    assert rate.value == planted(plan).mean()
    assert 0 < rate.interval.low < rate.value < rate.interval.high
    assert rate.interval.low <= 0.2 <= rate.interval.high
    assert findings.veto is not None
    assert f"{planted(plan).sum()} of {len(planted(plan))} samples" in findings.veto
    assert len(findings.rows) == planted(plan).sum()


def test_the_training_image_is_the_one_that_was_copied() -> None:
    run, findings = audited(Copies(0.2))
    assert run.train is not None
    place = {name: k for k, name in enumerate(run.train.names)}
    samples = {name: k for k, name in enumerate(run.generated.names)}
    for row in findings.rows:
        source = place[row["training_case"]]
        assert np.array_equal(run.train.images[source], run.generated.images[samples[row["case_id"]]])
        assert row["training_patient"] == run.train.patients[source]
    named = {row["training_patient"] for row in findings.rows}
    assert value(findings, "copied_patients").value == len(named)
    assert findings.notes[1].startswith(f"Of {len(findings.rows)} copies, showing {len(named)} training patients")


def test_disguises_are_named() -> None:
    run, findings = audited(Copies(0.2, TRANSFORMS))
    copies, note = run.shared["MEM-001"], findings.notes[1]
    kinds = {disguise(copies, i) for i in np.flatnonzero(copies.found).tolist()}
    assert {"flip left-right", "shifted", "other gamma", "noise or another small change"} <= kinds
    assert any(kind.startswith("rotate 90") for kind in kinds)
    assert all(kind in note for kind in kinds)
    table = next(e for e in findings.exhibits if e.kind == "counts")
    assert sum(int(row[1]) for row in table.data["rows"]) == copies.found.sum()


def test_copies_are_shown_beside_the_training_image_after_the_same_change() -> None:
    findings = audited(Copies(0.2, TRANSFORMS))[1]
    shown = findings.exhibits[-1]
    rules = [case["rule"] for case in shown.data["cases"]]
    assert rules[:8] == ["worst"] * 8
    arrays = findings.arrays[shown.file]
    # Noise of 2 % remains; a pixel of border may differ where the training image was moved.
    inner = (arrays["output"] - arrays["reference"])[:8, 4:-4, 4:-4]
    assert np.abs(inner).mean() < 0.025


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_change_that_was_undone_gives_the_copy_again(name: str) -> None:
    run = audited(Independent())[0]
    assert run.train is not None
    image = run.train.grey[3]
    copy = disguised(image, name, rng.child(0, "a copy"))
    found = aligned_neighbors(copy[None], run.train.grey)
    assert found.reference[0] == 3
    again = transformed(image, int(found.orientation[0]), found.shift[0], float(found.gamma[0]))
    assert np.abs(again - copy)[4:-4, 4:-4].max() < (0.12 if name == "noise" else 0.02)


def test_what_the_training_set_repeats_is_not_charged_to_the_model() -> None:
    cohort = DuplicatedTraining(brains(), share=0.1, times=3)
    findings = copied_patients(run_of(Independent(), cohort), false_alarm=FALSE_ALARM)
    assert findings.veto is None
    assert value(findings, "copy_rate").value == 0
    assert "30 of its 120 images stand under more than one patient (15 patients, 5 different ones)" in findings.notes[1]


def test_a_copy_of_a_repeated_image_is_found_and_its_patient_counts_once() -> None:
    base = brains()
    cohort = DuplicatedTraining(base, share=0.02, times=4)
    # The sampler hands out nothing but the repeated images: one patient's two slices, enrolled four times.
    only = Changed(
        cohort, lambda case: case.partition == "train" and case.case_id not in {c.case_id for c in base.cases}
    )
    findings = copied_patients(run_of(Copies(0.5), cohort, sampled_from=only), false_alarm=FALSE_ALARM)
    assert value(findings, "copy_rate").value > 0.3
    assert value(findings, "copied_patients").value == 1
    assert findings.veto is not None


def test_too_few_held_out_patients_are_inconclusive_and_say_how_many_it_takes() -> None:
    findings = copied_patients(run_of(Copies(0.5), brains(25)), false_alarm=FALSE_ALARM)
    assert findings.missing == (
        "With 25 held-out patients the smallest false-alarm rate is 0.038; 49 are needed for the 0.02 asked for."
    )
    assert findings.estimates == []


def test_few_samples_leave_the_claim_open() -> None:
    threshold = audited(Independent())[0].shared["MEM-001"].threshold
    estimate = flagged_rate("MEM-001.copy_rate", "Copies", np.zeros(30, bool), threshold)
    assert estimate.interval_at is not None
    assert estimate.shortfall is not None
    assert estimate.interval_at(0.05).high > 0.01
    declared = Declared("AC-08", "MEM-001.copy_rate", {"max": 0.01}, "upper")
    assert estimate.shortfall(declared, 0.05) == "0 of 30 samples; 299 are needed with 0"
    some = flagged_rate("MEM-001.copy_rate", "Copies", np.arange(30) < 3, threshold)
    assert some.shortfall is not None
    assert "at or above the limit" in str(some.shortfall(declared, 0.05))


def test_without_a_train_partition_it_is_inconclusive() -> None:
    run = run_of(Independent(), Changed(brains(), lambda case: case.partition == "test"), sampled_from=brains())
    findings = copied_patients(run, false_alarm=FALSE_ALARM)
    assert findings.missing is not None
    assert "no train partition" in findings.missing


def test_one_real_image_is_inconclusive() -> None:
    first = next(case.case_id for case in brains().cases if case.partition == "test")
    cohort = Changed(brains(), lambda case: case.partition == "train" or case.case_id == first)
    findings = copied_patients(run_of(Independent(), cohort, sampled_from=brains(), samples=2), false_alarm=FALSE_ALARM)
    assert findings.missing is not None
    assert "With 1 held-out patients" in findings.missing


def test_images_that_are_all_the_same_are_inconclusive() -> None:
    image = brains().load(brains().cases[0]).image
    cohort = Changed(brains(), pixels=lambda case, images: with_image(images, image))
    findings = copied_patients(run_of(Independent(), cohort, sampled_from=brains(), samples=4), false_alarm=FALSE_ALARM)
    assert findings.missing == "The training images are alike: without duplicates there are 1 patients."


def _leaking(count: int) -> Changed:
    """Test images that are training images."""
    base = brains()
    test = [case.case_id for case in base.cases if case.partition == "test"][: 2 * count]
    train = [case for case in base.cases if case.partition == "train"]
    other = {case_id: train[k] for k, case_id in enumerate(test)}
    return Changed(base, pixels=lambda case, images: base.load(other.get(case.case_id, case)))


def test_test_images_that_are_training_images_do_not_hide_copies() -> None:
    run = run_of(Copies(0.2), _leaking(1), sampled_from=brains())
    findings = copied_patients(run, false_alarm=FALSE_ALARM)
    assert np.array_equal(flagged(findings), planted(Copies(0.2)))
    assert "2 of 100 test images are the same as a training image" in findings.notes[-1]


def test_partitions_that_are_not_apart_are_inconclusive() -> None:
    run = run_of(Copies(0.2), _leaking(10), sampled_from=brains(), samples=4)
    findings = copied_patients(run, false_alarm=FALSE_ALARM)
    assert findings.missing is not None
    assert "20 of 100 test images are the same as a training image" in findings.missing


def test_constant_samples_are_no_copies() -> None:
    findings = copied_patients(run_of(Fixed(0.5), samples=10), false_alarm=FALSE_ALARM)
    assert value(findings, "copy_rate").value == 0


def test_samples_that_are_no_numbers_stop_the_audit() -> None:
    with pytest.raises(NotFiniteError, match="NaN or infinity"):
        copied_patients(run_of(Fixed(float("nan")), samples=4), false_alarm=FALSE_ALARM)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_false_alarm_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="false-alarm rate"):
        copied_patients(run_of(Independent()), false_alarm=rate)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_the_lower_bound_agrees_with_the_exact_test(m: int, n: int, data: st.DataObject) -> None:
    flagged_, rank = data.draw(st.integers(0, m)), data.draw(st.integers(1, min(n, 5)))
    low = least_share(flagged_, m, rank, n, 0.05)
    assert 0 <= low <= flagged_ / m
    assert (low > 0) == (excess_test(flagged_, m, rank - 1, n) < 0.05)
    assert flagged_ == 0 or low >= least_share(flagged_ - 1, m, rank, n, 0.05)


def test_the_lower_bound_covers() -> None:
    generator, held_out, samples, share, repeats = rng.child(0, "coverage"), 60, 80, 0.05, 1500
    over = 0
    for _ in range(repeats):
        threshold = generator.random(held_out).min()
        copies = generator.random(samples) < share
        k = int((copies | (generator.random(samples) < threshold)).sum())
        over += least_share(k, samples, 1, held_out, 0.05) > share
    # 5 % at most, and a Monte Carlo error of three standard errors.
    assert over / repeats < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize("alike", [0.0, 0.9], ids=["independent slices", "alike slices"])
def test_slices_of_one_patient_do_not_raise_the_false_alarm_rate(alike: float) -> None:
    generator, patients = rng.child(0, "slices"), [k // 2 for k in range(120)]

    def scores(people: int) -> np.ndarray:
        shared = np.repeat(generator.standard_normal(people), 2)
        return np.sqrt(alike) * shared + np.sqrt(1 - alike) * generator.standard_normal(2 * people)

    rates = [(scores(200)[::2] < calibrated(scores(60), patients, 0.05)[1].threshold).mean() for _ in range(400)]
    assert np.mean(rates) <= 3 / 61 + 3 * np.std(rates) / 20


def test_a_scale_puts_the_median_at_nought_and_the_lowest_hundredth_at_minus_one() -> None:
    scores = np.exp(rng.child(0, "scores").normal(-0.3, 0.2, 2001))
    scale = Scale.of(np.append(scores, np.nan))
    assert np.quantile(scale.standard(scores), [0.5, 0.01]) == pytest.approx([0, -1])
    assert scale.score(-1.0) == pytest.approx(np.quantile(scores, 0.01))
    assert scale.standard(np.array([np.nan]))[0] == 0
    assert np.isfinite(scale.standard(np.array([0.0]))).all()


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("MEM-001", "", copied_patients).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
