"""The rows of a table that can be used, however many others cannot."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from medgan_qa.cohorts import table
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.description import SCHEMA
from medgan_qa.cohorts.table import FILE_COLUMNS, Row
from medgan_qa.errors import DatasetError

_LARGEST = 2**20  # bytes of a dataset file that is looked into


def good_rows(path: Path) -> tuple[list[Case], list[Row], list[str]]:
    """Cases and rows without a fault, in the same order, and everything that is wrong with the table."""
    try:
        cases, rows = table.read_cases(path)
    except DatasetError as error:
        return *_some_rows(path), lines_of(error)
    return cases, rows, []


def _some_rows(path: Path) -> tuple[list[Case], list[Row]]:
    """What is left where `read_cases` refuses: nothing, unless the header is right and single rows are wrong."""
    try:
        header, *records = table._records(path)
    except (DatasetError, ValueError):
        return [], []
    if any(table._header_problems(header)):
        return [], []
    seen: set[str] = set()
    kept: list[tuple[Case, Row]] = []
    for row in table._rows(header, records, []):
        case = table._case(row, [])
        if case is not None and case.case_id not in seen:
            seen.add(case.case_id)
            kept.append((case, row))
    return [case for case, _ in kept], [row for _, row in kept]


def cells_of(path: Path) -> list[str]:
    """Every filled-in cell that names a file, of sound rows and of others; empty where there is no table."""
    try:
        header, *records = table._records(path)
    except (DatasetError, ValueError):
        return []
    rows = table._rows(header, records, [])
    return [row.cells[column] for row in rows for column in FILE_COLUMNS if column in row.cells]


def lines_of(error: DatasetError) -> list[str]:
    """The single findings of an error that gathers several; of any other, what was found."""
    head, *lines = (error.found or "").split("\n    ")
    counted = re.fullmatch(r"(\d+) in all:", head)
    if counted is None:
        return [error.found or error.problem]
    # The last line counts those that are not spelled out; each of them still counts as one.
    rest = re.fullmatch(r"and (\d+) more", lines[-1]) if lines else None
    return lines if rest is None else [*lines[:-1], *["one more"] * int(rest[1])]


def table_beside(place: Path) -> Path | None:
    """The table of a dataset file that cannot be read as one; None where it does not name one either."""
    try:
        content = tomllib.loads(place.read_text("utf-8-sig")) if place.stat().st_size <= _LARGEST else {}
    except (OSError, ValueError, RecursionError):
        return None
    name = content.get("cases")
    if content.get("schema") != SCHEMA or not isinstance(name, str) or Path(name).name != name:
        return None
    return place.parent / name if (place.parent / name).is_file() else None
