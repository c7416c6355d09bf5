"""Lines of JSON, one a run: written as runs end, read again for the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Line = dict[str, Any]


def read(paths: Sequence[Path]) -> list[Line]:
    """The lines of all files that are there."""
    return [json.loads(text) for path in paths if path.exists() for text in path.read_text().splitlines()]


def append(path: Path, line: Line) -> None:
    """Add a line at the end of a file."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def ends(measurement: Any) -> list[float | None]:
    """Value, low end and high end of a measurement."""
    interval = measurement.interval
    return [measurement.value, interval and interval.low, interval and interval.high]


def spread(values: Sequence[float]) -> str:
    """The median, with the smallest and the largest."""
    if not values:
        return "-"
    median, low, high = float(np.median(values)), min(values), max(values)
    return f"{median:.3g}" if low == high else f"{median:.3g} ({low:.3g} to {high:.3g})"
