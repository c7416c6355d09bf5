"""Phantom cohorts that tests share, and one way to audit a planted translator on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Defect, ThresholdDetector, planted_translator
from medgan_qa.engines import LocalEngine
from medgan_qa.record import AuditResult, Measurement
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import suite

Audited = Callable[..., RunResult]


@cache
def _cohort(people: int) -> BrainPhantoms:
    return BrainPhantoms(people=people)


@cache
def _audited(defect: Defect, people: int, level: float | None, seed: int) -> RunResult:
    cohort, translation = _cohort(people), suite("translation")
    detector = None if level is None else ThresholdDetector(level).subject()
    subject = planted_translator(cohort, defect)
    return run_audit(
        subject, cohort, translation, translation.criteria, detector=detector, engine=LocalEngine(), seed=seed
    )


@pytest.fixture
def audited() -> Audited:
    """Run the translation suite on a planted translator; `level=None` gives it no detector."""

    def run(defect: Defect, people: int = 60, level: float | None = 0.56, seed: int = 0) -> RunResult:
        return _audited(defect, people, level, seed)

    return run


@pytest.fixture
def cohort() -> Callable[[int], BrainPhantoms]:
    """The shared cohort of so many patients."""
    return _cohort


@pytest.fixture
def audit_of() -> Callable[[RunResult, str], AuditResult]:
    """One audit's result."""
    return lambda result, code: next(a for a in result.record.audits if a.code == code)


@pytest.fixture
def measured() -> Callable[[RunResult, str], Measurement]:
    """A measurement by its id."""

    def find(result: RunResult, measurement_id: str) -> Measurement:
        every = [m for audit in result.record.audits for m in audit.measurements]
        return next(m for m in every if m.id == measurement_id)

    return find


@pytest.fixture
def blind() -> Subject:
    """A detector that never marks anything."""
    return ThresholdDetector(level=99.0).subject()
