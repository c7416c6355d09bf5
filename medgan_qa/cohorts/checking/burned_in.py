"""Text that stands in the pixels: rows of small bright characters near the border of an image.

A patient's name that is drawn into the image passes every replacement of identifiers. The detector looks for what such
text has in common: characters of one height side by side on a line, brighter than all around them, in the outer part of
the image. It says where to look, not what is written. How often it hits and how often it is wrong on drawn text and on
images without any is counted by `python -m benchmarks.burned_in`, and stands in docs/how-to/privacy.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MARGIN = 0.25
"""Share of the height and of the width, at each side, that text is looked for in."""
CONTRAST = 0.35
"""How far a character stands above what is around it, as a share of what the image spans."""
FEWEST = 5
"""Characters in a row that make it text."""
LOWEST, HIGHEST = 5, 0.08
"""Height of a character: at least so many pixels, and at most that share of the image's shorter side (or 16 pixels)."""


class TextRow(NamedTuple):
    """A row of what look like characters."""

    top: int
    left: int
    bottom: int
    right: int
    characters: int


def text_rows(image: NDArray[Any]) -> list[TextRow]:
    """Rows of characters near the border of an image.

    Args:
        image: (H, W), any range.

    Returns:
        The rows, from top to bottom; empty where there is none, and for images of less than 32 pixels a side.
    """
    if min(image.shape) < 32:
        return []
    grey = np.asarray(image, np.float64)
    span = float(grey.max() - grey.min())
    if span <= 0:
        return []
    boxes = _characters(grey, span)
    rows = [_enclosing(chain) for chain in _chains(boxes) if len(chain) >= FEWEST]
    return sorted(row for row in rows if _near_border(row, image.shape))


def _characters(grey: NDArray[np.float64], span: float) -> NDArray[np.int64]:
    """Bounding boxes (N, 4) of what may be characters: top, left, bottom, right."""
    highest = max(16, round(HIGHEST * min(grey.shape)))
    # What an opening with a square removes is bright and thinner than the square: strokes, not areas.
    thin = grey - ndimage.grey_opening(grey, size=max(5, highest // 3))
    labelled, _ = ndimage.label(thin > CONTRAST * span, structure=np.ones((3, 3)))
    boxes = []
    for number, place in enumerate(ndimage.find_objects(labelled), start=1):
        height, width = (part.stop - part.start for part in place)
        filled = np.count_nonzero(labelled[place] == number) / (height * width)
        if LOWEST <= height <= highest and width <= 1.5 * height and filled > 0.2:
            boxes.append((place[0].start, place[1].start, place[0].stop, place[1].stop))
    return np.array(boxes, np.int64).reshape(-1, 4)


def _chains(boxes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Boxes that stand beside each other on one line, each chain from left to right."""
    left = boxes[np.argsort(boxes[:, 1], kind="stable")]
    chains: list[list[int]] = []
    for index, box in enumerate(left):
        fitting = [chain for chain in chains if _follows(left[chain[-1]], box)]
        if fitting:
            min(fitting, key=lambda chain: box[1] - left[chain[-1]][3]).append(index)
        else:
            chains.append([index])
    return [left[chain] for chain in chains]


def _follows(before: NDArray[np.int64], box: NDArray[np.int64]) -> bool:
    """Whether a box stands to the right of another as the next character or the next word does."""
    height, other = box[2] - box[0], before[2] - before[0]
    gap = box[1] - before[3]
    on_line = abs(box[2] - before[2]) <= 0.35 * max(height, other)
    return bool(-0.2 * height <= gap <= 1.2 * max(height, other) and on_line and 0.6 <= height / other <= 1.7)


def _enclosing(chain: NDArray[np.int64]) -> TextRow:
    top, left = chain[:, :2].min(axis=0)
    bottom, right = chain[:, 2:].max(axis=0)
    return TextRow(int(top), int(left), int(bottom), int(right), len(chain))


def _near_border(row: TextRow, shape: tuple[int, ...]) -> bool:
    middle = (row.top + row.bottom) / 2 / shape[0]
    return bool(min(middle, 1 - middle) < MARGIN or row.right < MARGIN * shape[1] or row.left > (1 - MARGIN) * shape[1])
