"""Interval plots and scatter plots as SVG, drawn from an Exhibit's data. Nothing is computed but positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from medgan_qa.report import numbers
from medgan_qa.report.svg import ACCENT, FAINT, MUTED, PAGE_WIDTH, drawing, line, tag, text
from medgan_qa.report.typography import text_width

_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 560.0, 28.0, 44.0
_PLOT_HEIGHT = 200.0

# Vermilion, blue, green, purple, orange, sky blue and grey stay apart under the common colour-vision deficiencies.
_COLOURS = ("#0072b2", "#e69f00", "#c43c00", "#7b3294", "#009e73", "#56b4e9", "#6b6b6b")
_STROKES = (None, "6 3", "2 2", "8 3 2 3")
_ORDER = ("kept", "weakened", "lost", "inverted")
_ALIKE = {"weak": "weakened", "flat": "lost"}


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round positions between two numbers, about `count` of them, at steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def axis_range(given: Sequence[float] | None, values: Sequence[float]) -> tuple[float, float]:
    """The range of an axis: as given, or one that holds all values with a margin."""
    if given is not None and given[1] > given[0]:
        return float(given[0]), float(given[1])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Map from data to pixels; what lies outside the axis is put on its end."""
    return lambda value: start + (end - start) * min(1.0, max(0.0, (value - low) / (high - low)))


def tick_text(value: float, unit: str = "1") -> str:
    """A tick's label, without needless zeros."""
    shown = 100 * value if unit == "fraction" else value
    return f"{shown:.6g}".replace("-", numbers.MINUS)


def marker(kind: int, x: float, y: float, colour: str, size: float = 4.2, title: str | None = None) -> Markup:
    """A point: one of circle, square, triangle, diamond, cross, inverted triangle and plus, by its number."""
    shapes = (
        f"M{x - size:.2f} {y:.2f}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 {-2 * size} 0z",
        f"M{x - size:.2f} {y - size:.2f}h{2 * size}v{2 * size}h{-2 * size}z",
        f"M{x:.2f} {y - 1.2 * size:.2f}l{1.15 * size:.2f} {2 * size}h{-2.3 * size:.2f}z",
        f"M{x:.2f} {y - 1.3 * size:.2f}l{1.3 * size:.2f} {1.3 * size:.2f}l{-1.3 * size:.2f} {1.3 * size:.2f}"
        f"l{-1.3 * size:.2f} {-1.3 * size:.2f}z",
        f"M{x - size:.2f} {y - size:.2f}l{2 * size} {2 * size}m0 {-2 * size}l{-2 * size} {2 * size}",
        f"M{x:.2f} {y + 1.2 * size:.2f}l{1.15 * size:.2f} {-2 * size}h{-2.3 * size:.2f}z",
        f"M{x - size:.2f} {y:.2f}h{2 * size}m{-size} {-size}v{2 * size}",
    )
    kind %= len(shapes)
    filled = kind not in (4, 6)
    return tag(
        "path",
        *([tag("title", title)] if title else []),
        d=shapes[kind],
        fill=colour if filled else "none",
        fill_opacity="0.72" if filled else None,
        stroke="#ffffff" if filled else colour,
        stroke_width=0.6 if filled else 1.6,
    )


