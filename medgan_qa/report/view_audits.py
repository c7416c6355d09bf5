"""What the page shows of audits and their exhibits, as text and drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from medgan_qa.record import AuditResult, Criterion, Exhibit, Record, Verdict
from medgan_qa.report.alternatives import alternative
from medgan_qa.report.bounds import bounded
from medgan_qa.report.facts import Fact, Grid, facts, grids, plain
from medgan_qa.report.figures_charts import curves, scatter
from medgan_qa.report.figures_forest import forest
from medgan_qa.report.figures_panels import Panels, panels
from medgan_qa.report.figures_sheet import sheet
from medgan_qa.report.marks import Mark, mark
from medgan_qa.report.view_criteria import CriterionRow, criterion_rows
from medgan_qa.report.view_measurements import Measured, measured


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
    measured: Measured
    exhibits: list[ExhibitView]
    notes: list[str]
    parameters: list[Fact]
    tables: list[Grid]
    seconds: str


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
        measured=measured(audit),
        exhibits=[
            exhibit_view(item, audit.criteria, folder, figure + place) for place, item in enumerate(audit.exhibits, 1)
        ],
        notes=audit.notes,
        parameters=facts(audit.parameters, capital=False, tables=False),
        tables=grids(audit.parameters),
        seconds=f"{audit.seconds:.1f} s",
    )


def exhibit_view(exhibit: Exhibit, criteria: Sequence[Criterion], folder: Path, number: int) -> ExhibitView:
    """Draw one exhibit; an interval plot without a limit gets that of the criterion that judged one of its rows.

    Raises:
        RecordError: its arrays cannot be read.
    """
    data, omitted = bounded(exhibit)
    words = alternative(exhibit.kind, f"Exhibit {number}: {exhibit.title}", data)
    drawings: list[Markup] = []
    shown: Panels | None = None
    table: Grid | None = None
    if exhibit.kind == "panels":
        shown = panels(exhibit, folder)
    elif exhibit.kind == "forest":
        drawings = forest({**data, "limit": _limit(data, criteria)}, words)
    elif exhibit.kind == "scatter":
        drawings = [scatter(data, words)]
    elif exhibit.kind == "curves":
        drawings = [curves(data, words)]
    elif exhibit.kind == "sheet":
        drawings = sheet(exhibit, folder)
    else:
        table = _counts(exhibit.data)
    caption = f"{exhibit.caption} {omitted}".strip()
    return ExhibitView(number, exhibit.kind, exhibit.title, caption, drawings, shown, table)


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
