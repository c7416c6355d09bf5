"""Writing SVG: one function that makes an element, with its text and attributes escaped.

Lengths are CSS pixels (96 to the inch). Attributes stand in the element itself and never in a style sheet, because the
PDF renderer does not apply the page's style sheet inside a drawing.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from medgan_qa.report.typography import SANS

PX_PER_MM = 96 / 25.4
PAGE_WIDTH = 174 * PX_PER_MM
"""Width of the text area of an A4 page, in CSS pixels."""

INK = "#1c2126"
MUTED = "#56616b"
RULE = "#c4ccd3"
FAINT = "#eef1f4"
ACCENT = "#1f3f66"


def number(value: float) -> str:
    """A coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An SVG element.

    Args:
        name: element name.
        children: elements already made, or text, which is escaped.
        attributes: attribute values; an underscore stands for a hyphen, and None leaves the attribute out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value if isinstance(value, str) else number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(children)
    return Markup(f"<{name}{written}>{inner}</{name}>") if inner else Markup(f"<{name}{written}/>")


def drawing(width: float, height: float, children: Sequence[str], label: str) -> Markup:
    """A whole drawing of the given size in pixels, with its text alternative.

    Raises:
        ValueError: the text alternative is empty; decoration belongs into the style sheet.
    """
    if not label.strip():
        raise ValueError("a drawing needs a text that says what it shows")
    return tag(
        "svg",
        # The first child: screen readers read it, and the PDF renderer makes it the figure's text alternative.
        tag("title", label),
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=f"{number(width / PX_PER_MM)}mm",
        height=f"{number(height / PX_PER_MM)}mm",
        role="img",
    )


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float = 10,
    fill: str = INK,
    anchor: str = "start",
    weight: int = 400,
    italic: bool = False,
) -> Markup:
    """A line of text in the report's font, its baseline at `y`."""
    return tag(
        "text",
        content,
        x=x,
        y=y,
        font_family=SANS,
        font_size=size,
        font_weight=str(weight),
        font_style="italic" if italic else None,
        fill=fill,
        text_anchor=anchor,
    )


def line(
    x1: float, y1: float, x2: float, y2: float, *, stroke: str = INK, width: float = 1, dash: str | None = None
) -> Markup:
    """A straight line, dashed if `dash` is given."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=width, stroke_dasharray=dash)
