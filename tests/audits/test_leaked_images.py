"""HYG-001: train patients and train images are found in test under any name, and clean partitions are clean."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.audits._same_images import TURN_SLACK, Rule, calibrated, change, kind_of
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.leaked_images import leaked_images
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import Contaminated, augmented
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.near_copies import ClosePairs


@cache
def brains(people: int = 40) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def run_on(cohort: Any, people: int = 40) -> SynthesisRun:
    return SynthesisRun(planted_sampler(brains(people), Independent()), cohort, None, LocalEngine(), 0)


@cache
def clean() -> tuple[SynthesisRun, Findings]:
    run = run_on(brains())
    return run, leaked_images(run)


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"HYG-001.{name}").measurement


class Renamed:
    """A cohort in which some cases have other patients, or show an image of train after a change."""

    def __init__(self, cohort: BrainSlices, patients: dict[str, str], kinds: dict[str, tuple[str, str]]) -> None:
        self._cohort, self._kinds = cohort, kinds
        self._by_id = {case.case_id: case for case in cohort.cases}
        self.cases = tuple(
            replace(case, patient_id=patients.get(case.case_id, case.patient_id)) for case in cohort.cases
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        if case.case_id not in self._kinds:
            return self._cohort.load(self._by_id[case.case_id])
        source, kind = self._kinds[case.case_id]
        images = self._cohort.load(self._by_id[source])
        return replace(images, image=augmented(images.image[0], kind, rng.child(3, kind, source))[None])


def cases(partition: str) -> list[Case]:
    return [case for case in brains().cases if case.partition == partition]


def test_partitions_that_share_nobody_are_clean() -> None:
    run, findings = clean()
    assert findings.missing is None
    assert [e.measurement.value for e in findings.estimates] == [0, 0, 0, 0, 0]
    rate = value(findings, "leaked_rate")
    assert rate.interval.high < 0.12
    assert findings.rows == []
    assert findings.exhibits == []
    assert "different patients are called one" in findings.notes[0]
    same = next(v for k, v in run.shared.items() if k.startswith("same images"))
    assert same.pairs == ()


def test_a_train_patient_under_a_new_identifier_is_found_by_the_image() -> None:
    planted = Contaminated(brains(), "relabelled", 0.1)
    findings = leaked_images(run_on(planted))
    assert value(findings, "leaked_images").value == 8
    assert value(findings, "relabelled_images").value == 8
    assert value(findings, "shared_patients").value == 0
    named = {row["case_id"]: row["train_case"] for row in findings.rows}
    assert named == {case_id: source.case_id for case_id, source in planted.source.items()}
    assert {row["change"] for row in findings.rows} == {"unchanged"}
    assert {row["leaked_by"] for row in findings.rows} == {"image"}
    arrays = findings.arrays[findings.exhibits[0].file or ""]
    assert np.array_equal(arrays["output"], arrays["reference"])


KINDS = {
    "flip": "flip left-right",
    "quarter turn": "rotate 90",
    "rotation": "rotation",
    "shift": "shift",
    "scale": "scale",
    "gamma": "contrast",
    "noise": "noise",
    "blur": "blur",
}


def test_changed_train_images_are_found_and_the_change_is_named() -> None:
    test, train = cases("test"), cases("train")
    order = list(KINDS) * 2
    kinds = {test[5 * k].case_id: (train[4 * k + 1].case_id, kind) for k, kind in enumerate(order)}
    findings = leaked_images(run_on(Renamed(brains(), {}, kinds)))
    rows = {row["case_id"]: row for row in findings.rows}
    assert set(rows) <= set(kinds)
    assert len(rows) >= len(order) - 1
    for case_id, row in rows.items():
        source, kind = kinds[case_id]
        assert row["train_case"] == source
        assert KINDS[kind] in row["change"], (kind, row["change"])
    arrays = findings.arrays[findings.exhibits[0].file or ""]
    # Shown after the change, a train image looks like the test image.
    assert np.abs(arrays["output"] - arrays["reference"])[:, 8:-8, 8:-8].mean() < 0.03


def test_a_patient_in_both_partitions_is_found_by_the_identifier() -> None:
    one, other = cases("test")[0], cases("train")[0]
    findings = leaked_images(run_on(Renamed(brains(), {one.case_id: other.patient_id}, {})))
    assert value(findings, "shared_patients").value == 1
    assert value(findings, "leaked_images").value == 1
    assert value(findings, "relabelled_images").value == 0
    assert findings.rows[0]["leaked_by"] == "patient"
    assert findings.rows[0]["train_patient"] == other.patient_id


def test_what_train_repeats_is_no_leak_and_is_told() -> None:
    train = cases("train")
    findings = leaked_images(run_on(Renamed(brains(), {}, {train[7].case_id: (train[20].case_id, "flip")})))
    assert value(findings, "leaked_images").value == 0
    assert value(findings, "flagged_in_train").value == pytest.approx(2 / len(train))


def test_without_train_it_is_inconclusive() -> None:
    class OnlyTest(Renamed):
        def __init__(self) -> None:
            super().__init__(brains(), {}, {})
            self.cases = tuple(case for case in self.cases if case.partition == "test")

    findings = leaked_images(run_on(OnlyTest()))
    assert findings.missing is not None
    assert "no train partition" in findings.missing


def test_few_patients_are_inconclusive_and_shared_ones_still_told() -> None:
    small = BrainSlices(people=5)
    first = {case.partition: case for case in reversed(small.cases)}
    shared = Renamed(small, {first["test"].case_id: first["train"].patient_id}, {})
    findings = leaked_images(SynthesisRun(planted_sampler(small, Independent()), shared, None, LocalEngine(), 0))
    assert findings.missing is not None
    assert findings.missing.startswith("9 patients; 20 are needed") or findings.missing.startswith("10 patients")
    assert value(findings, "shared_patients").value == 1
    assert findings.rows[0]["case_id"] == first["test"].case_id


def test_a_false_alarm_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="false-alarm rate"):
        leaked_images(clean()[0], false_alarm=1.0)


def test_scores_that_are_mostly_duplicates_say_nothing() -> None:
    residual = np.append(np.zeros(30), np.full(40, 0.3))
    found = calibrated(residual, residual, Rule(), 70, 35)
    assert isinstance(found, str)
    assert found.startswith("30 of 70 images")
    assert not isinstance(calibrated(residual[20:], residual[20:], Rule(), 50, 25), str)


def pair(**numbers: Any) -> ClosePairs:
    start: dict[str, Any] = {"mirrored": False, "turn": 0.0, "scale": 1.0, "gamma": 1.0, "blur": 0.0, "residual": 0.01}
    given_ = {**start, **numbers}
    one = {name: np.array([v]) for name, v in given_.items() if name != "shift"}
    where = np.zeros(1, np.intp)
    return ClosePairs(
        query=where, reference=where, rivals=np.ones(1), shift=np.array([given_.get("shift", (0.0, 0.0))]), **one
    )


@pytest.mark.parametrize(
    ("numbers", "forwards", "backwards"),
    [
        ({}, "noise or another small change", "noise or another small change"),
        ({"mirrored": True}, "flip left-right", "flip left-right"),
        ({"turn": 90.2}, "rotate 90 clockwise", "rotate 90 counterclockwise"),
        ({"mirrored": True, "turn": 180.0}, "flip up-down", "flip up-down"),
        ({"turn": 12.3, "scale": 1.25}, "rotation +12.3 degrees, scale 1.25", "rotation -12.3 degrees, scale 0.80"),
        ({"shift": (2.0, -1.0)}, "shift (+2.0, -1.0)", "shift (-2.0, +1.0)"),
        ({"gamma": 1.25, "blur": 0.8}, "contrast (gamma 1.25), blur 0.8 px", "contrast (gamma 0.80), sharpened"),
        (
            {"mirrored": True, "shift": (1.0, 2.0)},
            "flip left-right, shift (+1.0, +2.0)",
            "flip left-right, shift (-1.0, +2.0)",
        ),
    ],
)
def test_changes_are_told_both_ways(numbers: dict[str, Any], forwards: str, backwards: str) -> None:
    assert change(pair(**numbers), 0, True) == forwards
    assert change(pair(**numbers), 0, False) == backwards


@given(st.booleans(), st.floats(-180, 180), st.floats(0.8, 1.25), st.tuples(*[st.floats(-4, 4)] * 2))
def test_prop_undoing_a_change_gives_back_every_point(
    mirrored: bool, turn: float, scale: float, shift: tuple[float, float]
) -> None:
    from medgan_qa.audits._same_images import _undone

    def moved(y: float, x: float, turn: float, scale: float, shift: Any) -> tuple[float, float]:
        x, angle = (-x if mirrored else x), np.radians(turn)
        return (
            scale * (np.sin(angle) * x + np.cos(angle) * y) + shift[0],
            scale * (np.cos(angle) * x - np.sin(angle) * y) + shift[1],
        )

    there = moved(3.0, -5.0, turn, scale, shift)
    back = moved(*there, turn if mirrored else -turn, 1 / scale, _undone(mirrored, turn, scale, np.array(shift)))
    assert np.allclose(back, (3.0, -5.0), atol=1e-9)


def test_a_kind_is_a_change_without_its_numbers() -> None:
    assert kind_of("flip left-right, rotation +12.3 degrees, shift (+2.0, -1.0), contrast (gamma 1.25)") == (
        "flip left-right, rotation, shift, contrast"
    )
    assert kind_of("rotate 90 clockwise, blur 0.8 px") == "rotate 90 clockwise, blur"
    assert TURN_SLACK < 3


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("HYG-001", "", leaked_images).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
