"""HYG-003 by what the model made: outputs among targets, train-only images, the fingerprint, in every kind of run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medgan_qa.audits._fingerprints import traced_outputs
from medgan_qa.audits._model_outputs import Made, made
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.generated_images import generated_images, pixel_digest
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.controls import Faithful, planted_translator
from medgan_qa.controls.classifiers import Faithful as FaithfulClassifier
from medgan_qa.controls.classifiers import planted_classifier
from medgan_qa.controls.contaminated import augmented
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.rng import child


class Kept(BrainPhantoms):
    """Rendered once."""

    def load(self, case: Case) -> CaseImages:
        held: dict[str, CaseImages] = self.__dict__.setdefault("held", {})
        if case.case_id not in held:
            held[case.case_id] = super().load(case)
        return held[case.case_id]


@cache
def pairs(people: int = 30) -> Kept:
    return Kept(people=people)


@dataclass(frozen=True)
class Imperfect:
    """As a network translates: smooth, and with structure of its own."""

    name: str = "imperfect"

    def apply(self, target: Any, lesion: Any, g: np.random.Generator) -> Any:
        field = ndimage.gaussian_filter(g.normal(0, 1, target.shape), 2)
        return np.asarray(ndimage.gaussian_filter(target, 0.7) * (1 + 0.15 * field / field.std()), np.float32)


class With:
    """A cohort whose targets, or images, are replaced, by case id."""

    def __init__(self, cohort: Cohort, targets: dict[str, Any] | None = None, **facts: Any) -> None:
        self._cohort, self.targets = cohort, targets or {}
        self.__dict__.update(facts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        images = self._cohort.load(case)
        return replace(images, target=self.targets[case.case_id]) if case.case_id in self.targets else images


def value(findings: Findings, name: str) -> Any:
    return next(e.measurement.value for e in findings.estimates if e.measurement.id == f"HYG-003.{name}")


@cache
def imperfect() -> tuple[Any, dict[str, Any]]:
    subject = planted_translator(pairs(), Imperfect())
    cases = pairs().cases[::10]
    return subject, {c.case_id: subject.translate(pairs().load(c).image[None], 0)[0] for c in cases}


def audited(targets: dict[str, Any], **facts: Any) -> Findings:
    return generated_images(TranslationRun(imperfect()[0], With(pairs(), targets, **facts), None, LocalEngine(), 0))


def test_a_translators_own_outputs_among_faithful_targets_are_not_charged_without_a_reason() -> None:
    assert value(audited({}), "generated_images") == 0


@pytest.mark.parametrize("kind", ["none", "flip", "quarter turn", "noise", "8 bits"])
def test_outputs_that_stand_as_targets_are_found(kind: str) -> None:
    planted = {
        name: np.rint(np.clip(output, 0, 1) * 255).astype(np.float32) / 255
        if kind == "8 bits"
        else augmented(output[0], kind, child(1, name))[None]
        for name, output in imperfect()[1].items()
    }
    findings = audited(planted)
    found = {row["case_id"]: row for row in findings.rows if "output of the model" in row["generated"]}
    assert set(found) == set(planted)
    assert {row["role"] for row in found.values()} <= {"target", ""}
    assert value(findings, "near_outputs") == len(planted)


def test_a_model_that_makes_every_target_of_acquired_data_is_told_and_not_charged() -> None:
    exact = planted_translator(pairs(), Faithful(noise=0.0))
    run = TranslationRun(exact, With(pairs(), phantom=False, cases=_acquired()), None, LocalEngine(), 0)
    found = generated_images(run)
    assert (value(found, "near_outputs"), value(found, "generated_images")) == (60, 0)
    drawn = generated_images(TranslationRun(exact, pairs(), None, LocalEngine(), 0))
    assert value(drawn, "generated_images") == 0
    assert any("cannot be told from a faithful one" in note for note in drawn.notes)


def _acquired() -> tuple[Case, ...]:
    return tuple(replace(case, synthetic=False) for case in pairs().cases)


def test_a_train_image_declared_synthetic_that_stands_in_test_breaks_its_declaration(tmp_path: Path) -> None:
    slices = BrainSlices(people=4)
    train, test = (next(c for c in slices.cases if c.partition == part) for part in ("train", "test"))

    class Twice(With):
        def load(self, case: Case) -> CaseImages:
            return slices.load(train if case.case_id == test.case_id else _same(slices, case))

    cases = tuple(replace(case, synthetic=case.case_id == train.case_id) for case in slices.cases)
    cohort = Twice(slices, phantom=False, cases=cases)
    run = ClassificationRun(planted_classifier(FaithfulClassifier()), cohort, None, LocalEngine(), 0)
    findings = generated_images(run)
    assert value(findings, "train_only_images") == value(findings, "generated_images") == 1
    assert findings.rows[0]["generated"] == "train only"
    listed = tmp_path / "train_only.txt"
    listed.write_text(pixel_digest(slices.load(train).image), encoding="utf-8")
    again = generated_images(run, train_only=str(listed))
    assert value(again, "train_only_images") == 1
    assert "1 digests are on the list." in again.notes


def _same(cohort: BrainSlices, case: Case) -> Case:
    return next(c for c in cohort.cases if c.case_id == case.case_id)


def test_a_classifier_makes_no_images_and_that_is_said() -> None:
    run = ClassificationRun(planted_classifier(FaithfulClassifier()), BrainSlices(people=3), None, LocalEngine(), 0)
    findings = generated_images(run)
    assert value(findings, "generated_images") == 0
    assert any("draws no images" in note for note in findings.notes)
    assert not any("fingerprint" in e.measurement.id for e in findings.estimates)


def test_a_fingerprint_is_found_in_a_single_image_of_another_input_and_its_recall_is_measured() -> None:
    targets = {c.case_id: pairs().load(c).target for c in pairs().cases[:2]}
    subject = imperfect()[0]
    # What the model makes of another patient, under the name of this one.
    targets = {
        name: subject.translate(pairs().load(pairs().cases[-1 - k]).image[None], 0)[0] for k, name in enumerate(targets)
    }
    run = TranslationRun(subject, With(pairs(), targets), None, LocalEngine(), 0)
    findings = generated_images(run)
    flagged = {row["case_id"] for row in findings.rows if row["fingerprint"]}
    assert set(targets) <= flagged
    assert value(findings, "fingerprinted_images") == len(flagged) <= 3
    assert value(findings, "fingerprint_recall") > 0.9
    # Alone it is no proof.
    assert value(findings, "generated_images") == 0
    assert [e.id for e in findings.exhibits] == ["HYG-003-fingerprint"]


def test_a_sampler_without_a_fingerprint_has_no_recall_and_flags_nobody() -> None:
    slices = BrainSlices(people=30)
    run = SynthesisRun(planted_sampler(slices, Independent()), slices, None, LocalEngine(), 0)
    findings = generated_images(run)
    assert value(findings, "fingerprinted_images") == 0
    assert value(findings, "fingerprint_recall") < 0.1
    assert value(findings, "fingerprint_false_alarms") == 0


def test_too_few_images_for_a_fingerprint_are_told() -> None:
    run = TranslationRun(planted_translator(pairs(), Imperfect()), Kept(people=4), None, LocalEngine(), 0)
    findings = generated_images(run)
    assert any("20 test patients and as many outputs are needed" in note for note in findings.notes)
    assert value(findings, "generated_images") == 0


def test_outputs_that_are_not_finite_are_told() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(imperfect()[0], name)

        def translate(self, x: Any, seed: int) -> Any:
            return np.full_like(x, np.nan)

    run: Any = TranslationRun(Broken(), pairs(), None, LocalEngine(), 0)  # type: ignore[arg-type]
    findings = generated_images(run)
    assert any("not all finite" in note for note in findings.notes)


def test_the_halves_depend_on_the_seed_alone() -> None:
    run = TranslationRun(imperfect()[0], pairs(), None, LocalEngine(), 0)
    outputs = made(run)
    assert isinstance(outputs, Made)
    one, other = (traced_outputs(run, outputs, 0.05) for _ in range(2))
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    assert np.array_equal(one.scores, other.scores)
