"""Sentinels: a lost case fails, a kept one passes, and one that nobody judged does neither."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from medgan_qa.audits.contrast_recovery import _group
from medgan_qa.audits.lesions import REMOVED, Status
from medgan_qa.criteria import SENTINEL_AUDITS, Criteria, DeclaredSentinel, Estimate, sentinel_results
from medgan_qa.record import Measurement, Sentinel


def result(audit: str, *rows: dict[str, Any], estimates: dict[str, Estimate] | None = None) -> Sentinel:
    sentinel = DeclaredSentinel("fall-ä", audit, "6 mm at the skull base")
    criteria = Criteria(protocol={}, alpha=0.05, multiplicity="none", declared=(), sentinels=(sentinel,))
    [found] = sentinel_results(criteria, rows, estimates)
    return found


def row(audit: str, status: str | None, case: str = "fall-ä") -> dict[str, Any]:
    return {"audit": audit, "case_id": case, "patient_id": "p", "status": status}


@pytest.mark.parametrize(
    ("audit", "status", "verdict"),
    [
        ("PAT-001", "lost", "fail"),
        ("PAT-001", "inverted", "fail"),
        ("PAT-001", "kept", "pass"),
        ("PAT-001", "weakened", "pass"),
        ("PAT-001", "not read in reference", "inconclusive"),
        ("PAT-001", "no reference", "inconclusive"),
        ("PAT-001", "lesion-free", "inconclusive"),
        ("PAT-002", "invented", "fail"),
        ("PAT-002", "invented, beside lesions", "fail"),
        ("PAT-002", "clean", "pass"),
        ("PAT-002", "clean, beside lesions", "pass"),
        ("PAT-002", "not annotated", "inconclusive"),
        ("PAT-003", "flat", "fail"),
        ("PAT-003", "inverted", "fail"),
        ("PAT-003", "weak", "pass"),
        ("PAT-003", "kept", "pass"),
        ("PAT-003", "not divisible", "inconclusive"),
        ("PAT-003", None, "inconclusive"),
    ],
)
def test_the_status_of_the_case_decides(audit: str, status: str | None, verdict: str) -> None:
    found = result(audit, row("PAT-001", "lost", case="another"), row(audit, status))
    assert (found.verdict, found.found) == (verdict, status or "no status")
    assert (found.case_id, found.audit, found.rationale) == ("fall-ä", audit, "6 mm at the skull base")
    assert found.reason


def test_a_case_without_a_row_is_inconclusive() -> None:
    found = result("PAT-001", row("PAT-003", "kept"), row("PAT-001", "kept", case="fall-a"))
    assert (found.verdict, found.found) == ("inconclusive", "no row")


def test_an_audit_that_knows_no_cases_decides_nothing() -> None:
    found = result("COV-001", row("COV-001", "kept"))
    assert found.verdict == "inconclusive"
    assert "COV-001 cannot decide" in found.reason


def test_one_lost_row_of_several_is_a_loss() -> None:
    assert result("PAT-001", row("PAT-001", "kept"), row("PAT-001", "lost")).verdict == "fail"


def measured(value: float | None) -> dict[str, Estimate]:
    reason = None if value is not None else "The detector is blind to the lesions."
    name = SENTINEL_AUDITS["PAT-001"].headline
    measurement = Measurement(
        id=name, label="", value=value, unit="fraction", n=9, unit_of_analysis="lesion", better="lower", reason=reason
    )
    return {name: Estimate(measurement)}


def test_an_audit_that_judged_nothing_keeps_no_sentinel() -> None:
    kept = row("PAT-001", "kept")
    assert result("PAT-001", kept, estimates=measured(0.0)).verdict == "pass"
    void = result("PAT-001", kept, estimates=measured(None))
    assert (void.verdict, void.reason) == ("inconclusive", "The detector is blind to the lesions.")
    assert result("PAT-001", kept, estimates={}).verdict == "inconclusive"


def test_the_table_knows_every_status_of_a_lesion() -> None:
    pat1, pat3 = SENTINEL_AUDITS["PAT-001"], SENTINEL_AUDITS["PAT-003"]
    assert pat1.lost == set(REMOVED)
    assert pat1.lost | pat1.kept | {"not read in reference"} == set(get_args(Status))
    assert pat3.lost | pat3.kept == {_group(r / 100) for r in range(-100, 200)}
