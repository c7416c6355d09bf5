"""Lesions of volumes: counted once over their slices, followed in three dimensions, beside single images in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.audits._false_marks import false_marks
from medgan_qa.audits._passes import LesionRule, Sample, followed
from medgan_qa.audits._placements import lesion_shapes
from medgan_qa.audits._planting import Cell
from medgan_qa.audits._volumes import Sections, stacks, volume_notes
from medgan_qa.audits.contrast_recovery import contrast_recovery
from medgan_qa.audits.detection import Settings, detection
from medgan_qa.audits.invented_pathology import invented_pathology
from medgan_qa.audits.lesions import by_case, lesions_of
from medgan_qa.audits.removed_pathology import removed_pathology
from medgan_qa.audits.translation import Item, Reading, TranslationRun
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.responses import Power, computing_translator
from medgan_qa.engines import LocalEngine
from medgan_qa.metrics import MatchingRule, body_mask
from medgan_qa.rng import child

SIDE = 64
SPACING = (1.0, 1.0)
SLICE_MM = 2.0
RULE = MatchingRule()
BRIGHT, TISSUE = 0.9, 0.4


@dataclass
class Drawn:
    """A volume of one patient: tissue with a little noise, and bright lesions."""

    patient: str
    lesion: np.ndarray
    """(D, H, W) bool"""
    first: int = 0
    """Place of its first slice."""
    volume: str | None = None
    slice_mm: float | None = SLICE_MM

    def reference(self) -> np.ndarray:
        g = child(0, "tissue", self.patient)
        y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
        head = np.hypot(y, x) <= 29
        image = np.where(head, TISSUE, 0.0) + 0.01 * g.standard_normal(self.lesion.shape)
        return np.where(self.lesion, BRIGHT, image).astype(np.float32)

    def items(self, change: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda image, lesion: image) -> list[Item]:
        """What a translator that makes `change` of the whole volume turns it into."""
        reference = self.reference()
        output = change(reference.copy(), self.lesion).astype(np.float32)
        name = self.volume or f"{self.patient}-T2"
        return [
            Item(
                case=Case(
                    f"{self.patient}: {name}/{self.first + z:03d}", self.patient, "test", True, True, True,
                    volume=name, slice_index=self.first + z,
                ),
                source=reference[z],
                output=output[z],
                reference=reference[z],
                channels=(output[z][None], reference[z][None]),
                lesion=self.lesion[z],
                body=body_mask(np.where(self.lesion[z], TISSUE, reference[z])),
                spacing_mm=SPACING,
                slice_mm=self.slice_mm,
            )
            for z in range(len(self.lesion))
        ]  # fmt: skip


def ball(radius_mm: float, centre: tuple[float, float, float], depth: int = 9, slice_mm: float = SLICE_MM):
    z, y, x = np.indices((depth, SIDE, SIDE))
    dz, dy, dx = (z - centre[0]) * slice_mm, (y - centre[1]) * SPACING[0], (x - centre[2]) * SPACING[1]
    return dz**2 + dy**2 + dx**2 <= radius_mm**2


def erased(image, lesion):
    return np.where(lesion, TISSUE, image)


@pytest.fixture(autouse=True)
def without_power(monkeypatch):
    """What the audits would have caught takes seconds, and is asked by a test of its own."""
    for audit in ("removed_pathology", "invented_pathology"):
        module = import_module(f"medgan_qa.audits.{audit}")
        monkeypatch.setattr(module, "detection_by", lambda *_: None)
        monkeypatch.setattr(module, "detection_sentence", lambda *_: None)


def run_of(items: Sequence[Item], *, level: float = 0.65, detector: bool = True) -> TranslationRun:
    class Cohort:
        cases = tuple(item.case for item in items)
        lesion_in: tuple[str, ...] = ()
        source_domain = target_domain = "T2"

    reader = ThresholdDetector(level).subject() if detector else None
    run = TranslationRun(computing_translator(Power(1.0)), Cohort(), reader, LocalEngine(), 0)  # type: ignore[arg-type]
    run.items = list(items)
    return run


def patients(number: int, change: Any = None, free: int = 0) -> list[Item]:
    """Patients with a volume that holds one lesion over several slices, and some without any."""
    out: list[Item] = []
    for k in range(number):
        lesion = ball(6.0 + k % 3, (4, 30 + k % 5, 28 + k % 7))
        out += Drawn(f"p{k:02d}", lesion).items(change or (lambda image, lesion: image))
    for k in range(free):
        nothing = np.zeros((3, SIDE, SIDE), bool)
        out += Drawn(f"free-{k:02d}", nothing).items(change or (lambda image, lesion: image))
    return out


def value(findings, name):
    return next(e.measurement for e in findings.estimates if e.measurement.id == name)


class TestStacks:
    def test_a_missing_slice_parts_a_volume(self):
        items = Drawn("p", ball(8, (4, 32, 32))).items()
        whole, parted = stacks(items), stacks(items[:4] + items[5:])
        assert [len(s.items) for s in whole] == [9]
        assert [len(s.items) for s in parted] == [4, 4]

    def test_order_of_the_table_does_not_matter(self):
        items = Drawn("p", ball(8, (4, 32, 32))).items()
        (stack,) = stacks([items[k] for k in (3, 0, 8, 1, 7, 2, 6, 4, 5)])
        assert [item.case.slice_index for item in stack.items] == list(range(9))

    def test_two_patients_may_name_a_volume_alike(self):
        a, b = (Drawn(p, ball(8, (4, 32, 32)), volume="scan").items() for p in ("a", "b"))
        assert [len(s.items) for s in stacks(a + b)] == [9, 9]

    @pytest.mark.parametrize("change", [{"reference": None}, {"lesion": None}, {"slice_mm": None}])
    def test_a_slice_of_which_something_is_not_known_stands_alone(self, change):
        items = Drawn("p", ball(8, (4, 32, 32))).items()
        items[4] = replace(items[4], **change)
        assert sorted(len(s.items) for s in stacks(items)) == [1, 4, 4]

    def test_another_spacing_or_size_parts_it(self):
        items = Drawn("p", ball(8, (4, 32, 32))).items()
        assert len(stacks([*items[:4], *(replace(i, spacing_mm=(1.0, 0.9)) for i in items[4:])])) == 2

    def test_single_images_stand_alone_and_keep_their_order(self):
        items = Drawn("p", ball(8, (4, 32, 32))).items()
        single = [replace(i, case=replace(i.case, volume=None, slice_index=None)) for i in items]
        assert [s.items[0] for s in stacks(single)] == single


class TestLesions:
    def test_a_lesion_of_many_slices_is_one_with_the_diameter_of_its_ball(self):
        (lesion,) = lesions_of(run_of(Drawn("p", ball(8, (4, 32, 32))).items()), RULE, 3, read=True)
        assert lesion.diameter_mm == pytest.approx(16.0, rel=0.03)
        assert lesion.item.case.slice_index == 4
        assert [i.case.slice_index for i in lesion.items] == list(range(9))
        assert lesion.status == "kept"
        assert lesion.recovery == pytest.approx(1.0, abs=0.01)
        assert lesion.centre == (32.0, 32.0)

    def test_one_erased_slice_of_three_leaves_one_lesion_with_its_share(self):
        lesion = np.zeros((5, SIDE, SIDE), bool)
        lesion[1:4, 28:36, 28:36] = True

        def middle_gone(image, mask):
            image[2] = erased(image[2], mask[2])
            return image

        run = run_of(Drawn("p", lesion).items(middle_gone))
        (found,) = lesions_of(run, RULE, 3, read=True)
        assert found.status == "kept"
        assert found.recovery == pytest.approx(2 / 3, abs=0.01)
        share = found.marked_reference[0]
        assert share > 0.9
        assert found.marked_reference == (share,) * 3
        assert found.marked_output == (share, 0.0, share)

        findings = removed_pathology(run)
        (row,) = findings.tables["exhibits/PAT-001-lesions.csv"]
        assert (row["slices"], row["slice_count"], row["slices_lost"]) == ("1 to 3", 3, 1)
        assert row["marked_in_output"] == f"{share:.2f} 0.00 {share:.2f}"
        assert any("1 are gone from one slice or more" in note for note in findings.notes)

    def test_regions_that_touch_at_a_corner_of_two_slices_are_one_lesion(self):
        lesion = np.zeros((4, SIDE, SIDE), bool)
        lesion[1, 20:26, 20:26] = lesion[2, 26:32, 26:32] = True
        assert len(lesions_of(run_of(Drawn("p", lesion).items()), RULE, 3, read=False)) == 1

    def test_a_missing_slice_makes_two_of_a_lesion(self):
        items = Drawn("p", ball(8, (4, 32, 32))).items()
        found = lesions_of(run_of(items[:4] + items[5:]), RULE, 3, read=True)
        assert len(found) == 2
        assert len({lesion.lesion_id for lesion in found}) == 2

    def test_thickness_of_slices_counts_in_the_size(self):
        lesion = ball(8, (4, 32, 32))
        thin, thick = (
            lesions_of(run_of(Drawn("p", lesion, slice_mm=mm).items()), RULE, 3, read=False)[0] for mm in (1.0, 8.0)
        )
        assert thick.diameter_mm == pytest.approx(2 * thin.diameter_mm)

    def test_a_volume_without_a_distance_of_slices_is_read_slice_by_slice_and_says_so(self):
        items = Drawn("p", ball(8, (4, 32, 32)), slice_mm=None).items()
        # Its poles are a pixel each, and too small by themselves.
        assert len(lesions_of(run_of(items), RULE, 3, read=False)) == 7
        assert any("1 volume without a known distance" in note for note in volume_notes(items))

    def test_both_kinds_in_one_run(self):
        volume = Drawn("p", ball(8, (4, 32, 32))).items()
        single = [
            replace(i, case=replace(i.case, case_id=f"single-{k}", patient_id=f"s{k}", volume=None, slice_index=None))
            for k, i in enumerate(Drawn("q", ball(8, (4, 32, 32))).items()[3:6])
        ]
        run = run_of([single[0], *volume, *single[1:]])
        found = lesions_of(run, RULE, 3, read=True)
        assert [lesion.patient for lesion in found] == ["s0", "p", "s1", "s2"]
        assert [len(lesion.spanned) for lesion in found] == [0, 9, 0, 0]
        assert set(by_case(found)) == {item.case.case_id for item in run.items}
        rows = removed_pathology(run).tables["exhibits/PAT-001-lesions.csv"]
        assert ["slices" in row for row in rows] == [False, True, False, False]
        assert removed_pathology(run).excluded == {}

    def test_a_run_without_volumes_says_nothing_about_them(self):
        items = [
            replace(i, case=replace(i.case, volume=None, slice_index=None))
            for i in Drawn("p", ball(8, (4, 32, 32))).items()
        ]
        assert volume_notes(items) == []

    @given(st.permutations(range(18)), st.sampled_from([None, 0, 1, 2]))
    @settings(deadline=None, max_examples=25)
    def test_prop_order_of_cases_and_direction_of_axes_change_nothing(self, order, axis):
        lesion = ball(7, (3, 26, 30)) | ball(4, (6, 40, 44))
        gone = ball(4, (6, 40, 44))

        def described(flip, places):
            def turned(a):
                return a if flip is None else np.flip(a, flip)

            def change(image, mask):
                return np.where(turned(gone), TISSUE, image)

            items = [item for k in range(2) for item in Drawn(f"p{k}", turned(lesion)).items(change)]
            found = lesions_of(run_of([items[k] for k in places]), RULE, 3, read=True)
            return sorted(
                (x.patient, round(x.diameter_mm, 9), x.status, len(x.spanned), round(x.recovery or 0.0, 2))
                for x in found
            )

        expected = described(None, range(18))
        assert [x[2] for x in expected] == ["lost", "kept"] * 2
        assert described(axis, order) == expected


class TestFalseMarks:
    def marked(self, shape, *windows):
        out = np.zeros(shape, bool)
        for window in windows:
            out[window] = True
        return out

    def run(self, reference, output, lesion):
        items = Drawn("p", lesion).items()
        run = run_of(items)
        run.readings = {i.case.case_id: Reading(reference[z], output[z]) for z, i in enumerate(items)}
        return run

    def test_a_mark_over_three_slices_is_one_and_stands_with_each(self):
        nothing = np.zeros((5, SIDE, SIDE), bool)
        output = self.marked(nothing.shape, np.s_[1:4, 30:34, 30:34])
        run = self.run(nothing, output, nothing)
        marks = false_marks(run, run.items, RULE, 3, of="output")
        assert [len(marks[i.case.case_id]) for i in run.items] == [0, 1, 1, 1, 0]
        assert len({mark for held in marks.values() for mark in held}) == 1

    def test_small_sections_of_a_large_mark_count(self):
        nothing = np.zeros((5, SIDE, SIDE), bool)
        output = self.marked(nothing.shape, np.s_[1:5, 30:31, 30:31])
        run = self.run(nothing, output, nothing)
        assert sum(map(len, false_marks(run, run.items, RULE, 3, of="output").values())) == 4
        assert sum(map(len, false_marks(run, run.items, RULE, 5, of="output").values())) == 0

    def test_what_runs_on_from_a_lesion_or_a_real_mark_is_not_charged(self):
        lesion = self.marked((6, SIDE, SIDE), np.s_[0:2, 20:26, 20:26])
        real = self.marked(lesion.shape, np.s_[4, 40:44, 40:44])
        output = self.marked(lesion.shape, np.s_[0:4, 20:26, 20:26], np.s_[3:6, 40:44, 40:44], np.s_[5, 10:14, 50:54])
        marks = false_marks(run := self.run(real, output, lesion), run.items, RULE, 3, of="output")
        assert [len(marks[i.case.case_id]) for i in run.items] == [0, 0, 0, 0, 0, 1]
        own = false_marks(run, run.items, RULE, 3, of="reference")
        assert [len(own[i.case.case_id]) for i in run.items] == [0, 0, 0, 0, 1, 0]

    def test_marks_beside_lesions_are_counted_once(self):
        lesion = self.marked((6, SIDE, SIDE), np.s_[:, 20:26, 20:26])
        output = lesion | self.marked(lesion.shape, np.s_[1:5, 44:48, 44:48])
        run = self.run(lesion, output, lesion)
        other = Drawn("q", np.zeros((2, SIDE, SIDE), bool)).items()
        run.items, run.__dict__["paired"] = [*run.items, *other], [*run.items, *other]
        nothing = np.zeros((SIDE, SIDE), bool)
        run.readings |= {i.case.case_id: Reading(nothing, nothing) for i in other}
        findings = invented_pathology(run)
        assert value(findings, "PAT-002.invented_beside_lesions").value == 1


class TestAudits:
    def test_positive_control_an_eraser_removes_every_lesion(self):
        run = run_of(patients(12, erased))
        m = value(removed_pathology(run), "PAT-001.removal_rate")
        assert (m.value, m.n, m.clusters) == (1.0, 12, 12)
        assert value(contrast_recovery(run), "PAT-003.contrast_recovery").value == pytest.approx(0.0, abs=0.02)

    def test_negative_control_a_faithful_model_loses_and_invents_nothing(self):
        run = run_of(patients(40, free=10))
        removed, invented = removed_pathology(run), invented_pathology(run)
        m = value(removed, "PAT-001.removal_rate")
        assert (m.value, m.n, m.clusters) == (0.0, 40, 40)
        assert m.interval.high < 0.1
        free = value(invented, "PAT-002.invention_rate")
        assert free.value == 0.0
        # The unit of an invention is a slice and its cluster the patient.
        slices = sum(not item.lesion.any() for item in run.items)
        assert (free.n, free.clusters) == (slices, len({i.case.patient_id for i in run.items if not i.lesion.any()}))

    def test_few_patients_with_many_slices_stay_few(self):
        findings = removed_pathology(run_of(patients(4)))
        m = value(findings, "PAT-001.detector_sensitivity")
        assert (m.n, m.clusters) == (4, 4)
        assert value(findings, "PAT-001.removal_rate").value is None
        assert "at least 0.75 is needed" in value(findings, "PAT-001.removal_rate").reason

    def test_an_inserter_over_slices_is_one_mark_in_several_cases(self):
        def inserted(image, lesion):
            spot = ball(5, (1, 32, 32), depth=len(lesion))
            return np.where(spot, BRIGHT, image) if not lesion.any() else image

        run = run_of(patients(20, inserted, free=12))
        findings = invented_pathology(run)
        rate = value(findings, "PAT-002.invention_rate")
        free = [i for i in run.items if i.lesion is not None and not i.lesion.any()]
        invented = [row for row in findings.rows if row["status"] == "invented"]
        assert rate.value == pytest.approx(len(invented) / len(free))
        assert {row["patient_id"] for row in invented} == {f"free-{k:02d}" for k in range(12)}
        assert {row["invented"] for row in invented} == {1}

    def test_pictures_show_the_largest_section(self):
        findings = removed_pathology(run_of(patients(10, erased)), worst=4, random=2)
        panel = next(e for e in findings.exhibits if e.kind == "panels")
        assert {case["case_id"].split("/")[1] for case in panel.data["cases"]} == {"004"}
        assert all("slices" in case["label"] for case in panel.data["cases"])

    def test_outlines_are_taken_once_where_the_lesion_is_largest(self):
        run = run_of(Drawn("p", ball(8, (4, 32, 32))).items())
        (shape,) = lesion_shapes(run, 3, 6.0)
        assert shape.item.case.slice_index == 4
        assert shape.diameter_mm == pytest.approx(16.0, rel=0.03)

    def test_sections_of_other_lesions_are_known_to_each_slice(self):
        items = Drawn("p", ball(6, (2, 26, 26)) | ball(6, (6, 26, 42))).items()
        sections = Sections(items, 3)
        looked_at = [len(sections.of(item)[0]) for item in items]
        assert looked_at == [0, 0, 1, 0, 0, 0, 1, 0, 0]
        assert [len(sections.of(item)[1]) for item in items] == [
            ndimage.label(item.lesion, np.ones((3, 3)))[1] for item in items
        ]

    def test_power_is_measured_in_slices_of_volumes_too(self):
        run = run_of([*patients(6), *Drawn("free", np.zeros((2, SIDE, SIDE), bool)).items()])
        settings_ = Settings(diameters_mm=(10.0,), contrasts=(0.5,), budget=40)
        found = detection(run, settings_)
        assert found.habits.lesions == 6
        assert all(p.caught["removal"] for p in found.grid[Cell(10.0, 0.5)])

    def test_a_refused_slice_leaves_its_volume_out_of_further_passes(self):
        run = run_of(patients(2))
        sample = Sample(run.items, [item.source[None] for item in run.items])
        how = LesionRule(RULE, 3, 0.75, 0.2)
        outputs: list[Any] = [item.channels[0] for item in run.items]
        assert {x.patient for x in followed(run, sample, outputs, how).values()} == {"p00", "p01"}
        outputs[4] = "raised: no"
        assert {x.patient for x in followed(run, sample, outputs, how).values()} == {"p01"}


@pytest.mark.parametrize("every", [1, 2])
def test_volumes_of_a_dataset_are_followed_from_file_to_lesion(tmp_path, every):
    rows = ["case_id,patient_id,partition,image,target,lesion_mask,annotated"]
    lesion = ball(6.0, (6, 30, 26), depth=12, slice_mm=3.0)
    for name in ("a", "b"):
        image = np.clip(Drawn(name, lesion).reference(), 0.0, 1.0)
        for kind, stack in (("image", image), ("mask", lesion.astype(np.uint8))):
            nibabel.save(
                nibabel.Nifti1Image(stack.transpose(2, 1, 0), np.diag([1, 1, 3, 1])), tmp_path / f"{name}-{kind}.nii"
            )
        rows.append(f"scan-{name},{name},test,{name}-image.nii,{name}-image.nii,{name}-mask.nii,true")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "data.toml").write_text(
        'schema = "medgan-qa/dataset/1"\nname = "scans"\ncases = "cases.csv"\nvalue_range = [0.0, 1.0]\n'
        f'identifiers = "codes"\n[volumes]\nevery = {every}\n'
    )
    cohort = read_dataset(tmp_path / "data.toml")
    run = TranslationRun(computing_translator(Power(1.0)), cohort, ThresholdDetector(0.65).subject(), LocalEngine(), 0)
    found = lesions_of(run, RULE, 3, read=True)
    if every == 1:
        assert [(x.patient, len(x.spanned), x.status) for x in found] == [("a", 5, "kept"), ("b", 5, "kept")]
        assert all(x.diameter_mm == pytest.approx(12.0, rel=0.05) for x in found)
    else:
        assert {len(x.spanned) for x in found} == {0}  # no slice has a neighbour
        assert any("2 volumes with missing slices" in note for note in volume_notes(run.items))
