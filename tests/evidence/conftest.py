"""A small run: its Record, its rows and its arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medgan_qa.record import AuditResult, Criterion, Measurement, Record, Verdict
from medgan_qa.rng import child
from medgan_qa.runner import RunResult


def a_criterion(name: str = "AC-01", verdict: str = "pass", reason: str = "", **changes: Any) -> Criterion:
    facts: dict[str, Any] = {
        "id": name,
        "measurement": "PAT-001.removal_rate",
        "limit": {"max": 0.1},
        "judged_on": "upper",
        "value": 0.05,
        "verdict": Verdict(verdict),
        "reason": reason,
        "rationale": "",
        "hazard": "",
        "requirement": "",
    }
    return Criterion(**{**facts, **changes})


def a_measurement(value: float | None = 0.03, name: str = "PAT-001.removal_rate") -> Measurement:
    reason = None if value is not None else "no lesion"
    return Measurement(
        id=name, label="", value=value, unit="fraction", n=9, unit_of_analysis="lesion", better="lower", reason=reason
    )


def an_audit(code: str = "PAT-001", verdict: str = "pass", **changes: Any) -> AuditResult:
    facts: dict[str, Any] = {
        "code": code,
        "title": "Removed pathology",
        "question": "Does it?",
        "verdict": Verdict(verdict),
        "reason": "",
        "parameters": {},
        "seconds": 1.0,
        "measurements": [],
        "criteria": [],
        "exhibits": [],
        "notes": [],
    }
    return AuditResult(**{**facts, **changes})


def a_record(
    verdict: str = "pass", reason: str = "", audits: list[AuditResult] | None = None, **changes: Any
) -> Record:
    whole = [an_audit(measurements=[a_measurement()], criteria=[a_criterion()])]
    facts: dict[str, Any] = {
        "verdict": Verdict(verdict),
        "reason": reason,
        "suite": "translation",
        "tool": {"name": "medgan-qa"},
        "run": {"seconds": 2.5, "started_utc": "2026-11-03T10:12:00Z"},
        "subject": {"sha256": "ab" * 32},
        "data": {"digest": "cd" * 32},
        "criteria_lock": {},
        "environment": {},
        "deviations": [],
        "limitations": ["Größe 5 µm"],
        "audits": whole if audits is None else audits,
    }
    return Record(**{**facts, **changes})


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """Make a Record; keyword arguments replace parts of it."""
    return a_record


@pytest.fixture(scope="session")
def make_audit() -> Callable[..., AuditResult]:
    """Make the result of an audit without criteria; keyword arguments replace parts of it."""
    return an_audit


@pytest.fixture(scope="session")
def make_criterion() -> Callable[..., Criterion]:
    """Make a judged criterion."""
    return a_criterion


@pytest.fixture(scope="session")
def make_measurement() -> Callable[..., Measurement]:
    """Make a measurement, or a missing one."""
    return a_measurement


@pytest.fixture
def result() -> RunResult:
    """A run with two audits' rows and two exhibit files."""
    rows = [
        {"audit": "PAT-001", "case_id": "c1", "patient_id": "p1", "lesion": 1, "status": "kept, barely"},
        {"audit": "PAT-001", "case_id": "c2", "patient_id": "p2", "lesion": 2, "status": None},
        {"audit": "FID-010", "case_id": "c1", "patient_id": "p1", "psnr": 31.5},
    ]
    images = child(0, "evidence test").random((3, 8, 8), np.float32)
    arrays = {
        "exhibits/PAT-001-cases.npz": {"output": images, "mask": images > 0.5},
        "exhibits/deep/FID-010.npz": {"number": np.array(3.0), "turned": np.asfortranarray(images[0])},
    }
    return RunResult(a_record(), rows, arrays)
