"""Where the patient is in a slice.

References:
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979) 62-66.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from medgan_qa.metrics._arrays import ROUNDING, dilated, image2d, labelled

OTSU_SHARE = 0.5
"""Share of Otsu's threshold, counted from the darkest pixel, above which a pixel is foreground."""
CLOSING_PX = 3
"""Radius in pixels of the gaps that closing bridges."""


def body_mask(image: Any) -> NDArray[np.bool_]:
    """Foreground of one MR or CT slice: patient against air.

    Otsu's threshold separates bright from dark tissue as readily as tissue from air, so only half of it is asked for:
    dark tissue such as fluid in FLAIR stays inside. Then gaps of up to about 6 pixels in the outline are closed,
    enclosed holes (sinuses, lungs, dark ventricles) are filled, and the largest 8-connected component is kept; the
    first in raster order if two are as large. The mask does not change when the image is scaled or shifted. A bright
    thing apart from the body (a head rest) is left out; one that touches it is not.

    Args:
        image: (H, W) finite, in [0, 1].

    Returns:
        (H, W) bool with at least one pixel. All True for an image that is constant to within 1e-9 of its largest value:
        it has no background to tell apart.

    Raises:
        ValueError: not two-dimensional, without pixels, or not finite.
    """
    array = image2d(image, "image")
    darkest = float(array.min())
    # differences in the last digits are rounding, and no histogram can be made of them
    if np.ptp(array) <= ROUNDING * np.abs(array).max():
        return np.ones(array.shape, dtype=bool)
    threshold = darkest + OTSU_SHARE * (_otsu(array) - darkest)
    return _largest_component(ndimage.binary_fill_holes(_closed(array > threshold, CLOSING_PX)))


def _otsu(array: NDArray[np.float64]) -> float:
    return float(threshold_otsu(array))  # type: ignore[no-untyped-call]


def _closed(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Closing by a disc."""
    # on a padded field, or else what lies near the border would grow into it
    padding = radius + 1
    grown = dilated(np.pad(mask, padding), radius)
    closed = ~dilated(~grown, radius)
    return closed[padding:-padding, padding:-padding]


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels = labelled(mask)
    largest: NDArray[np.bool_] = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return largest
