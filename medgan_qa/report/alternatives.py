"""Text alternatives of figures: what a figure is, and what it shows, for those who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medgan_qa.report import numbers
from medgan_qa.report.figures_charts import group_order

_MOST_ROWS = 12


def alternative(kind: str, name: str, data: Mapping[str, Any]) -> str:
    """The text alternative of a drawing.

    Args:
        kind: kind of the exhibit.
        name: its number and title.
        data: what is drawn.
    """
    told = {"forest": _forest, "scatter": _scatter, "curves": _curves}.get(kind)
    return f"{name}. {told(data)}" if told else name


def _forest(data: Mapping[str, Any]) -> str:
    rows = [_row(row, str(data.get("unit", "1"))) for row in data["rows"][:_MOST_ROWS]]
    more = len(data["rows"]) - len(rows)
    return f"Interval plot. {'; '.join(rows)}{f'; and {more} more rows' if more > 0 else ''}."


def _row(row: Mapping[str, Any], unit: str) -> str:
    label, value = str(row.get("label", "")), row.get("value")
    if value is None:
        return f"{label}: not obtained"
    low, high = row.get("low"), row.get("high")
    ends = "" if low is None and high is None else f", interval {numbers.span(low, high, unit)}"
    return f"{label}: {numbers.quantity(value, unit)}{ends}"


def _scatter(data: Mapping[str, Any]) -> str:
    points = [point for point in data["points"] if point.get("x") is not None and point.get("y") is not None]
    groups = [
        f"{sum(str(point.get('group') or '') == group for point in points)} {group}"
        for group in group_order(points)
        if group
    ]
    axes = f"{data.get('y_label', 'y')} against {data.get('x_label', 'x')}"
    return (
        f"Scatter plot of {axes}, {numbers.counted(len(points), 'point')}{': ' if groups else ''}{', '.join(groups)}."
    )


def _curves(data: Mapping[str, Any]) -> str:
    names = ", ".join(str(entry["name"]) for entry in data["series"])
    return f"Lines of {data.get('y_label', 'y')} over {data.get('x_label', 'x')}: {names}."
