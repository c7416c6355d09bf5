"""Options and displays that commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from medgan_qa.engines import Progress

debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
"""Read from the command line itself by `medgan_qa.cli.main`; declared here so that every command accepts and documents
it.
"""
ledger_option = click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    envvar="MEDGAN_QA_LEDGER",
    help="Attempt ledger [$MEDGAN_QA_LEDGER, or medgan-qa-ledger.jsonl beside the lock, else beside the run's folder].",
)
templates_option = click.option(
    "--templates",
    type=click.Path(path_type=Path),
    envvar="MEDGAN_QA_TEMPLATES",
    help="Folder of a company's own report templates [$MEDGAN_QA_TEMPLATES].",
)


def document_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Identifier and revision of the report as a controlled document."""
    named = click.option("--document-id", help="Identifier of the report in your document system [VR-RUN].")
    revised = click.option("--document-revision", help="Revision of the report in your document system [1].")
    return named(revised(command))


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
