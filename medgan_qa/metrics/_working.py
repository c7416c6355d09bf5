"""Images of any size on one square grid, so that they can be compared with each other.

The longer side of an image becomes the side of the grid, and the image lies in its middle. What of the square holds no
image is 0 and known by the image's extent; nothing is read there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from medgan_qa.metrics._alignment import Float, resampling_rows

WORKING_PX = 64
"""Side of the grid."""


class Working(NamedTuple):
    """Images on the grid."""

    pixels: Float
    """(N, side, side)"""
    extent: Float
    """(N, 2) rows and columns in the middle of the grid that hold the image."""


def working(image: Float, side: int = WORKING_PX) -> Working:
    """One finite image (H, W) on the grid: area means where it is reduced, interpolated where it is enlarged."""
    shape = fitted((image.shape[0], image.shape[1]), side)
    rows, columns = (_weights(old, new) for old, new in zip(image.shape, shape, strict=True))
    top, left = ((side - length) // 2 for length in shape)
    pixels = np.zeros((1, side, side), np.float32)
    pixels[0, top : top + shape[0], left : left + shape[1]] = rows @ image @ columns.T
    return Working(pixels, np.array([shape], np.float32))


def fitted(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Rows and columns of an image whose longer side becomes `side`; even or odd as the grid, so that it is centred."""
    scale = side / max(shape)
    whole = [max(1, round(length * scale)) for length in shape]
    rows, columns = (min(length + (side - length) % 2, side) for length in whole)
    return rows, columns


@lru_cache(maxsize=64)
def _weights(old: int, new: int) -> Float:
    """(new, old) weights of every pixel along one axis."""
    if new <= old:
        return resampling_rows(old, new, 0.0)
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(place.astype(np.intp), max(old - 2, 0))
    weights = np.zeros((new, old), np.float32)
    weights[np.arange(new), low] = 1 - (place - low)
    weights[np.arange(new), np.minimum(low + 1, old - 1)] += place - low
    return weights
