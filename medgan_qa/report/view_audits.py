"""What the page shows of audits and their exhibits, as text and drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from medgan_qa.record import AuditResult, Criterion, Exhibit, Record, Verdict
from medgan_qa.report import limits, paper
from medgan_qa.report.alternatives import alternative
from medgan_qa.report.bounds import bounded
from medgan_qa.report.facts import Fact, Grid, facts, grids, plain
from medgan_qa.report.figures_charts import curves, scatter
from medgan_qa.report.figures_forest import ROWS_PER_DRAWING, forest
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
    paper: list[bool]
    """Which of its cases, rows or drawings go on paper."""
    left: str
    """What of it paper leaves out."""

    @property
    def printed(self) -> bool:
        """Whether any of it goes on paper."""
        return any(self.paper)


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
    elsewhere: str
    """Which exhibits paper leaves out altogether."""
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
    printed = paper.printed_exhibits(audit)
    exhibits = [
        exhibit_view(item, audit, folder, figure + place, shown)
        for place, (item, shown) in enumerate(zip(audit.exhibits, printed, strict=True), 1)
    ]
    return AuditView(
        anchor=anchor(audit.code),
        code=audit.code,
        title=audit.title,
        question=audit.question,
        mark=mark(audit.verdict),
        reason=audit.reason,
        criteria=[] if all(row.reason in audit.reason for row in rows) else rows,
        measured=measured(audit),
        exhibits=exhibits,
        elsewhere=_elsewhere([exhibit for exhibit in exhibits if not exhibit.printed]),
        notes=audit.notes,
        parameters=facts(audit.parameters, capital=False, tables=False),
        tables=grids(audit.parameters),
        seconds=f"{audit.seconds:.1f} s",
    )


def _elsewhere(exhibits: Sequence[ExhibitView]) -> str:
    told = "; ".join(f"exhibit {exhibit.number}, {exhibit.title}" for exhibit in exhibits)
    return f"In report.html only: {told}." if told else ""


def exhibit_view(exhibit: Exhibit, audit: AuditResult, folder: Path, number: int, printed: bool = True) -> ExhibitView:
    """Draw one exhibit; an interval plot without a limit gets that of the criterion that judged one of its rows.

    Args:
        exhibit: what to draw.
        audit: whose exhibit it is.
        folder: the run's folder.
        number: its number in the report.
        printed: whether it goes on paper; on screen it is shown in any event.

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
        drawings = forest({**data, "limit": _limit(data, audit.criteria)}, words)
    elif exhibit.kind == "scatter":
        drawings = [scatter(data, words)]
    elif exhibit.kind == "curves":
        drawings = [curves(data, words)]
    elif exhibit.kind == "sheet":
        drawings = sheet(exhibit, folder)
    else:
        table = _counts(exhibit.data)
    caption = f"{exhibit.caption} {omitted}".strip()
    parts = len(shown.rows) if shown else len(table.rows) if table else len(drawings)
    on_paper = _on_paper(exhibit, parts, paper.judged(audit)) if printed else [False] * max(parts, 1)
    left = _left(exhibit, on_paper)
    return ExhibitView(number, exhibit.kind, exhibit.title, caption, drawings, shown, table, on_paper, left)


def _on_paper(exhibit: Exhibit, parts: int, judged: bool) -> list[bool]:
    if exhibit.kind == "panels":
        return paper.printed_cases(exhibit.data["cases"][:parts], judged) or [True]
    if exhibit.kind == "counts":
        most = limits.PAPER_ROWS_JUDGED if judged else limits.PAPER_ROWS_OTHER
    elif exhibit.kind == "sheet":
        most = limits.PAPER_SHEET_ROWS_JUDGED if judged else limits.PAPER_SHEET_ROWS_OTHER
    else:
        most = parts if judged or exhibit.kind != "forest" else limits.PAPER_PLOTS_OTHER
    return paper.printed_first(parts, most) or [True]


def _left(exhibit: Exhibit, on_paper: Sequence[bool]) -> str:
    if all(on_paper) or not any(on_paper):
        return ""
    if exhibit.kind == "forest":
        shown, total = ROWS_PER_DRAWING * sum(on_paper), len(bounded(exhibit)[0]["rows"])
    else:
        shown, total = sum(on_paper), len(on_paper)
    named = "cases" if exhibit.kind == "panels" else "rows of images" if exhibit.kind == "sheet" else "rows"
    which = "" if exhibit.kind == "panels" else "the first "
    return f"Printed: {which}{shown} of {total} {named}; report.html shows all."


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
