"""HYG-004 and HYG-006 through the runner, with what the caller knows beside the data: loader and history (H4)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from medgan_qa.audits import AUDITS
from medgan_qa.audits.history import History
from medgan_qa.cohorts.declared import Independence
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Faithful, planted_translator
from medgan_qa.controls.planted_loaders import Fault, planted_loader
from medgan_qa.criteria import parse_criteria
from medgan_qa.engines import LocalEngine
from medgan_qa.record import Verdict
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.suites import suite


@cache
def pairs() -> BrainPhantoms:
    cohort = BrainPhantoms(people=4)
    # What a dataset file would declare.
    declared = Independence(earlier_uses=0, sequestered_since="2026-01-01")
    cohort.description = SimpleNamespace(augmentation="none", independence=declared)  # type: ignore[attr-defined]
    return cohort


def criterion(number: int, measurement: str) -> dict[str, Any]:
    return {
        "id": f"AC-{number}",
        "measurement": measurement,
        "limit": {"max": 0},
        "judged_on": "value",
        "rationale": "The test partition is untouched.",
        "hazard": "HZ-09 test data contaminated",
        "requirement": "SRS-1",
    }


LIMITED = ("HYG-004.augmented_on_reading", "HYG-004.broken_declarations", "HYG-006.violations")


def run_with(fault: Fault, history: History) -> RunResult:
    criteria = parse_criteria(
        {
            "schema": "medgan-qa/criteria/1",
            "protocol": {"id": "VP-1", "revision": "A", "title": "Hygiene"},
            "alpha": 0.05,
            "multiplicity": "none",
            "criterion": [criterion(k, name) for k, name in enumerate(LIMITED, 1)],
        },
        "criteria.toml",
    )
    only = replace(suite("translation"), audits=(AUDITS["HYG-004"], AUDITS["HYG-006"]), optional=(), index=())
    context = {"loader": planted_loader(pairs(), fault), "history": history}
    subject = planted_translator(pairs(), Faithful())
    return run_audit(subject, pairs(), only, criteria, detector=None, engine=LocalEngine(), context=context)


def verdicts(result: RunResult) -> dict[str, Verdict]:
    return {c.measurement: c.verdict for audit in result.record.audits for c in audit.criteria}


@pytest.mark.parametrize("fault", ["none", "normalised"])
def test_a_faithful_loader_and_an_unused_test_set_pass(fault: Fault) -> None:
    result = run_with(fault, History(0))
    assert result.exception is None
    assert set(verdicts(result).values()) == {Verdict.PASS}


@pytest.mark.parametrize("fault", ["flip", "seeded flip", "always flipped", "crop"])
def test_no_augmentation_is_declared_while_the_loader_augments(fault: Fault) -> None:
    result = run_with(fault, History(0))
    assert result.exception is None
    fail, passed = Verdict.FAIL, Verdict.PASS
    assert verdicts(result) == dict(zip(LIMITED, (fail, fail, passed), strict=True))
    assert "augmentation" in result.record.audits[0].notes[0]


def test_a_test_set_that_was_used_before_is_not_sequestered() -> None:
    result = run_with("none", History(3, ("2025-12-01", "2026-02-01", "2026-02-02"), models=1))
    assert verdicts(result)["HYG-006.violations"] is Verdict.FAIL
    assert result.record.audits[1].measurements[0].value == 2
