"""How the report writes numbers: as everywhere (`medgan_qa.quantities`), in the case table, and digests."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medgan_qa.quantities import (
    MINUS,
    THIN,
    against,
    counted,
    interval,
    judged,
    level,
    limit,
    quantity,
    sample,
    span,
)

__all__ = [
    "MINUS",
    "THIN",
    "against",
    "column",
    "counted",
    "groups",
    "interval",
    "is_number",
    "judged",
    "level",
    "limit",
    "quantity",
    "sample",
    "span",
]


def column(cells: Sequence[str]) -> list[str]:
    """Shorten the numbers of one column of the case table, about four digits each, with their points below each other.

    Text is left as it is, and so are whole numbers. Where sizes differ too much for one number of decimals, each number
    keeps four significant digits of its own.
    """
    values = [abs(float(text)) for text in cells if is_number(text) and math.isfinite(float(text))]
    largest = max(values, default=0.0)
    if all(value == round(value) for value in values) or not 1e-3 <= largest < 1e7:
        return [_short(text) for text in cells]
    given = max(len(text.partition(".")[2]) for text in cells if is_number(text))
    decimals = min(given, max(0, 3 - math.floor(math.log10(largest))))
    if any(0 < value < 10 ** (1 - decimals) and value < largest / 1000 for value in values):
        return [_short(text) for text in cells]
    return [f"{float(text):.{decimals}f}".replace("-", MINUS) if is_number(text) else text for text in cells]


def _short(text: str) -> str:
    if not is_number(text) or not math.isfinite(float(text)):
        return text
    value = float(text)
    if value == round(value) and abs(value) < 1e15:
        return text.removesuffix(".0").replace("-", MINUS)
    return min(f"{value:.4g}", text, key=len).replace("-", MINUS)


def is_number(text: str) -> bool:
    """Whether a cell of the case table holds a number."""
    try:
        float(text.replace(MINUS, "-"))
    except ValueError:
        return False
    return True


def groups(digest: str, size: int = 8) -> list[str]:
    """Cut a hexadecimal digest into groups for reading; other text stays in one piece."""
    bare = digest.removeprefix("sha256:")
    if len(bare) < 2 * size or any(character not in "0123456789abcdefABCDEF" for character in bare):
        return [digest]
    return [bare[start : start + size] for start in range(0, len(bare), size)]
