"""What the page shows of audits, measurements and criteria, as text and drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from medgan_qa.record import AuditResult, Criterion, Exhibit, Measurement, Record, Verdict
from medgan_qa.report import numbers
from medgan_qa.report.facts import Fact, Grid, facts, grids, plain
from medgan_qa.report.figures_charts import curves, scatter
from medgan_qa.report.figures_forest import forest
from medgan_qa.report.figures_panels import Panels, panels
from medgan_qa.report.figures_sheet import sheet
from medgan_qa.report.marks import Mark, mark

_NULLS = ("real against real", "real test images", "real images", "real")
"""Strata that say what real images give: the null of the measurement whose stratum stands before."""


class CriterionRow(NamedTuple):
    """A criterion with its result, every cell as text."""

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


class MeasurementRow(NamedTuple):
    """A measurement, every cell as text; `missing` says why there is no value."""

    label: str
    id: str
    stratum: str
    value: str
    interval: str
    method: str
    sample: str
    note: str
    missing: str
    real: str = ""
    """The same between real images, where it was measured."""
    again: bool = False
    """Another stratum of the row before: label, method and sample are not said again."""


class ExhibitView(NamedTuple):
    """A figure or table with its number, ready for the page."""

    number: int
    kind: str
    title: str
    caption: str
    drawings: list[Markup]
    panels: Panels | None
    table: Grid | None


class AuditView(NamedTuple):
    """One section of the results."""

    anchor: str
    code: str
    title: str
    question: str
    mark: Mark
    reason: str
    criteria: list[CriterionRow]
    measurements: list[MeasurementRow]
    has_real: bool
    """Some rows carry the same between real images."""
    exhibits: list[ExhibitView]
    notes: list[str]
    parameters: list[Fact]
    tables: list[Grid]
    seconds: str


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
        hazard=item.hazard or "none named",
        requirement=item.requirement or "none named",
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


def measurement_row(item: Measurement, limits: Sequence[float] = ()) -> MeasurementRow:
    """One line of an audit's table of measurements; `limits` are what its numbers are judged against."""
    found = item.interval
    return MeasurementRow(
        label=item.label,
        id=item.id,
        stratum=item.stratum or "",
        value="" if item.value is None else numbers.against(item.value, limits, item.unit),
        interval=numbers.interval(found, item.unit, limits),
        method="" if found is None else f"{numbers.level(found)}; {found.method}",
        sample=numbers.sample(item.n, item.unit_of_analysis, item.clusters),
        note=item.reason or "" if item.value is not None else "",
        missing=f"not obtained: {item.reason}" if item.value is None else "",
    )


def _null_of(item: Measurement) -> str | None:
    """The stratum whose null this is; None for a measurement that stands for itself."""
    stratum = item.stratum or ""
    ending = next((e for e in _NULLS if stratum == e or stratum.endswith(f", {e}")), None)
    return None if ending is None else stratum.removesuffix(ending).removesuffix(", ")


def _base(item: Measurement) -> str:
    return item.id.partition("[")[0]


def _measurement_rows(audit: AuditResult) -> list[MeasurementRow]:
    """A row a measurement; its null between real images stands beside it and not below."""
    own = {(_base(item), item.stratum or "") for item in audit.measurements}
    nulls = {(_base(item), _null_of(item) or ""): item for item in audit.measurements if _null_of(item) is not None}
    rows: list[MeasurementRow] = []
    before: tuple[str, str, str] | None = None
    first = {base: k for k, base in reversed(list(enumerate(map(_base, audit.measurements))))}
    for item in sorted(audit.measurements, key=lambda one: first[_base(one)]):
        null = _null_of(item)
        if null is not None and (_base(item), null) in own:
            continue
        beside = nulls.get((_base(item), item.stratum or ""))
        row = measurement_row(item, _limits(audit, item))
        same = (_base(item), row.method, row.sample)
        real = "" if beside is None or beside.value is None else numbers.against(beside.value, (), beside.unit)
        rows.append(row._replace(real=real, again=same == before and not row.note and not row.missing))
        before = same
    return rows


def audit_views(record: Record, folder: Path) -> list[AuditView]:
    """One view an audit; figures are numbered through the whole report.

    Raises:
        RecordError: the arrays of a figure cannot be read.
    """
    rows = criterion_rows(record)
    views = []
    figure = 0
    for audit in record.audits:
        views.append(_audit(audit, [row for row in rows if row.audit == audit.code], folder, figure))
        figure += len(audit.exhibits)
    return views


def anchor(code: str) -> str:
    """Where an audit's section begins."""
    return f"audit-{code.lower()}"


def _audit(audit: AuditResult, rows: list[CriterionRow], folder: Path, figure: int) -> AuditView:
    return AuditView(
        anchor=anchor(audit.code),
        code=audit.code,
        title=audit.title,
        question=audit.question,
        mark=mark(audit.verdict),
        reason=audit.reason,
        criteria=[] if all(row.reason in audit.reason for row in rows) else rows,
        measurements=_measurement_rows(audit),
        has_real=any(_null_of(item) for item in audit.measurements),
        exhibits=[
            exhibit_view(item, audit.criteria, folder, figure + place) for place, item in enumerate(audit.exhibits, 1)
        ],
        notes=audit.notes,
        parameters=facts(audit.parameters, capital=False, tables=False),
        tables=grids(audit.parameters),
        seconds=f"{audit.seconds:.1f} s",
    )


def _limits(audit: AuditResult, item: Measurement) -> list[float]:
    return [
        value for criterion in audit.criteria if criterion.measurement == item.id for value in criterion.limit.values()
    ]


def exhibit_view(exhibit: Exhibit, criteria: Sequence[Criterion], folder: Path, number: int) -> ExhibitView:
    """Draw one exhibit; an interval plot without a limit gets that of the criterion that judged one of its rows.

    Raises:
        RecordError: its arrays cannot be read.
    """
    drawings: list[Markup] = []
    shown: Panels | None = None
    table: Grid | None = None
    if exhibit.kind == "panels":
        shown = panels(exhibit, folder)
    elif exhibit.kind == "forest":
        drawings = forest({**exhibit.data, "limit": _limit(exhibit.data, criteria)}, exhibit.title)
    elif exhibit.kind == "scatter":
        drawings = [scatter(exhibit.data, exhibit.title)]
    elif exhibit.kind == "curves":
        drawings = [curves(exhibit.data, exhibit.title)]
    elif exhibit.kind == "sheet":
        drawings = sheet(exhibit, folder)
    else:
        table = _counts(exhibit.data)
    return ExhibitView(number, exhibit.kind, exhibit.title, exhibit.caption, drawings, shown, table)


def _limit(data: Mapping[str, Any], criteria: Sequence[Criterion]) -> Mapping[Any, float] | None:
    """The limit to draw: the plot's own, or that of the one criterion whose estimate and sample stand in the plot."""
    if data.get("limit"):
        own: Mapping[Any, float] = data["limit"]
        return own
    shown = {(row.get("value"), row.get("n")) for row in data["rows"]}
    judged = [item for item in criteria if item.estimate is not None and (item.estimate, item.n) in shown]
    return judged[0].limit if len(judged) == 1 else None


def _counts(data: Mapping[str, Any]) -> Grid:
    rows = [["" if cell == "" else plain(cell) for cell in row] for row in data["rows"]]
    return Grid("", [str(name) for name in data["columns"]], rows)


def not_run(record: Record) -> list[AuditResult]:
    """The audits that came to no pass and no fail."""
    return [audit for audit in record.audits if audit.verdict not in (Verdict.PASS, Verdict.FAIL)]
