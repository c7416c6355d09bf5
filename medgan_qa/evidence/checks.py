"""Everything in a Record that has a verdict, as one list: what the exports to other tools are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from medgan_qa.evidence._changed_units import reason
from medgan_qa.evidence.withheld import WITHHELD, is_withheld
from medgan_qa.record import (
    AuditResult,
    Change,
    Criterion,
    Interval,
    Measurement,
    Precondition,
    Record,
    Sentinel,
    Verdict,
)

Kind = Literal["precondition", "criterion", "audit", "sentinel", "change", "run"]
Fact = str | float | int
CLOSES = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE})
"""Verdicts with which a check that gates keeps a build from passing."""
DATA, COMPARISON, RUN = "DATA", "COMPARISON", "RUN"
"""What stands in place of an audit's code for checks that belong to none."""


class Check(NamedTuple):
    """One thing that was checked."""

    kind: Kind
    code: str
    """Code of the audit that it belongs to, or `DATA`, `COMPARISON`, `RUN`."""
    group: str
    """The code with its title."""
    name: str
    verdict: Verdict
    reason: str
    gates: bool
    """False: judged and shown, and may not fail a build."""
    facts: dict[str, Fact]
    """What it was judged on: numbers with their names; what is not there is left out."""
    requirement: str = ""
    hazard: str = ""

    @property
    def closes(self) -> bool:
        """It keeps a build from passing."""
        return self.gates and self.verdict in CLOSES


def checks(record: Record) -> list[Check]:
    """Preconditions, criteria, audits that broke without one, sentinels, and the changes of a comparison.

    A run that did not pass although nothing of these closes a build ends with a check of its own, so that no reader of
    the list can take it for one that passed.
    """
    found = [*_preconditions(record), *_criteria(record), *_broken(record), *map(_sentinel, _all_sentinels(record))]
    found += [_change(change) for change in (record.comparison.changes if record.comparison else [])]
    if is_withheld(record):
        found = [check._replace(facts={**check.facts, "numbers": WITHHELD}) for check in found]
    if record.verdict is not Verdict.PASS and not any(check.closes for check in found):
        verdict = record.verdict if record.verdict in CLOSES else Verdict.INCONCLUSIVE
        found.append(Check("run", RUN, "run", "verdict", verdict, record.reason, True, {}))
    return found


def _preconditions(record: Record) -> Iterator[Check]:
    for item in record.preconditions:
        yield Check("precondition", DATA, "preconditions", item.id, item.verdict, item.reason, True, _declared(item))


def _declared(item: Precondition) -> dict[str, Fact]:
    return _filled({"required": item.requirement, "found": item.found})


def _criteria(record: Record) -> Iterator[Check]:
    for audit in record.audits:
        measured = {measurement.id: measurement for measurement in audit.measurements}
        for item in audit.criteria:
            yield Check(
                "criterion",
                audit.code,
                _group(audit),
                f"{item.id} {item.measurement}",
                item.verdict,
                item.reason,
                item.severity == "gate",
                _judged(item, measured.get(item.measurement)),
                item.requirement,
                item.hazard,
            )


def _group(audit: AuditResult) -> str:
    return f"{audit.code} {audit.title}"


def _judged(item: Criterion, measurement: Measurement | None) -> dict[str, Fact]:
    return _filled(
        {
            "estimate": item.estimate,
            "bound": item.value,
            "judged_on": item.judged_on,
            **{f"limit_{side}": value for side, value in item.limit.items()},
            "unit": measurement.unit if measurement else None,
            "n": item.n,
            "unit_of_analysis": item.unit_of_analysis,
            "clusters": item.clusters,
            **_ends(item.interval),
            "adjusted_alpha": item.adjusted_alpha,
            "severity": item.severity,
            "hazard": item.hazard,
            "requirement": item.requirement,
        }
    )


def _ends(interval: Interval | None) -> dict[str, Fact | None]:
    if interval is None:
        return {}
    return {
        "interval_low": interval.low,
        "interval_high": interval.high,
        "interval_level": interval.level,
        "interval_sided": interval.sided,
        "interval_method": interval.method,
    }


def _filled(facts: Mapping[str, Fact | None]) -> dict[str, Fact]:
    return {name: value for name, value in facts.items() if value is not None and value != ""}


def _broken(record: Record) -> Iterator[Check]:
    for audit in record.audits:
        if not audit.criteria and audit.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE):
            yield Check("audit", audit.code, _group(audit), "ran", audit.verdict, audit.reason, True, {})


def _all_sentinels(record: Record) -> list[Sentinel]:
    """Those of the comparison, which tell of the accepted model too, and what the run's own say beyond them."""
    compared = record.comparison.sentinels if record.comparison else []
    told = {(item.case_id, item.audit, item.verdict) for item in compared}
    return [*compared, *(item for item in record.sentinels if (item.case_id, item.audit, item.verdict) not in told)]


def _sentinel(item: Sentinel) -> Check:
    facts = _filled({"case": item.case_id, "found": item.found, "rationale": item.rationale})
    name = f"{item.case_id} {item.audit}"
    return Check("sentinel", item.audit, "sentinels", name, item.verdict, item.reason, True, facts)


def _change(item: Change) -> Check:
    facts = {
        "baseline": item.baseline,
        "candidate": item.candidate,
        "worsening": item.worsening,
        "margin": item.margin,
        "unit": item.unit,
        "n": item.n or None,
        "clusters": item.clusters,
        **_ends(item.interval),
    }
    name = f"{item.criterion} {item.measurement}".strip()
    return Check("change", COMPARISON, "comparison", name, item.verdict, reason(item), True, _filled(facts))
