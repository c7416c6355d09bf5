"""Fixed features for a small learner: an image through a bank of Gaussian derivatives, summed up over it and its parts.

Nothing is trained, so that every set of images is described in the same way and the same image always by the same
numbers. What a learner makes of them is `medgan_qa.metrics.softmax_regression`.

References:
    J. J. Koenderink, A. J. van Doorn, "Representation of local geometry in the visual system", Biol. Cybern. 55 (1987)
        367-375: derivatives of Gaussians at several scales.
    T. Leung, J. Malik, "Representing and recognizing the visual appearance of materials", Int. J. Comput. Vis. 43
        (2001) 29-44: statistics of a filter bank's responses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float64]

SIDE = 64
"""Images are averaged down, by a whole factor, until no side is larger."""
SCALES = (0.7, 1.4, 2.8)
"""Standard deviations of the Gaussians, in pixels of the reduced image."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
PARTS = 4
"""Parts of the image along each axis."""
SMALLEST = 8
"""Pixels along a side below which there are no parts worth the name."""
BATCH = 64


def filter_bank(images: Any) -> Float:
    """Features of images: global statistics and local means and extremes of filter responses at three scales.

    Responses are the Gaussian mean, the length of the gradient and the Laplacian, the latter two scale-normalised. Of
    each: mean, standard deviation, nine quantiles, and mean, minimum and maximum in each of 4 x 4 parts of the image
    (rows and columns that do not fill a part are left out of the parts). Every channel is described by itself.

    Args:
        images: (N, C, H, W) finite, unit range, sides of at least 8 pixels.

    Returns:
        (N, 531 C) float64; (0, 531 C) for no images.

    Raises:
        ValueError: another shape, sides below 8 pixels, or NaN or infinity.
    """
    array = np.asarray(images, dtype=np.float32)
    if array.ndim != 4 or array.shape[1] == 0 or min(array.shape[2:]) < SMALLEST:
        raise ValueError(f"images must be (N, C, H, W) with sides of at least {SMALLEST}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("images hold NaN or infinity; a learner can learn nothing from them")
    planes = reduced(array).reshape(-1, *_reduced_shape(array.shape[2:]))
    described = [_described(planes[k : k + BATCH]) for k in range(0, len(planes), BATCH)]
    features = np.concatenate(described) if described else np.empty((0, _LENGTH))
    return (
        np.ascontiguousarray(features.reshape(len(array), -1))
        if len(array)
        else np.empty((0, _LENGTH * array.shape[1]))
    )


_LENGTH = 3 * len(SCALES) * (2 + len(QUANTILES) + 3 * PARTS**2)


def reduced(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (N, C, H, W) averaged over square blocks so that no side exceeds `SIDE`; a rest at the rim is cut."""
    height, width = images.shape[2:]
    factor = _factor((height, width))
    if factor == 1:
        return images
    rows, columns = _reduced_shape((height, width))
    cut = images[:, :, : rows * factor, : columns * factor]
    blocks = cut.reshape(*images.shape[:2], rows, factor, columns, factor)
    return np.asarray(blocks.mean(axis=(3, 5), dtype=np.float64), dtype=np.float32)


def _factor(shape: tuple[int, ...]) -> int:
    # A long strip is not reduced below what its short side can bear.
    return max(1, min(math.ceil(max(shape) / SIDE), min(shape) // SMALLEST))


def _reduced_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    factor = _factor(shape)
    return shape[0] // factor, shape[1] // factor


def _described(planes: NDArray[np.float32]) -> Float:
    """(n, _LENGTH) of images (n, H, W)."""
    columns = [column for response in _responses(planes) for column in _statistics(response)]
    return np.concatenate(columns, axis=1).astype(np.float64)


def _responses(planes: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    def gaussian(sigma: float, rows: int, columns: int) -> NDArray[np.float32]:
        out: NDArray[np.float32] = ndimage.gaussian_filter(planes, (0, sigma, sigma), order=(0, rows, columns))
        return out

    for sigma in SCALES:
        yield gaussian(sigma, 0, 0)
        yield np.float32(sigma) * np.hypot(gaussian(sigma, 1, 0), gaussian(sigma, 0, 1))
        yield np.float32(sigma**2) * (gaussian(sigma, 2, 0) + gaussian(sigma, 0, 2))


def _statistics(response: NDArray[np.float32]) -> Iterator[NDArray[Any]]:
    n, height, width = response.shape
    flat = response.reshape(n, -1)
    yield flat.mean(axis=1, dtype=np.float64)[:, None]
    yield flat.std(axis=1, dtype=np.float64)[:, None]
    yield np.quantile(flat, QUANTILES, axis=1).T
    rows, columns = height // PARTS, width // PARTS
    parts = response[:, : rows * PARTS, : columns * PARTS].reshape(n, PARTS, rows, PARTS, columns)
    yield parts.mean(axis=(2, 4), dtype=np.float64).reshape(n, -1)
    yield parts.min(axis=(2, 4)).reshape(n, -1)
    yield parts.max(axis=(2, 4)).reshape(n, -1)
