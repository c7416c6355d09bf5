"""UTL-001: useless samples are found, faithful ones are not blamed, and more images are not taken for better ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.audits import AUDITS, HEADINGS
from medgan_qa.audits._learners import BOTH, REAL, REPEATED, SYNTHETIC, _drawn, _training_sets, learners
from medgan_qa.audits.augmentation import NO_CLASSES, AugmentationRun, Labelled, Sides
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.audits.training_utility import CODE, ONE_CLASS, independent_pairs, too_few, training_utility
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.labelled_samplers import Faithful, LabelledPlan, Noise, OneClass, labelled_sampler
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.record import Measurement

PEOPLE = 30


@cache
def brains(people: int = PEOPLE) -> BrainSlices:
    cohort = BrainSlices(people=people, size=48)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


class Changed:
    """A cohort with other cases or other pixels."""

    def __init__(self, cohort: Any, case: Any = lambda case: case, pixels: Any = lambda case, images: images) -> None:
        self._cohort, self._pixels = cohort, pixels
        self._origin = {case.case_id: case for case in cohort.cases}
        self.cases = tuple(changed for one in cohort.cases if (changed := case(one)) is not None)

    def __getattr__(self, name: str) -> object:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        return self._pixels(case, self._cohort.load(self._origin[case.case_id]))


def run_of(plan: LabelledPlan, cohort: Any = None, seed: int = 0, samples: int | None = None) -> AugmentationRun:
    subject = labelled_sampler(brains(), plan)
    return AugmentationRun(
        subject, cohort or brains(), None, LocalEngine(), seed, samples=samples, extractors=("pixels",), resamples=60
    )


@cache
def audited(plan: LabelledPlan, seed: int = 0) -> Findings:
    return training_utility(run_of(plan, seed=seed), fits=5)


def measured(findings: Findings, name: str) -> Measurement:
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"{CODE}.{name}")


@pytest.mark.parametrize("seed", range(3))
def test_faithful_samples_teach_what_real_images_teach(seed):
    findings = audited(Faithful(), seed)

    assert findings.missing is None
    assert measured(findings, "auc[synthetic]").value > measured(findings, "auc[real]").value - 0.05
    # Sixty real images are few: as many new patients help, the same ones again do not.
    assert measured(findings, "gain").value > 0.05
    again = measured(findings, "auc[real repeated]").value - measured(findings, "auc[real]").value
    assert abs(again) < 0.01
    short = measured(findings, "shortfall")
    assert short.interval.low < 0 < short.interval.high
    assert measured(findings, "gan_test").value > 0.7
    assert {e.measurement.id.split("[")[0] for e in findings.estimates} == {
        f"{CODE}.{name}" for name in AUDITS[CODE].measures
    }
    assert len(findings.rows) == 2 * PEOPLE
    assert {row["label"] for row in findings.rows} == {"lesion", "lesion-free"}
    assert findings.excluded == {}


@pytest.mark.parametrize("seed", range(3))
def test_noise_falls_short_and_is_no_gain(seed):
    findings = audited(Noise(), seed)

    assert measured(findings, "shortfall").interval.high < -0.1
    assert measured(findings, "gain").value < 0.03
    wrong = [row for row in findings.rows if row["status"] == "read wrong"]
    assert len(wrong) > 0.2 * len(findings.rows)
    shown = findings.exhibits[-1].data["cases"]
    assert [case["rule"] for case in shown] == ["worst"] * 8 + ["random"] * 4
    assert all("read wrong" in case["label"] for case in shown[:8])


@pytest.mark.parametrize("seed", range(3))
def test_labels_without_content_fall_short(seed):
    findings = audited(OneClass(), seed)

    assert measured(findings, "shortfall").value < -0.15
    assert measured(findings, "gain").value < 0.03
    assert measured(findings, "gan_train").value < 0.75
    assert measured(findings, "gan_test").interval.high < 0.7


def test_the_same_run_says_the_same():
    again = training_utility(run_of(Noise()), fits=5)

    assert [e.measurement for e in again.estimates] == [e.measurement for e in audited(Noise()).estimates]


def test_copies_of_the_real_images_are_no_gain_over_repeating_them():
    cohort, run = brains(), run_of(Faithful())
    train = run.train
    assert train is not None
    index = np.arange(len(train))
    run.generated = Pictures(train.images, train.names, train.names)  # type: ignore[misc]
    run.sampled = run.generated  # type: ignore[misc]
    labels = ["lesion" if np.any(mask) else "lesion-free" for mask in train.masks]
    run.sample_labels = tuple(labels)  # type: ignore[misc]
    findings = training_utility(run, fits=5)

    assert len(index) == len(cohort.cases) // 2
    gain = measured(findings, "gain")
    assert gain.interval.low < 0 < gain.interval.high
    assert measured(findings, "auc[synthetic]").value == pytest.approx(measured(findings, "auc[real]").value, abs=0.1)


def test_samples_of_one_class_can_be_added_but_not_learned_from_alone():
    run = run_of(Faithful())
    run.sample_labels = tuple("lesion" if label == "lesion" else None for label in run.sample_labels)  # type: ignore[misc]
    findings = training_utility(run, fits=3)

    assert measured(findings, "gain").value is not None
    for name in ("auc[synthetic]", "shortfall", "gan_train", "gan_test"):
        assert measured(findings, name).value is None
        assert measured(findings, name).reason == ONE_CLASS
    assert len(findings.exhibits) == 1


def test_a_sampler_without_classes_is_told_what_to_do():
    subject = planted_sampler(brains(), Independent())
    run = AugmentationRun(subject, brains(), None, LocalEngine(), 0, extractors=("pixels",))

    assert training_utility(run).missing == NO_CLASSES


def test_labels_that_do_not_fit_are_said():
    unlabelled = Changed(brains(), pixels=lambda case, images: replace(images, lesion_mask=None))
    renamed = Changed(brains(), case=lambda case: replace(case, label=f"kind {case.case_id[-1]}"))
    alone = Changed(brains(), case=lambda case: case if case.partition == "test" else None)

    assert "no label; two are needed" in str(training_utility(run_of(Faithful(), unlabelled)).missing)
    assert "which no real training image is (kind 0, kind 1)" in str(
        training_utility(run_of(Faithful(), renamed)).missing
    )
    assert "no train partition" in str(training_utility(run_of(Faithful(), alone)).missing)


def test_few_patients_or_samples_of_a_class_are_inconclusive():
    few = Changed(
        brains(), case=lambda case: case if case.partition == "train" or case.patient_id < "test-0008" else None
    )

    assert "patients of the test partition" in str(training_utility(run_of(Faithful(), few)).missing)
    assert "samples of a class" in str(training_utility(run_of(Faithful(), samples=12)).missing)
    assert "at least 2" in str(training_utility(run_of(Faithful()), fits=1).missing)


def test_test_cases_without_a_known_label_are_left_out_by_name():
    def some(case: Case) -> Case:
        odd = case.partition == "test" and case.patient_id == "test-0003"
        return replace(case, label="unheard of") if odd else case

    findings = training_utility(run_of(Faithful(), Changed(brains(), case=some)), fits=2)

    assert findings.excluded == {f"test-0003-s{k}": "label unheard of does not occur in training" for k in (0, 1)}
    assert len(findings.rows) == 2 * PEOPLE - 2


def toy(counts: tuple[int, ...], each: int = 2, seed: int = 0, apart: float = 1.0) -> Labelled:
    """Features of several classes, `each` images a unit."""
    codes = np.repeat(np.arange(len(counts)), counts)
    g = rng.child(seed, "toy")
    features = g.normal(size=(len(codes), 6)) + apart * np.eye(6)[codes]
    names = tuple(f"{seed}-{k}" for k in range(len(codes)))
    units = tuple(f"{seed}-{k // each}" for k in range(len(codes)))
    pictures = Pictures(np.zeros((len(codes), 1, 4, 4), np.float32), names, units)
    return Labelled(pictures, np.arange(len(codes)), codes, features)


def test_three_classes_are_read_as_well():
    sides = Sides(("a", "b", "c"), toy((30, 30, 30)), toy((30, 30, 30), seed=1), toy((30, 30, 30), seed=2, apart=0.0))
    found = learners(run_of(Faithful()), sides, 4, 2000)
    halves = np.ones((2, 90), bool)

    assert found.area("real", sides.test, halves).fits.mean() > 0.7
    assert found.area("synthetic", sides.test, halves).fits.mean() == pytest.approx(0.5, abs=0.12)
    assert found.said["both"].shape == (4, 90, 3)
    assert too_few(sides, 2) is None


def test_training_sets_are_whole_units_of_every_class_without_repeats():
    side, g = toy((20, 40)), rng.child(0, "drawn")
    drawn = _drawn(side, 2000, g)
    units = np.array(side.patients)[drawn]

    assert len(drawn) == len(set(drawn.tolist())) == 48
    assert all(units[2 * k] == units[2 * k + 1] for k in range(24))
    assert set(side.codes[drawn]) == {0, 1}
    assert len(_drawn(side, 10, g)) == 10


def test_the_sets_of_one_fit_share_their_images():
    sides = Sides(("a", "b"), toy((20, 20)), toy((20, 20), seed=1), toy((30, 30), seed=2))
    sets = _training_sets(run_of(Faithful()), sides, 0, 2000)
    (real, _), (repeated, none), (both, added), (nothing, synthetic) = (
        sets[a] for a in (REAL, REPEATED, BOTH, SYNTHETIC)
    )

    np.testing.assert_array_equal(real, both)
    np.testing.assert_array_equal(added, synthetic)
    assert len(repeated) == len(both) + len(added)
    assert set(repeated.tolist()) == set(real.tolist())
    assert none.size == nothing.size == 0


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(8, 20), st.integers(8, 20))
def test_prop_pairs_are_no_more_than_units_of_the_smaller_class(each, few, many):
    side = toy((few * each, many * each), each)

    assert 1 <= independent_pairs(side, 2) <= min(few, many)


def test_its_document_has_the_headings():
    positions = [AUDITS[CODE].document.index(heading) for heading in HEADINGS]
    assert positions == sorted(positions)
