r"""Tables as CSV that no spreadsheet executes, and the case table as Parquet.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula, whatever a CSV file
means by it. A text cell that begins so, blanks aside, and is no plain number is written with an apostrophe before it,
and so is one that begins with an apostrophe; a reader who drops one leading apostrophe has every text back.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from medgan_qa.errors import RecordError

CASE_COLUMNS = ("audit", "case_id", "patient_id")
"""The columns that a case table begins with."""
MARK = "'"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What the eye does not see, and full-width forms that spreadsheets read as the narrow ones.
_FORMULA = re.compile("[\\s\x00-\x20\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n]")
_QUOTED = re.compile('[,"\r\n]')
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|nan|-?inf", re.ASCII)


def cases_csv(rows: list[dict[str, Any]]) -> str:
    """The case table as CSV: columns in order of first appearance, empty where an audit has no such column."""
    return table_csv(rows, CASE_COLUMNS)


def table_csv(rows: list[dict[str, Any]], first: tuple[str, ...] = ()) -> str:
    """Rows as CSV: the columns `first`, then all others in order of first appearance; None is an empty cell.

    Numbers and booleans are written as Python writes them, and texts so that no spreadsheet executes them.
    """
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    lines: list[list[Any]] = [columns, *([row.get(column) for column in columns] for row in rows)]
    return "".join(f"{_line(cells)}\n" for cells in lines) if columns else ""


def _line(cells: Sequence[Any]) -> str:
    line = ",".join(_cell(cell) for cell in cells)
    return line or '""'  # an empty line is no row


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = _inert(value) if isinstance(value, str) else str(value)
    return '"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text


def _inert(text: str) -> str:
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return MARK + text if is_formula or text.startswith(MARK) else text


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read a table back: its columns and its rows, every cell as the text that was written.

    Raises:
        RecordError: it cannot be read, or is no table with named columns and as many cells in every row.
    """
    try:
        # A byte order mark is what spreadsheets leave when they save the file again.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [[_read(cell) for cell in line] for line in csv.reader(stream, strict=True) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    columns, rows = (lines[0], lines[1:]) if lines else ([], [])
    if len(set(columns)) != len(columns):
        raise _unreadable(path, "a column that stands twice")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise _unreadable(path, f"{len(row)} cells in row {number} under {len(columns)} columns")
    return columns, [dict(zip(columns, row, strict=True)) for row in rows]


def _read(cell: str) -> str:
    return cell.removeprefix(MARK)


def _unreadable(path: Path, found: str) -> RecordError:
    return RecordError(
        f"The table {path.name} cannot be read.",
        expected="a CSV file in UTF-8 with a header and as many cells in every row",
        found=found,
        where=path,
        todo="Restore the file from the run's folder; `medgan-qa verify` says what else changed.",
    )


def cases_parquet(path: Path) -> bytes:
    """The Parquet form of a case table in CSV.

    A column is of numbers or of booleans where every filled cell of it is one and would be written the same again
    (`007` is a text); names and everything that ends in `_id` are texts. An empty cell is null.

    Raises:
        RecordError: the table cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, rows = read_table(path)
    arrays = [_array(name, [row[name] for row in rows]) for name in columns]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, names=columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _array(name: str, cells: list[str]) -> Any:
    import pyarrow as pa

    kind, convert = _type(name, cells)
    return pa.array([convert(cell) if cell else None for cell in cells], kind())


def _type(name: str, cells: Iterable[str]) -> tuple[Callable[[], Any], Callable[[str], Any]]:
    import pyarrow as pa

    filled = [cell for cell in cells if cell]
    if not filled or name in ("audit", "partition", "site") or name.endswith("_id"):
        return pa.string, str
    if all(cell in ("True", "False") for cell in filled):
        return pa.bool_, lambda cell: cell == "True"
    if all(_INTEGER.fullmatch(cell) for cell in filled):
        return pa.int64, int
    if all(_DECIMAL.fullmatch(cell) for cell in filled):
        return pa.float64, float
    return pa.string, str
