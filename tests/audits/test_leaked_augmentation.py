"""HYG-005: augmentation that samples show is found at its dose, a clean sampler is not blamed, symmetry is admitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits import AUDITS, HEADINGS
from medgan_qa.audits._leak_evidence import Evidence, Rule, evidence, group_name
from medgan_qa.audits._leak_readers import PARTS, Reading, small
from medgan_qa.audits.augmentation import AugmentationRun
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.leaked_augmentation import CODE, NAMES, in_all, leaked_augmentation, rotation_probability
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.augmenting_samplers import Augmented, LabelledAugmented
from medgan_qa.controls.labelled_samplers import labelled_sampler
from medgan_qa.controls.samplers import Fixed, Independent, planted_sampler
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.engines import LocalEngine
from medgan_qa.record import Measurement

PEOPLE = 100
PARTS_OF = {"rotated": "turned", "contrast": "altered", "cut-out": "cut"}
"""What each kind of augmentation is read as; so few patients do not tell a flip of this anatomy."""


@cache
def brains(people: int = PEOPLE) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def run_of(plan: Any, cohort: Any = None, n: int | None = None) -> SynthesisRun:
    return SynthesisRun(planted_sampler(brains(), plan), cohort or brains(), None, LocalEngine(), 0, samples=n)


@cache
def audited(plan: Any) -> Findings:
    return leaked_augmentation(run_of(plan), planted=40)


@cache
def seen() -> Evidence:
    found = evidence(run_of(Independent()), Rule(0.005, 0.75, 40))
    assert isinstance(found, Evidence)
    return found


@cache
def drawn(plan: Any) -> np.ndarray:
    return planted_sampler(brains(), plan).sample(2 * PEOPLE, 0)


def sampled(images: np.ndarray) -> Evidence:
    """The evidence on other samples, read by the same readers."""
    return replace(seen(), drawn=seen().readers.read(small(images)))


@cache
def readings(kind: str) -> tuple[Reading, Reading]:
    return seen().drawn, seen().readers.read(small(drawn(Augmented(kind, 1.0))))


def at_dose(kind: str, planted: np.ndarray, order: np.ndarray) -> Evidence:
    one, other = readings(kind)
    parts = [np.where(planted.reshape(-1, *[1] * (a.ndim - 1)), b, a)[order] for a, b in zip(one, other, strict=True)]
    return replace(seen(), drawn=Reading(*parts))


def measured(findings: Findings | list[Estimate], name: str) -> Measurement:
    estimates = findings if isinstance(findings, list) else findings.estimates
    return next(e.measurement for e in estimates if e.measurement.id == f"{CODE}.{name}")


def test_a_clean_sampler_is_not_blamed() -> None:
    findings = audited(Independent())

    assert findings.missing is None
    for name in ("augmented_rate", *NAMES.values(), "rotation_probability"):
        m = measured(findings, name)
        assert m.value is not None
        assert m.value < 0.02, name
        assert m.interval is not None
        assert m.interval.low == 0
        assert m.interval.high < 0.05, name
    for part in ("turned", "moved", "altered", "cut-out"):
        assert measured(findings, f"false_alarm_rate[{part}]").value < 0.02


@pytest.mark.parametrize("kind", PARTS_OF)
@pytest.mark.parametrize("dose", [0.1, 0.3])
def test_augmentation_is_found_at_its_dose(kind: str, dose: float) -> None:
    chosen = np.random.default_rng(0).random(2 * PEOPLE) < dose
    estimates, planted = in_all(at_dose(kind, chosen, np.arange(2 * PEOPLE)), 0.75), float(chosen.mean())

    for name in (NAMES[PARTS_OF[kind]], "augmented_rate"):
        m = measured(estimates, name)
        assert m.interval.low <= planted <= m.interval.high
        assert m.value == pytest.approx(planted, abs=0.02)
    assert measured(estimates, NAMES[PARTS_OF[kind]]).interval.low > 0


def test_rotations_give_the_probability_behind_them() -> None:
    m = measured(audited(Augmented("rotated", 0.3)), "rotation_probability")
    assert m.interval.low < 0.4 < m.interval.high
    turned = measured(audited(Augmented("rotated", 0.3)), "turned_rate").value
    assert m.value == pytest.approx(4 / 3 * turned, rel=0.05)


def test_other_shares_than_those_of_a_rotation_give_no_probability() -> None:
    half = drawn(Independent()).copy()
    half[::3] = half[::3, :, ::-1, ::-1]
    m = rotation_probability(sampled(half), 0.75).measurement
    assert m.value is None
    assert "not equally frequent" in m.reason
    assert measured(in_all(sampled(half), 0.75), "turned_rate").interval.low > 0.2


class Edited:
    """A cohort whose images are edited."""

    def __init__(self, cohort: BrainSlices, edit: Callable[[np.ndarray], np.ndarray]) -> None:
        self._cohort, self._edit = cohort, edit
        self.cases = cohort.cases

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        found = self._cohort.load(case)
        return replace(found, image=self._edit(found.image))


def mirrored(image: np.ndarray) -> np.ndarray:
    """Its own mirror image but for a little noise, which is drawn by the image."""
    g = np.random.default_rng(int(image.sum() * 1000))
    return ((image + image[..., ::-1]) / 2 + g.normal(0, 0.01, image.shape)).astype(np.float32)


def marked(image: np.ndarray) -> np.ndarray:
    """With a bright square on one side of the body."""
    edited = image.copy()
    edited[..., 26:38, 14:22] = 0.9
    return edited


def test_a_flip_of_symmetric_anatomy_is_no_pass_but_open() -> None:
    findings = leaked_augmentation(run_of(Independent(), Edited(brains(), mirrored), 40), planted=40)
    flip = measured(findings, "turned_rate[flip left-right]")

    assert flip.value is None
    assert flip.interval is None
    assert flip.reason.startswith("Not detectable")
    assert measured(findings, "reader_recall[flip left-right]").value < 0.5
    assert measured(findings, "undetectable_changes").value >= 1
    assert any("flip left-right" in note for note in findings.notes)
    # What can be told is told all the same.
    assert measured(findings, "turned_rate[flip up-down or rotate 180]").value is not None
    assert measured(findings, "reader_recall[rotate 90 clockwise]").value > 0.95


def test_a_flip_of_asymmetric_anatomy_is_found_at_its_dose() -> None:
    cohort = Edited(brains(), marked)
    run = run_of(Independent(), cohort)
    images = np.stack([marked(image) for image in drawn(Independent())])
    images[::5] = images[::5, :, :, ::-1]
    run.sampled = replace(run.sampled, images=images)  # type: ignore[misc]
    findings = leaked_augmentation(run, planted=40)
    flip = measured(findings, "turned_rate[flip left-right]")

    assert flip.value == pytest.approx(0.2, abs=0.02)
    assert flip.interval.low > 0.1
    probability = measured(findings, "rotation_probability")
    assert probability.value is None
    assert "flipped as well" in probability.reason


class TestOnly:
    """A cohort without its train partition."""

    __test__ = False
    cases = tuple(case for case in brains().cases if case.partition == "test")

    def __getattr__(self, name: str) -> Any:
        return getattr(brains(), name)


def test_labelled_samplers_and_sets_without_train_are_read() -> None:
    subject = labelled_sampler(brains(), LabelledAugmented("rotated", 0.3))
    run = AugmentationRun(subject, TestOnly(), None, LocalEngine(), 0)  # type: ignore[arg-type]
    findings = leaked_augmentation(run, planted=40)
    assert "50 real patients and tested on 50 others" in findings.notes[0]
    assert measured(findings, "turned_rate").interval.low > 0.05


def test_few_patients_are_inconclusive_and_few_samples_say_little() -> None:
    small_cohort = brains(8)
    run = SynthesisRun(planted_sampler(small_cohort, Independent()), small_cohort, None, LocalEngine(), 0)
    assert "20 of each" in str(leaked_augmentation(run).missing)
    few = replace(seen(), samples=seen().samples.take(np.arange(10)), drawn=Reading(*(a[:10] for a in seen().drawn)))
    estimate = next(e for e in in_all(few, 0.75) if e.measurement.id == f"{CODE}.turned_rate")
    assert estimate.measurement.interval.high > 0.05
    assert "samples are needed" in estimate.shortfall(
        Declared("AC", f"{CODE}.turned_rate", {"max": 0.05}, "upper"), 0.05
    )


def test_samples_that_are_no_numbers_stop_the_audit() -> None:
    with pytest.raises(NotFiniteError):
        leaked_augmentation(run_of(Fixed(float("nan"), dose=0.1)))


def value(of: Evidence, part: str) -> float:
    powers = [power.missed for power in of.seen(part)]
    return float(of.share(of.drawn.found(part), of.real.found(part), powers, 0.05).value or 0.0)


@settings(max_examples=10)
@given(st.sampled_from(sorted(PARTS_OF)), st.integers(0, 100), st.integers(0, 100), st.randoms())
def test_prop_the_dose_rises_with_what_is_planted_and_order_means_nothing(kind, one, other, random) -> None:
    part, n = PARTS_OF[kind], 2 * PEOPLE
    draw = np.random.default_rng(random.randrange(2**32)).random(n)
    low, high = sorted((one / 100, other / 100))
    still = np.arange(n)
    values = [value(at_dose(kind, draw < dose, still), part) for dose in (low, high)]
    assert values[0] <= values[1] + 1e-9
    assert values[1] == pytest.approx((draw < high).mean(), abs=0.05)
    shuffled = np.random.default_rng(0).permutation(n)
    assert value(at_dose(kind, draw < high, shuffled), part) == pytest.approx(values[1])


def test_every_measurement_is_declared_and_exhibits_show_the_most_turned() -> None:
    findings = audited(Augmented("rotated", 0.3))
    names = {e.measurement.id.partition(".")[2].split("[")[0] for e in findings.estimates}
    assert names == set(AUDITS[CODE].measures)
    assert [exhibit.id for exhibit in findings.exhibits][:3] == [
        f"{CODE}-{x}" for x in ("positions", "confusion", "turned")
    ]
    odds = [row["log_odds_over_limit"] for row in findings.rows if row["position"]]
    assert odds == sorted(odds, reverse=True)
    shown = findings.exhibits[2].data["cases"]
    assert [case["case_id"] for case in shown] == [row["case_id"] for row in findings.rows[:8]]
    table = findings.exhibits[1].data
    assert all(sum(map(int, row[1:])) == 2 * PEOPLE for row in table["rows"])


def test_names_of_positions_that_are_alike_stand_together() -> None:
    assert group_name((2, 3)) == "flip up-down or rotate 180"
    assert PARTS[0] == "turned"


def test_the_docstring_has_the_headings_in_order() -> None:
    places = [AUDITS[CODE].document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
