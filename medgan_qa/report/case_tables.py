"""The case table of a run, laid out for paper: audits of the same cases side by side, and a fixed rule for long ones.

Numbers are shortened for reading; rows and columns keep their order. The file `cases.csv` is whole and travels with the
report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from medgan_qa.errors import RecordError
from medgan_qa.report import numbers
from medgan_qa.report.facts import title, words
from medgan_qa.report.svg import PX_PER_MM
from medgan_qa.report.typography import text_width

MOST_ROWS = 300
FIRST_ROWS = 100
MOST_FAILED = 1000
FAILED = ("lost", "flat", "inverted", "invented", "error")
"""What a case's status begins with if the case goes into a shortened table in any event."""
PORTRAIT_MM, LANDSCAPE_MM = 174.0, 261.0
_IDS = ("case_id", "patient_id")
_STATUS = ("status", "fate")
_FONT_PX = 6.6 * 96 / 72
_PADDING_PX, _PADDING_NUMBER_PX = 9.0, 15.0
_WIDEST_PX = 40 * PX_PER_MM
_SAID = {"True": "yes", "False": "no"}


class Column(NamedTuple):
    """A column of a case table."""

    title: str
    percent: str
    numeric: bool


class Span(NamedTuple):
    """A heading over the columns of one audit."""

    title: str
    columns: int


class CaseTable(NamedTuple):
    """Cases with the columns of one audit or of several."""

    title: str
    said: str
    """What is the same for all rows, and which rows are shown."""
    spans: list[Span]
    columns: list[Column]
    rows: list[list[str]]
    percent: str
    wide: bool


class _Part(NamedTuple):
    """Some columns of one audit, every cell as it is shown."""

    name: str
    columns: dict[str, list[str]]

    @property
    def width(self) -> float:
        return sum(_width(name, cells) for name, cells in self.columns.items())


def case_tables(path: Path, sentinels: Collection[str] = ()) -> list[CaseTable]:
    """Lay out a case table.

    Args:
        path: `cases.csv` of a run.
        sentinels: cases that are shown in any event.

    Returns:
        No table where there is no file.

    Raises:
        RecordError: the file is there but is no table with a column `audit`.
    """
    if not path.is_file():
        return []
    header, rows = _read(path)
    groups: dict[tuple[str, ...], dict[str, list[dict[str, str]]]] = {}
    for audit in dict.fromkeys(row["audit"] for row in rows):
        own = [row for row in rows if row["audit"] == audit]
        groups.setdefault(_key(audit, own), {})[audit] = own
    return [table for audits in groups.values() for table in _tables(audits, header, sentinels)]


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    from medgan_qa.evidence.tables import read_table

    header, rows = read_table(path)
    if "audit" not in header:
        raise RecordError(
            "The table of cases cannot be read",
            expected="a header with the columns audit, case_id and patient_id",
            found=", ".join(header) or "an empty file",
            where=path,
            todo="run the audit again, or restore the file from the run's folder",
        )
    return header, rows


