"""The case table of a run, laid out for paper: an audit's cases with a finding, worst first, and the columns that fit.

Numbers are shortened for reading. The file `cases.csv` is whole and travels with the report.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medgan_qa.errors import RecordError
from medgan_qa.record import AuditResult
from medgan_qa.report import limits, numbers
from medgan_qa.report.facts import title, words
from medgan_qa.report.svg import PX_PER_MM
from medgan_qa.report.typography import text_width

FINDINGS = ("error", "lost", "inverted", "invented", "flat", "missed", "wrong", "weak")
"""What a status begins with that says most, worst first; one of neither list comes after these."""
SETTLED = re.compile(
    r"(kept|clean|lesion-free|in place|measured|repeatable|stable|planted|correct|found|passed|same|not|no|too|nothing"
    r"|none)\b"
)
"""What a status begins with if there is nothing to see in the case, or nothing was judged."""
_IDS = ("case_id", "patient_id")
_STATUS = ("status", "fate")
_FONT_PX = 6.6 * 96 / 72
_PADDING_PX, _PADDING_NUMBER_PX = 9.0, 15.0
_WIDEST_PX = 40 * PX_PER_MM
_WIDTH_PX = limits.CASE_TABLE_MM * PX_PER_MM
_SAID = {"True": "yes", "False": "no"}

Row = Mapping[str, str]


class Column(NamedTuple):
    """A column of a case table."""

    title: str
    percent: str
    numeric: bool


class CaseTable(NamedTuple):
    """Cases of one audit."""

    title: str
    said: str
    """Which rows and columns are shown, and what is the same for all of them."""
    columns: list[Column]
    rows: list[list[str]]
    percent: str


def case_tables(path: Path, audits: Sequence[AuditResult], sentinels: Collection[str] = ()) -> list[CaseTable]:
    """Lay out a case table, audit after audit.

    Args:
        path: `cases.csv` of a run.
        audits: what the audits came to; their exhibits say which cases are worst.
        sentinels: cases that are shown in any event.

    Returns:
        No table where there is no file.

    Raises:
        RecordError: the file is there but is no table with a column `audit`.
    """
    if not path.is_file():
        return []
    header, rows = _read(path)
    known = {audit.code: audit for audit in audits}
    by_audit: dict[str, list[Row]] = {}
    for row in rows:
        by_audit.setdefault(row["audit"], []).append(row)
    order = [*(code for code in known if code in by_audit), *(name for name in by_audit if name not in known)]
    return [_table(name, by_audit[name], header, known.get(name), sentinels) for name in order]


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


def _table(
    name: str, rows: Sequence[Row], header: Sequence[str], audit: AuditResult | None, sentinels: Collection[str]
) -> CaseTable:
    most = limits.CASE_ROWS_JUDGED if audit is not None and audit.criteria else limits.CASE_ROWS_OTHER
    chosen, which = _chosen(rows, [] if audit is None else _worst(audit), sentinels, most)
    held = {key: _cells(chosen, key) for key in _filled(chosen, header)}
    alike = {key: cells[0] for key, cells in held.items() if len(cells) > 1 and len(set(cells)) == 1}
    alike = {key: value for key, value in alike.items() if key not in _IDS}
    fitting, left = _fitting({key: cells for key, cells in held.items() if key not in alike})
    told = [which]
    if alike:
        told.append(f"The same in every row: {', '.join(f'{words(key)} {value}' for key, value in alike.items())}.")
    if left:
        told.append(f"Columns that stand in cases.csv only: {', '.join(map(words, left))}.")
    heading = name if audit is None else f"{name} {audit.title}"
    return _laid_out(heading, " ".join(told), fitting)


def _worst(audit: AuditResult) -> list[str]:
    """Cases that the audit's exhibits show as worst, in their order."""
    shown = [case for one in audit.exhibits if one.kind == "panels" for case in one.data["cases"]]
    return list(dict.fromkeys(str(case.get("case_id")) for case in shown if case.get("rule") == "worst"))


