"""What of an exhibit and of the page goes on paper; on screen, and so in `report.html`, all of it is shown.

Templates put `<!--screen-->` and `<!--/screen-->` around what paper leaves out. Text of a Record cannot bring such a
mark with it, because every value is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medgan_qa.record import AuditResult, Exhibit
from medgan_qa.report import limits

_SCREEN = re.compile(r"[ \t]*<!--screen-->.*?<!--/screen-->\n?", re.DOTALL)
_TELLING = ("curves", "scatter", "panels", "sheet", "counts", "forest")
"""Kinds by what they tell beside the table of measurements: an interval plot repeats its rows, a curve none of them."""


def on_paper(page: str) -> str:
    """The page without what is for the screen alone."""
    return _SCREEN.sub("", page)


def judged(audit: AuditResult) -> bool:
    """Whether a criterion judges one of the audit's measurements."""
    return bool(audit.criteria)


def printed_exhibits(audit: AuditResult) -> list[bool]:
    """Which of an audit's exhibits go on paper.

    Of a judged audit the first of each kind, then the others, in the order of the Record; of another the kind that
    tells most. A small table of counts costs little and is always printed.
    """
    exhibits = audit.exhibits
    if judged(audit):
        kinds = [exhibit.kind for exhibit in exhibits]
        order = sorted(range(len(exhibits)), key=lambda k: (kinds[k] in kinds[:k], k))
        chosen = set(order[: limits.PAPER_EXHIBITS_JUDGED])
    else:
        order = sorted(range(len(exhibits)), key=lambda k: (_TELLING.index(exhibits[k].kind), k))
        chosen = set(order[: limits.PAPER_EXHIBITS_OTHER])
    small = {k for k, exhibit in enumerate(exhibits) if _is_small(exhibit)}
    return [k in chosen | small for k in range(len(exhibits))]


def _is_small(exhibit: Exhibit) -> bool:
    return exhibit.kind == "counts" and len(exhibit.data["rows"]) <= limits.PAPER_ROWS_OTHER


def printed_cases(cases: Sequence[Mapping[str, Any]], is_judged: bool) -> list[bool]:
    """Which cases of an exhibit of images go on paper: the first by rule, and one in three of those drawn at random."""
    most = limits.PAPER_CASES_JUDGED if is_judged else limits.PAPER_CASES_OTHER
    if len(cases) <= most:
        return [True] * len(cases)
    random = [k for k, case in enumerate(cases) if case.get("rule") == "random"]
    ruled = [k for k, case in enumerate(cases) if case.get("rule") != "random"]
    from_random = min(len(random), max(most // limits.PAPER_RANDOM, most - len(ruled)))
    chosen = {*ruled[: most - from_random], *random[:from_random]}
    return [k in chosen for k in range(len(cases))]


def printed_first(count: int, most: int) -> list[bool]:
    """The first of so many."""
    return [k < most for k in range(count)]