def _key(audit: str, rows: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """The same for audits that list the same cases, once each, in the same order."""
    ids = tuple(row.get("case_id", "") for row in rows)
    return ids if len(set(ids)) == len(ids) and all(ids) else (audit, *ids)


def _tables(
    audits: dict[str, list[dict[str, str]]], header: Sequence[str], sentinels: Collection[str]
) -> list[CaseTable]:
    chosen = _chosen(list(audits.values()), sentinels)
    total = max(map(len, audits.values()))
    parts = [_part(name, [rows[k] for k in chosen], _filled(rows, header)) for name, rows in audits.items()]
    shared, constant = _shared(parts, len(chosen))
    said = _said(constant, len(chosen), total, len(chosen) - min(FIRST_ROWS, total))
    left = [_Part(p.name, {k: v for k, v in p.columns.items() if k not in shared and k not in constant}) for p in parts]
    first = _Part("", shared)
    packed = _packed(first, [part for part in left if part.columns])
    name = ", ".join(audits)
    return [
        _table(name if place == 0 else f"{name}, continued", said if place == 0 else "", first, bundle)
        for place, bundle in enumerate(packed or [[]])
    ]


def _part(name: str, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> _Part:
    return _Part(name, {key: numbers.column([_SAID.get(row[key], row[key]) for row in rows]) for key in columns})


def _filled(rows: Sequence[dict[str, str]], header: Sequence[str]) -> list[str]:
    return [name for name in header if name != "audit" and any(row[name] for row in rows)]


def _chosen(audits: Sequence[Sequence[dict[str, str]]], sentinels: Collection[str]) -> list[int]:
    """Places of the rows that are shown: all of them, or the first and those that failed in any of the audits."""
    count = len(audits[0])
    if count <= MOST_ROWS:
        return list(range(count))
    failed = [
        k
        for k in range(FIRST_ROWS, count)
        if audits[0][k].get("case_id") in sentinels or any(_failed(rows[k]) for rows in audits)
    ]
    return [*range(FIRST_ROWS), *failed[:MOST_FAILED]]


def _failed(row: dict[str, str]) -> bool:
    return any(row.get(name, "").startswith(FAILED) for name in _STATUS)


def _shared(parts: Sequence[_Part], count: int) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Columns that stand once before all audits, and those that say the same in every row and are told in words."""
    seen: dict[str, list[list[str]]] = {}
    for part in parts:
        for name, cells in part.columns.items():
            seen.setdefault(name, []).append(cells)
    same = {name: held[0] for name, held in seen.items() if all(cells == held[0] for cells in held)}
    alike = {name: cells[0] for name, cells in same.items() if count > 1 and len(set(cells)) == 1 and name not in _IDS}
    common = {
        name: cells for name, cells in same.items() if name not in alike and (name in _IDS or len(seen[name]) > 1)
    }
    order = [*(name for name in _IDS if name in common), *(name for name in common if name not in _IDS)]
    return {name: common[name] for name in order}, alike


def _said(constant: dict[str, str], shown: int, total: int, further: int) -> str:
    told = [f"{words(name)} {value}" for name, value in constant.items()]
    alike = f"The same in every row shown: {', '.join(told)}. " if told else ""
    if shown == total:
        return f"{numbers.counted(total, 'row')}. {alike}".strip()
    first = f"Shown are the first {FIRST_ROWS} of {numbers.counted(total, 'row')}"
    rule = f"a status that begins with {', '.join(FAILED[:-1])} or {FAILED[-1]}, or a sentinel case"
    if not further:
        return f"{first}; no other has {rule}. {alike}All stand in cases.csv.".strip()
    most = f" (no more than {MOST_FAILED} of them)" if further >= MOST_FAILED else ""
    return f"{first} and {further} others with {rule}{most}. {alike}All stand in cases.csv.".strip()


def _packed(first: _Part, parts: Sequence[_Part]) -> list[list[_Part]]:
    """Audits side by side, as many as a page across holds."""
    bundles: list[list[_Part]] = []
    for part in parts:
        room = LANDSCAPE_MM * PX_PER_MM - first.width - sum(one.width for one in (bundles[-1] if bundles else []))
        if bundles and part.width <= room:
            bundles[-1].append(part)
        else:
            bundles.append([part])
    return bundles


def _table(name: str, said: str, first: _Part, parts: Sequence[_Part]) -> CaseTable:
    columns = [(key, cells) for part in (first, *parts) for key, cells in part.columns.items()]
    widths = [_width(key, cells) for key, cells in columns]
    total = sum(widths) or 1.0
    wide = total > PORTRAIT_MM * PX_PER_MM
    # A table of few columns is kept narrow: rows that reach across the page are hard to follow.
    percent = 100.0 if wide else min(100.0, 150 * total / (PORTRAIT_MM * PX_PER_MM))
    shown = [
        Column(title(key), f"{100 * width / total:.3f}", _numeric(cells))
        for (key, cells), width in zip(columns, widths, strict=True)
    ]
    spans = [Span(part.name, len(part.columns)) for part in (first, *parts) if part.columns] if len(parts) > 1 else []
    rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    return CaseTable(name, said, spans, shown, rows, f"{percent:.3f}", wide)


def _width(name: str, cells: Sequence[str]) -> float:
    head = max(text_width(word, _FONT_PX, "semibold") for word in [*title(name).split(), ""])
    longest = max(sorted(set(cells), key=len)[-12:], key=lambda cell: text_width(cell, _FONT_PX), default="")
    padding = _PADDING_NUMBER_PX if _numeric(cells) else _PADDING_PX
    return padding + min(max(head, text_width(longest, _FONT_PX)), _WIDEST_PX)


def _numeric(cells: Iterable[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(numbers.is_number(cell) for cell in filled)