def _chosen(rows: Sequence[Row], worst: Sequence[str], sentinels: Collection[str], most: int) -> tuple[list[Row], str]:
    """The rows that are shown, and a sentence on the choice."""
    total = numbers.counted(len(rows), "row")
    if len(rows) <= most:
        return list(rows), f"{total}, all shown."
    ranks = {k: rank for k, row in enumerate(rows) if (rank := _rank(row, worst, sentinels)) is not None}
    found = sorted(ranks, key=lambda k: (ranks[k], k))
    if not found:
        return [], f"None of {total} holds a finding. All rows: cases.csv."
    which = f"all {len(found)}" if len(found) <= most else f"the first {most} of {len(found)}"
    what = "with a finding" if any(_statuses(row) for row in rows) else "without a status"
    return [rows[k] for k in found[:most]], f"Of {total} {which} {what}. All rows: cases.csv."


def _rank(row: Row, worst: Sequence[str], sentinels: Collection[str]) -> tuple[int, int] | None:
    """Where a row stands among the findings; None for one that holds none."""
    case = row.get("case_id", "")
    if case in sentinels:
        return 0, 0
    if case in worst:
        return 1, worst.index(case)
    ranked = [_status_rank(status) for status in _statuses(row)]
    # Without a status nothing tells a finding from another row: the file's order is all there is.
    return min((rank for rank in ranked if rank is not None), default=None) if ranked else (3, 0)


def _statuses(row: Row) -> list[str]:
    return [row[name] for name in _STATUS if row.get(name)]


def _status_rank(status: str) -> tuple[int, int] | None:
    first = next((k for k, word in enumerate(FINDINGS) if status.startswith(word)), None)
    if first is not None:
        return 2, first
    return None if SETTLED.match(status) else (2, len(FINDINGS))


def _cells(rows: Sequence[Row], key: str) -> list[str]:
    return numbers.column([_SAID.get(row[key], row[key]) for row in rows])


def _filled(rows: Sequence[Row], header: Sequence[str]) -> list[str]:
    """Columns with anything in them: case and patient, the status, then the others in their order."""
    filled = [name for name in header if name != "audit" and any(row[name] for row in rows)]
    first = [name for name in (*_IDS, *_STATUS) if name in filled]
    return [*first, *(name for name in filled if name not in first)]


def _fitting(held: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """The columns that a page across holds, and the names of the others."""
    fitting: dict[str, list[str]] = {}
    left: list[str] = []
    room = _WIDTH_PX
    for key, cells in held.items():
        room -= _width(key, cells)
        if room >= 0 or not fitting:
            fitting[key] = cells
        else:
            left.append(key)
            room += _width(key, cells)
    return fitting, left


def _laid_out(name: str, said: str, held: Mapping[str, list[str]]) -> CaseTable:
    widths = [_width(key, cells) for key, cells in held.items()]
    total = sum(widths) or 1.0
    # A table of few columns is kept narrow: rows that reach across the page are hard to follow.
    percent = min(100.0, 130 * total / _WIDTH_PX)
    shown = [
        Column(title(key), f"{100 * width / total:.3f}", _numeric(cells))
        for (key, cells), width in zip(held.items(), widths, strict=True)
    ]
    return CaseTable(name, said, shown, [list(row) for row in zip(*held.values(), strict=True)], f"{percent:.3f}")


def _width(name: str, cells: Sequence[str]) -> float:
    head = max(text_width(word, _FONT_PX, "semibold") for word in [*title(name).split(), ""])
    longest = max(sorted(set(cells), key=len)[-12:], key=lambda cell: text_width(cell, _FONT_PX), default="")
    padding = _PADDING_NUMBER_PX if _numeric(cells) else _PADDING_PX
    return padding + min(max(head, text_width(longest, _FONT_PX)), _WIDEST_PX)


def _numeric(cells: Iterable[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(numbers.is_number(cell) for cell in filled)
