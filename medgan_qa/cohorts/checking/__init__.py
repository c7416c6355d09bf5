"""Checking a dataset: everything that is wrong with it at once, and what was understood of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from medgan_qa.cohorts._listed import require_files
from medgan_qa.cohorts.checking.cases import facts, oddities, read_all
from medgan_qa.cohorts.checking.files import declared_text, unlisted
from medgan_qa.cohorts.checking.findings import SHOWN, Checked, Finding, finding
from medgan_qa.cohorts.checking.page import page
from medgan_qa.cohorts.checking.rows import cells_of, good_rows, lines_of, table_beside
from medgan_qa.cohorts.checking.summary import declared, verdict
from medgan_qa.cohorts.checking.thumbnails import sheet
from medgan_qa.cohorts.cohort import Case, Partition
from medgan_qa.cohorts.dataset import FileCohort
from medgan_qa.cohorts.description import Description, read_description
from medgan_qa.cohorts.pseudonyms import protected
from medgan_qa.cohorts.table import Row
from medgan_qa.errors import DatasetError

__all__ = ["Checked", "Finding", "check_dataset", "contact_sheet", "page"]

Progress = Callable[[int, int], None]


def check_dataset(place: Path, partition: Partition | None = None, progress: Progress = lambda *_: None) -> Checked:
    """Check a dataset as far as it can be read: what is wrong with one part keeps no other from being looked at.

    Args:
        place: the dataset file.
        partition: the cases whose images are read; None: all.
        progress: told how many cases of how many are done.

    Raises:
        MissingDependencyError: a library that a format needs is not installed.
        ConfigurationError, OutputError: the key of the pseudonyms cannot be read or made.
    """
    checked = Checked(place.stem, place.name)
    try:
        description = read_description(place)
    except DatasetError as error:
        checked.complete = False
        checked.findings += _told("description", error, "correct these lines of the dataset file")
        if (table := table_beside(place)) is not None:
            checked.findings += _table(table)[2]
        return checked
    checked.name, checked.windowed = description.name, description.windowed
    checked.declared_range = description.value_range
    cases, rows, found = _table(description.table)
    checked.findings += found
    cases, rows = _present(description, cases, rows, checked)
    if rows and _has_range(description, checked):
        _read(description, cases, rows, partition, progress, checked)
    else:
        checked.complete = False
    return checked


def _table(path: Path) -> tuple[list[Case], list[Row], list[Finding]]:
    cases, rows, problems = good_rows(path)
    todo = "Correct these rows; the header is row 1."
    return cases, rows, finding("table", "error", f"problems in the table {path.name}", problems, todo)


def _told(kind: str, error: DatasetError, todo: str) -> list[Finding]:
    lines = lines_of(error)
    problem = error.problem if len(lines) == 1 else f"problems: {error.problem}"
    return finding(kind, "error", problem, lines, error.todo or todo)


def _present(
    description: Description, cases: Sequence[Case], rows: Sequence[Row], checked: Checked
) -> tuple[list[Case], list[Row]]:
    """The rows whose files are all there; the others are told."""
    missing: dict[int, list[str]] = {}
    try:
        require_files(description, rows)
    except DatasetError:
        for row in rows:
            try:
                require_files(description, [row])
            except DatasetError as error:
                missing[row.number] = lines_of(error)
    lines = [line for some in missing.values() for line in some]
    todo = "Put the files in place, or correct the paths."
    checked.findings += finding("missing-file", "error", "files that are missing or cannot be used", lines, todo)
    kept = [(case, row) for case, row in zip(cases, rows, strict=True) if row.number not in missing]
    return [case for case, _ in kept], [row for _, row in kept]


def _has_range(description: Description, checked: Checked) -> bool:
    if description.value_range is None:
        todo = "Add value_range, or window to clip to: what the format or scanner defines, not one image's extremes."
        lines = ["neither value_range nor window is given"]
        checked.findings += finding("no-range", "error", "what the stored numbers span is not said", lines, todo)
    return description.value_range is not None


def _read(
    description: Description,
    cases: Sequence[Case],
    rows: Sequence[Row],
    partition: Partition | None,
    progress: Progress,
    checked: Checked,
) -> None:
    assert description.value_range is not None
    try:
        cohort = FileCohort(description, description.value_range, cases, rows)
    except DatasetError as error:
        checked.complete = False
        checked.findings += _told("volumes", error, "correct these rows")
        return
    reading = read_all(cohort, partition, progress)
    checked.findings += _unreadable(reading.errors)
    checked.findings += oddities(cohort, reading, windowed=description.windowed)
    checked.findings += _beside(description, cases, rows)
    checked.partitions = list(facts(cohort, reading.measured))
    checked.thumbnails = reading.thumbnails


def _unreadable(errors: Sequence[tuple[Case, DatasetError]]) -> list[Finding]:
    """What could not be loaded, by kind: the problem without the name of the case."""
    kinds: dict[str, list[tuple[str, DatasetError]]] = defaultdict(list)
    for case, error in errors:
        name = case.case_id if case.slice_index is None else case.case_id.rpartition("/")[0]
        _, named, rest = error.problem.partition(f" of case {name} ")
        if not named:
            _, named, rest = error.problem.partition(f" of case {case.case_id} ")
        kinds[rest or error.problem].append((case.case_id, error))
    return [
        Finding(
            kind=_slug(problem),
            severity="error",
            problem=f"cases with a file that {problem}",
            count=len(some),
            offenders=tuple(f"{e.where}: found {e.found}; expected {e.expected}" for _, e in some[:SHOWN]),
            todo=some[0][1].todo or "Repair these files, or take the cases out of the table.",
            left=max(0, len(some) - SHOWN),
        )
        for problem, some in kinds.items()
    ]


def _slug(problem: str) -> str:
    known = {
        "value_range": "out-of-range",
        "grid": "other-grid",
        "spacing": "other-spacing",
        "elsewhere": "other-place",
        "laid over": "other-place",
    }
    return next((kind for word, kind in known.items() if word in problem), "unreadable-file")


def _beside(description: Description, cases: Sequence[Case], rows: Sequence[Row]) -> list[Finding]:
    folder = description.path.parent
    public = protected(cases, description.identifiers)
    images = {case.case_id: row.cells["image"] for case, row in zip(public, rows, strict=True)}
    return [*declared_text(folder, images), *unlisted(folder, cells_of(description.table))]


def contact_sheet(checked: Checked) -> bytes | None:
    """The thumbnails on one page as PNG; None where no image could be read."""
    if not checked.thumbnails:
        return None
    shown = len(checked.thumbnails)
    total = sum(facts.cases for facts in checked.partitions)
    lines = [f"{checked.file}: {verdict(checked)}", f"{shown} of {total} cases, lesions outlined. {declared(checked)}"]
    return sheet(checked.thumbnails, checked.name, lines)
