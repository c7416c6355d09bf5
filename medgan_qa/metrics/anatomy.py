"""Measured anatomy of a slice without a trained network.

The measures are thresholds, components and moments: they see a third kidney, a broken rib or ventricles of the wrong
size, and they are wrong in the same way on real and on generated images. They are read against real images, never on
their own.

References:
    P.-S. Liao, T.-S. Chen, P.-C. Chung, "A fast algorithm for multilevel thresholding", J. Inf. Sci. Eng. 17 (2001)
        713-727.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from medgan_qa.metrics._arrays import BoolMask, Spacing, image2d, labelled, mask2d, spacing2d
from medgan_qa.metrics._contour import CONSTANT_RANGE, SPECK_PX, holes, parts, slice2d
from medgan_qa.metrics.brain import BRAIN, brain
from medgan_qa.metrics.reference_range import Quantity, Table

Measure = Callable[[NDArray[np.float32], Spacing], dict[str, float]]
"""One image (H, W) in unit range and its spacing (dy, dx) in mm to named numbers, all finite, the same names always."""

CLASSES = 4
LEVEL_BINS = 64
SMALLEST_SHARE = 1e-3
"""Components of the generic measures hold at least this share of the image, and 4 pixels."""

GENERIC: dict[str, Quantity] = {
    "no_body": Quantity("1", "high", 0.1, "1 where the values span less than 0.001; all other measures are then 0"),
    **{
        f"{name}_{level}": Quantity("1", "both", resolution, f"{meaning} above threshold {level} of {CLASSES - 1}")
        for level in range(1, CLASSES)
        for name, resolution, meaning in (
            ("share", 1e-3, "share of the image"),
            ("components", 0.25, "connected parts"),
            ("euler", 0.25, "connected parts minus the holes in them"),
            ("elongation", 0.05, "longer over shorter axis of the parts, mean by area,"),
        )
    },
}
"""The measures of `generic`."""

MASK: dict[str, Quantity] = {
    "components": Quantity("1", "both", 0.25, "connected parts of the mask"),
    "largest_area": Quantity("mm2", "both", 1.0, "area of the largest part"),
    "total_area": Quantity("mm2", "both", 1.0, "area of the mask"),
}
"""The measures of `segmented`."""


@dataclass(frozen=True, slots=True)
class MaskComponents:
    """What a segmentation mask is made of."""

    count: int
    """8-connected components."""
    areas_mm2: NDArray[np.float64]
    """(count,) largest first."""


def measure_all(images: Any, measure: Measure, spacing_mm: Spacing) -> Table:
    """A measure of every image.

    Args:
        images: (N, H, W) finite, N >= 1.
        measure: `brain`, `generic`, `segmented`, or one's own.
        spacing_mm: pixel spacing (dy, dx) in mm.

    Returns:
        By name (N,) float64.

    Raises:
        ValueError: no image, wrong shape, not finite (`image_faults` measures such images), or a measure that names
            other numbers for another image or returns one that is not finite.
    """
    array = np.asarray(images)
    if array.ndim != 3 or len(array) == 0:
        raise ValueError(f"images must have shape (N, H, W) with N >= 1, got {array.shape}")
    rows = [measure(image2d(image, f"image {i}").astype(np.float32), spacing_mm) for i, image in enumerate(array)]
    if odd := [i for i, row in enumerate(rows) if row.keys() != rows[0].keys()]:
        raise ValueError(f"the measure gives other names for images {odd[:10]} than for the first")
    table = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    if bad := [name for name, column in table.items() if not np.isfinite(column).all()]:
        raise ValueError(f"the measure gives numbers that are not finite: {bad}")
    return table


def generic(image: Any, spacing_mm: Spacing) -> dict[str, float]:
    """Counts and shapes of what is brighter than each of three thresholds, for any anatomy.

    The thresholds are Otsu's for four classes over 64 bins, after a Gaussian of 0.7 pixels. Above each, parts with less
    than a thousandth of the image or 4 pixels are dropped. A structure that is missing, doubled or broken changes the
    number of parts at the level that sets it apart; one that is broken also changes their elongation.

    Args:
        image: (H, W) finite, in [0, 1], each side at least 16 pixels.
        spacing_mm: pixel spacing (dy, dx) in mm, for the axes of the parts.

    Returns:
        The measures of `GENERIC`; a level without parts has share, counts and elongation 0.

    Raises:
        ValueError: wrong shape, too small, not finite, or a spacing that is not positive.
    """
    pixels, spacing = slice2d(image), spacing2d(spacing_mm)
    if np.ptp(pixels) < CONSTANT_RANGE:
        return {name: float(name == "no_body") for name in GENERIC}
    smooth = ndimage.gaussian_filter(pixels, 0.7)
    row = {"no_body": 0.0}
    for level, threshold in enumerate(_thresholds(smooth), start=1):
        row |= {f"{name}_{level}": value for name, value in _parts_above(smooth > threshold, spacing).items()}
    return row


def segmented(mask: Any, spacing_mm: Spacing) -> dict[str, float]:
    """The measures of `MASK` of a segmentation mask, given as an image whose values above 0.5 are the structure."""
    found = components_of_mask(np.asarray(mask) > 0.5, spacing_mm)
    largest = float(found.areas_mm2[0]) if found.count else 0.0
    return {"components": float(found.count), "largest_area": largest, "total_area": float(found.areas_mm2.sum())}


MEASURES: dict[str, tuple[Measure, dict[str, Quantity]]] = {
    "brain": (brain, BRAIN),
    "generic": (generic, GENERIC),
    "mask": (segmented, MASK),
}
"""The measures that ship, by name, with what each of their numbers is."""


def components_of_mask(mask: Any, spacing_mm: Spacing, smallest_px: int = 1) -> MaskComponents:
    """Number and areas of the 8-connected components of a segmentation mask.

    Args:
        mask: (H, W) bool; may be empty.
        spacing_mm: pixel spacing (dy, dx) in mm.
        smallest_px: components with fewer pixels are left out, >= 1.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask is not two-dimensional, a spacing is not positive, or `smallest_px` is below 1.
    """
    array, (dy, dx) = mask2d(mask, "mask"), spacing2d(spacing_mm)
    if smallest_px < 1:
        raise ValueError(f"smallest_px must be at least 1, got {smallest_px!r}")
    sizes = parts(array, smallest_px)
    return MaskComponents(int(sizes.size), sizes.astype(np.float64) * (dy * dx))


def _thresholds(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(CLASSES - 1,) ascending; with fewer distinct values than classes midway between those, the last repeated."""
    low, high = float(pixels.min()), float(pixels.max())
    binned = np.minimum((LEVEL_BINS * (pixels - low) / (high - low)).astype(np.intp), LEVEL_BINS - 1)
    levels = np.unique(binned)
    if levels.size > CLASSES:
        cuts = threshold_multiotsu(binned, CLASSES, nbins=LEVEL_BINS) + 1.0  # type: ignore[no-untyped-call]
    else:
        cuts = (levels[1:] + levels[:-1]) / 2 + 0.5
    scaled = low + (high - low) * cuts / LEVEL_BINS
    return np.pad(scaled, (0, CLASSES - 1 - scaled.size), mode="edge")


