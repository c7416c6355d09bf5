"""The table of a dataset: CSV or Parquet, one row a case.

Cells are text, stripped of surrounding blanks; an empty cell is one that was not filled in. Rows are counted as a
spreadsheet counts them (the header is row 1).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from medgan_qa.cohorts._problems import collected, is_absolute, unknown
from medgan_qa.cohorts.cohort import PARTITIONS, Case, Partition
from medgan_qa.cohorts.description import Description
from medgan_qa.cohorts.readers import SUFFIXES, suffix_of
from medgan_qa.errors import DatasetError

FILE_COLUMNS = ("image", "target", "lesion_mask")
"""Columns that name a file, relative to the dataset file."""

_REQUIRED = ("case_id", "patient_id", "partition", "image")
_COLUMNS = (*_REQUIRED, "target", "lesion_mask", "annotated", "site", "synthetic", "label")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Row:
    """One row of the table: its number in a spreadsheet and its filled-in cells by column."""

    number: int
    cells: dict[str, str]


def read_cases(path: Path) -> tuple[list[Case], list[Row]]:
    """Read a table: its cases and, in the same order, the rows that they stand in; at least one.

    Raises:
        DatasetError: the table cannot be read, or everything that is wrong with its header, else with its rows.
    """
    records = _records(path)
    header = records[0] if records else []
    problems = list(_header_problems(header))
    if not problems:
        rows = list(_rows(header, records[1:], problems))
        cases = [case for row in rows if (case := _case(row, problems)) is not None]
        problems += _duplicates(rows)
        if not rows and not problems:
            problems.append("no case: the table has no row below its header")
        if not problems:
            return cases, rows
    raise collected(
        f"{path.name}: {len(problems)} problem(s) in the table of cases",
        problems,
        expected="one row a case with the columns " + ", ".join(_REQUIRED),
        where=path,
        todo="Correct these rows; the header is row 1.",
    )


def _records(path: Path) -> list[list[str]]:
    """The table as stripped text, header first."""
    read = _parquet_records if path.suffix.lower() == ".parquet" else _csv_records
    try:
        return [[cell.strip() for cell in record] for record in read(path)]
    # Parquet readers raise errors of their own library on damaged files.
    except Exception as error:
        raise DatasetError(
            f"{path.name}, the table of cases, cannot be read",
            expected="a CSV file in UTF-8 with commas, or a Parquet file",
            found=f"{type(error).__name__}: {error}",
            where=path,
            todo="Correct `cases` in the dataset file, or export the table again.",
        ) from error


def _csv_records(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, strict=True))


def _parquet_records(path: Path) -> list[list[str]]:
    import pandas as pd

    # The Arrow backend keeps integers with gaps from becoming floats, and so 7 from becoming 7.0.
    frame = pd.read_parquet(path, engine="pyarrow", dtype_backend="pyarrow")
    if frame.index.name is not None:
        frame = frame.reset_index()
    columns = [["" if pd.isna(value) else str(value) for value in frame[name]] for name in frame.columns]
    return [[str(name) for name in frame.columns], *(list(record) for record in zip(*columns, strict=True))]


def _header_problems(header: Sequence[str]) -> Iterator[str]:
    if len(header) == 1 and ";" in header[0]:
        yield "columns are separated by semicolons; a comma is expected"
        return
    known = [name for name in header if not (name.startswith("attr.") and len(name) > len("attr."))]
    yield from unknown(known, _COLUMNS, "column")
    yield from (f"column {name!r} is missing" for name in _REQUIRED if name not in header)
    yield from (f"column {name!r} stands {n} times" for name, n in Counter(header).items() if n > 1)


def _rows(header: Sequence[str], records: Sequence[Sequence[str]], problems: list[str]) -> Iterator[Row]:
    for number, record in enumerate(records, start=2):
        if not any(record):
            continue
        if len(record) != len(header):
            problems.append(f"row {number}: {len(record)} cells under {len(header)} columns")
            continue
        yield Row(number, {name: cell for name, cell in zip(header, record, strict=True) if cell})


def _duplicates(rows: Sequence[Row]) -> Iterator[str]:
    first: dict[str, int] = {}
    for row in rows:
        case_id = row.cells.get("case_id")
        if case_id is not None and first.setdefault(case_id, row.number) != row.number:
            yield f"row {row.number}: case_id {case_id!r} stands already in row {first[case_id]}"


def _case(row: Row, problems: list[str]) -> Case | None:
    cells = row.cells
    found = [f"{name} is empty" for name in _REQUIRED if name not in cells]
    partition = cells.get("partition")
    if partition is not None and partition not in PARTITIONS:
        found.append(f"partition {partition!r} is none of {', '.join(PARTITIONS)}")
    found += _name_problems(cells)
    has_mask = "lesion_mask" in cells
    annotated = _boolean(cells, "annotated", has_mask, found)
    if has_mask and not annotated:
        found.append("annotated is false, but a lesion_mask is given")
    synthetic = _boolean(cells, "synthetic", False, found)
    problems += [f"row {row.number}: {problem}" for problem in found]
    if found:
        return None
    return Case(
        case_id=cells["case_id"],
        patient_id=cells["patient_id"],
        partition=cast(Partition, partition),
        has_target="target" in cells,
        annotated=annotated,
        has_mask=has_mask,
        site=cells.get("site"),
        synthetic=synthetic,
        label=cells.get("label"),
        attributes={name.removeprefix("attr."): cell for name, cell in cells.items() if name.startswith("attr.")},
    )


def _name_problems(cells: dict[str, str]) -> Iterator[str]:
    for column in FILE_COLUMNS:
        name = cells.get(column)
        if name is None:
            continue
        if suffix_of(Path(name)) is None:
            yield f"{column} {name!r} ends in none of {', '.join(SUFFIXES)}"
        if is_absolute(name):
            yield f"{column} {name!r} is absolute; a path relative to the dataset file is expected"


def _boolean(cells: dict[str, str], column: str, default: bool, problems: list[str]) -> bool:
    cell = cells.get(column)
    if cell is None:
        return default
    if cell.lower() not in _BOOLEANS:
        problems.append(f"{column} {cell!r} is neither true nor false")
    return _BOOLEANS.get(cell.lower(), default)


def require_files(description: Description, rows: Sequence[Row]) -> None:
    """Check that every file that the rows name is there.

    Raises:
        DatasetError: one error that counts the missing files and shows the first ten.
    """
    folder = description.path.parent
    missing = [
        f"row {row.number}, {column}: {row.cells[column]}"
        for row in rows
        for column in FILE_COLUMNS
        if column in row.cells and not _is_file(folder / row.cells[column])
    ]
    if missing:
        raise collected(
            f"{len(missing)} file(s) that {description.table.name} lists are missing",
            missing,
            expected=f"every listed file, relative to {folder}",
            where=description.table,
            todo="Put the files in place, or correct the paths.",
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name longer than the file system allows
        return False
