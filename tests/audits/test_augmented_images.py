"""HYG-002: augmentation left on in test is found beside its source and by its traces; clean images carry none."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from medgan_qa.audits.augmented_images import augmented_images
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case, CaseImages
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.controls.contaminated import Contaminated, Kind, moved
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.controls.stacks import Stacks
from medgan_qa.engines import LocalEngine


@cache
def brains(people: int = 25) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def run_on(cohort: Any) -> SynthesisRun:
    return SynthesisRun(planted_sampler(brains(), Independent()), cohort, None, LocalEngine(), 0)


@cache
def planted(kind: Kind, seed: int = 0) -> tuple[Contaminated, Findings]:
    cohort = Contaminated(brains(), kind, 0.1, seed=seed)
    return cohort, augmented_images(run_on(cohort))


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"HYG-002.{name}").measurement


def pairs_of(findings: Findings) -> set[frozenset[str]]:
    return {frozenset((row["case_id"], row["source_case"])) for row in findings.rows if row["source_case"]}


class Shown(Contaminated):
    """Test cases that show the named case's image after a change."""

    def __init__(self, change: Any, source: dict[str, Case]) -> None:
        super().__init__(brains(), "copied", 0.05)
        self._change, self.source = change, source

    def load(self, case: Case) -> CaseImages:
        images = brains().load(self.source.get(case.case_id, case))
        if case.case_id not in self.source:
            return images
        return CaseImages(self._change(images.image[0])[None], None, images.lesion_mask, images.spacing_mm)


def cases(partition: str) -> list[Case]:
    return [case for case in brains().cases if case.partition == partition]


def test_slices_of_one_patient_and_clean_images_are_no_augmentation() -> None:
    findings = augmented_images(run_on(brains()))
    assert findings.missing is None
    assert {e.measurement.id: e.measurement.value for e in findings.estimates} == {
        "HYG-002.augmented_images": 0,
        "HYG-002.augmented_rate": 0,
        "HYG-002.train_duplicates": 0,
        "HYG-002.changed_on_reading": 0,
        "HYG-002.padded_images": 0,
        "HYG-002.smoothed_images": 0,
    }
    assert findings.rows == []
    assert findings.exhibits == []
    assert value(findings, "augmented_rate").interval.high < 0.15


class Mixed(Contaminated):
    """A cohort with a little of every kind of augmentation."""

    def __init__(self) -> None:
        super().__init__(brains(), "copied", 0.01)
        kinds: tuple[Kind, ...] = ("flip", "quarter turn", "rotation", "shift", "scale", "gamma", "noise", "blur")
        self._parts = [Contaminated(brains(), kind, 0.04, seed=k) for k, kind in enumerate(kinds)]
        self.source = {}
        for part in self._parts:
            free = set(self.source) | {case.case_id for case in self.source.values()}
            self.source |= {k: case for k, case in part.source.items() if k not in free and case.case_id not in free}

    def load(self, case: Case) -> CaseImages:
        source = self.source.get(case.case_id)
        part = next((p for p in self._parts if source is not None and p.source.get(case.case_id) == source), None)
        return brains().load(case) if part is None else part.load(case)


def test_every_augmented_image_is_found_beside_its_source() -> None:
    cohort = Mixed()
    findings = augmented_images(run_on(cohort))
    truth = {frozenset((case_id, source.case_id)) for case_id, source in cohort.source.items()}
    found = pairs_of(findings)
    assert len(truth) >= 10
    assert found <= truth
    assert len(found) >= len(truth) - 1
    assert value(findings, "augmented_images").value == len(found)
    shown = findings.exhibits[0]
    assert shown.kind == "panels"
    assert len(shown.data["cases"]) == 8
    assert findings.notes[1].startswith(f"Of {len(found)} test images that repeat another one")


@pytest.mark.parametrize("seed", [1, 2])
def test_flips_are_found_at_other_seeds(seed: int) -> None:
    cohort, findings = planted("flip", seed)
    assert pairs_of(findings) == {frozenset((case_id, s.case_id)) for case_id, s in cohort.source.items()}
    assert {row["change"] for row in findings.rows} == {"flip left-right"}


@pytest.mark.parametrize("kind", ["strong noise", "compressed", "crop"])
def test_noise_compression_and_crops_are_found(kind: Kind) -> None:
    cohort, findings = planted(kind)
    truth = {frozenset((case_id, source.case_id)) for case_id, source in cohort.source.items()}
    found = pairs_of(findings)
    assert found <= truth
    assert len(found) >= len(truth) - (kind == "crop")


def test_a_translation_run_is_searched_as_any_other() -> None:
    cohort = Contaminated(BrainPhantoms(people=25), "rotation", 0.1)
    run = TranslationRun(planted_sampler(brains(), Independent()), cohort, None, LocalEngine(), 0)
    findings = augmented_images(run)
    assert pairs_of(findings) == {frozenset((case_id, s.case_id)) for case_id, s in cohort.source.items()}


def test_slices_of_a_volume_are_no_augmentation_of_each_other() -> None:
    cohort = Stacks(people=12, slices=4, gap_mm=0.5)
    run = SynthesisRun(planted_sampler(brains(), Independent()), cohort, None, LocalEngine(), 0)
    assert value(augmented_images(run), "augmented_images").value == 0


