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

from medgan_qa.cohorts._keys import DATE, is_date
from medgan_qa.cohorts._problems import collected, is_absolute, unknown
from medgan_qa.cohorts.cohort import PARTITIONS, Case, Partition
from medgan_qa.errors import DatasetError

FILE_COLUMNS = ("image", "target", "lesion_mask")
"""Columns that name a file, relative to the dataset file."""

LARGEST_TABLE = 2**26
"""Bytes that a table may have as CSV, or unpack to as Parquet."""

_REQUIRED = ("case_id", "patient_id", "partition", "image")
_COLUMNS = (
    *_REQUIRED,
    "target",
    "lesion_mask",
    "annotated",
    "site",
    "synthetic",
    "label",
    "volume",
    "slice",
    "study",
    "scanner",
    "acquired",
)
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
        where=path.name,
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
            found=_said(path, error),
            where=path.name,
            todo="Correct `cases` in the dataset file, or export the table again.",
        ) from error


def _said(path: Path, error: Exception) -> str:
    """What a library says, without the path that it may name."""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return f"{type(error).__name__}: {error}".replace(str(path), path.name)[:300]


def _csv_records(path: Path) -> list[list[str]]:
    if path.stat().st_size > LARGEST_TABLE:
        raise ValueError(f"a table of more than {LARGEST_TABLE} bytes")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, strict=True))


def _parquet_records(path: Path) -> list[list[str]]:
    import pandas as pd
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    if sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups)) > LARGEST_TABLE:
        raise ValueError(f"a table that unpacks to more than {LARGEST_TABLE} bytes")
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
            yield f"row {row.number}: case_id stands already in row {first[case_id]}"


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
    place = _slice_index(cells, found)
    if "acquired" in cells and not is_date(cells["acquired"]):
        found.append(f"acquired is not {DATE}")
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
        synthetic=synthetic,
        attributes={name.removeprefix("attr."): cell for name, cell in cells.items() if name.startswith("attr.")},
        site=cells.get("site"),
        label=cells.get("label"),
        volume=cells.get("volume"),
        slice_index=place,
        study=cells.get("study"),
        scanner=cells.get("scanner"),
        acquired=cells.get("acquired"),
    )


def _name_problems(cells: dict[str, str]) -> Iterator[str]:
    for column in FILE_COLUMNS:
        name = cells.get(column)
        if name is None:
            continue
        if is_absolute(name) or "://" in name:
            yield f"{column} is absolute; a path relative to the dataset file is expected"


def _boolean(cells: dict[str, str], column: str, default: bool, problems: list[str]) -> bool:
    cell = cells.get(column)
    if cell is None:
        return default
    if cell.lower() not in _BOOLEANS:
        problems.append(f"{column} {cell!r} is neither true nor false")
    return _BOOLEANS.get(cell.lower(), default)


def _slice_index(cells: dict[str, str], problems: list[str]) -> int | None:
    cell = cells.get("slice")
    if cell is None:
        return None
    if "volume" not in cells:
        problems.append("slice is given without the volume that it is a slice of")
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10):
        problems.append(f"slice {cell!r} is no whole number of at least 0")
        return None
    return int(cell)
