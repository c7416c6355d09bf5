"""How the report writes numbers. Formatting only: nothing is computed but the digits that are shown.

Fractions are written as percent, ratios with two decimals, decibels with one. A number that is held against a limit
gets as many digits as it takes to read on the side of the limit that it is on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from medgan_qa.record import Interval

MINUS = "\u2212"
THIN = "\u202f"
_SUFFIX = {"1": "", "count": ""}
_MAX_EXTRA = 5


def quantity(value: float, unit: str, extra: int = 0) -> str:
    """Write a number with its unit.

    Args:
        value: a finite number in `unit`.
        unit: unit of a Measurement: `fraction` (written as percent), `1`, `count`, `mm`, `dB` or any other text.
        extra: decimals beyond the usual ones.

    Returns:
        For example `3.0 %`, `0.94`, `31.2 dB`.
    """
    return _with_suffix(_digits(value, unit, extra), unit)


def _with_suffix(text: str, unit: str) -> str:
    suffix = "%" if unit == "fraction" else _SUFFIX.get(unit, unit)
    return f"{text} {suffix}" if suffix else text


def _digits(value: float, unit: str, extra: int = 0) -> str:
    shown = 100 * value if unit == "fraction" else value
    decimals = _decimals(shown, unit)
    if decimals is None:
        return f"{shown:.{2 + extra}e}".replace("-", MINUS)
    text = f"{shown:,.{decimals + extra}f}".replace(",", THIN)
    if not text.strip("-0."):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def _decimals(shown: float, unit: str) -> int | None:
    """Decimals for a number as shown; None asks for powers of ten."""
    size = abs(shown)
    if unit == "fraction":
        return _percent_decimals(size)
    if unit == "count" and shown == round(shown):
        return 0
    if size and not 1e-4 <= size < 1e9:
        return None
    if unit in ("dB", "count"):
        return 1
    if unit == "mm":
        return 1 if size >= 1 else 2
    if unit == "1":
        return 2 if size >= 0.1 or size == 0 else min(4, 1 - math.floor(math.log10(size)))
    return max(0, 2 - math.floor(math.log10(size))) if size else 0


def _percent_decimals(size: float) -> int:
    gap = min(size, abs(100 - size))
    if gap < 1e-9:
        return 0
    return 1 if gap >= 0.1 else min(6, -math.floor(math.log10(gap)))


def limit(limits: Mapping[Literal["max", "min"], float], unit: str) -> str:
    """Write a criterion's limit with the digits it was declared with, e.g. `≤ 10 %`, or `0.9 to 1.1`."""
    low, high = (_declared(limits[side], unit) if side in limits else "" for side in ("min", "max"))
    if low and high:
        return _with_suffix(f"{low} to {high}", unit)
    return _with_suffix(f"\u2265 {low}" if low else f"\u2264 {high}", unit)


def _declared(value: float, unit: str) -> str:
    return f"{100 * value if unit == 'fraction' else value:.8g}".replace("-", MINUS)


def against(value: float, limits: Iterable[float], unit: str) -> str:
    """Write a number held against limits, with digits enough that it reads on the side of each limit that it is on."""
    return _with_suffix(_held(value, list(limits), unit), unit)


def _held(value: float, limits: list[float], unit: str) -> str:
    text = _digits(value, unit)
    for extra in range(1, _MAX_EXTRA + 1):
        if all(_same_side(text, value, other, unit) for other in limits):
            break
        text = _digits(value, unit, extra)
    return text


def _same_side(text: str, value: float, other: float, unit: str) -> bool:
    plain = text.replace(THIN, "").replace(MINUS, "-")
    # The power of ten is put on the text: dividing by 100 could miss the limit by a rounding error.
    read = float(f"{plain}e-2" if unit == "fraction" else plain)
    return (read > other, read < other) == (value > other, value < other)


def span(low: float | None, high: float | None, unit: str, limits: Iterable[float] = ()) -> str:
    """Write the two ends of an interval, each held against `limits`; the end that it does not have is left out."""
    held = list(limits)
    if low is None and high is None:
        return "not obtained"
    if low is None or high is None:
        return _one_end(low, high, unit, held)
    return _with_suffix(f"{_held(low, held, unit)} to {_held(high, held, unit)}", unit)


def _one_end(low: float | None, high: float | None, unit: str, limits: list[float]) -> str:
    if low is None and high is not None:
        return f"at most {against(high, limits, unit)}"
    return f"at least {against(low, limits, unit)}" if low is not None else ""


def interval(value: Interval | None, unit: str, limits: Iterable[float] = ()) -> str:
    """Write an interval, e.g. `1.2 to 7.6 %`; an empty text where there is none."""
    return "" if value is None else span(value.low, value.high, unit, limits)


def level(value: Interval | None) -> str:
    """Write an interval's level, e.g. `95 %, one-sided`; an empty text where there is none."""
    if value is None:
        return ""
    return f"{100 * value.level:.4g} %, {'one' if value.sided == 1 else 'two'}-sided"


def judged(side: str) -> str:
    """Name the number that a criterion is judged on."""
    return {"upper": "upper bound", "lower": "lower bound", "both": "both bounds", "value": "estimate"}[side]


def counted(n: int, unit: str) -> str:
    """Write a count with its unit, e.g. `1 lesion`, `160 lesions`, `12 cases with lesions`."""
    number = f"{n:,}".replace(",", THIN)
    return f"{number} {unit if n == 1 else _plural(unit)}"


def _plural(unit: str) -> str:
    head, preposition, rest = unit.partition(" with ")
    if not head or head.endswith("s"):
        return unit
    many = f"{head[:-1]}ies" if head.endswith("y") and head[-2:-1] not in "aeiou" else f"{head}s"
    return many + preposition + rest


def sample(n: int | None, unit: str | None, clusters: int | None) -> str:
    """Write what went into a number, e.g. `160 lesions; 84 patients`."""
    if n is None:
        return ""
    own = counted(n, unit or "case")
    return own if clusters is None or unit == "patient" else f"{own}; {counted(clusters, 'patient')}"


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
