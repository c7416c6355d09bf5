"""Foreground of an image, the parts and holes of a mask, and its outline: what measures of faults and anatomy share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.filters import threshold_otsu

from medgan_qa.metrics._arrays import ROUNDING, BoolMask, image2d, labelled
from medgan_qa.metrics.body import OTSU_SHARE

CONSTANT_RANGE = 1e-3
"""An image whose values span less than this holds no body: a quarter of a grey level of 8 bits."""
SMALLEST_SIDE = 16
"""Pixels; in smaller images there is no interior to measure."""
SPECK_PX = 4
"""Components and holes with fewer pixels are noise."""
ANGLES = 180
"""Rays, 2 degrees apart, on which the outline is sampled."""
OPPOSITE = 0.95
"""Share of the radius on the other side of the centre that is expected at least: a wide gap pulls the hull in."""


def slice2d(image: Any) -> NDArray[np.float64]:
    """An image that anatomy is measured in, as float64 (H, W).

    Raises:
        ValueError: as `image2d`, or a side below 16 pixels.
    """
    pixels = image2d(image, "image")
    if min(pixels.shape) < SMALLEST_SIDE:
        raise ValueError(f"image must have sides of at least {SMALLEST_SIDE} pixels, got shape {pixels.shape}")
    return pixels


def foreground(image: NDArray[np.float64]) -> BoolMask:
    """(H, W) pixels above half of Otsu's threshold, counted from the darkest; the image must not be constant."""
    darkest = float(image.min())
    threshold = float(threshold_otsu(image))  # type: ignore[no-untyped-call]
    above: BoolMask = image > darkest + OTSU_SHARE * (threshold - darkest)
    return above


def parts(mask: BoolMask, smallest: int) -> NDArray[np.intp]:
    """Pixels of each 8-connected component with at least `smallest`, largest first."""
    sizes = np.bincount(labelled(mask).ravel())[1:]
    return np.sort(sizes[sizes >= smallest])[::-1]


def holes(mask: BoolMask, smallest: int) -> int:
    """4-connected regions of background, of at least `smallest` pixels, that the mask encloses."""
    # A frame of background joins all that reaches the border into one region.
    regions, count = ndimage.label(np.pad(~mask, 1, constant_values=True))
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    sizes[[0, regions[0, 0]]] = 0
    return int(np.count_nonzero(sizes >= smallest))


class Outline(NamedTuple):
    """Outermost foreground around the centroid of its convex hull, on `ANGLES` rays counted from the x axis."""

    centre: tuple[float, float]
    """(row, column) in pixels."""
    radius: NDArray[np.float64]
    """(A,) pixels to the outermost foreground; 0 where a ray meets none."""
    expected: NDArray[np.float64]
    """(A,) pixels to the convex hull of the foreground, or 95 % of that on the opposite side where it is more."""


def outline(mask: BoolMask) -> Outline | None:
    """The outline of the components that hold at least 2 % of a mask; None where these have no area."""
    labels = labelled(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    large = (sizes >= max(SPECK_PX, 0.02 * sizes.sum()))[labels]
    # Only the first and last pixel of a row can lie on the hull.
    rows = np.flatnonzero(large.any(axis=1))
    first, last = large[rows].argmax(axis=1), large.shape[1] - 1 - large[rows, ::-1].argmax(axis=1)
    points = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)]).astype(np.float64)
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):
        return None
    centre = _centroid(points[hull.vertices])
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    direction = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    to_hull = _to_hull(hull, centre, direction)
    radius = _outermost(large, centre, direction, float(to_hull.max()))
    expected = np.maximum(to_hull, OPPOSITE * np.roll(to_hull, ANGLES // 2))
    return Outline((float(centre[0]), float(centre[1])), radius, expected)


def longest_run(marked: BoolMask) -> int:
    """Longest run of True in a closed ring."""
    if marked.all():
        return marked.size
    unrolled = np.roll(marked, -int(np.argmin(marked)))
    ends = np.flatnonzero(np.diff(np.concatenate([[False], unrolled, [False]]).astype(np.int8)))
    return int(np.diff(ends)[::2].max(initial=0))


def _to_hull(hull: ConvexHull, centre: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A,) distance from a point inside to the hull on each ray."""
    slope = direction @ hull.equations[:, :2].T
    gap = -(hull.equations[:, :2] @ centre + hull.equations[:, 2])
    reached = np.divide(gap, slope, out=np.full_like(slope, np.inf), where=slope > ROUNDING)
    distance: NDArray[np.float64] = reached.min(axis=1)
    return distance


def _centroid(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a polygon's area; (K, 2) vertices in order."""
    following = np.roll(polygon, -1, axis=0)
    cross = polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]
    centre: NDArray[np.float64] = ((polygon + following) * cross[:, None]).sum(axis=0) / (3 * cross.sum())
    return centre


def _outermost(
    mask: BoolMask, centre: NDArray[np.float64], direction: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """Distance in pixels, in steps of a half, of the last pixel of the mask within `reach` on each ray."""
    steps = np.arange(0.0, reach + 1.0, 0.5)
    # Rays that leave the image end on the frame, which is never foreground.
    padded = np.pad(mask, 1)
    rows = np.rint(centre[0] + 1 + direction[:, :1] * steps).astype(np.intp)
    columns = np.rint(centre[1] + 1 + direction[:, 1:] * steps).astype(np.intp)
    np.clip(rows, 0, padded.shape[0] - 1, out=rows)
    np.clip(columns, 0, padded.shape[1] - 1, out=columns)
    hit = padded[rows, columns]
    last = steps.size - 1 - hit[:, ::-1].argmax(axis=1)
    return np.where(hit.any(axis=1), steps[last], 0.0)
