"""Kinds of tissue told apart by the intensity of a real image, where there is no segmentation.

References:
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979) 62-66.
    P.-S. Liao, T.-S. Chen, P.-C. Chung, "A fast algorithm for multilevel thresholding", J. Inf. Sci. Eng. 17 (2001)
        713-727.
    S. Aubrey et al., "Measurement of skeletal muscle radiation attenuation and basis of its biological variation",
        Acta Physiol. 210 (2014) 489-497: windows of fat and muscle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from medgan_qa.metrics._arrays import BoolMask, image2d, mask2d
from medgan_qa.stats._arguments import finite_vector

Window = tuple[float, float]
"""Half open: low <= value < high."""

LEVEL_BINS = 128
LEVELS: dict[int, tuple[str, ...]] = {
    2: ("dark", "bright"),
    3: ("dark", "middle", "bright"),
    4: ("darkest", "dark", "bright", "brightest"),
    5: ("darkest", "dark", "middle", "bright", "brightest"),
}
"""Names of classes by their number, darkest first."""

HOUNSFIELD: dict[str, Window] = {
    "air": (-math.inf, -900.0),
    "lung": (-900.0, -500.0),
    "fat": (-190.0, -30.0),
    "soft tissue": (-30.0, 150.0),
    "bone": (200.0, math.inf),
}
"""Windows in HU. What lies between them is partial volume of two, and belongs to none."""


def otsu_windows(values: Any, classes: int = 4) -> dict[str, Window]:
    """Windows that part values into classes, by Otsu's criterion for several thresholds.

    Args:
        values: (N,) finite, intensities of tissue.
        classes: how many, 2 to 5.

    Returns:
        By name, darkest first, the outer ends open. Empty where fewer distinct levels than classes are held.

    Raises:
        ValueError: wrong shape, not finite, or a number of classes without names.
    """
    vector = finite_vector(values, "values")
    if classes not in LEVELS:
        raise ValueError(f"classes must be one of {', '.join(map(str, LEVELS))}, got {classes!r}")
    if vector.size == 0 or np.ptp(vector) == 0:
        return {}
    low, high = float(vector.min()), float(vector.max())
    binned = np.minimum((LEVEL_BINS * (vector - low) / (high - low)).astype(np.intp), LEVEL_BINS - 1)
    counts = np.bincount(binned, minlength=LEVEL_BINS)
    if np.count_nonzero(counts) <= classes:
        return {}
    cuts = threshold_multiotsu(classes=classes, hist=(counts, np.arange(LEVEL_BINS)))  # type: ignore[no-untyped-call]
    edges = [-math.inf, *(low + (high - low) * (float(cut) + 1.0) / LEVEL_BINS for cut in cuts), math.inf]
    return dict(zip(LEVELS[classes], pairwise(edges), strict=True))


def flat_tissue(reference: Any, region: Any, most: float, edge_px: int = 2) -> tuple[NDArray[np.float64], BoolMask]:
    """An image freed of its finest noise, and the pixels of a region that lie clear of edges.

    Edges hold two tissues; there a blur or a shift of a fraction of a pixel shows as an error of intensity that it is
    not. A pixel is clear of them when the smooth image spans no more than `most` over the square of `edge_px` pixels
    around it.

    Args:
        reference: (H, W) finite.
        region: (H, W) bool.
        most: a larger span among neighbouring pixels is an edge.
        edge_px: distance from edges in pixels, >= 0; 0 leaves all pixels in.

    Returns:
        (H, W) the median over 3 x 3 pixels, and (H, W) bool, which may be empty.

    Raises:
        TypeError: the region is not bool.
        ValueError: shapes differ, values are not finite, or `edge_px` is negative.
    """
    pixels = image2d(reference, "reference")
    inside = mask2d(region, "region", pixels.shape)
    if edge_px < 0:
        raise ValueError(f"edge_px must be at least 0, got {edge_px!r}")
    smooth: NDArray[np.float64] = ndimage.median_filter(pixels, size=3, mode="nearest")
    if edge_px == 0:
        return smooth, inside
    side = 2 * edge_px + 1
    span = ndimage.maximum_filter(smooth, side) - ndimage.minimum_filter(smooth, side)
    return smooth, inside & (span <= most)


def class_masks(smooth: Any, flat: Any, windows: Mapping[str, Window]) -> dict[str, BoolMask]:
    """Where each class is.

    A pixel belongs to the class of the smooth image: chosen by its own value, the pixels of an outer class would be
    those whose noise points outwards.

    Args:
        smooth: (H, W), from `flat_tissue`, in the unit of the windows.
        flat: (H, W) bool, the pixels that may belong to a class.
        windows: the classes.

    Returns:
        By name (H, W) bool; may be empty.
    """
    return {name: flat & (smooth >= low) & (smooth < high) for name, (low, high) in windows.items()}
