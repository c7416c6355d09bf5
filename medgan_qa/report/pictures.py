"""Single pictures: a grey image, a signed difference in colours, the outline of a mask, and the key to them.

Small images are enlarged by cubic interpolation before they are written, so that every viewer shows the same smooth
picture, and large ones reduced to what paper shows; outlines stay vectors in the coordinates of the array.
"""

from __future__ import annotations

import base64
import math
from io import BytesIO
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from medgan_qa.report import numbers
from medgan_qa.report.svg import INK, MUTED, PX_PER_MM, drawing, number, tag, text

LESION, READING = "#ffb000", "#3fc1ff"
_DASHES = {LESION: None, READING: "3.4 2"}
_SIDE = 34.0 * PX_PER_MM
_PIXELS, _MOST_PIXELS = 192, 320
# Blue below zero, orange above, light grey at zero; the pair stays apart under the common colour-vision deficiencies.
_DIVERGING = np.array(
    [(8, 48, 107), (41, 121, 185), (148, 196, 223), (246, 246, 246), (244, 178, 107), (204, 96, 16), (102, 38, 4)],
    dtype=float,
)

Array = NDArray[Any]


def finite(array: Array) -> Array:
    """An array as float64, with what is no number shown as 0 and infinity as 1."""
    return np.nan_to_num(np.asarray(array, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)


def embedded(image: Array, display: tuple[float, float]) -> str:
    """A grey image of shape (H, W) as a data address, in its own pixels and not enlarged."""
    unit = (image - display[0]) / (display[1] - display[0])
    return _address(Image.fromarray(np.rint(255 * np.clip(unit, 0.0, 1.0)).astype(np.uint8), mode="L"))


def small(image: Array, display: tuple[float, float], place: tuple[float, float, float, float]) -> Markup:
    """A grey image of shape (H, W) in its own pixels, as an element at (x, y, width, height)."""
    return _placed(embedded(image, display), *place)


def _address(image: Image.Image) -> str:
    data = BytesIO()
    image.save(data, "PNG", compress_level=6)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def picture(image: Image.Image, outlines: list[Markup], label: str) -> Markup:
    """A picture with its longer side 34 mm long, outlines on top, and a text alternative."""
    href = _address(image)
    step = _SIDE / max(image.size)
    width, height = step * image.width, step * image.height
    return drawing(width, height, [_placed(href, 0, 0, width, height), *outlines], label)


def _placed(href: str, x: float, y: float, width: float, height: float) -> Markup:
    # PDF/A allows no interpolation by the viewer; any rendering but `auto` says so to the PDF renderer, and this one
    # leaves browsers smooth.
    rendering = "optimizeQuality"
    return tag("image", href=href, x=x, y=y, width=width, height=height, image_rendering=rendering)


def _resized(image: Array) -> Array:
    """An image of shape (H, W) with enough pixels to look smooth on paper, and no more than paper shows."""
    height, width = image.shape
    side = max(height, width)
    source = Image.fromarray(image.astype(np.float32), mode="F")
    if side > _MOST_PIXELS:
        size = (max(1, round(width * _MOST_PIXELS / side)), max(1, round(height * _MOST_PIXELS / side)))
        return np.asarray(source.resize(size, Image.Resampling.BOX))
    factor = max(1, math.ceil(_PIXELS / side))
    return np.asarray(source.resize((width * factor, height * factor), Image.Resampling.BICUBIC))


def grey(image: Array, display: tuple[float, float]) -> Image.Image:
    """An image of shape (H, W) in 256 greys, resized for print; black and white below and above the display range."""
    unit = (_resized(finite(image)) - display[0]) / (display[1] - display[0])
    return Image.fromarray(np.rint(255 * np.clip(unit, 0.0, 1.0)).astype(np.uint8), mode="L")


def coloured(difference: Array, reach: float) -> Image.Image:
    """A signed image of shape (H, W) in diverging colours from -reach to reach, resized for print."""
    unit = np.clip(_resized(difference) / reach, -1.0, 1.0)
    image = Image.fromarray(np.rint(127 + 127 * unit).astype(np.uint8), mode="P")
    image.putpalette(_palette().tobytes())
    return image


def _palette() -> NDArray[np.uint8]:
    """255 colours, of which the middle one is zero."""
    at = np.linspace(0, len(_DIVERGING) - 1, 255)
    channels = [np.interp(at, np.arange(len(_DIVERGING)), _DIVERGING[:, channel]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return colours


def outline(mask: Array, colour: str) -> list[Markup]:
    """The border of a mask of shape (H, W) over its picture, a dark line below a coloured one to show on any grey."""
    if not np.any(mask):
        return []
    step = _SIDE / max(mask.shape)
    path = ""
    contours: list[Array] = find_contours(np.pad(np.asarray(mask, dtype=float), 1), 0.5)  # type: ignore[no-untyped-call]
    for contour in contours:
        # Index i of the padded array is the middle of pixel i - 1, which lies at i - 0.5 from the border.
        points = [f"{number(step * (c - 0.5))} {number(step * (r - 0.5))}" for r, c in contour[:-1]]
        path += f"M{'L'.join(points)}Z"
    under = tag("path", d=path, fill="none", stroke="#000000", stroke_opacity=0.55, stroke_width=1.8)
    over = tag("path", d=path, fill="none", stroke=colour, stroke_width=1.05, stroke_dasharray=_DASHES[colour])
    return [under, over]


def swatch(colour: str) -> Markup:
    """A sample of an outline for the key."""
    kind = "solid amber" if _DASHES[colour] is None else "dashed blue"
    ground = tag("rect", width=30, height=14, fill="#3a3a3a")
    dash = _DASHES[colour]
    line = tag("path", d="M4 7H26", fill="none", stroke=colour, stroke_width=1.6, stroke_dasharray=dash)
    return drawing(30, 14, [ground, line], f"{kind} outline")


def colour_bar(reach: float) -> Markup:
    """The colours of the difference with the ends of their range and zero."""
    # Every sixth from the second: the middle one of these is zero.
    colours = _palette()[1::6]
    width = 130.0
    step = width / len(colours)
    cells = [
        tag("rect", x=36 + index * step, y=2, width=step + 0.4, height=9, fill="#{:02x}{:02x}{:02x}".format(*colour))
        for index, colour in enumerate(colours)
    ]
    words = [
        text(32, 10, f"{numbers.MINUS}{reach:.1f}", size=9, anchor="end", fill=INK),
        text(36 + width / 2, 22, "0", size=9, anchor="middle", fill=MUTED),
        text(40 + width, 10, f"+{reach:.1f}", size=9, fill=INK),
    ]
    return drawing(210, 25, [*cells, *words], f"difference from {-reach} to {reach}")
