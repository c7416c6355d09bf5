"""Areas that a threshold takes from a real image and applies to it and to a translated one alike."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import BoolMask, dilated, image2d, mask2d, region
from medgan_qa.metrics.body import CLOSING_PX, OTSU_SHARE, _closed, _largest_component, _otsu
from medgan_qa.metrics.lesions import contrast, contrast_noise, surround

DEEP = 0.4
"""Share of the body's largest depth beyond which a pixel is deep: clear of scalp and skull in a head."""
RAMP = (0.25, 0.75)
"""From all dark to not dark at all, between the dark level and the tissue's: half a pixel of tissue counts as half."""
SMOOTH_PX = 1.5
"""Both images are smoothed by so much before pixels are counted: what a mild blur hides is too thin to count."""
DARK_PERCENTILE = 1.0
FAINT = 3.0
"""A lesion whose contrast is below so many standard errors has no edge to measure it by."""


class DarkRule(NamedTuple):
    """What counts as dark, and where."""

    deep: BoolMask
    dark: float
    tissue: float


def body_threshold(reference: Any) -> float | None:
    """Intensity that parts patient from air, by the rule of `body_mask`: half of Otsu's threshold from the darkest.

    Args:
        reference: (H, W) finite.

    Returns:
        The threshold; None for a constant image.

    Raises:
        ValueError: wrong shape or not finite.
    """
    pixels = image2d(reference, "reference")
    darkest = float(pixels.min())
    return None if np.ptp(pixels) == 0 else darkest + OTSU_SHARE * (_otsu(pixels) - darkest)


def body_pixels(image: Any, threshold: float) -> int:
    """Pixels of the body at a given threshold: closed, filled, largest component; 0 where nothing is above it.

    Raises:
        ValueError: wrong shape or not finite.
    """
    above = image2d(image, "image") > threshold
    if not above.any():
        return 0
    return int(_largest_component(ndimage.binary_fill_holes(_closed(above, CLOSING_PX))).sum())


def dark_rule(reference: Any, body: Any, without: Any) -> DarkRule | None:
    """Where and below what an image is dark deep in the body: ventricles in FLAIR and T1.

    Deep are the pixels farther inside the body than 0.4 of its largest depth. The tissue's level is the median there,
    the dark level the first percentile of the body.

    Args:
        reference: (H, W) finite, the real image.
        body: (H, W) bool.
        without: (H, W) bool, pixels to leave out (lesions).

    Returns:
        The rule; None where nothing is deep, or the body holds one level only.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, the body is empty, or values are not finite.
    """
    pixels = image2d(reference, "reference")
    inside, left_out = region(body, "body", pixels.shape), mask2d(without, "without", pixels.shape)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    deep: NDArray[np.bool_] = (depth > DEEP * depth.max()) & ~left_out
    if not deep.any():
        return None
    dark, tissue = float(np.percentile(pixels[inside], DARK_PERCENTILE)), float(np.median(pixels[deep]))
    return DarkRule(deep, dark, tissue) if tissue - dark > 1e-6 * max(abs(tissue), 1.0) else None


def dark_pixels(image: Any, rule: DarkRule) -> float:
    """Pixels that are dark by a rule, partial volume counted: all at a quarter of the way to tissue, none at three.

    Raises:
        ValueError: wrong shape or not finite.
    """
    level = (_smooth(image2d(image, "image", rule.deep.shape))[rule.deep] - rule.dark) / (rule.tissue - rule.dark)
    return float(np.clip((RAMP[1] - level) / (RAMP[1] - RAMP[0]), 0.0, 1.0).sum())


def window_pixels(image: Any, window: tuple[float, float], within: Any) -> int:
    """Pixels of a region whose smoothed value lies in a window, low <= value < high.

    Args:
        image: (H, W) finite, in the unit of the window.
        window: low and high; either may be infinite.
        within: (H, W) bool.

    Raises:
        TypeError: the region is not bool.
        ValueError: shapes differ, or values are not finite.
    """
    pixels = image2d(image, "image")
    values = _smooth(pixels)[mask2d(within, "within", pixels.shape)]
    return int(np.count_nonzero((values >= window[0]) & (values < window[1])))


def _smooth(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(pixels, SMOOTH_PX, mode="nearest")
    return smooth


def lesion_core(lesion: Any) -> BoolMask:
    """A lesion without its outermost pixels, which hold part of what is around it; all of it where nothing would stay.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask is not two-dimensional.
    """
    mask = mask2d(lesion, "lesion")
    core: NDArray[np.bool_] = ndimage.binary_erosion(mask)
    return core if core.any() else mask


def lesion_pixels(images: tuple[Any, Any], lesion: Any, body: Any, others: Any) -> tuple[int, int] | None:
    """Pixels of a lesion in reference and output beyond the half-way level between it and the tissue around it.

    The level is half way between the mean of the lesion and of its ring (`surround`) in the reference. Counted are
    pixels beyond it on the lesion's side, within half the lesion's radius (at least 3 pixels) of the annotated mask and
    off other lesions, so that a lesion may grow by half.

    Args:
        images: reference and output, (H, W) finite.
        lesion: (H, W) bool, one lesion.
        body: (H, W) bool.
        others: (H, W) bool, all lesions of the slice, this one included.

    Returns:
        Pixels in reference and output; None where the lesion has no ring, or too little contrast in the reference.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, the lesion is empty, or values are not finite.
    """
    reference, output = (image2d(image, "image") for image in images)
    target = region(lesion, "lesion", reference.shape)
    ring = surround(target, body, others)
    # Three pixels are the least that a mean of tissue around a lesion can be taken from.
    if ring.sum() < 3:
        return None
    step = contrast(reference, target, ring)
    if abs(step) <= FAINT * contrast_noise(reference, target, ring):
        return None
    level = float(reference[ring].mean()) + step / 2
    margin = max(3.0, 0.5 * math.sqrt(target.sum() / math.pi))
    near = dilated(target, margin) & mask2d(body, "body") & ~(mask2d(others, "others") & ~target)
    sign = math.copysign(1.0, step)
    before, after = (int(np.count_nonzero(sign * (image[near] - level) > 0)) for image in (reference, output))
    return before, after
