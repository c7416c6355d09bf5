"""The figure of the dose-response experiment: one panel an outcome, one line a loss, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from medgan_qa.report.figures_charts import marker
from medgan_qa.report.svg import FAINT, INK, MUTED, line, tag, text
from medgan_qa.report.typography import text_width

WIDTH, HEIGHT = 960.0, 430.0
TOP, BOTTOM = 104.0, 330.0
SIDE = 226.0
LEFTS = (62.0, 376.0, 690.0)
PAD = 14.0
"""Pixels between the frame and 0 or 100 %, so that marks at the ends stand clear of it."""
DODGE = 5.0
"""Pixels between the lines at one share, so that no interval hides another."""

# Apart under the common colour-vision deficiencies and, by marker, in grey print.
COLOURS = {"cyclegan": "#c43c00", "cgan": "#0072b2", "l1": "#3d3d3d"}
PANELS = (
    ("marked", "Slices with a marked lesion", "share of all holdout slices, %"),
    ("removed", "Tumours removed", "share of slices with a tumour, %"),
    ("inserted", "Tumours inserted", "share of lesion-free slices, %"),
)
# The report's fonts are not at hand outside it; a viewer's own sans-serif takes their place.
STYLE = 'text { font-family: "IBM Plex Sans", "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif }'


class Panel(NamedTuple):
    """The area of one plot; shares and rates are both in [0, 1]."""

    left: float

    def x(self, share: float) -> float:
        """Pixel of a share of the target domain."""
        return self.left + PAD + share * (SIDE - 2 * PAD)

    def y(self, rate: float) -> float:
        """Pixel of a rate."""
        return BOTTOM - PAD - rate * (BOTTOM - TOP - 2 * PAD)


def figure(found: Mapping[str, Any]) -> Markup:
    """The figure as a stand-alone SVG.

    Args:
        found: what `_dose_tables.results` returns.
    """
    parts: list[Markup] = [
        tag("style", Markup(STYLE)),
        tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT, fill="#ffffff"),
        text(
            20, 26, "What a translator does with tumours, against their share in its target domain", size=16, weight=600
        ),
        *_legend(found["losses"]),
    ]
    for left, (outcome, title, unit) in zip(LEFTS, PANELS, strict=True):
        panel = Panel(left)
        parts += [*_axes(panel, title, unit), *_guide(panel, outcome, found)]
        for number, loss in enumerate(found["losses"]):
            arms = [arm for arm in found["arms"] if arm["loss"] == loss]
            shift = DODGE * (number - (len(found["losses"]) - 1) / 2)
            parts += _line(panel, loss, [(a["share"], a["outcomes"][outcome]) for a in arms], shift)
    parts += _caption(found)
    title = "Holdout slices that are marked, lost a tumour or gained one, by loss and share of tumours in the target"
    return tag(
        "svg",
        tag("title", title),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _legend(losses: Mapping[str, str]) -> list[Markup]:
    parts: list[Markup] = []
    x = 24.0
    for loss, title in losses.items():
        parts += [
            line(x, 50, x + 28, 50, stroke=COLOURS[loss], width=2),
            marker(list(COLOURS).index(loss), x + 14, 50, COLOURS[loss], 4.6),
            text(x + 36, 54.5, title, size=13),
        ]
        x += 36 + text_width(title, 13) + 34
    return parts


def _axes(panel: Panel, title: str, unit: str) -> list[Markup]:
    parts: list[Markup] = [text(panel.left, TOP - 26, title, size=14, weight=600)]
    parts.append(text(panel.left, TOP - 10, unit, size=12, fill=MUTED))
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y, label = panel.x(tick), panel.y(tick), f"{100 * tick:g}"
        parts += [
            line(x, TOP, x, BOTTOM, stroke=FAINT),
            line(panel.left, y, panel.left + SIDE, y, stroke=FAINT),
            text(x, BOTTOM + 18, label, size=12, anchor="middle", fill=MUTED),
            text(panel.left - 8, y + 4, label, size=12, anchor="end", fill=MUTED),
        ]
    middle = panel.left + SIDE / 2
    parts.append(text(middle, BOTTOM + 38, "target slices with a tumour in training, %", size=12, anchor="middle"))
    return [
        *parts,
        line(panel.left, BOTTOM, panel.left + SIDE, BOTTOM, stroke=MUTED),
        line(panel.left, TOP, panel.left, BOTTOM, stroke=MUTED),
    ]


def _guide(panel: Panel, outcome: str, found: Mapping[str, Any]) -> list[Markup]:
    """In the first panel: what matching the target's share would give, and what the real images give."""
    real = found["detector"]["real_images"]["marked"]["value"]
    if outcome != "marked" or real is None:
        return []
    return [
        line(panel.x(0), panel.y(0), panel.x(1), panel.y(1), stroke=INK, width=1.2, dash="7 4"),
        line(panel.left, panel.y(real), panel.left + SIDE, panel.y(real), stroke=INK, width=1.2, dash="2 3"),
    ]


def _line(panel: Panel, loss: str, points: Sequence[tuple[float, Mapping[str, Any]]], shift: float) -> list[Markup]:
    colour = COLOURS[loss]
    known = [(panel.x(share) + shift, point) for share, point in points if point["value"] is not None]
    course = [f"{x:.2f} {panel.y(point['value']):.2f}" for x, point in known]
    parts = [tag("path", d=f"M{'L'.join(course)}", fill="none", stroke=colour, stroke_width=1.8)] if course else []
    parts += [line(x, panel.y(p["low"]), x, panel.y(p["high"]), stroke=colour, width=1.6) for x, p in known]
    kind = list(COLOURS).index(loss)
    for x, p in known:
        told = f"{loss}: {p['events']} of {p['slices']} slices, {p['low']:.3f} to {p['high']:.3f}"
        parts.append(marker(kind, x, panel.y(p["value"]), colour, 4.6, title=told))
    return parts


def _caption(found: Mapping[str, Any]) -> list[Markup]:
    holdout = found["holdout"]
    lines = (
        f"{holdout['slices']} holdout slices of {holdout['patients']} phantom patients, "
        f"{holdout['slices_with_tumour']} with a tumour; bars are exact 95 % intervals, clustered by patient.",
        "Dashed: the share of marked slices would follow that of the target domain. "
        "Dotted: what the same detector marks in the real images.",
    )
    return [text(20, BOTTOM + 68 + 18 * k, content, size=12, fill=INK) for k, content in enumerate(lines)]
