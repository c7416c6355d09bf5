"""The outcome of a run on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medgan_qa.record import Criterion, Record

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "not_applicable": 3, "error": 3}
COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "error": "magenta", "not_applicable": "white"}


def show(record: Record, out: Path) -> None:
    """The verdict, the criteria and where the report is, on stdout."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from medgan_qa.quantities import plain
    from medgan_qa.record import Precondition, Sentinel

    console = Console()
    verdict = f"[bold {COLOURS[record.verdict]}]{record.verdict.upper()}[/]"
    console.print(f"{verdict}  {escape(plain(record.reason))}", highlight=False)
    table = Table("criterion", box=None, pad_edge=False)
    table.add_column("measurement", overflow="fold")
    for heading in ("n", "estimate", "bound", "limit", "verdict"):
        table.add_column(heading)
    for audit in record.audits:
        units = {m.id: m.unit for m in audit.measurements}
        for c in audit.criteria:
            numbers = _numbers(c, units.get(c.measurement, "1"))
            table.add_row(
                escape(c.id), escape(c.measurement), *map(escape, numbers), f"[{COLOURS[c.verdict]}]{c.verdict}[/]"
            )
    console.print(table)
    for audit in record.audits:
        if audit.verdict in ("inconclusive", "error"):
            console.print(f"{audit.code}: {audit.reason}", highlight=False, markup=False)
    beside: list[Precondition | Sentinel] = [*record.preconditions, *record.sentinels]
    for part in beside:
        if part.verdict != "pass":
            name = part.id if isinstance(part, Precondition) else f"sentinel {part.case_id}"
            console.print(f"{name}: {part.reason}", highlight=False, markup=False)
    if record.attempts is not None:
        console.print(record.attempts.statement, highlight=False, markup=False)
    for deviation in record.deviations:
        console.print(f"Note: {deviation}", highlight=False, markup=False)
    if record.data.get("phantom"):
        console.print("Phantom data: no evidence of clinical performance.", style="dim")
    console.print(f"Report: {out / 'report.pdf'}", highlight=False, soft_wrap=True)


def _numbers(c: Criterion, unit: str) -> list[str]:
    """How many went in, estimate, bound and limit."""
    from medgan_qa.quantities import against, allowed, plain, quantity

    estimate = "-" if c.estimate is None else quantity(c.estimate, unit)
    bound = "-" if c.value is None else against(c.value, c.limit.values(), unit)
    return ["-" if c.n is None else str(c.n), *map(plain, (estimate, bound, allowed(c.limit, unit)))]


def printable(record: Record) -> Record:
    """The Record as the terminal may show it: without its numbers where the protocol withholds them."""
    from medgan_qa.evidence.withheld import is_withheld, withheld

    return withheld(record) if is_withheld(record) else record
