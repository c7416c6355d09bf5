"""Marks of verdicts: a word, a shape and a colour, so that no verdict is told by colour alone.

The shapes are decoration beside the word and stand in the style sheet, where screen readers and the PDF's tags leave
them out.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from medgan_qa.record import Verdict
from medgan_qa.report.svg import tag

_WORDS = {
    Verdict.PASS: "Pass",
    Verdict.FAIL: "Fail",
    Verdict.INCONCLUSIVE: "Inconclusive",
    Verdict.NOT_APPLICABLE: "Not applicable",
    Verdict.ERROR: "Error",
}
_COLOURS = {
    Verdict.PASS: "#1d6b45",
    Verdict.FAIL: "#a3201d",
    Verdict.INCONCLUSIVE: "#8a5a00",
    Verdict.NOT_APPLICABLE: "#5b6670",
    Verdict.ERROR: "#6a2063",
}
# Disc, square, triangle, ring's bar and octagon: outlines that differ in black and white too.
_GROUNDS = {
    Verdict.PASS: "M8 0.5A7.5 7.5 0 1 1 8 15.5A7.5 7.5 0 1 1 8 0.5Z",
    Verdict.FAIL: "M1 1H15V15H1Z",
    Verdict.INCONCLUSIVE: "M8 0.4L16 15H0Z",
    Verdict.NOT_APPLICABLE: "M1 4.5H15V11.5H1Z",
    Verdict.ERROR: "M5 0.8H11L15.2 5V11L11 15.2H5L0.8 11V5Z",
}
_SIGNS = {
    Verdict.PASS: "M4.2 8.3L7 11L11.8 5.2",
    Verdict.FAIL: "M4.7 4.7L11.3 11.3M11.3 4.7L4.7 11.3",
    Verdict.INCONCLUSIVE: "M8 5.4V9.8M8 12V13.2",
    Verdict.NOT_APPLICABLE: "M4.5 8H11.5",
    Verdict.ERROR: "M8 3.6V9M8 11V12.6",
}


class Mark(NamedTuple):
    """How a verdict looks."""

    word: str
    name: str
    """The style's name, which brings colour and shape."""


def mark(verdict: Verdict) -> Mark:
    """The word and the style of a verdict."""
    return Mark(_WORDS[verdict], _name(verdict))


def mark_css() -> str:
    """The style rules that draw the shape of each verdict."""
    return "\n".join(
        f'.{_name(verdict)} .icon {{ background-image: url("data:image/svg+xml;base64,{_icon(verdict)}"); }}'
        for verdict in Verdict
    )


def _name(verdict: Verdict) -> str:
    return verdict.value.replace("_", "-")


def _icon(verdict: Verdict) -> str:
    ground = tag("path", d=_GROUNDS[verdict], fill=_COLOURS[verdict])
    sign = tag("path", d=_SIGNS[verdict], fill="none", stroke="#ffffff", stroke_width=1.9, stroke_linecap="round")
    picture = tag("svg", ground, sign, xmlns="http://www.w3.org/2000/svg", viewBox="0 0 16 16", width=16, height=16)
    return base64.b64encode(picture.encode()).decode("ascii")
