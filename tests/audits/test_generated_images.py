"""HYG-003: generated images in test, declared, listed, or made by this very model; real ones are not charged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits import AUDITS
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.generated_images import generated_images, pixel_digest
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import Contaminated, augmented
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import InputError
from medgan_qa.rng import child


@cache
def brains(people: int = 25) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


SUBJECT = planted_sampler(brains(), Independent())


def run_on(cohort: Any) -> SynthesisRun:
    return SynthesisRun(SUBJECT, cohort, None, LocalEngine(), 0)


@cache
def outputs() -> np.ndarray:
    return SUBJECT.sample(8, 0)


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"HYG-003.{name}").measurement


def names(findings: Findings) -> set[str]:
    return {row["case_id"] for row in findings.rows}


def test_phantoms_that_the_model_did_not_make_are_not_charged() -> None:
    findings = generated_images(run_on(brains()))
    assert all(case.synthetic for case in brains().cases)
    counts = [e for e in findings.estimates if e.measurement.unit == "count"]
    assert [e.measurement.value for e in counts] == [0, 0, 0, 0, 0]
    assert findings.rows == []
    assert "is not found" in findings.notes[0]
    assert any("phantoms" in note for note in findings.notes)


@pytest.mark.parametrize("kind", ["none", "flip", "rotation", "noise"])
def test_outputs_of_the_model_are_found(kind: str) -> None:
    made = np.stack([augmented(image[0], kind, child(0, kind))[None] for image in outputs()])
    cohort = Contaminated(brains(), "generated", 0.08, made)
    findings = generated_images(run_on(cohort))
    assert value(findings, "near_outputs").value == len(cohort.source) == 4
    assert names(findings) == set(cohort.source)
    assert {row["sample"] for row in findings.rows} == {f"sample-{k:05d}" for k in range(4)}
    assert all(row["generated"].startswith("output of the model") for row in findings.rows)
    assert {row["role"] for row in findings.rows} == {"image"}
    assert len(findings.exhibits[0].data["cases"]) == 4


def test_an_output_of_another_seed_is_not_found_and_the_limit_is_stated() -> None:
    cohort = Contaminated(brains(), "generated", 0.08, SUBJECT.sample(4, 1))
    findings = generated_images(run_on(cohort))
    assert value(findings, "generated_images").value == 0
    assert "the output of another model looks like a real image here" in findings.notes[0]


class Acquired:
    """A cohort that is no phantom, of which some cases are declared as synthetic."""

    phantom = False

    def __init__(self, synthetic: int) -> None:
        test = [case for case in brains().cases if case.partition == "test"]
        self.declared = {case.case_id for case in test[:synthetic]}
        self.cases = tuple(replace(case, synthetic=case.case_id in self.declared) for case in brains().cases)
        self._by_id = {case.case_id: case for case in brains().cases}

    def load(self, case: Any) -> Any:
        return brains().load(self._by_id[case.case_id])

    def __getattr__(self, name: str) -> Any:
        return getattr(brains(), name)


def test_declared_images_are_counted_in_test_alone() -> None:
    cohort = Acquired(3)
    findings = generated_images(run_on(cohort))
    assert value(findings, "declared_images").value == 3
    assert value(findings, "generated_images").value == 3
    assert names(findings) == cohort.declared
    assert generated_images(run_on(Acquired(0))).rows == []


def test_images_on_a_list_of_pixel_digests_are_found(tmp_path: Path) -> None:
    cohort = Contaminated(brains(), "generated", 0.08, SUBJECT.sample(4, 1))
    listed = tmp_path / "generated.txt"
    lines = [f"{pixel_digest(image).upper()}  sample.png" for image in SUBJECT.sample(4, 1)]
    listed.write_text("# made by the generator\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    findings = generated_images(run_on(cohort), declared=str(listed))
    assert value(findings, "listed_images").value == 4
    assert names(findings) == set(cohort.source)
    assert any("4 digests are on the list" in note for note in findings.notes)


def test_images_on_a_list_of_file_digests_are_found(tmp_path: Path) -> None:
    rows = ["case_id,patient_id,partition,image"]
    for k, case in enumerate(brains().cases[:2] + brains().cases[-25:]):
        np.save(tmp_path / f"{k}.npy", brains().load(case).image[0])
        rows.append(f"c{k},p{k},{case.partition},{k}.npy")
    (tmp_path / "cases.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "d.toml").write_text(
        'schema = "medgan-qa/dataset/1"\nname = "d"\ncases = "cases.csv"\nvalue_range = [0.0, 1.0]\n', encoding="utf-8"
    )
    listed = tmp_path / "generated.txt"
    listed.write_text(hashlib.sha256((tmp_path / "7.npy").read_bytes()).hexdigest(), encoding="utf-8")
    run = SynthesisRun(SUBJECT, read_dataset(tmp_path / "d.toml"), None, LocalEngine(), 0)
    findings = generated_images(run, declared=str(listed))
    assert names(findings) == {"c7"}
    assert findings.rows[0]["generated"] == "listed"


@pytest.mark.parametrize("content", ["abc sample.png", "z" * 64])
def test_a_list_that_holds_no_digests_is_refused(tmp_path: Path, content: str) -> None:
    listed = tmp_path / "generated.txt"
    listed.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="list of generated images"):
        generated_images(run_on(brains()), declared=str(listed))
    with pytest.raises(InputError, match="list of generated images"):
        generated_images(run_on(brains()), declared=str(tmp_path / "none.txt"))


def test_few_images_are_told_and_declarations_still_counted() -> None:
    small = BrainSlices(people=3)
    run = SynthesisRun(planted_sampler(small, Independent()), small, None, LocalEngine(), 0)
    findings = generated_images(run)
    assert value(findings, "generated_images").value == 0
    assert any("are needed to know how near they come" in note for note in findings.notes)


@given(st.integers(0, 63), st.integers(0, 63))
def test_prop_a_digest_changes_with_every_pixel(y: int, x: int) -> None:
    image = brains().load(brains().cases[0]).image
    other = image.copy()
    other[0, y, x] += np.float32(1e-3)
    assert pixel_digest(image) == pixel_digest(image.copy())
    assert pixel_digest(image) != pixel_digest(other)


@pytest.mark.parametrize("code", ["HYG-001", "HYG-002", "HYG-003"])
def test_every_measurement_is_declared_in_the_catalogue(code: str) -> None:
    made = AUDITS[code].run(run_on(brains()), AUDITS[code].parameters).estimates
    assert {e.measurement.id.partition(".")[2] for e in made} <= set(AUDITS[code].measures)


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("HYG-003", "", generated_images).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
