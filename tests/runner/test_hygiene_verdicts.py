"""Audits of the partitions that could not be carried out hold a run back only where they were demanded."""

from __future__ import annotations

import pytest

from medgan_qa.audits.numbers import count
from medgan_qa.record import AuditResult, Criterion, Verdict
from medgan_qa.runner.verdicts import overall
from medgan_qa.suites import names, suite


def criterion(identifier: str, code: str, verdict: Verdict, *, optional: bool) -> Criterion:
    return Criterion(
        id=identifier,
        measurement=f"{code}.x",
        limit={"max": 0},
        judged_on="value",
        value=0,
        verdict=verdict,
        reason="so",
        rationale="why",
        hazard="HZ-09",
        requirement="R",
        optional=optional,
    )


def result(code: str, verdict: Verdict, *criteria: Criterion) -> AuditResult:
    return AuditResult(
        code=code,
        title=code,
        question="?",
        verdict=verdict,
        reason="so",
        parameters={},
        seconds=0.0,
        measurements=[],
        criteria=list(criteria),
        exhibits=[],
        notes=[],
    )


def verdict_of(hygiene: Verdict, *, optional: bool, unasked: frozenset[str] = frozenset({"HYG-002"})) -> Verdict:
    model = result("PAT-001", Verdict.PASS, criterion("AC-01", "PAT-001", Verdict.PASS, optional=False))
    data = result("HYG-002", hygiene, criterion("HC-02", "HYG-002", hygiene, optional=optional))
    return overall([model, data], unasked=unasked)[0]


def test_an_optional_check_of_the_data_that_tells_nothing_is_said_and_holds_nothing_back() -> None:
    assert verdict_of(Verdict.INCONCLUSIVE, optional=True) is Verdict.PASS
    model = result("PAT-001", Verdict.PASS, criterion("AC-01", "PAT-001", Verdict.PASS, optional=False))
    data = result("HYG-002", Verdict.INCONCLUSIVE, criterion("HC-02", "HYG-002", Verdict.INCONCLUSIVE, optional=True))
    assert "HC-02 (inconclusive)" in overall([model, data], unasked=frozenset({"HYG-002"}))[1]


def test_what_it_finds_fails_and_what_breaks_is_an_error() -> None:
    found = count("HYG-002.x", "Augmented images", 3, n=10, unit_of_analysis="image", better="lower").measurement
    failed = result("HYG-002", Verdict.FAIL, criterion("HC-02", "HYG-002", Verdict.FAIL, optional=True))
    failed = failed.model_copy(update={"measurements": [found]})
    assert overall([failed], unasked=frozenset({"HYG-002"}))[0] is Verdict.FAIL
    assert verdict_of(Verdict.ERROR, optional=True) is Verdict.ERROR


def test_demanded_it_holds_back() -> None:
    assert verdict_of(Verdict.INCONCLUSIVE, optional=False) is Verdict.INCONCLUSIVE
    assert verdict_of(Verdict.INCONCLUSIVE, optional=True, unasked=frozenset()) is Verdict.INCONCLUSIVE


def test_it_alone_is_no_pass() -> None:
    data = result("HYG-002", Verdict.INCONCLUSIVE, criterion("HC-02", "HYG-002", Verdict.INCONCLUSIVE, optional=True))
    assert overall([data], unasked=frozenset({"HYG-002"}))[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", names())
def test_every_suite_looks_at_the_partitions(name: str) -> None:
    whole = suite(name)
    codes = {audit.code for audit in whole.audits}
    assert codes >= {"HYG-001", "HYG-002", "HYG-003", "HYG-004", "HYG-006"}
    asked = {c.measurement: c.optional for c in whole.criteria.declared if c.id.startswith("HC-")}
    assert len(asked) == 6
    demanded = {m.partition(".")[0] for m, optional in asked.items() if not optional}
    assert demanded == ({"HYG-001", "HYG-002", "HYG-003"} if name == "augmentation" else set())
    assert not demanded & whole.beside
