"""The report's own fonts: as data URIs for the page, and as widths for laying out figures and tables.

The fonts are IBM Plex Sans and IBM Plex Mono (SIL Open Font License 1.1). They travel inside the HTML and the PDF, so
that a report looks the same on a machine that has neither.
"""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Literal

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

SANS = "Report Sans"
MONO = "Report Mono"
Face = Literal["regular", "semibold", "mono"]

_FILES: dict[Face, str] = {
    "regular": "IBMPlexSans-Regular.woff2",
    "semibold": "IBMPlexSans-SemiBold.woff2",
    "mono": "IBMPlexMono-Regular.woff2",
}
_FACES = (
    (SANS, 400, "normal", "IBMPlexSans-Regular.woff2"),
    (SANS, 400, "italic", "IBMPlexSans-Italic.woff2"),
    (SANS, 600, "normal", "IBMPlexSans-SemiBold.woff2"),
    (MONO, 400, "normal", "IBMPlexMono-Regular.woff2"),
)


def _read(name: str) -> bytes:
    return (files("report_templates") / "fonts" / name).read_bytes()


@cache
def font_css() -> str:
    """The `@font-face` rules of the report, each font as a data URI."""
    rules = []
    for family, weight, style, name in _FACES:
        data = base64.b64encode(_read(name)).decode("ascii")
        rules.append(
            f'@font-face {{ font-family: "{family}"; font-weight: {weight}; font-style: {style}; '
            f'src: url("data:font/woff2;base64,{data}") format("woff2"); }}'
        )
    return "\n".join(rules)


@cache
def _advances(face: Face) -> tuple[dict[int, float], float]:
    """Advance widths in em by code point, and the width taken for a character that the font lacks."""
    font = TTFont(BytesIO(_read(_FILES[face])))
    em = font["head"].unitsPerEm
    metrics = font["hmtx"]
    return {point: metrics[name][0] / em for point, name in font.getBestCmap().items()}, 0.6


def text_width(text: str, size: float, face: Face = "regular") -> float:
    """Width of a line of text in the unit of `size`, without kerning.

    Args:
        text: one line.
        size: font size, in any unit.
        face: which of the report's fonts.
    """
    advances, other = _advances(face)
    return size * sum(advances.get(ord(character), other) for character in text)


def wrap(text: str, width: float, size: float, face: Face = "regular") -> list[str]:
    """Break text into lines no wider than `width`; a word that is wider than a line is cut.

    Args:
        text: what to break, at spaces.
        width: line length, in the unit of `size`.
        size: font size.
        face: which of the report's fonts.

    Returns:
        At least one line.
    """
    lines = [""]
    for word in text.split():
        for piece in _fit(word, width, size, face):
            joined = f"{lines[-1]} {piece}".strip()
            if text_width(joined, size, face) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines


def _fit(word: str, width: float, size: float, face: Face) -> list[str]:
    pieces = [""]
    for character in word:
        if pieces[-1] and text_width(pieces[-1] + character, size, face) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
