"""Outlines of tissue and of lesions, and how far two of them lie apart.

References:
    J. Canny, "A computational approach to edge detection", IEEE Trans. PAMI 8 (1986) 679-698.
    D. P. Huttenlocher, G. A. Klanderman, W. J. Rucklidge, "Comparing images using the Hausdorff distance", IEEE Trans.
        PAMI 15 (1993) 850-863.
    D. R. Martin, C. C. Fowlkes, J. Malik, "Learning to detect natural image boundaries using local brightness, color,
        and texture cues", IEEE Trans. PAMI 26 (2004) 530-549: precision and recall of boundaries at a tolerance.
    W. E. Lorensen, H. E. Cline, "Marching cubes", Computer Graphics 21 (1987) 163-169: outlines between pixels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.feature import canny
from skimage.measure import find_contours

from medgan_qa.metrics._arrays import (
    ROUNDING,
    BoolMask,
    Spacing,
    dilated,
    image2d,
    labelled,
    mask2d,
    region,
    spacing2d,
)

Float64 = NDArray[np.float64]

EDGE_SMOOTHING_PX = 1.0
"""Standard deviation of the Gaussian before edges are looked for."""
EDGE_QUANTILES = (0.80, 0.90)
"""Quantiles of the gradient above which an edge is followed, and started; relative, so no contrast is asked for."""
OUTLINE_SMOOTHING_PX = 0.7
"""Standard deviation of the Gaussian before a lesion is outlined."""
POINTS = 400
"""Points that an outline is compared at, equally spaced along it."""
ALIKE = 0.6
"""Dice overlap with the annotation from which the outline drawn in the reference is the lesion's."""
AREAS = (0.4, 2.5)
"""Area over that in the reference within which something in the output may be the lesion."""
CONSPICUOUS = 0.3
"""Share of the contrast in the reference that something in the output must have to be the lesion."""


class BoundaryAgreement(NamedTuple):
    """How far the edges of two images lie from each other."""

    mean_mm: float
    """Mean distance of an edge pixel of one to the nearest of the other; the mean of both directions."""
    hd95_mm: float
    """95th percentile of those distances; the larger of both directions."""
    f_score: float
    """Harmonic mean of the shares of edge pixels of either that lie within the tolerance of the other, in [0, 1]."""


class Outline(NamedTuple):
    """A closed outline between pixels, in mm."""

    points: Float64
    """(P, 2) points (down, right), equally spaced."""
    centre: tuple[float, float]
    """Centre of the area."""
    area: float
    """Area in mm^2."""
    perimeter: float
    """Length in mm."""

    @property
    def circularity(self) -> float:
        """4 pi area / perimeter^2: 1 for a circle, 0.785 for a square."""
        return 4 * math.pi * self.area / self.perimeter**2


def edges(image: Any) -> BoolMask:
    """Edge pixels (Canny), by quantiles of the image's own gradient; none in a constant image.

    Args:
        image: (H, W) finite.

    Raises:
        ValueError: not two-dimensional, without pixels, or not finite.
    """
    pixels = image2d(image, "image")
    if np.ptp(pixels) <= ROUNDING * np.abs(pixels).max():
        return np.zeros(pixels.shape, bool)
    low, high = EDGE_QUANTILES
    found: BoolMask = canny(  # type: ignore[no-untyped-call]
        pixels, EDGE_SMOOTHING_PX, low_threshold=low, high_threshold=high, use_quantiles=True, mode="nearest"
    )
    return found


