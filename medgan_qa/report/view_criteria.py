"""Criteria with their results, every cell as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from medgan_qa.record import Criterion, Measurement, Record
from medgan_qa.report import numbers
from medgan_qa.report.marks import Mark, mark

NO_HAZARD, NO_REQUIREMENT = "none named", "none named"


class CriterionRow(NamedTuple):
    """A criterion with its result."""

    id: str
    label: str
    measurement: str
    audit: str
    sample: str
    estimate: str
    bound: str
    which: str
    limit: str
    declared: str
    judged_on: str
    alpha: str
    mark: Mark
    reason: str
    rationale: str
    hazard: str
    requirement: str
    claim: str
    gates: bool
    """Whether it counts for the run's verdict."""
    margin: str


def criterion_rows(record: Record) -> list[CriterionRow]:
    """Every criterion of the run, in the order of the audits."""
    known = {item.id: item for audit in record.audits for item in audit.measurements}
    return [_criterion(item, audit.code, known) for audit in record.audits for item in audit.criteria]


def _criterion(item: Criterion, code: str, known: Mapping[str, Measurement]) -> CriterionRow:
    source = known.get(item.measurement)
    unit = source.unit if source else "1"
    return CriterionRow(
        id=item.id,
        label=_label(source) if source else "measurement not produced",
        measurement=item.measurement,
        audit=code,
        sample=numbers.sample(item.n, item.unit_of_analysis, item.clusters),
        estimate=_estimate(item, source, unit),
        bound=_bound(item, unit),
        which=_which(item),
        limit=numbers.limit(item.limit, unit),
        declared="; ".join(f"{side} = {value:g}" for side, value in item.limit.items()),
        judged_on=numbers.judged(item.judged_on),
        alpha="" if item.adjusted_alpha is None else f"{item.adjusted_alpha:.4g}",
        mark=mark(item.verdict),
        reason=item.reason,
        rationale=item.rationale or "none given",
        hazard=item.hazard or NO_HAZARD,
        requirement=item.requirement or NO_REQUIREMENT,
        claim=item.claim,
        gates=item.severity == "gate",
        margin="" if item.margin is None else f"{item.margin:g}",
    )


def _label(item: Measurement) -> str:
    return f"{item.label}, {item.stratum}" if item.stratum and item.stratum not in item.label else item.label


def _estimate(item: Criterion, source: Measurement | None, unit: str) -> str:
    value = item.estimate if item.estimate is not None else source.value if source else None
    return "not obtained" if value is None else numbers.against(value, item.limit.values(), unit)


def _bound(item: Criterion, unit: str) -> str:
    if item.judged_on == "both" and item.interval is not None:
        ends = (item.interval.low, item.interval.high)
        return " to ".join("none" if end is None else numbers.against(end, item.limit.values(), unit) for end in ends)
    return "not obtained" if item.value is None else numbers.against(item.value, item.limit.values(), unit)


def _which(item: Criterion) -> str:
    side = numbers.judged(item.judged_on).removesuffix(" bound").removesuffix(" bounds")
    return side if item.interval is None or item.judged_on == "value" else f"{side}, {numbers.level(item.interval)}"
