"""The outcome of a check of a dataset on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from medgan_qa.cohorts.checking.findings import Checked, Finding

_COLOURS = {"error": "red", "warning": "yellow"}


def show(checked: Checked, written: Sequence[Path]) -> None:
    """The verdict, the findings, the table of what was understood, and the files that were written."""
    from rich.console import Console
    from rich.markup import escape

    from medgan_qa.cohorts.checking.summary import declared, verdict

    console = Console()
    colour = "red" if checked.errors else "yellow" if checked.warnings else "green"
    console.print(f"[bold]{escape(checked.name)}[/]: [{colour}]{verdict(checked)}[/]", highlight=False)
    for one in [*checked.errors, *checked.warnings]:
        _finding(console, one)
    if checked.partitions:
        console.print()
        _table(console, checked)
        console.print(f"Declared: {declared(checked)}", highlight=False, style="dim")
    for path in written:
        console.print(f"Written: {path.name}", highlight=False, markup=False, soft_wrap=True)


def _finding(console: Console, one: Finding) -> None:
    from rich.markup import escape

    more = [f"and {one.left} more"] if one.left else []
    console.print(
        f"[bold {_COLOURS[one.severity]}]{one.severity}[/] {escape(one.problem)}: {one.count}", highlight=False
    )
    for line in (*one.offenders, *more):
        console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"    what to do: {one.todo}", highlight=False, markup=False, style="dim", soft_wrap=True)


def _table(console: Console, checked: Checked) -> None:
    """One column a partition, so that a narrow terminal holds it; rows in which nothing stands are left out."""
    from rich.table import Table

    from medgan_qa.cohorts.checking.summary import HEADINGS, cells

    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 3, 0, 0))
    table.add_column("what was understood", style="dim")
    for facts in checked.partitions:
        table.add_column(facts.partition, overflow="fold")
    columns = [cells(facts) for facts in checked.partitions]
    for index, heading in enumerate(HEADINGS):
        row = [column[index] for column in columns]
        if any(cell not in ("", "0") for cell in row):
            table.add_row(heading, *row)
    console.print(table, markup=False)
