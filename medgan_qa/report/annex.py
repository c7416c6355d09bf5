"""Annexes: every case of the run, the glossary, and the files that the report was made from."""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from medgan_qa.errors import RecordError
from medgan_qa.record import Record
from medgan_qa.report import numbers
from medgan_qa.report.facts import title
from medgan_qa.report.figures_panels import exhibit_path
from medgan_qa.report.svg import PX_PER_MM
from medgan_qa.report.typography import text_width

PORTRAIT_MM, LANDSCAPE_MM = 174.0, 261.0
_FONT_PX = 6.6 * 96 / 72
_PADDING_PX = 9.0
_PADDING_NUMBER_PX = 15.0
_SAID = {"True": "yes", "False": "no"}
_WIDEST_PX = 40 * PX_PER_MM


class Column(NamedTuple):
    """A column of a case table."""

    title: str
    percent: str
    numeric: bool


class CaseTable(NamedTuple):
    """Every case of one audit."""

    audit: str
    columns: list[Column]
    rows: list[list[str]]
    percent: str
    wide: bool


class Term(NamedTuple):
    """An entry of the glossary."""

    name: str
    meaning: str


class FileDigest(NamedTuple):
    """A file of the run's folder."""

    name: str
    digest: str


def case_tables(folder: Path) -> list[CaseTable]:
    """The case table of the run, one table an audit, with that audit's columns only.

    Numbers are shortened for reading; rows and columns keep their order.

    Raises:
        RecordError: `cases.csv` is there but is no table with a column `audit`.
    """
    path = folder / "cases.csv"
    if not path.is_file():
        return []
    header, rows = _read(path)
    audits = list(dict.fromkeys(row["audit"] for row in rows))
    return [_case_table(audit, header, [row for row in rows if row["audit"] == audit]) for audit in audits]


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, restval="")
        header = list(reader.fieldnames or [])
        rows = [{key: row[key] or "" for key in header} for row in reader]
    if "audit" not in header:
        raise RecordError(
            "The table of cases cannot be read",
            expected="a header with the columns audit, case_id and patient_id",
            found=", ".join(header) or "an empty file",
            where=path,
            todo="run the audit again, or restore the file from the run's folder",
        )
    return header, rows


def _case_table(audit: str, header: Sequence[str], rows: list[dict[str, str]]) -> CaseTable:
    names = [name for name in header if name != "audit" and any(row[name] for row in rows)]
    shown = [numbers.column([_SAID.get(row[name], row[name]) for row in rows]) for name in names]
    widths = [_width(name, cells) for name, cells in zip(names, shown, strict=True)]
    total = sum(widths) or 1.0
    columns = [
        Column(title(name), f"{100 * width / total:.3f}", _numeric(cells))
        for name, width, cells in zip(names, widths, shown, strict=True)
    ]
    wide = total > PORTRAIT_MM * PX_PER_MM
    # A table of few columns is kept narrow: rows that reach across the page are hard to follow.
    percent = 100.0 if wide else min(100.0, 150 * total / (PORTRAIT_MM * PX_PER_MM))
    return CaseTable(audit, columns, [list(row) for row in zip(*shown, strict=True)], f"{percent:.3f}", wide)


def _width(name: str, cells: Sequence[str]) -> float:
    head = max(text_width(word, _FONT_PX, "semibold") for word in [*title(name).split(), ""])
    longest = max(sorted(set(cells), key=len)[-12:], key=lambda cell: text_width(cell, _FONT_PX))
    padding = _PADDING_NUMBER_PX if _numeric(cells) else _PADDING_PX
    return padding + min(max(head, text_width(longest, _FONT_PX)), _WIDEST_PX)


def _numeric(cells: Iterable[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(numbers.is_number(cell) for cell in filled)


def glossary(record: Record, fixed: str) -> list[Term]:
    """Definitions of the terms that the record, or the report's own wording `fixed`, uses; in alphabetical order."""
    table = tomllib.loads((files("report_templates") / "glossary.toml").read_text(encoding="utf-8"))
    used = f"{record.to_json()} {fixed}".lower()
    terms = [
        Term(entry["term"], entry["meaning"]) for entry in table["entry"] if re.search(rf"\b(?:{entry['find']})", used)
    ]
    return sorted(terms, key=lambda term: term.name.lower())


def sources(record: Record, folder: Path) -> list[FileDigest]:
    """SHA-256 of the files that the report was made from and that the folder holds: Record, cases, exhibits."""
    shown = [exhibit_path(item, folder) for audit in record.audits for item in audit.exhibits if item.file]
    paths = [folder / "record.json", folder / "cases.csv", *dict.fromkeys(shown)]
    there = [path.resolve() for path in paths if path.is_file()]
    return [FileDigest(path.relative_to(folder.resolve()).as_posix(), _sha256(path)) for path in there]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
