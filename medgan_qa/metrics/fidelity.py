"""How near an image is to its reference, pixel by pixel. None of these sees whether a small lesion was lost.

References:
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
        similarity", IEEE Trans. Image Process. 13 (2004) 600-612.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from medgan_qa.metrics._arrays import BoolMask, image2d, region

SSIM_WINDOW = 11
"""Side of the Gaussian window (sigma 1.5, cut at 3.5 sigma) in pixels; no image may be smaller."""


def mean_absolute_error(a: Any, b: Any, mask: Any) -> float:
    """Mean of |a - b| over the mask, in the unit of the images; lower is better.

    Args:
        a: (H, W) finite.
        b: (H, W) finite.
        mask: (H, W) bool with at least one pixel.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ, the mask is empty, or a value is not finite.
    """
    a, b, mask = _pair(a, b, mask)
    return float(np.abs(a[mask] - b[mask]).mean())


def psnr(a: Any, b: Any, mask: Any, data_range: float) -> float | None:
    """Peak signal-to-noise ratio over the mask, 10 log10(data_range^2 / MSE), in dB; higher is better.

    Args:
        a: (H, W) finite.
        b: (H, W) finite.
        mask: (H, W) bool with at least one pixel.
        data_range: the span of values that the modality is stored in, > 0; fixed for a dataset, never taken from the
            image, whose brightest pixel would set the scale.

    Returns:
        The ratio, or None when the images are identical over the mask: the ratio is then unbounded and no number stands
        for it. None means "no difference", never "not computed".

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ, the mask is empty, a value is not finite, or `data_range` is not positive.
    """
    a, b, mask = _pair(a, b, mask)
    _check_range(data_range)
    mse = float(np.square(a[mask] - b[mask]).mean())
    # logarithms apart: the quotient overflows for differences near the smallest numbers
    return None if mse == 0.0 else 20 * math.log10(data_range) - 10 * math.log10(mse)


def ssim_map(a: Any, b: Any, data_range: float) -> NDArray[np.float64]:
    """Structural similarity at each pixel (Wang et al. 2004, eq. 13), in [-1, 1]; higher is better.

    Gaussian window of 11 x 11 pixels with sigma 1.5, K = (0.01, 0.03), population covariance (ddof 0), float64. Windows
    at the border are filled by reflection.

    Args:
        a: (H, W) finite, each side at least 11 pixels.
        b: (H, W) finite.
        data_range: the span of values that the modality is stored in, > 0; see `psnr`.

    Returns:
        (H, W) float64.

    Raises:
        ValueError: shapes differ, an image is smaller than the window, a value is not finite, or `data_range` is not
            positive.
    """
    a = image2d(a, "a")
    b = image2d(b, "b", a.shape)
    _check_range(data_range)
    if min(a.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got shape {a.shape}")
    similarity: NDArray[np.float64] = structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    return similarity


def ssim(a: Any, b: Any, mask: Any, data_range: float) -> float:
    """Mean of `ssim_map` over the mask, in [-1, 1]; higher is better.

    The windows reach 5 pixels beyond the mask. Over the whole image the mean would include air, which is similar to air
    in any pair.

    Args:
        a: (H, W) finite, each side at least 11 pixels.
        b: (H, W) finite.
        mask: (H, W) bool with at least one pixel.
        data_range: the span of values that the modality is stored in, > 0; see `psnr`.

    Raises:
        TypeError: the mask is not bool.
        ValueError: as `ssim_map`, or the mask is empty.
    """
    a, b, mask = _pair(a, b, mask)
    return float(ssim_map(a, b, data_range)[mask].mean())


def _pair(a: Any, b: Any, mask: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], BoolMask]:
    first = image2d(a, "a")
    return first, image2d(b, "b", first.shape), region(mask, "mask", first.shape)


def _check_range(data_range: float) -> None:
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be a positive number, got {data_range!r}")