def group_order(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The groups of a scatter plot: kept, weakened, lost, inverted first, then the others as they appear."""
    seen = list(dict.fromkeys(str(point.get("group") or "") for point in points))
    return sorted(seen, key=lambda group: _ORDER.index(_fate(group)) if _fate(group) in _ORDER else len(_ORDER))


def _fate(group: str) -> str:
    return _ALIKE.get(group, group)


def style_of(group: str, groups: Sequence[str]) -> tuple[int, str]:
    """Marker and colour of a group; the four fates of a lesion look the same in every figure."""
    others = [name for name in groups if _fate(name) not in _ORDER]
    index = _ORDER.index(_fate(group)) if _fate(group) in _ORDER else len(_ORDER) + others.index(group)
    return index, _COLOURS[index % len(_COLOURS)]


def scatter(data: Mapping[str, Any], title: str) -> Markup:
    """A scatter plot with reference lines and a legend.

    Args:
        data: `x_label`, `y_label`, `points` (each with x, y, group, case_id), and optionally `lines` (each with y or x,
            and a label), `x_range` and `y_range`.
        title: text alternative of the drawing.
    """
    points = [point for point in data["points"] if point.get("x") is not None and point.get("y") is not None]
    x_low, x_high = axis_range(data.get("x_range"), [point["x"] for point in points])
    y_low, y_high = axis_range(data.get("y_range"), [point["y"] for point in points])
    across = scale(x_low, x_high, _LEFT, _RIGHT)
    up = scale(y_low, y_high, _TOP + _PLOT_HEIGHT, _TOP)
    groups = group_order(points)
    parts = [
        *_grid(ticks(x_low, x_high, 6), across, ticks(y_low, y_high), up),
        *_axis_titles(str(data.get("x_label", "")), str(data.get("y_label", ""))),
        *(mark for entry in data.get("lines") or [] for mark in _reference_line(entry, across, up)),
        *(_point(point, across, up, groups) for point in points),
        *_legend(groups),
    ]
    return drawing(PAGE_WIDTH, _TOP + _PLOT_HEIGHT + _BOTTOM, parts, title)


def curves(data: Mapping[str, Any], title: str) -> Markup:
    """Lines over a common axis, each with its band where it has one, and a legend.

    Args:
        data: `x_label`, `y_label`, `series` (each with `name`, `x`, `y` and optionally `low` and `high`, lists of one
            length), and optionally `lines` (reference lines), `x_range` and `y_range`.
        title: text alternative of the drawing.
    """
    series = data["series"]
    heights = [v for entry in series for key in ("y", "low", "high") for v in entry.get(key) or [] if v is not None]
    x_low, x_high = axis_range(data.get("x_range"), [v for entry in series for v in entry["x"]])
    y_low, y_high = axis_range(data.get("y_range"), heights)
    across = scale(x_low, x_high, _LEFT, _RIGHT)
    up = scale(y_low, y_high, _TOP + _PLOT_HEIGHT, _TOP)
    parts = [
        *_grid(ticks(x_low, x_high, 6), across, ticks(y_low, y_high), up),
        *_axis_titles(str(data.get("x_label", "")), str(data.get("y_label", ""))),
        *(mark for entry in data.get("lines") or [] for mark in _reference_line(entry, across, up)),
        *(mark for number, entry in enumerate(series) for mark in _curve(entry, across, up, number)),
        *_curve_legend([str(entry["name"]) for entry in series]),
    ]
    return drawing(PAGE_WIDTH, _TOP + _PLOT_HEIGHT + _BOTTOM, parts, title)


def _curve(
    entry: Mapping[str, Any], across: Callable[[float], float], up: Callable[[float], float], number: int
) -> list[Markup]:
    def path(heights: Sequence[float]) -> list[str]:
        return [f"{across(x):.2f} {up(y):.2f}" for x, y in zip(entry["x"], heights, strict=True)]

    colour, dash = _stroke(number)
    parts = []
    if entry.get("low") and entry.get("high"):
        band = [*path(entry["high"]), *reversed(path(entry["low"]))]
        parts.append(tag("path", d=f"M{'L'.join(band)}Z", fill=colour, fill_opacity=0.16))
    course = f"M{'L'.join(path(entry['y']))}"
    return [*parts, tag("path", d=course, fill="none", stroke=colour, stroke_width=1.6, stroke_dasharray=dash)]


def _stroke(number: int) -> tuple[str, str | None]:
    """Colour and dashes of a line; both differ, so that a grey print still tells them apart."""
    return _COLOURS[number % len(_COLOURS)], _STROKES[number % len(_STROKES)]


def _curve_legend(names: Sequence[str]) -> list[Markup]:
    parts: list[Markup] = []
    x = _LEFT + 6
    for number, name in enumerate(names):
        colour, dash = _stroke(number)
        parts += [line(x, 11, x + 22, 11, stroke=colour, width=1.6, dash=dash), text(x + 28, 14.5, name)]
        x += 52 + text_width(name, 10)
    return parts


def _point(
    point: Mapping[str, Any], across: Callable[[float], float], up: Callable[[float], float], groups: Sequence[str]
) -> Markup:
    kind, colour = style_of(str(point.get("group") or ""), groups)
    return marker(kind, across(point["x"]), up(point["y"]), colour, title=str(point.get("case_id") or "") or None)


def _grid(
    x_ticks: Sequence[float], across: Callable[[float], float], y_ticks: Sequence[float], up: Callable[[float], float]
) -> list[Markup]:
    bottom = _TOP + _PLOT_HEIGHT
    parts = [line(_LEFT, up(at), _RIGHT, up(at), stroke=FAINT) for at in y_ticks]
    parts += [line(across(at), _TOP, across(at), bottom, stroke=FAINT) for at in x_ticks]
    parts += [text(_LEFT - 8, up(at) + 3.5, tick_text(at), anchor="end", fill=MUTED) for at in y_ticks]
    parts += [text(across(at), bottom + 16, tick_text(at), anchor="middle", fill=MUTED) for at in x_ticks]
    return [*parts, line(_LEFT, bottom, _RIGHT, bottom, stroke=MUTED), line(_LEFT, _TOP, _LEFT, bottom, stroke=MUTED)]


def _axis_titles(x_label: str, y_label: str) -> list[Markup]:
    bottom, middle = _TOP + _PLOT_HEIGHT, _TOP + _PLOT_HEIGHT / 2
    vertical = tag("g", text(0, 0, y_label, anchor="middle"), transform=f"translate(14 {middle:.1f}) rotate(-90)")
    return [text((_LEFT + _RIGHT) / 2, bottom + 36, x_label, anchor="middle"), vertical]


def _reference_line(
    entry: Mapping[str, Any], across: Callable[[float], float], up: Callable[[float], float]
) -> list[Markup]:
    label = str(entry.get("label", ""))
    if entry.get("y") is not None:
        y = up(entry["y"])
        return [
            line(_LEFT, y, _RIGHT + 4, y, stroke=ACCENT, dash="5 3"),
            text(_RIGHT + 9, y + 3.5, label, fill=ACCENT),
        ]
    x = across(entry["x"])
    bottom = _TOP + _PLOT_HEIGHT
    return [
        line(x, _TOP, x, bottom, stroke=ACCENT, dash="5 3"),
        text(x + 4, _TOP + 9, label, fill=ACCENT),
    ]


def _legend(groups: Sequence[str]) -> list[Markup]:
    """The key, in one line over the plot."""
    parts: list[Markup] = []
    x = _LEFT + 6
    for group in filter(None, groups):
        kind, colour = style_of(group, groups)
        parts += [marker(kind, x, 11, colour), text(x + 10, 14.5, group)]
        x += 34 + text_width(group, 10)
    return parts
