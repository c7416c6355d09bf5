"""Taking typed values out of a parsed TOML table, with everything that is wrong with them gathered."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medgan_qa.cohorts._problems import is_absolute, unknown

DATE = "a date as YYYY, YYYY-MM or YYYY-MM-DD"
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


class Keys:
    """The values of one table.

    Args:
        content: the table as parsed.
        known: the keys that it may hold; any other is a problem.
        problems: where problems are put.
        table: the table's own name, printed before its keys; empty for the top of the file.
    """

    def __init__(self, content: dict[str, Any], known: Sequence[str], problems: list[str], table: str = "") -> None:
        self._content, self._prefix, self.problems = content, f"{table}." if table else "", problems
        self.problems += [f"{table}: {p}" if table else p for p in unknown(content, known, "key")]

    def text(self, key: str, *, required: bool = False) -> str | None:
        """Text that is not blank; None where it is not given."""
        value = self._content.get(key)
        if value is None and not required:
            return None
        if isinstance(value, str) and value.strip():
            return value
        self.report(key, "text", value)
        return None

    def one_of(self, key: str, choices: Sequence[str]) -> str | None:
        """One of a few words; None where it is not given."""
        value = self._content.get(key)
        if value is None or (isinstance(value, str) and value in choices):
            return value
        self.report(key, " or ".join(json.dumps(choice) for choice in choices), value)
        return None

    def table_name(self, key: str) -> str:
        """The name of a CSV or Parquet file, relative to the dataset file; empty where it is wrong."""
        name = self.text(key, required=True)
        if name is None:
            return ""
        if "\0" in name or Path(name).suffix.lower() not in (".csv", ".parquet"):
            self.report(key, "a .csv or .parquet file", name)
        if is_absolute(name):
            self.report(key, "a path relative to the dataset file", name)
        return name

    def value_range(self, key: str) -> tuple[float, float] | None:
        """Low and high end."""
        return self._pair(key, "[low, high] with low < high", lambda low, high: low < high)

    def spacing(self, key: str) -> tuple[float, float] | None:
        """Distances of pixel centres in mm: rows, columns."""
        return self._pair(key, "[dy, dx], two positive numbers in mm", lambda dy, dx: dy > 0 and dx > 0)

    def part(self, key: str) -> tuple[float, float] | None:
        """A part of the whole, from and to, as shares of it."""
        wanted = "[from, to], two shares with 0 <= from < to <= 1"
        return self._pair(key, wanted, lambda start, end: 0 <= start < end <= 1)

    def share(self, key: str) -> float | None:
        """A share of at least 0 and less than 1; None where it is not given."""
        value = self._content.get(key)
        if value is None:
            return None
        if _is_number(value) and 0 <= value < 1:
            return float(value)
        self.report(key, "a share of at least 0 and less than 1", value)
        return None

    def lesion_in(self, key: str) -> tuple[str, ...]:
        """Any of `source` and `target`."""
        value = self._content.get(key, [])
        if isinstance(value, list) and all(item in ("source", "target") for item in value):
            return tuple(dict.fromkeys(value))
        self.report(key, 'a list of "source" and "target"', value)
        return ()

    def scale(self, key: str) -> tuple[int, int]:
        """Factors of rows and columns."""
        value = self._content.get(key, 1)
        factors = value if isinstance(value, list) else [value, value]
        if len(factors) == 2 and all(type(factor) is int and factor >= 1 for factor in factors):
            return factors[0], factors[1]
        self.report(key, "a whole number of at least 1, or [rows, columns] of such", value)
        return 1, 1

    def whole(self, key: str, least: int) -> int | None:
        """A whole number; None where it is not given."""
        value = self._content.get(key)
        if value is None or (type(value) is int and value >= least):
            return value
        self.report(key, f"a whole number of at least {least}", value)
        return None

    def boolean(self, key: str) -> bool:
        """True or false; false where it is not given."""
        value = self._content.get(key, False)
        if isinstance(value, bool):
            return value
        self.report(key, "true or false", value)
        return False

    def date(self, key: str) -> str | None:
        """A date in ISO 8601, of a day, a month or a year; None where it is not given."""
        value = self._content.get(key)
        if value is None or (isinstance(value, str) and is_date(value)):
            return value
        self.report(key, DATE, value)
        return None

    def table(self, key: str) -> dict[str, Any] | None:
        """A table inside this one; None where it is not given."""
        value = self._content.get(key)
        if value is None or isinstance(value, dict):
            return value
        self.report(key, f"a table [{key}]", value)
        return None

    def report(self, key: str, wanted: str, value: object) -> None:
        """Gather that the value of a key is not what is wanted."""
        found = "nothing" if value is None else json.dumps(value, default=str)
        self.problems.append(f"{self._prefix}{key}: expected {wanted}, found {found}")

    def _pair(self, key: str, wanted: str, valid: Callable[[float, float], bool]) -> tuple[float, float] | None:
        value = self._content.get(key)
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            first, second = float(value[0]), float(value[1])
            if valid(first, second):
                return first, second
        self.report(key, wanted, value)
        return None


def is_date(text: str) -> bool:
    """Whether a text is a date in ISO 8601: YYYY, YYYY-MM or YYYY-MM-DD, and exists in the calendar."""
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    year, month, day = (int(part or 1) for part in match.groups())
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more digits than any float
        return False
