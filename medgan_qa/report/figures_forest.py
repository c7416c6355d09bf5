"""Interval plots by stratum as SVG: estimate, interval, limit and sample in one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from medgan_qa.report import numbers
from medgan_qa.report.figures_charts import axis_range, scale, tick_text, ticks
from medgan_qa.report.svg import ACCENT, FAINT, INK, MUTED, PAGE_WIDTH, RULE, drawing, line, tag, text
from medgan_qa.report.typography import text_width, wrap

_LABEL_WIDTH = 160.0
_PLOT_START, _PLOT_END = 172.0, 352.0
_ESTIMATE, _SAMPLE = 364.0, 520.0
_SIZE, _LEADING, _ROW_GAP = 9.6, 12.0, 8.0
_HEAD, _FOOT = 36.0, 36.0
ROWS_PER_DRAWING = 12
"""A third of a page, so that a long plot flows over pages and leaves no gap before it."""
_BEYOND = "#f3efe6"

Side = Literal["max", "min"]


class _Row(NamedTuple):
    """One line of the plot with the text that it is wrapped to."""

    data: Mapping[str, Any]
    label: list[str]
    estimate: list[str]
    sample: list[str]
    heading: str

    @property
    def height(self) -> float:
        lines = max(len(self.label), len(self.estimate), len(self.sample))
        return lines * _LEADING + _ROW_GAP + self.lead

    @property
    def lead(self) -> float:
        """Room over the row for the heading of its group."""
        return _LEADING + _ROW_GAP if self.heading else 0.0


def forest(data: Mapping[str, Any], title: str) -> list[Markup]:
    """Interval plots over one axis, as many drawings as the rows need.

    Args:
        data: `unit`, `rows` (each with label, value, low, high, n, clusters, unit_of_analysis, and `reason` where the
            value is missing; optionally `group`), `limit` (`max`, `min`, or None), `x` (range of the axis, or None).
        title: text alternative of the drawings.
    """
    rows = _rows(data["rows"], data.get("unit", "1"))
    pages = [rows[start : start + ROWS_PER_DRAWING] for start in range(0, len(rows), ROWS_PER_DRAWING)]
    axis = _range(data)
    return [_plot(page, data, title, axis) for page in pages]


def _range(data: Mapping[str, Any]) -> tuple[float, float]:
    values = [row[key] for row in data["rows"] for key in ("value", "low", "high") if row.get(key) is not None]
    return axis_range(data.get("x"), [*values, *(data.get("limit") or {}).values()])


def _rows(entries: Sequence[Mapping[str, Any]], unit: str) -> list[_Row]:
    rows: list[_Row] = []
    group = ""
    for entry in entries:
        own = str(entry.get("group") or "")
        rows.append(_row(entry, unit, own if own != group else ""))
        group = own
    return rows


def _row(entry: Mapping[str, Any], unit: str, heading: str) -> _Row:
    sample = numbers.sample(entry.get("n"), entry.get("unit_of_analysis"), entry.get("clusters"))
    return _Row(
        entry,
        wrap(str(entry.get("label", "")), _LABEL_WIDTH, _SIZE),
        _estimate(entry, unit),
        wrap(sample, PAGE_WIDTH - _SAMPLE, _SIZE),
        heading,
    )


def _estimate(entry: Mapping[str, Any], unit: str) -> list[str]:
    value = entry.get("value")
    if value is None:
        reason = f"not obtained: {entry.get('reason') or 'no reason given'}"
        return wrap(reason, _SAMPLE - _PLOT_START - 12, _SIZE)
    estimate = numbers.quantity(value, unit)
    if not _has_interval(entry):
        return [estimate]
    ends = numbers.span(entry.get("low"), entry.get("high"), unit)
    joined = f"{estimate} ({ends})"
    return [joined] if text_width(joined, _SIZE) <= _SAMPLE - _ESTIMATE - 8 else [estimate, ends]


def _has_interval(entry: Mapping[str, Any]) -> bool:
    return entry.get("low") is not None or entry.get("high") is not None


def _plot(rows: Sequence[_Row], data: Mapping[str, Any], title: str, axis: tuple[float, float]) -> Markup:
    unit = data.get("unit", "1")
    limits: Mapping[Side, float] = data.get("limit") or {}
    low, high = axis
    across = scale(low, high, _PLOT_START, _PLOT_END)
    bottom = _HEAD + sum(row.height for row in rows)
    parts = [
        *(mark for side, value in limits.items() for mark in _tint(side, value, across, bottom)),
        *_axis(across, bottom, ticks(low, high, 4), unit),
        *(mark for side, value in limits.items() for mark in _limit(side, value, across, bottom, unit)),
        *_headings(),
    ]
    top = _HEAD
    for row in rows:
        parts += _draw_row(row, top, across, (low, high))
        top += row.height
    return drawing(PAGE_WIDTH, bottom + _FOOT, parts, title)


def _headings() -> list[Markup]:
    y = _HEAD - 9
    heads = ((0.0, "Stratum"), (_ESTIMATE, "Estimate, interval"), (_SAMPLE, "Sample"))
    return [
        *(text(x, y, name, size=8.8, fill=MUTED, weight=600) for x, name in heads),
        line(0, _HEAD - 4, PAGE_WIDTH, _HEAD - 4, stroke=RULE),
    ]


def _axis(across: Callable[[float], float], bottom: float, at: Sequence[float], unit: str) -> list[Markup]:
    name = {"fraction": "percent", "1": ""}.get(unit, unit)
    middle = (_PLOT_START + _PLOT_END) / 2
    return [
        *(line(across(tick), _HEAD - 4, across(tick), bottom, stroke=FAINT) for tick in at),
        *(_tick(across(tick), bottom + 14, tick_text(tick, unit)) for tick in at),
        line(_PLOT_START, bottom, _PLOT_END, bottom, stroke=MUTED),
        _tick(middle, bottom + 28, name),
    ]


def _tick(x: float, y: float, words: str) -> Markup:
    return text(x, y, words, size=9, anchor="middle", fill=MUTED)


def _tint(side: Side, value: float, across: Callable[[float], float], bottom: float) -> list[Markup]:
    """A ground over the side of the limit that does not meet the criterion."""
    start, end = (across(value), _PLOT_END) if side == "max" else (_PLOT_START, across(value))
    top = _HEAD - 4
    return [tag("rect", x=start, y=top, width=end - start, height=bottom - top, fill=_BEYOND)] if end > start else []


def _limit(side: Side, value: float, across: Callable[[float], float], bottom: float, unit: str) -> list[Markup]:
    x = across(value)
    label = f"limit {numbers.limit({side: value}, unit)}"
    return [
        line(x, _HEAD - 18, x, bottom, stroke=ACCENT, width=1.2, dash="4 2.5"),
        text(x, _HEAD - 22, label, size=8.8, anchor="middle", fill=ACCENT, weight=600),
    ]


def _draw_row(row: _Row, top: float, across: Callable[[float], float], axis: tuple[float, float]) -> list[Markup]:
    parts: list[Markup] = []
    if row.heading:
        parts.append(text(0, top + _LEADING, row.heading, size=_SIZE, weight=600))
        top += row.lead
    missing = row.data.get("value") is None
    where = _PLOT_START + 4 if missing else _ESTIMATE
    if missing:
        parts.append(_ground(top, row.estimate))
    parts += _lines(0, top, row.label)
    parts += _lines(where, top, row.estimate, MUTED if missing else INK, italic=missing)
    parts += _lines(_SAMPLE, top, row.sample, MUTED)
    if not missing:
        parts += _interval(row.data, top + _LEADING - 3.4, across, axis)
    bottom = top + row.height - row.lead - 2
    return [*parts, line(0, bottom, PAGE_WIDTH, bottom, stroke=FAINT, width=0.7)]


def _ground(top: float, content: Sequence[str]) -> Markup:
    """White below a text that stands in the plot."""
    width = max(text_width(part, _SIZE) for part in content) + 6
    return tag("rect", x=_PLOT_START + 1, y=top + 2, width=width, height=_LEADING * len(content) + 2, fill="#ffffff")


def _lines(x: float, top: float, content: Sequence[str], fill: str = INK, italic: bool = False) -> list[Markup]:
    return [
        text(x, top + _LEADING * (index + 1), part, size=_SIZE, fill=fill, italic=italic)
        for index, part in enumerate(content)
        if part
    ]


def _interval(
    entry: Mapping[str, Any], y: float, across: Callable[[float], float], axis: tuple[float, float]
) -> list[Markup]:
    """The interval with a cap at each end, or an arrow where it leaves the axis or has no end, and the estimate."""
    parts: list[Markup] = []
    if _has_interval(entry):
        ends = [axis[side] if entry.get(key) is None else entry[key] for side, key in enumerate(("low", "high"))]
        parts.append(line(across(ends[0]), y, across(ends[1]), y, width=1.5))
        for side, key in enumerate(("low", "high")):
            beyond = entry.get(key) is None or (ends[side] < axis[0] if side == 0 else ends[side] > axis[1])
            parts.append(_end(across(ends[side]), y, beyond, -1 if side == 0 else 1))
    if axis[0] <= entry["value"] <= axis[1]:
        parts.append(
            tag("circle", cx=across(entry["value"]), cy=y, r=3.6, fill=ACCENT, stroke="#ffffff", stroke_width=0.8)
        )
    return parts


def _end(x: float, y: float, beyond: bool, side: int) -> Markup:
    if beyond:
        return tag(
            "path",
            d=f"M{x - 5 * side:.2f} {y - 3.6:.2f}L{x:.2f} {y:.2f}L{x - 5 * side:.2f} {y + 3.6:.2f}",
            fill="none",
            stroke=INK,
            stroke_width=1.3,
        )
    return line(x, y - 3.4, x, y + 3.4, width=1.3)