def boundary_agreement(a: Any, b: Any, spacing_mm: Spacing, tolerance_mm: float) -> BoundaryAgreement | None:
    """Distances between two sets of edge pixels.

    Args:
        a: (H, W) bool, from `edges`.
        b: (H, W) bool.
        spacing_mm: pixel spacing (rows, columns) in mm.
        tolerance_mm: distance up to which an edge counts as found again, >= 0.

    Returns:
        None where one of them is empty: nothing can be compared.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, a spacing is not positive, or the tolerance is negative.
    """
    first = mask2d(a, "a")
    second = mask2d(b, "b", first.shape)
    spacing = spacing2d(spacing_mm)
    if not tolerance_mm >= 0:
        raise ValueError(f"tolerance_mm must be >= 0, got {tolerance_mm!r}")
    if not first.any() or not second.any():
        return None
    there = ndimage.distance_transform_edt(~second, sampling=spacing)[first]
    back = ndimage.distance_transform_edt(~first, sampling=spacing)[second]
    near = [float((d <= tolerance_mm + ROUNDING).mean()) for d in (there, back)]
    return BoundaryAgreement(
        mean_mm=float(there.mean() + back.mean()) / 2,
        hd95_mm=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        f_score=2 * near[0] * near[1] / sum(near) if sum(near) > 0 else 0.0,
    )


def lesion_outlines(
    reference: Any, output: Any, lesion: Any, ring: Any, spacing_mm: Spacing, reach_mm: float
) -> tuple[Outline | None, Outline | None]:
    """Outline of one annotated lesion at half of its contrast, in the real image and in the output.

    In the reference the lesion is what exceeds, with its own sign, the level halfway between ring and lesion; it has to
    agree with the annotation (Dice 0.6). In the output the level is halfway between the ring and the most conspicuous
    pixels within reach, as many as the lesion has; of the regions with 0.4 to 2.5 times the area, the one nearest in
    place and area is taken, if its contrast is at least 0.3 of that in the reference. Images are smoothed by 0.7
    pixels.

    Args:
        reference: (H, W) finite.
        output: (H, W) finite.
        lesion: (H, W) bool with at least one pixel.
        ring: (H, W) bool with at least one pixel, the tissue around (`surround`).
        spacing_mm: pixel spacing (rows, columns) in mm.
        reach_mm: how far outside the annotation the lesion is looked for in the output, > 0.

    Returns:
        Both outlines; the first None where the reference does not show the annotated lesion clearly, the second where
        the output shows nothing like it within reach.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, a mask is empty, a value is not finite, or a spacing or `reach_mm` is not positive.
    """
    real = image2d(reference, "reference")
    made = image2d(output, "output", real.shape)
    mask, around = region(lesion, "lesion", real.shape), region(ring, "ring", real.shape)
    spacing = spacing2d(spacing_mm)
    if not reach_mm > 0:
        raise ValueError(f"reach_mm must be positive, got {reach_mm!r}")
    search = dilated(mask, reach_mm, spacing)
    rows, columns = ndimage.find_objects(np.pad(search, 1).astype(np.int8))[0]
    # A frame of one pixel outside the search region closes every outline.
    box = np.s_[rows.start : rows.stop, columns.start : columns.stop]
    inner = [np.pad(array, 1, mode="edge")[rows, columns] for array in (real, made)]
    mask, around, search = (np.pad(array, 1)[box] for array in (mask, around, search))
    sign = 1.0 if inner[0][mask].mean() >= inner[0][around].mean() else -1.0
    corner = np.array([rows.start - 1, columns.start - 1])
    first = _drawn(sign * inner[0], around, search, mask, annotated=True)
    if first is None or _dice(first.region, mask) < ALIKE:
        return None, None
    drawn = _outline(first, corner, spacing)
    if drawn is None:
        return None, None
    second = _drawn(sign * inner[1], around, search, first.region, annotated=False)
    if second is None or second.contrast < CONSPICUOUS * first.contrast:
        return drawn, None
    found = _outline(second, corner, spacing)
    if found is None or centre_distance(found, drawn) > reach_mm:
        return drawn, None
    if not AREAS[0] <= found.area / drawn.area <= AREAS[1]:
        return drawn, None
    return drawn, found


def outline_change(output: Outline, reference: Outline) -> float:
    """Mean distance of two outlines moved onto one centre, over the radius of the disc with the reference's area.

    Symmetric mean over both directions. A disc made a square of the same area gives 0.08.
    """
    a, b = output.points - output.centre, reference.points - reference.centre
    distance = (KDTree(a).query(b)[0].mean() + KDTree(b).query(a)[0].mean()) / 2
    return float(distance) / math.sqrt(reference.area / math.pi)


