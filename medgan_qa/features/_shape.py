"""Shape and left-right symmetry of the body in many images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa.features._intensity import NOTHING, Float, Mask, masked_mean

SHAPE_NAMES = (
    "area_share",
    "extent",
    "height_share",
    "width_share",
    "centroid_row",
    "centroid_column",
    "major_axis",
    "eccentricity",
    "perimeter_ratio",
    "mirror_overlap",
    "mirror_difference",
)


def shape(images: Float, body: Mask) -> Float:
    """`SHAPE_NAMES` (N, 11) of a body with at least one pixel in every image.

    Lengths and positions are shares of the image side. `major_axis` is IBSI's (four standard deviations of the pixel
    positions) as a share of the longer side; `perimeter_ratio` counts pixel sides against a circle's circumference of
    the same area. Mirroring is left to right about the middle of the body's bounding box: `mirror_overlap` is the Dice
    overlap, `mirror_difference` the mean absolute difference of the image over the body and its mirror image.
    """
    height, width = body.shape[1:]
    area = body.sum(axis=(1, 2)).astype(np.float64)
    _, rows = _span(np.asarray(body.any(axis=2)))
    left, columns = _span(np.asarray(body.any(axis=1)))
    by_row, by_column = body.sum(axis=2) / area[:, None], body.sum(axis=1) / area[:, None]
    y, x = np.arange(height), np.arange(width)
    dy, dx = y - (by_row @ y)[:, None], x - (by_column @ x)[:, None]
    yy, xx = (by_row * dy**2).sum(axis=1), (by_column * dx**2).sum(axis=1)
    xy = (np.einsum("nhw,nw->nh", body.astype(np.float64), dx) * dy).sum(axis=1) / area
    half = np.hypot((yy - xx) / 2, xy)
    major, minor = (yy + xx) / 2 + half, np.maximum((yy + xx) / 2 - half, 0)
    line = np.where(major > NOTHING, major, 1)
    overlap, difference = _mirrored(images, body, 2 * left + columns - 1)
    found = [
        area / (height * width),
        area / (rows * columns),
        rows / height,
        columns / width,
        (by_row @ (y + 0.5)) / height,
        (by_column @ (x + 0.5)) / width,
        4 * np.sqrt(major) / max(height, width),
        np.sqrt(np.where(major > NOTHING, np.maximum(1 - minor / line, 0), 0)),
        _pixel_sides(body) / (2 * np.sqrt(np.pi * area)),
        overlap,
        difference,
    ]
    return np.stack(found, axis=1)


def _mirrored(images: Float, body: Mask, twice_middle: NDArray[np.int64]) -> tuple[Float, Float]:
    """Dice overlap of the body with its mirror image, and the mean absolute difference over both."""
    width = body.shape[2]
    source = twice_middle[:, None] - np.arange(width)
    outside = (source < 0) | (source >= width)
    index = np.broadcast_to(source.clip(0, width - 1)[:, None, :], body.shape)
    mirror = np.take_along_axis(body, index, axis=2) & ~outside[:, None, :]
    difference = np.abs(images - np.take_along_axis(images, index, axis=2))
    # mirrored about its own bounding box the body stays within the image
    both, either = (body & mirror).sum(axis=(1, 2)), body | mirror
    flat = either.reshape(len(body), -1)
    return both / body.sum(axis=(1, 2)), masked_mean(difference.reshape(len(body), -1), flat)


def _pixel_sides(body: Mask) -> NDArray[np.int64]:
    """Sides of pixels between body and not body; the border of the image counts as not body."""
    padded = np.pad(body, ((0, 0), (1, 1), (1, 1)))
    rows = (padded[:, 1:] != padded[:, :-1]).sum(axis=(1, 2))
    sides: NDArray[np.int64] = rows + (padded[:, :, 1:] != padded[:, :, :-1]).sum(axis=(1, 2))
    return sides


def _span(present: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First marked position of each row, and the distance from there to the one past the last."""
    first = present.argmax(axis=1)
    return first, present.shape[1] - present[:, ::-1].argmax(axis=1) - first
