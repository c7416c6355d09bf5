"""Models that crash in a run: a verdict of error where they were needed, and everything else kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgan_qa.audits import Audit, Findings
from medgan_qa.audits.numbers import count
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Faithful, ThresholdDetector, planted_translator
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ModelCrashError
from medgan_qa.record import Record
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import Suite, suite

COHORT = BrainPhantoms(people=6)
TRANSLATION = suite("translation")
CODE = """
import os
import torch

def forward(x):
    if {when}:
        os.abort()
    return {result}

def build():
    return forward

build.card = '''
schema = "medgan-qa/card/1"
name = "own"
version = "1"
task = "{task}"
channels_in = 1
channels_out = 1
range_in = [0.0, 1.0]
range_out = [0.0, 1.0]
latent_dim = 4
'''
"""


def without_model(run: Any) -> Findings:
    """Counting.

    Question. How many cases are there?
    """
    n = len(run.cohort.cases)
    return Findings(estimates=[count("HYG-006.cases", "Cases", n, n=n, unit_of_analysis="image", better="none")])


def crashing(folder: Path, monkeypatch: pytest.MonkeyPatch, when: str, task: str, result: str = "x") -> Subject:
    (folder / "own_crash.py").write_text(CODE.format(when=when, task=task, result=result))
    monkeypatch.chdir(folder)
    return load_subject("own_crash:build")


def ran(subject: Subject, detector: Subject | None = None, of: Suite = TRANSLATION) -> RunResult:
    audits = (*of.audits[:3], Audit("HYG-006", "Counts", without_model))
    chosen = replace(of, audits=audits)
    return run_audit(subject, COHORT, chosen, of.criteria, detector=detector, engine=LocalEngine())


def verdicts(record: Record) -> dict[str, str]:
    return {audit.code: audit.verdict for audit in record.audits}


@pytest.mark.parametrize("when", ["True", "float(x.max()) > 0 and len(x) > 1"], ids=["at once", "in an audit"])
def test_a_crash_is_an_error_and_audits_without_the_model_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    result = ran(crashing(tmp_path, monkeypatch, when, "translation"), ThresholdDetector().subject())

    found = verdicts(result.record)
    assert {found[audit.code] for audit in TRANSLATION.audits[:3]} == {"error"}
    assert found["HYG-006"] != "error"
    assert result.record.verdict == "error"
    broken = next(audit for audit in result.record.audits if audit.verdict == "error")
    assert "SIGABRT" in broken.reason
    assert all(criterion.verdict == "error" for criterion in broken.criteria)
    assert any("crashed" in text for text in result.record.deviations)
    assert isinstance(result.exception, ModelCrashError)
    assert [m.value for a in result.record.audits for m in a.measurements if m.id == "HYG-006.cases"] == [
        len(COHORT.cases)
    ]


def test_a_detector_that_crashes_takes_along_what_reads_lesions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = crashing(tmp_path, monkeypatch, "True", "segmentation")
    record = ran(planted_translator(COHORT, Faithful()), detector).record

    assert record.verdict == "error"
    assert "error" in verdicts(record).values()
    assert any(text.startswith("The detector crashed once") for text in record.deviations)


def test_a_sampler_that_crashes_leaves_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = crashing(tmp_path, monkeypatch, "True", "synthesis", "torch.zeros(len(x), 1, 8, 8)")
    record = ran(sampler, of=suite("synthesis")).record

    assert record.verdict == "error"
    assert verdicts(record)["HYG-006"] != "error"


def test_what_a_crash_leaves_is_a_record_that_can_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = ran(crashing(tmp_path, monkeypatch, "True", "translation")).record
    again = Record.model_validate_json(record.to_json())

    assert again.subject["isolation"]["crashes"] == 1
    assert again.subject["trusted"] is False
    assert again.subject["origin"]["factory"] == "own_crash:build"


def test_a_trusted_model_is_named_among_the_deviations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_fine.py").write_text(CODE.format(when="False", task="translation", result="x"))
    monkeypatch.chdir(tmp_path)
    own, trusted = load_subject("own_fine:build"), load_subject("own_fine:build", trust=True)

    assert not any("--trust" in text for text in ran(own).record.deviations)
    record = ran(trusted).record
    assert any("--trust" in text for text in record.deviations)
    assert record.subject["trusted"] is True
    x = np.zeros((1, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(own.translate(x), trusted.translate(x))