def test_a_flipped_slice_of_a_volume_is_found() -> None:
    class Flipped(Stacks):
        def load(self, case: Case) -> CaseImages:
            if case.case_id != "test-stack-0003/002":
                return super().load(case)
            source = next(c for c in self.cases if c.case_id == "test-stack-0003/001")
            images = super().load(source)
            return replace(images, image=images.image[..., ::-1].copy())

    run = SynthesisRun(planted_sampler(brains(), Independent()), Flipped(people=12, slices=4), None, LocalEngine(), 0)
    findings = augmented_images(run)
    assert [(row["case_id"], row["source_case"], row["change"]) for row in findings.rows] == [
        ("test-stack-0003/002", "test-stack-0003/001", "flip left-right")
    ]


def test_a_flip_of_the_patients_own_other_slice_is_found() -> None:
    test = cases("test")
    source = {test[k].case_id: test[k + 1] for k in (0, 10, 20)}
    assert all(case.patient_id == test[k].patient_id for k, case in zip((0, 10, 20), source.values(), strict=True))
    findings = augmented_images(run_on(Shown(lambda image: image[:, ::-1], source)))
    assert pairs_of(findings) == {frozenset((case_id, case.case_id)) for case_id, case in source.items()}


def test_a_rotation_leaves_filled_corners_and_less_noise() -> None:
    test = cases("test")
    # Each shows itself, turned: there is no source beside it.
    source = {test[k].case_id: test[k] for k in range(0, 50, 10)}
    findings = augmented_images(run_on(Shown(lambda image: moved(image, 12.0, 1.0), source)))
    assert value(findings, "augmented_images").value == 0
    assert value(findings, "padded_images").value == len(source)
    assert {row["case_id"] for row in findings.rows} == set(source)
    assert all("padded" in row["traces"] for row in findings.rows)
    sheet = findings.exhibits[-1]
    assert sheet.kind == "sheet"
    assert sheet.data["groups"][0] == {"label": "padded", "count": len(source)}


def test_interpolation_at_half_a_pixel_is_seen_in_the_noise() -> None:
    test = cases("test")
    source = {test[k].case_id: test[k] for k in range(0, 50, 10)}
    half = lambda image: (image + np.roll(image, 1, 0) + np.roll(image, 1, 1) + np.roll(image, (1, 1), (0, 1))) / 4  # noqa: E731
    findings = augmented_images(run_on(Shown(half, source)))
    assert value(findings, "smoothed_images").value == len(source)
    assert value(findings, "padded_images").value == 0


def test_a_shift_that_repeats_the_border_is_seen() -> None:
    test = cases("test")
    source = {test[k].case_id: test[k] for k in range(0, 50, 10)}
    findings = augmented_images(run_on(Shown(lambda i: np.pad(i, ((2, 0), (0, 0)), mode="edge")[:-2], source)))
    assert value(findings, "padded_images").value == len(source)


def test_images_that_change_from_reading_to_reading_are_found() -> None:
    cohort, findings = planted("unstable")
    assert value(findings, "changed_on_reading").value == len(cohort.source)
    assert {row["case_id"] for row in findings.rows if "changed on reading" in row["traces"]} == set(cohort.source)


def test_what_train_repeats_is_counted_apart() -> None:
    train = cases("train")
    findings = augmented_images(run_on(Shown(lambda image: image[:, ::-1], {train[3].case_id: train[20]})))
    assert value(findings, "train_duplicates").value == 1
    assert value(findings, "augmented_images").value == 0


class OnlyTest:
    def __init__(self, cohort: Any) -> None:
        self._cohort = cohort
        self.cases = tuple(case for case in cohort.cases if case.partition == "test")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)


def test_without_train_test_is_compared_with_itself() -> None:
    cohort = Contaminated(brains(), "flip", 0.1)
    findings = augmented_images(run_on(OnlyTest(cohort)))
    assert value(findings, "augmented_images").value == len(cohort.source)
    assert all("train_duplicates" not in e.measurement.id for e in findings.estimates)
    assert any("50 test images" in note for note in findings.notes)


def test_few_patients_are_inconclusive() -> None:
    small = BrainSlices(people=4)
    run = SynthesisRun(planted_sampler(small, Independent()), small, None, LocalEngine(), 0)
    findings = augmented_images(run)
    assert findings.missing is not None
    assert "8 patients; 20 are needed" in findings.missing
    assert value(findings, "augmented_images").value == 0
    assert not [
        e for e in findings.estimates if e.measurement.id in ("HYG-002.padded_images", "HYG-002.smoothed_images")
    ]


def test_an_equal_image_among_few_patients_is_found() -> None:
    small = BrainSlices(people=4)
    run = SynthesisRun(
        planted_sampler(small, Independent()), Contaminated(small, "copied", 0.1), None, LocalEngine(), 0
    )
    findings = augmented_images(run)
    assert findings.missing is None
    assert value(findings, "augmented_images").value == 1


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("HYG-002", "", augmented_images).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