def _parts_above(mask: BoolMask, spacing: Spacing) -> dict[str, float]:
    smallest = max(SPECK_PX, math.ceil(SMALLEST_SHARE * mask.size))
    labels = labelled(mask)
    sizes = np.bincount(labels.ravel())
    large = sizes >= smallest
    large[0] = False
    kept = large[labels]
    weights = sizes[large].astype(np.float64)
    elongations = _elongations(labels, sizes, spacing)[large]
    return {
        "share": float(kept.mean()),
        "components": float(weights.size),
        "euler": float(weights.size - holes(kept, SPECK_PX)),
        "elongation": float(weights @ elongations / weights.sum()) if weights.size else 0.0,
    }


def _elongations(labels: NDArray[np.int32], sizes: NDArray[np.intp], spacing: Spacing) -> NDArray[np.float64]:
    """Longer over shorter axis of each part, from its second moments; each pixel is a rectangle and not a point."""
    flat = labels.ravel()
    rows, columns = (at.ravel() * step for at, step in zip(np.indices(labels.shape), spacing, strict=True))

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(flat, weights=values) / np.maximum(sizes, 1)

    y, x = rows - mean(rows)[flat], columns - mean(columns)[flat]
    yy, xx, xy = mean(y * y) + spacing[0] ** 2 / 12, mean(x * x) + spacing[1] ** 2 / 12, mean(x * y)
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    longer = middle + half
    # The product of both is the determinant, which keeps its digits where a part is thin.
    elongations: NDArray[np.float64] = longer / np.sqrt(yy * xx - xy * xy)
    return elongations
