"""Traces that moving or turning an image leaves in it: filled corners, repeated borders, lost noise.

They are measured, not judged: a scanner that masks the air fills corners too. Compare with the other images of the same
origin.

References:
    J. Immerkaer, "Fast noise variance estimation", Comput. Vis. Image Underst. 64 (1996) 300-302: a difference of two
        Laplacians, which structure hardly passes.
    A. C. Gallagher, "Detection of linear and cubic interpolation in JPEG compressed images", Canadian Conference on
        Computer and Robot Vision (2005) 65-72: interpolation lowers the variance of second differences.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._alignment import Float, image_stack
from medgan_qa.metrics._arrays import labelled

SPECK = 8
"""Pixels below which equal neighbours at the border are chance."""
FILLINGS = 4
"""Values that an image is looked at as filled with: those that stand on its border most often."""
LINES = 8
"""Lines from each side that are looked at for repetition."""
TRACE = 1e-6
"""What is added to a variance before a ratio is taken (unit range squared)."""

Vector = NDArray[np.float64]


class Traces(NamedTuple):
    """Traces of every image, each (N,)."""

    filled: Vector
    """Share of the image in patches of one single value that touch its border, at least 8 pixels each."""
    repeated: Vector
    """Lines at the border, of all four sides together, that repeat or mirror the next ones exactly."""
    sharpness: Vector
    """Finest differences over those twice as coarse (root of the median squares): low after interpolation."""


def augmentation_traces(images: Any) -> Traces:
    """Traces of images (N, H, W), finite, each side at least 24 pixels.

    Raises:
        ValueError: another shape, too small, or an image that is not finite.
    """
    stack = image_stack(images, "images")
    if min(stack.shape[1:]) < 3 * LINES:
        raise ValueError(
            f"images must have sides of at least {3 * LINES} pixels, got {stack.shape[1]} x {stack.shape[2]}"
        )
    filled = np.array([_filled(image) for image in stack], dtype=np.float64)
    sides = (stack, stack[:, ::-1], stack.swapaxes(1, 2), stack.swapaxes(1, 2)[:, ::-1])
    repeated = np.stack([_repeated(side) for side in sides]).sum(axis=0).astype(np.float64)
    return Traces(filled, repeated, _sharpness(stack))


def _filled(image: Float) -> float:
    """Share of the image in patches of one value that hold a corner or a run of the border."""
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    values, counts = np.unique(border, return_counts=True)
    total = 0
    # Filling is of few values; an image of few grey levels has many that stand on the border by chance.
    order = np.argsort(-counts, kind="stable")[:FILLINGS]
    for value in values[order][counts[order] >= 3]:
        labels = labelled(image == value)
        edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        sizes = np.bincount(labels.ravel())[edge[edge > 0]]
        total += int(sizes[sizes >= SPECK].sum())
    return total / image.size


def _repeated(images: Float) -> NDArray[np.intp]:
    """(N,) lines at the top that equal those below, one by one or mirrored; lines of one value do not count."""
    top = images[:, : 2 * LINES + 1]
    uneven = np.ptp(top, axis=2) > 0
    best = np.zeros(len(images), np.intp)
    for count in range(1, LINES + 1):
        constant = (top[:, :count] == top[:, count : count + 1]).all(axis=(1, 2))
        edge = (top[:, :count] == top[:, 2 * count - 1 : count - 1 : -1][:, :count]).all(axis=(1, 2))
        middle = (top[:, :count] == top[:, 2 * count : count : -1]).all(axis=(1, 2))
        same = (constant | edge | middle) & uneven[:, :count].all(axis=1)
        best = np.where(same, count, best)
    return best


def _sharpness(images: Float) -> Vector:
    """Finest over twice as coarse differences, each a product of second differences down and across."""
    fine, coarse = (_energy(images, step) for step in (1, 2))
    return np.sqrt((fine + TRACE) / (coarse + TRACE))


def _energy(images: Float, step: int) -> Vector:
    """(N,) median square of the second difference, down and across, at a distance of `step` pixels."""
    found = np.empty(len(images))
    kernel = np.zeros(2 * step + 1, np.float32)
    kernel[[0, step, -1]] = (1, -2, 1)
    for k, image in enumerate(images):
        down = ndimage.correlate1d(image, kernel, axis=0, mode="nearest")
        both = ndimage.correlate1d(down, kernel, axis=1, mode="nearest")[2 * step : -2 * step, 2 * step : -2 * step]
        found[k] = float(np.median(np.abs(both))) ** 2
    return found
