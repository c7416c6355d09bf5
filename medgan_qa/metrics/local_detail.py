"""How much fine detail an image shows at each place, whatever its pattern: sharpness to the eye, and not accuracy.

Texture of the right strength looks right even where no line of it is. That is what this compares: the local strength of
what a coarser grid could not carry, with its pattern thrown away. It stands for a perceptual distance where no learned
one can be computed, and like one it does not see whether the detail is true.

References:
    Y. Blau, T. Michaeli, "The perception-distortion tradeoff", CVPR (2018) 6228-6237: no image can be best at both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import image2d, region

WINDOW = 2.0
"""Standard deviation of the window that strength is averaged in, in pixels of the input."""
NO_DETAIL = 1e-9
"""Mean strength, relative to the largest value, that is rounding."""


class DetailDistance(NamedTuple):
    """Local strength of fine detail, output against truth."""

    ratio: float
    """Mean strength over that of the truth: below 1 looks blurred, above 1 too sharp."""
    distance: float
    """Mean absolute difference of local strength over the truth's mean; 0 as sharp everywhere, 1 without detail."""


def local_detail(image: Any, scale: tuple[int, int]) -> NDArray[np.float64]:
    """Local root mean square of what lies above the input's grid.

    The image less itself smoothed by a Gaussian of half an input pixel along the axes that were refined (one pixel
    along both where none was), squared, averaged under a Gaussian window of 2 input pixels, and the root of it.

    Args:
        image: (H, W) finite.
        scale: how many times the rows and columns of the input it has, each >= 1.

    Returns:
        (H, W), >= 0, in the unit of the image.

    Raises:
        ValueError: wrong shape, not finite, or a factor below 1.
    """
    pixels = image2d(image, "image")
    if min(scale) < 1:
        raise ValueError(f"scale must be two factors of at least 1, got {scale!r}")
    finest = [factor / 2 if factor > 1 else 0.0 for factor in scale] if max(scale) > 1 else [1.0, 1.0]
    fine = pixels - ndimage.gaussian_filter(pixels, finest, mode="nearest")
    mean = ndimage.gaussian_filter(np.square(fine), [WINDOW * factor for factor in scale], mode="nearest")
    strength: NDArray[np.float64] = np.sqrt(np.maximum(mean, 0.0))
    return strength


def detail_distance(output: Any, truth: Any, mask: Any, scale: tuple[int, int]) -> DetailDistance | None:
    """Compare the local strength of fine detail over a mask.

    Args:
        output: (H, W) finite.
        truth: (H, W) finite.
        mask: (H, W) bool with at least one pixel.
        scale: as `local_detail`.

    Returns:
        Ratio and distance; None where the truth has no fine detail over the mask.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ, the mask is empty, values are not finite, or a factor is below 1.
    """
    reference = image2d(truth, "truth")
    inside = region(mask, "mask", reference.shape)
    shown = local_detail(image2d(output, "output", reference.shape), scale)[inside]
    wanted = local_detail(reference, scale)[inside]
    there = float(wanted.mean())
    if there <= NO_DETAIL * float(np.abs(reference).max()):
        return None
    return DetailDistance(float(shown.mean()) / there, float(np.abs(shown - wanted).mean()) / there)
