"""UTL-002: wrong labels are found at their dose, right ones not blamed, and a reader is measured before it judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from medgan_qa.audits import AUDITS, HEADINGS
from medgan_qa.audits.augmentation import NO_CLASSES, AugmentationRun
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.label_faithfulness import CODE, label_faithfulness
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.labelled_samplers import (
    Faithful,
    LabelledPlan,
    OneClass,
    WrongLabels,
    labelled_sampler,
)
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.criteria import Declared
from medgan_qa.engines import LocalEngine
from medgan_qa.record import Measurement

PEOPLE = 60


@cache
def brains(people: int = PEOPLE) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def run_of(plan: LabelledPlan, cohort: Any = None, seed: int = 0) -> AugmentationRun:
    subject = labelled_sampler(brains(), plan)
    return AugmentationRun(subject, cohort or brains(), None, LocalEngine(), seed, extractors=("pixels",))


@cache
def made(plan: LabelledPlan, seed: int = 0) -> AugmentationRun:
    return run_of(plan, seed=seed)


@cache
def audited(plan: LabelledPlan, seed: int = 0) -> Findings:
    return label_faithfulness(made(plan, seed))


def with_detector(plan: LabelledPlan, level: float) -> Findings:
    run = made(plan)
    run.detector = ThresholdDetector(level).subject()
    try:
        return label_faithfulness(run)
    finally:
        run.detector = None


def measured(findings: Findings, name: str) -> Measurement:
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"{CODE}.{name}")


def test_right_labels_are_not_blamed():
    findings = audited(Faithful())
    rate = measured(findings, "wrong_label_rate")

    assert findings.missing is None
    assert {e.measurement.id.split("[")[0] for e in findings.estimates} == {
        f"{CODE}.{name}" for name in AUDITS[CODE].measures
    }
    assert rate.value < 0.05
    assert rate.interval.low == 0
    for name in ("lesion", "lesion-free"):
        assert measured(findings, f"wrong_label_rate[class {name}]").interval.low == 0
        assert measured(findings, f"reader_recall[class {name}]").interval.low > 0.75
    assert len(findings.rows) <= 6
    assert findings.exhibits[-1].kind == "panels"


@pytest.mark.parametrize(("dose", "seed"), [(0.3, 0), (0.3, 1), (0.3, 2), (0.6, 0)])
def test_wrong_labels_are_found_at_their_dose(dose, seed):
    findings = audited(WrongLabels(dose), seed)
    rate = measured(findings, "wrong_label_rate")

    assert rate.interval.low < dose < rate.interval.high
    assert rate.interval.low > dose / 20
    assert rate.value == pytest.approx(dose, abs=0.13)
    assert all(row["read_by_learner"] != row["label"] for row in findings.rows)
    table = findings.tables[f"exhibits/{CODE}-samples.csv"]
    assert len(table) == 2 * PEOPLE
    against = [row["log_odds_against_label"] for row in table]
    assert against == sorted(against, reverse=True)


def test_a_generator_that_ignores_its_condition_is_named_by_class():
    findings = audited(OneClass())

    assert measured(findings, "wrong_label_rate[class lesion]").value > 0.95
    assert measured(findings, "wrong_label_rate[class lesion-free]").value < 0.05
    assert measured(findings, "wrong_label_rate").value == pytest.approx(0.5, abs=0.05)
    counts = next(e for e in findings.exhibits if e.kind == "counts").data["rows"]
    samples = [row for row in counts if row[0] == "samples"]
    assert [sum(map(int, row[2:])) for row in samples] == [PEOPLE, PEOPLE]


def test_a_detector_reads_beside_the_learner():
    findings = with_detector(OneClass(), 0.56)

    assert measured(findings, "reader_recall[detector, class lesion]").value > 0.85
    assert measured(findings, "wrong_label_rate[detector, class lesion]").value > 0.9
    assert measured(findings, "wrong_label_rate[detector, class lesion-free]").value < 0.05
    assert measured(findings, "wrong_label_rate[detector]").value == pytest.approx(0.5, abs=0.05)
    assert all("read_by_detector" in row for row in findings.rows)


def test_a_blind_detector_is_not_believed_and_the_learner_still_is():
    findings = with_detector(Faithful(), 9.0)

    assert findings.missing is None
    assert measured(findings, "wrong_label_rate[detector]").value is None
    assert measured(findings, "wrong_label_rate").value is not None
    assert any("The detector is not shown to read real images labelled lesion" in note for note in findings.notes)


def relabelled(label: Callable[[Case], str]) -> Any:
    """The cohort with other labels."""

    class Relabelled:
        cases = tuple(replace(case, label=label(case)) for case in brains().cases)

        def __getattr__(self, name: str) -> Any:
            return getattr(brains(), name)

        def load(self, case: Case) -> CaseImages:
            return brains().load(replace(case, label=None))

    return Relabelled()


def test_a_reader_that_cannot_read_gives_no_rate():
    # Labels by the number of the slice have nothing to do with the image.
    odd = relabelled(lambda case: ("lesion", "lesion-free")[int(case.case_id[-1])])
    findings = label_faithfulness(run_of(Faithful(), odd))

    assert findings.missing is not None
    assert "is not shown to read real images labelled" in findings.missing
    assert measured(findings, "wrong_label_rate").value is None
    assert measured(findings, "wrong_label_rate").reason == findings.missing
    assert measured(findings, "reader_recall[class lesion]").value is not None
    assert not any(exhibit.kind == "panels" for exhibit in findings.exhibits)


def test_too_few_images_and_no_classes_are_inconclusive():
    few = run_of(Faithful(), brains(6))
    without = AugmentationRun(
        planted_sampler(brains(), Independent()), brains(), None, LocalEngine(), 0, extractors=("pixels",)
    )

    assert "are needed" in str(label_faithfulness(few).missing)
    assert label_faithfulness(without).missing == NO_CLASSES


def test_what_an_inconclusive_claim_lacks_is_said():
    estimate = next(e for e in audited(Faithful()).estimates if e.measurement.id == f"{CODE}.wrong_label_rate")
    hopeless = next(e for e in audited(OneClass()).estimates if e.measurement.id == f"{CODE}.wrong_label_rate")
    declared = Declared("AC-01", f"{CODE}.wrong_label_rate", {"max": 0.001}, "upper")
    assert estimate.shortfall is not None
    assert hopeless.shortfall is not None

    assert "more samples alone will not" in str(hopeless.shortfall(declared, 0.05))
    roomy = Declared("AC-01", f"{CODE}.wrong_label_rate", {"max": 0.03}, "upper")
    assert "samples are" in str(estimate.shortfall(roomy, 0.05))
    assert estimate.shortfall(Declared("AC-01", "x", {"min": 0.1}, "lower"), 0.05) is None


def test_samples_that_are_no_numbers_stop_the_audit():
    run = run_of(Faithful(), brains(6))
    images = run.sampled.images.copy()
    images[0, 0, 0, 0] = np.nan
    run.sampled = type(run.sampled)(images, run.sampled.names, run.sampled.patients)  # type: ignore[misc]

    with pytest.raises(NotFiniteError):
        label_faithfulness(run)


def test_its_document_has_the_headings():
    positions = [AUDITS[CODE].document.index(heading) for heading in HEADINGS]
    assert positions == sorted(positions)
