"""Cases that must never be lost: what became of them, read from the run's case table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medgan_qa.criteria.content import Criteria, DeclaredSentinel, Estimate
from medgan_qa.record import Sentinel, Verdict


class Rule(NamedTuple):
    """How the rows of one audit say what became of a case."""

    column: str
    lost: frozenset[str]
    kept: frozenset[str]
    headline: str
    """The measurement without which the audit has judged nothing, e.g. because its detector may not judge."""


SENTINEL_AUDITS: dict[str, Rule] = {
    "PAT-001": Rule("status", frozenset({"lost", "inverted"}), frozenset({"kept", "weakened"}), "PAT-001.removal_rate"),
    "PAT-002": Rule(
        "status",
        frozenset({"invented", "invented, beside lesions"}),
        frozenset({"clean", "clean, beside lesions"}),
        "PAT-002.invention_rate",
    ),
    "PAT-003": Rule(
        "status", frozenset({"flat", "inverted"}), frozenset({"weak", "kept"}), "PAT-003.contrast_recovery"
    ),
}
"""Audits whose case rows can decide on a sentinel. Any other status says that the case was not judged."""


def sentinel_results(
    criteria: Criteria, rows: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate] | None = None
) -> list[Sentinel]:
    """What became of every declared sentinel.

    Args:
        criteria: what was declared.
        rows: the run's case table, one row a case and audit with `audit`, `case_id` and what the audit says.
        estimates: what was measured, by measurement id. Where given, an audit that has no value for its main
            measurement decides on no sentinel: its detector was not qualified, or it did not run.

    Returns:
        One result a sentinel, in the declared order: `fail` for a lost case, `pass` for a kept one, `inconclusive`
        for one without a row or that was not judged.
    """
    return [_result(sentinel, rows, estimates) for sentinel in criteria.sentinels]


def _result(
    declared: DeclaredSentinel, rows: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate] | None
) -> Sentinel:
    rule = SENTINEL_AUDITS.get(declared.audit)
    if rule is None:
        return _sentinel(declared, "not judged", Verdict.INCONCLUSIVE, f"{declared.audit} cannot decide on a case.")
    if estimates is not None and (objection := _objection(rule, estimates)):
        return _sentinel(declared, "not judged", Verdict.INCONCLUSIVE, objection)
    mine = [row for row in rows if row.get("audit") == declared.audit and row.get("case_id") == declared.case]
    if not mine:
        reason = f"{declared.audit} has no row of the case {declared.case}, so nothing is known of it."
        return _sentinel(declared, "no row", Verdict.INCONCLUSIVE, reason)
    statuses = [str(row.get(rule.column)) if row.get(rule.column) is not None else "no status" for row in mine]
    lost = [status for status in statuses if status in rule.lost]
    if lost:
        return _sentinel(declared, lost[0], Verdict.FAIL, f"{declared.audit} finds the case {lost[0]}.")
    other = [status for status in statuses if status not in rule.kept]
    if other:
        reason = f"{declared.audit} did not judge the case: {other[0]}."
        return _sentinel(declared, other[0], Verdict.INCONCLUSIVE, reason)
    return _sentinel(declared, statuses[0], Verdict.PASS, f"{declared.audit} finds the case {statuses[0]}.")


def _objection(rule: Rule, estimates: Mapping[str, Estimate]) -> str | None:
    estimate = estimates.get(rule.headline)
    if estimate is None:
        return f"No audit of this run produced {rule.headline}, so its rows decide nothing."
    return None if estimate.measurement.value is not None else estimate.measurement.reason


def _sentinel(declared: DeclaredSentinel, found: str, verdict: Verdict, reason: str) -> Sentinel:
    return Sentinel(
        case_id=declared.case,
        audit=declared.audit,
        found=found,
        verdict=verdict,
        reason=reason,
        rationale=declared.rationale,
    )
