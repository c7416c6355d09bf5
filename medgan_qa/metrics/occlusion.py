"""Parts of an image covered, so that a model has to do without them.

Images are (C, H, W) in unit range; the last two axes are the image.

References:
    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV (2014) 818-833: occlusion.
    A. J. DeGrave, J. D. Janizek, S.-I. Lee, "AI for radiographic COVID-19 detection selects shortcuts over signal",
        Nature Machine Intelligence 3 (2021) 610-619: markers and borders in place of the disease.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from medgan_qa.metrics._arrays import BoolMask, dilated, mask2d

Float = NDArray[np.float32]


def border_region(shape: tuple[int, int], frame: float, corner: float) -> BoolMask:
    """A frame along the edges and a square in every corner.

    Args:
        shape: (H, W).
        frame: width of the frame as a share of the shorter side, in [0, 0.5).
        corner: side of the squares as a share of the shorter side, in [0, 0.5).

    Returns:
        (H, W) bool; at least one pixel wide where the share is above 0.

    Raises:
        ValueError: a share outside its range, or nothing is left inside.
    """
    if not (0 <= frame < 0.5 and 0 <= corner < 0.5):
        raise ValueError(f"shares must lie in [0, 0.5), got {frame!r} and {corner!r}")
    width, side = (math.ceil(share * min(shape) - 1e-9) for share in (frame, corner))
    y, x = np.indices(shape)
    down, across = (np.minimum(i, n - 1 - i) for i, n in ((y, shape[0]), (x, shape[1])))
    region: BoolMask = (np.minimum(down, across) < width) | ((down < side) & (across < side))
    if region.all():
        raise ValueError(f"the border covers all of an image of shape {shape}")
    return region


class Typical:
    """The mean of images, at any size: what an image shows where it says nothing of its own.

    Args:
        images: (C, H, W) each, at least one, of one number of channels; those of another size than the most frequent
            are interpolated to it.
    """

    def __init__(self, images: Sequence[Float]) -> None:
        shape = Counter(image.shape for image in images).most_common(1)[0][0]
        total = np.zeros(shape, np.float64)
        for image in images:
            total += _resized(image, shape)
        self._mean: Float = (total / len(images)).astype(np.float32)

    def at(self, shape: tuple[int, ...]) -> Float:
        """The mean, interpolated to (C, H, W)."""
        return _resized(self._mean, shape)


def covered(image: Float, region: BoolMask, cover: Float | float) -> Float:
    """The image with a region replaced by what `cover`, of the same shape or a number, holds there."""
    return np.where(region, np.asarray(cover, np.float32), image).astype(np.float32)


def painted_over(image: Float, region: BoolMask, rim_px: float = 2.0) -> Float:
    """The image with a region, and a rim about it, continued smoothly from what lies around.

    What is painted is the membrane (solution of Laplace's equation) through the pixels at the edge: no new maximum or
    minimum arises, and nothing of the region is left.

    Args:
        image: (C, H, W) finite.
        region: (H, W) bool.
        rim_px: how far the paint goes beyond the region, where partial volume is.

    Returns:
        (C, H, W); the image itself for an empty region, its own mean where no pixel would be left.

    Raises:
        TypeError, ValueError: the region is no bool mask of the image's shape.
    """
    mask = dilated(mask2d(region, "region", image.shape[1:]), rim_px)
    if not mask.any():
        return image.copy()
    if mask.all():
        return np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape).astype(np.float32)
    return _membrane(image, mask)


def fields(shape: tuple[int, int], along: int) -> list[BoolMask]:
    """The image cut into `along` x `along` fields of equal size but for rounding, (H, W) bool each.

    Raises:
        ValueError: fewer than 1 field, or more than pixels along a side.
    """
    if not 1 <= along <= min(shape):
        raise ValueError(f"along must lie between 1 and {min(shape)}, got {along!r}")
    of_row, of_column = (np.arange(n) * along // n for n in shape)
    number = of_row[:, None] * along + of_column
    return [number == k for k in range(along * along)]


def share_inside(drops: Sequence[float], inside: Sequence[bool]) -> float | None:
    """Of what covering fields takes off a score, the share that the fields inside take; rises do not count.

    Args:
        drops: (F,) score of the image less that with the field covered.
        inside: (F,) whether the field is inside.

    Returns:
        In [0, 1]; None where no field takes anything off.
    """
    lost = np.maximum(np.asarray(drops, np.float64), 0.0)
    return float(lost[np.asarray(inside, bool)].sum() / lost.sum()) if lost.sum() > 0 else None


def _membrane(image: Float, mask: BoolMask) -> Float:
    height, width = mask.shape
    unknown = np.flatnonzero(mask)
    place = np.full(mask.size, -1)
    place[unknown] = np.arange(unknown.size)
    rows, columns = np.divmod(unknown, width)
    flat = image.reshape(len(image), -1).astype(np.float64)
    degree, known = np.zeros(unknown.size), np.zeros((len(image), unknown.size))
    pairs = []
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        there = (rows + dy >= 0) & (rows + dy < height) & (columns + dx >= 0) & (columns + dx < width)
        beside = unknown[there] + dy * width + dx
        at = np.flatnonzero(there)
        degree[at] += 1
        free = place[beside] >= 0
        pairs.append((at[free], place[beside[free]]))
        known[:, at[~free]] += flat[:, beside[~free]]
    first, second = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    # A coordinate matrix sums what stands twice, and no pair of neighbours does.
    joined = sparse.coo_matrix((np.ones(first.size), (first, second)), shape=(unknown.size, unknown.size))
    solved = spsolve((sparse.diags(degree) - joined).tocsc(), known.T)
    flat[:, unknown] = solved.reshape(unknown.size, -1).T
    return flat.reshape(image.shape).astype(np.float32)


def _resized(image: Float, shape: tuple[int, ...]) -> Float:
    if image.shape == tuple(shape):
        return image
    factors = (1.0, *(n / m for n, m in zip(shape[1:], image.shape[1:], strict=True)))
    resized: Float = ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)
    return resized
