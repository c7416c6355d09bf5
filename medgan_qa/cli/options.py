"""Options and displays that commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from medgan_qa.engines import Progress

debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
"""Read from the command line itself by `medgan_qa.cli.main`; declared here so that every command accepts and documents
it.
"""


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Progress]:
    """A progress bar on stderr; where stderr is no terminal, one line a step of the work."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    seen: dict[str, int] = {}

    def plain(label: str, done: int, total: int) -> None:
        if shown and label not in seen:
            seen[label] = total
            click.echo(f"{label} ...", err=True)

    if not console.is_terminal or not shown:
        yield plain
        return
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        tasks: dict[str, int] = {}

        def draw(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(label, total=total)
            bar.update(tasks[label], completed=done)  # type: ignore[arg-type]  # rich's own TaskID is an int

        yield draw
