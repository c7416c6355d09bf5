"""HYG-001: train patients and train images are found in test under any name, and clean partitions are clean."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.audits._changes import TURN_SLACK, change, kind_of
from medgan_qa.audits._same_images import Rule, calibrated
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
    "strong noise": "noise",
    "compressed": "",
    "crop": "scale",
}


def test_changed_train_images_are_found_and_the_change_is_named() -> None:
    test, train = cases("test"), cases("train")
    order = list(KINDS) * 2
    kinds = {test[3 * k].case_id: (train[3 * k + 1].case_id, kind) for k, kind in enumerate(order)}
    findings = leaked_images(run_on(Renamed(brains(), {}, kinds)))
    rows = {row["case_id"]: row for row in findings.rows}
    assert set(rows) <= set(kinds)
    assert len(rows) >= len(order) - 2
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


def test_without_other_partitions_it_is_not_applicable() -> None:
    class OnlyTest(Renamed):
        def __init__(self) -> None:
            super().__init__(brains(), {}, {})
            self.cases = tuple(case for case in self.cases if case.partition == "test")

    findings = leaked_images(run_on(OnlyTest()))
    assert findings.missing is None
    assert findings.not_applicable is not None
    assert "no train and no val partition" in findings.not_applicable
    assert findings.estimates == []


def small_run(patients: dict[str, str], kinds: dict[str, tuple[str, str]]) -> Findings:
    small = BrainSlices(people=5)
    cohort = Renamed(small, patients, kinds)
    return leaked_images(SynthesisRun(planted_sampler(small, Independent()), cohort, None, LocalEngine(), 0))


def test_few_patients_are_inconclusive() -> None:
    findings = small_run({}, {})
    assert findings.missing == "10 patients; 20 are needed to know how near different patients come."
    assert value(findings, "leaked_images").value == 0


def test_what_is_found_among_few_patients_is_found() -> None:
    small = BrainSlices(people=5)
    first = {case.partition: case for case in reversed(small.cases)}
    by_name = small_run({first["test"].case_id: first["train"].patient_id}, {})
    by_pixels = small_run({}, {first["test"].case_id: (first["train"].case_id, "copied")})
    for findings, name in ((by_name, "shared_patients"), (by_pixels, "relabelled_images")):
        assert findings.missing is None
        assert value(findings, name).value == 1
        assert value(findings, "leaked_images").value == 1
        assert findings.rows[0]["case_id"] == first["test"].case_id
        assert any(note.startswith("Changed images could not be searched") for note in findings.notes)


class Val(Renamed):
    """The train partition is called val."""

    def __init__(self, kinds: dict[str, tuple[str, str]]) -> None:
        super().__init__(brains(), {}, kinds)
        self.cases = tuple(replace(c, partition="val") if c.partition == "train" else c for c in self.cases)


def test_val_counts_as_well() -> None:
    findings = leaked_images(run_on(Val({cases("test")[3].case_id: (cases("train")[8].case_id, "flip")})))
    assert [(row["case_id"], row["partition"], row["change"]) for row in findings.rows] == [
        (cases("test")[3].case_id, "val", "flip left-right")
    ]


def test_names_of_studies_and_volumes_are_compared_where_they_name_one_patient() -> None:
    test, train = cases("test")[0], cases("train")[0]

    class Named(Renamed):
        def __init__(self, study: str | None) -> None:
            super().__init__(brains(), {}, {})
            told = {
                test.case_id: {"study": "S-1", "volume": "V-1", "slice_index": 4},
                train.case_id: {"study": "S-1", "volume": "V-1", "slice_index": 5},
                cases("train")[7].case_id: {"study": study},
            }
            self.cases = tuple(replace(case, **told.get(case.case_id, {})) for case in self.cases)

    findings = leaked_images(run_on(Named(None)))
    assert value(findings, "shared_studies").value == 1
    assert value(findings, "shared_volumes").value == 1
    assert value(findings, "adjacent_slices").value == 1
    assert findings.rows[0]["leaked_by"] == "study and volume"
    # A name that two patients of train share is no name of an examination.
    ambiguous = leaked_images(run_on(Named("S-1")))
    assert not [e for e in ambiguous.estimates if e.measurement.id == "HYG-001.shared_studies"]
    assert ambiguous.rows[0]["leaked_by"] == "volume"


def test_a_target_that_is_repeated_is_told() -> None:
    test, train = cases("test")[0], cases("train")[0]

    class Paired(Renamed):
        def load(self, case: Case) -> CaseImages:
            images = super().load(case)
            shown = train if case.case_id == test.case_id else case
            return replace(images, target=2 * super().load(shown).image)

    findings = leaked_images(run_on(Paired(brains(), {}, {})))
    assert [(row["case_id"], row["leaked_by"], row["train_case"], row["change"]) for row in findings.rows] == [
        (test.case_id, "target", train.case_id, "target unchanged")
    ]


def test_images_that_show_nothing_are_no_leak() -> None:
    blank = {case.case_id for case in (cases("test")[0], cases("train")[0], cases("train")[9])}

    class Blank(Renamed):
        def load(self, case: Case) -> CaseImages:
            images = super().load(case)
            return replace(images, image=np.zeros_like(images.image)) if case.case_id in blank else images

    findings = leaked_images(run_on(Blank(brains(), {}, {})))
    assert value(findings, "leaked_images").value == 0
    assert any(note.startswith("3 images show one value alone") for note in findings.notes)


def test_images_of_several_sizes_are_compared() -> None:
    source, test = cases("train")[4], cases("test")[6]

    class Sized(Renamed):
        def load(self, case: Case) -> CaseImages:
            images = super().load(source if case.case_id == test.case_id else case)
            if case.case_id == test.case_id:
                return replace(images, image=np.repeat(np.repeat(images.image, 3, axis=1), 3, axis=2)[..., ::-1].copy())
            # Train is stored with wider air at its sides.
            return replace(images, image=images.image[:, 4:-4]) if case.partition == "train" else images

    findings = leaked_images(run_on(Sized(brains(), {}, {})))
    assert [(row["case_id"], row["train_case"]) for row in findings.rows] == [(test.case_id, source.case_id)]
    assert "flip left-right" in findings.rows[0]["change"]


@settings(max_examples=3, deadline=None)
@given(st.randoms(use_true_random=False))
def test_prop_names_and_order_do_not_change_what_is_found(random: Any) -> None:
    test, train = cases("test"), cases("train")
    kinds = {test[1].case_id: (train[2].case_id, "rotation"), test[8].case_id: (train[30].case_id, "strong noise")}

    class Shuffled(Renamed):
        def __init__(self) -> None:
            super().__init__(brains(), {}, kinds)
            names = sorted({case.patient_id for case in self.cases})
            other = dict(zip(names, random.sample(names, len(names)), strict=True))
            renamed = [replace(case, patient_id=f"p-{other[case.patient_id]}") for case in self.cases]
            self.cases = tuple(random.sample(renamed, len(renamed)))

    findings = leaked_images(run_on(Shuffled()))
    assert {(row["case_id"], row["train_case"]) for row in findings.rows} == {
        (name, source) for name, (source, _) in kinds.items()
    }


def test_a_pair_is_found_from_both_sides() -> None:
    """What is a copy of train in test is, with the partitions exchanged, the source in test of a copy in train."""
    test, train = cases("test")[1], cases("train")[2]

    class Exchanged(Renamed):
        def __init__(self) -> None:
            super().__init__(brains(), {}, {test.case_id: (train.case_id, "rotation")})
            other = {"test": "train", "train": "test"}
            self.cases = tuple(replace(case, partition=other[case.partition]) for case in self.cases)  # type: ignore[arg-type]

    findings = leaked_images(run_on(Exchanged()))
    assert [(row["case_id"], row["train_case"]) for row in findings.rows] == [(train.case_id, test.case_id)]


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
    given_ = {**start, "quiet": 0.01, **numbers}
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
        ({"scale": 1.25, "blur": -1.0}, "scale 1.25", "scale 0.80"),
        ({"blur": -1.0}, "sharpened", "blur 1.0 px"),
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
    from medgan_qa.audits._changes import _undone

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
