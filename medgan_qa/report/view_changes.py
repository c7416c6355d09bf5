"""Earlier attempts on the test data, and the comparison with an accepted model."""

from __future__ import annotations

from typing import NamedTuple

from medgan_qa.evidence._changed_units import reason
from medgan_qa.quantities import declared, of_difference, short
from medgan_qa.record import Attempts, Change, Comparison, Sentinel
from medgan_qa.report import numbers
from medgan_qa.report.facts import Fact, Pair, fact, facts, pairs
from medgan_qa.report.marks import Mark, mark
from medgan_qa.report.view_facts import full_name, utc

_MOST_ATTEMPTS = 30


class AttemptRow(NamedTuple):
    """An earlier run on the same test set."""

    number: str
    time: str
    run: str
    model: str
    digest: str
    criteria: str
    mark: Mark


class AttemptsView(NamedTuple):
    """Which attempt this run is."""

    statement: str
    facts: list[Pair]
    earlier: list[AttemptRow]
    omitted: int
    """Earlier runs that are not listed, because there are more than the page holds; the oldest."""


class ChangeRow(NamedTuple):
    """A measurement of the candidate beside that of the baseline."""

    criterion: str
    label: str
    stratum: str
    baseline: str
    candidate: str
    worsening: str
    interval: str
    margin: str
    sample: str
    moved: str
    """Units that got worse and better."""
    mark: Mark
    reason: str


class SentinelRow(NamedTuple):
    """A case that must never be lost."""

    case_id: str
    audit: str
    found: str
    mark: Mark
    reason: str
    rationale: str


class ComparisonView(NamedTuple):
    """The outcome of a gate."""

    mark: Mark
    reason: str
    modification: list[Pair]
    models: list[tuple[str, list[Pair]]]
    identical: bool
    allowed: list[str]
    changes: list[ChangeRow]
    worse: list[ChangeRow]
    better: list[ChangeRow]
    other: list[ChangeRow]
    """Subgroups without a change, and those that could not be compared."""
    methods: list[str]
    """Levels and methods of the intervals, each once."""
    sentinels: list[SentinelRow]


def attempts_view(attempts: Attempts | None) -> AttemptsView | None:
    """The ledger's word on this run; None where it was entered in none."""
    if attempts is None:
        return None
    known = [
        fact("Attempt on this test set", attempts.number),
        fact("Different tests so far", attempts.chances),
        fact("Error rate of one test", attempts.alpha),
        fact("Bound of the error rate after all", attempts.error_rate_bound),
        fact("Attempts allowed", "not declared" if attempts.maximum is None else attempts.maximum),
        Fact("Ledger", f"{attempts.ledger}, line {attempts.line}", "mono"),
        fact("Hash of the line before", attempts.previous_hash),
    ]
    shown = attempts.earlier[-_MOST_ATTEMPTS:]
    rows = [
        AttemptRow(
            str(one.number),
            utc(one.time_utc),
            one.run,
            one.model,
            one.model_sha256[:12],
            one.criteria_digest[:12],
            mark(one.verdict),
        )
        for one in shown
    ]
    return AttemptsView(attempts.statement, pairs(known), rows, len(attempts.earlier) - len(shown))


def sentinel_rows(sentinels: list[Sentinel]) -> list[SentinelRow]:
    """Sentinel cases with what became of them."""
    return [SentinelRow(s.case_id, s.audit, s.found, mark(s.verdict), s.reason, s.rationale) for s in sentinels]


def comparison_view(comparison: Comparison | None) -> ComparisonView | None:
    """The outcome of a gate; None for a run that compares with nothing."""
    if comparison is None:
        return None
    worse = [item for item in comparison.subgroups if (item.worsening or 0) > 0]
    better = [item for item in comparison.subgroups if (item.worsening or 0) < 0]
    other = [item for item in comparison.subgroups if not item.worsening]
    every = [*comparison.changes, *comparison.subgroups]
    return ComparisonView(
        mark=mark(comparison.verdict),
        reason=comparison.reason,
        modification=pairs(facts({key: value for key, value in comparison.modification.items() if value})),
        models=[("Baseline", _model(comparison.baseline)), ("Candidate", _model(comparison.candidate))],
        identical=comparison.identical,
        allowed=comparison.allowed,
        changes=[_change(item) for item in comparison.changes],
        # The units that a subgroup lost stand under its criterion.
        worse=[_change(item)._replace(reason=item.reason) for item in worse],
        better=[_change(item)._replace(reason=item.reason) for item in better],
        other=[_change(item)._replace(reason=item.reason) for item in other],
        methods=list(dict.fromkeys(_level(item) for item in every if item.interval)),
        sentinels=sentinel_rows(comparison.sentinels),
    )


def _model(part: dict[str, object]) -> list[Pair]:
    first = ("name", "version", "model_sha256", "record_sha256")
    named = [
        fact("Model SHA-256", part.get("model_sha256")),
        fact("Record SHA-256", part.get("record_sha256")),
        Fact("Model", full_name(part)),
    ]
    return pairs([*named, *facts(part, skip=first)])


def _level(item: Change) -> str:
    return "" if item.interval is None else f"{numbers.level(item.interval)}: {item.interval.method}"


def _change(item: Change) -> ChangeRow:
    def number(value: float | None) -> str:
        return "not obtained" if value is None else numbers.quantity(value, item.unit)

    limits = () if item.margin is None else (item.margin,)
    unit = of_difference(item.unit)
    worse = "not obtained" if item.worsening is None else short(numbers.against(item.worsening, limits, unit))
    return ChangeRow(
        criterion=item.criterion,
        label=item.label,
        stratum=item.stratum or "",
        baseline=number(item.baseline),
        candidate=number(item.candidate),
        worsening=worse,
        interval=short(numbers.interval(item.interval, unit, limits)) or "none",
        margin="" if item.margin is None else short(declared(item.margin, unit)),
        sample=f"{numbers.counted(item.n, 'pair' if item.paired else 'unit')}"
        + ("" if item.clusters is None else f"; {numbers.counted(item.clusters, 'patient')}"),
        moved="" if item.worsened is None else f"{item.worsened} / {item.improved}",
        mark=mark(item.verdict),
        reason=reason(item),
    )
