"""Squares of one value inside the body, as cut-out leaves them.

References:
    T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with cutout" (2017), arXiv
        1708.04552.
    Z. Zhong et al., "Random erasing data augmentation", AAAI (2020), arXiv 1708.04896.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._alignment import image_stack

SHARE = 1 / 8
"""Side of the square that is looked for, as a share of the shorter side of the image."""
TRACE = 1e-4
"""Spread in unit range that is added, so that an image without any detail has no flat part either."""

Vector = NDArray[np.float64]


class Flattest(NamedTuple):
    """The flattest square of every image."""

    flatness: Vector
    """(N,) its standard deviation over the median of all squares: near 0 for a hole, 1 for an image that is flat
    everywhere."""
    place: NDArray[np.intp]
    """(N, 2) row and column of its upper left corner."""
    side: int
    """Pixels along it."""


def usual_body(masks: Any, share: float = 0.95) -> NDArray[np.bool_]:
    """(H, W) where at least `share` of the body masks (N, H, W) are true: what lies there is inside, hole or not."""
    return np.asarray(np.asarray(masks, bool).mean(axis=0) >= share)


def flattest_squares(images: Any, inside: Any) -> Flattest | None:
    """The flattest square inside a region, of every image.

    A hole of one value is told from a smooth image by being flatter than the rest of its own image.

    Args:
        images: (N, H, W) finite, in unit range.
        inside: (H, W) region that a square has to lie in.

    Returns:
        None where no square fits into the region.

    Raises:
        ValueError: shapes that do not fit, or an image that is not finite.
    """
    stack = image_stack(images, "images")
    region = np.asarray(inside, bool)
    if region.shape != stack.shape[1:]:
        raise ValueError(f"the region must have the images' shape {stack.shape[1:]}, got {region.shape}")
    side = max(3, round(SHARE * min(region.shape)))
    corner = ndimage.minimum_filter(region, side, mode="constant", cval=0)
    rows, columns = np.nonzero(corner)
    if rows.size == 0:
        return None
    spread = _spreads(stack, side)[:, rows, columns] + TRACE
    at = spread.argmin(axis=1)
    flatness = spread[np.arange(len(stack)), at] / np.median(spread, axis=1)
    return Flattest(flatness, np.stack([rows[at], columns[at]], axis=1) - side // 2, side)


def _spreads(stack: NDArray[np.float32], side: int) -> Vector:
    """(N, H, W) standard deviation of the square about every pixel."""
    x = stack.astype(np.float64)
    mean, square = (ndimage.uniform_filter(values, (0, side, side)) for values in (x, x * x))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)))