def centre_distance(output: Outline, reference: Outline) -> float:
    """Distance of the centres in mm."""
    return math.dist(output.centre, reference.centre)


class _Drawn(NamedTuple):
    values: Float64
    """Smoothed values, in which the region is all that exceeds the level."""
    region: BoolMask
    level: float
    contrast: float


def _dice(a: BoolMask, b: BoolMask) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def _drawn(
    pixels: Float64, around: BoolMask, search: BoolMask, expected: BoolMask, *, annotated: bool
) -> _Drawn | None:
    """The region above half of the contrast that is most like the expected one; None where there is none."""
    smooth = ndimage.gaussian_filter(pixels, OUTLINE_SMOOTHING_PX, mode="nearest")
    low = float(smooth[around].mean())
    strongest = smooth[expected] if annotated else np.sort(smooth[search])[::-1][: np.count_nonzero(expected)]
    high = float(np.median(strongest))
    if high <= low:
        return None
    level = (low + high) / 2
    labels = labelled(search & (smooth > level))
    choice = _likeliest(labels, expected, None if annotated else AREAS)
    if choice == 0:
        return None
    chosen: BoolMask = ndimage.binary_fill_holes(labels == choice)
    # Other regions are emptied and holes filled, so that one outline is left at this level.
    values = np.where(((labels != 0) & ~chosen) | ~search, np.minimum(smooth, low), smooth)
    values = np.where(chosen, np.maximum(smooth, level + 0.02 * (high - level)), values)
    return _Drawn(values, chosen, level, high - low)


def _likeliest(labels: NDArray[np.int32], expected: BoolMask, areas: tuple[float, float] | None) -> int:
    """Label of the region that overlaps most (no `areas`) or is nearest in place and area; 0 for none."""
    count = int(labels.max())
    if count == 0:
        return 0
    if areas is None:
        overlap = np.bincount(labels[expected], minlength=count + 1)[1:]
        return int(overlap.argmax()) + 1 if overlap.max() > 0 else 0
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:] / np.count_nonzero(expected)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, np.arange(1, count + 1)))
    radius = math.sqrt(np.count_nonzero(expected) / math.pi)
    off = np.hypot(*(centres - np.argwhere(expected).mean(axis=0)).T) / radius
    cost = np.where((area >= areas[0]) & (area <= areas[1]), np.abs(np.log(area)) + off, np.inf)
    return int(cost.argmin()) + 1 if np.isfinite(cost.min()) else 0


def _outline(drawn: _Drawn, corner: NDArray[np.intp], spacing: Spacing) -> Outline | None:
    lines = find_contours(drawn.values, drawn.level)  # type: ignore[no-untyped-call]
    closed = [c for c in lines if len(c) > 3 and np.allclose(c[0], c[-1])]
    if not closed:
        return None
    path = (max(closed, key=lambda c: abs(_area(c)[0])) + corner) * spacing
    area, centre = _area(path)
    if abs(area) <= ROUNDING:
        return None
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(POINTS) * along[-1] / POINTS
    points = np.stack([np.interp(at, along, path[:, axis]) for axis in (0, 1)], axis=1)
    return Outline(points, centre, abs(area), float(along[-1]))


def _area(path: Float64) -> tuple[float, tuple[float, float]]:
    """Signed area and centre of a closed polygon (first point repeated at the end)."""
    start = path.mean(axis=0)
    (y0, x0), (y1, x1) = (path[:-1] - start).T, (path[1:] - start).T
    cross = y0 * x1 - y1 * x0
    area = float(cross.sum()) / 2
    if abs(area) <= ROUNDING:
        return 0.0, (float(start[0]), float(start[1]))
    cy, cx = ((y0 + y1) * cross).sum() / (6 * area), ((x0 + x1) * cross).sum() / (6 * area)
    return area, (float(start[0] + cy), float(start[1] + cx))
