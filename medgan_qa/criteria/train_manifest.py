"""The list of what a model was trained on, against which independence of the test data is checked."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medgan_qa.criteria.content import Criteria
from medgan_qa.errors import InputError

COLUMNS = {"patient": "patient_id", "site": "site"}
"""Column of the manifest by the unit that independence is declared for."""


class TrainManifest(NamedTuple):
    """Identifiers as they stand in the list, without surrounding blanks."""

    patients: frozenset[str]
    sites: frozenset[str]


def read_train_manifest(criteria: Criteria) -> TrainManifest | None:
    """Read the training manifest that criteria name; None where they name none.

    It is a CSV file in UTF-8 with a header; other columns than `patient_id` and `site` are allowed and not read.

    Raises:
        InputError: it cannot be read, lacks a column that independence is declared for, or has an empty cell there.
    """
    path = criteria.train_manifest
    if path is None:
        return None
    rows = _rows(path)
    header = rows[0] if rows else []
    needed = [COLUMNS[unit] for unit in criteria.independence_by]
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise _unusable(path, f"a CSV file with the columns {', '.join(needed)}", f"columns {', '.join(header)}")
    if len(rows) < 2:
        raise _unusable(path, "one row a patient or image", "no row below the header")
    found = {name: frozenset(_cells(path, rows, name)) for name in needed}
    return TrainManifest(*(found.get(COLUMNS[unit], frozenset()) for unit in ("patient", "site")))


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [[c.strip() for c in row] for row in csv.reader(file, strict=True) if any(c.strip() for c in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unusable(path, "a CSV file in UTF-8 with commas", f"{type(error).__name__}: {error}") from error


def _cells(path: Path, rows: list[list[str]], name: str) -> Iterator[str]:
    column = rows[0].index(name)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]) or not row[column]:
            found = "an empty cell" if len(row) == len(rows[0]) else f"{len(row)} cells under {len(rows[0])} columns"
            raise _unusable(path, f"{name} in every row", f"{found} in row {number} (the header is row 1)")
        yield row[column]


def _unusable(path: Path, expected: str, found: str) -> InputError:
    return InputError(
        "The training manifest cannot be used.",
        expected=expected,
        found=found,
        where=path,
        todo="Correct the file, or train_manifest in [data.independence] of the criteria.",
    )
