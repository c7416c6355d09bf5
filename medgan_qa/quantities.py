"""How numbers are written for readers: in the report, in summaries, on the terminal and in the sentences of a Record.

Formatting only: nothing is computed but the digits that are shown. Fractions are written as percent and their
differences as percentage points, ratios with two decimals, decibels with one. A number that is held against a limit
gets as many digits as it takes to read on the side of the limit that it is on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from medgan_qa.record import Interval

MINUS = "\u2212"
THIN = "\u202f"
POINTS = "percentage points"
"""Unit of a difference of two fractions; such a number is a fraction, as its operands are."""
_SUFFIX = {"1": "", "count": "", "fraction": "%"}
_HUNDREDTHS = frozenset({"fraction", POINTS})
_MAX_EXTRA = 15


def quantity(value: float, unit: str, extra: int = 0) -> str:
    """Write a number with its unit.

    Args:
        value: a finite number in `unit`.
        unit: unit of a Measurement: `fraction` (written as percent), `1`, `count`, `mm`, `dB` or any other text; for a
            difference, what `of_difference` makes of it.
        extra: decimals beyond the usual ones.

    Returns:
        For example `3.0 %`, `0.94`, `31.2 dB`.
    """
    return _with_suffix(_digits(value, unit, extra), unit)


def _with_suffix(text: str, unit: str) -> str:
    suffix = _SUFFIX.get(unit, unit)
    return f"{text} {suffix}" if suffix else text


def _digits(value: float, unit: str, extra: int = 0) -> str:
    shown = 100 * value if unit in _HUNDREDTHS else value
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
    if unit in _HUNDREDTHS:
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


def allowed(limits: Mapping[Literal["max", "min"], float], unit: str) -> str:
    """Write a criterion's limit in words, e.g. `at most 10 %`, or `at least 0.9 and at most 1.1`."""
    words: dict[Literal["max", "min"], str] = {"min": "at least", "max": "at most"}
    return " and ".join(f"{words[side]} {declared(limits[side], unit)}" for side in words if side in limits)


def declared(value: float, unit: str) -> str:
    """Write a number that somebody declared, such as a margin, with the digits that it was declared with."""
    return _with_suffix(_declared(value, unit), unit)


def of_difference(unit: str) -> str:
    """The unit of a difference of two numbers in `unit`: percentage points for fractions, else the same."""
    return POINTS if unit == "fraction" else unit


def short(text: str) -> str:
    """A written number for a table, where `points` beside percents can be nothing but percentage points."""
    return text.replace(POINTS, "points")


def _declared(value: float, unit: str) -> str:
    return f"{100 * value if unit in _HUNDREDTHS else value:.8g}".replace("-", MINUS)


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
    bare = text.replace(THIN, "").replace(MINUS, "-")
    # The power of ten is put on the text: dividing by 100 could miss the limit by a rounding error.
    read = float(f"{bare}e-2" if unit in _HUNDREDTHS else bare)
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


def with_interval(value: float | None, ends: Interval | None, unit: str, limits: Iterable[float] = ()) -> str:
    """Write a number with its interval behind it, e.g. `54.0 % (43.9 to 63.9)`; `-` where there is no number."""
    if value is None:
        return "-"
    held = list(limits)
    told = against(value, held, unit)
    if ends is None:
        return told
    return f"{told} ({interval(ends, unit, held).removesuffix(_SUFFIX.get(unit, unit)).rstrip()})"


def plain(text: str) -> str:
    """A written number for terminals and files of any encoding: a hyphen for the minus sign, ordinary blanks."""
    return text.replace(MINUS, "-").replace(THIN, " ")


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
    if head.endswith("y") and head[-2:-1] not in "aeiou":
        many = f"{head[:-1]}ies"
    else:
        many = f"{head}es" if head.endswith(("ch", "sh", "x")) else f"{head}s"
    return many + preposition + rest


def sample(n: int | None, unit: str | None, clusters: int | None) -> str:
    """Write what went into a number, e.g. `160 lesions; 84 patients`."""
    if n is None:
        return ""
    own = counted(n, unit or "case")
    return own if clusters is None or unit == "patient" else f"{own}; {counted(clusters, 'patient')}"
