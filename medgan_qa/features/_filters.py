"""Responses of linear filters of many images at once: scales, directions, frequencies.

Everything keeps the unit of the image, and every quotient has a stated value where its denominator vanishes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from medgan_qa.features._intensity import NOTHING, Float, moments, quantile

RESPONSE_NAMES = (
    "standard_deviation",
    "skewness",
    "excess_kurtosis",
    "mean_magnitude",
    "percentile_5",
    "percentile_95",
)
GRADIENT_NAMES = (
    "mean",
    "standard_deviation",
    "skewness",
    "percentile_90",
    "edge_share",
    "coherence",
    "vertical_share",
    "fine_noise",
)
EDGE = 0.1
"""Gradient magnitude, in unit range a pixel, from which a pixel counts as edge."""
BANDS = (0.0, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0, 2.0)
"""Edges of the spectral bands as shares of the Nyquist frequency, upper edge included; the mean is in none of them."""
SPECTRAL_NAMES = (
    *(f"log_power_band_{k}" for k in range(1, len(BANDS))),
    "log_vertical_to_horizontal_low",
    "log_vertical_to_horizontal_high",
)
POWER_FLOOR = 1e-8
"""Mean square below which power is none: what rounding to 12 bits leaves in a band."""


def response(values: Float) -> Float:
    """`RESPONSE_NAMES` (N, 6) of a filter's response (N, H, W)."""
    flat = values.reshape(len(values), -1)
    everywhere = np.ones(flat.shape, dtype=bool)
    _, deviation, skewness, kurtosis = moments(flat, everywhere)
    ordered, count = np.sort(flat.astype(np.float32), axis=1), np.full(len(flat), flat.shape[1])
    low, high = quantile(ordered, count, 0.05), quantile(ordered, count, 0.95)
    return np.stack([deviation, skewness, kurtosis, np.abs(flat).mean(axis=1), low, high], axis=1)


def haar_details(images: Float) -> dict[str, Float]:
    """The three detail bands (N, H, W) of one level of the undecimated Haar transform, in the unit of the image.

    `horizontal` is high-pass along columns (it answers to vertical edges), `vertical` along rows. The last row and
    column are repeated once.
    """
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1)), mode="edge")
    low, high = (padded[:, :, :-1] + padded[:, :, 1:]) / 2, (padded[:, :, :-1] - padded[:, :, 1:]) / 2
    return {
        "horizontal": (high[:, :-1] + high[:, 1:]) / 2,
        "vertical": (low[:, :-1] - low[:, 1:]) / 2,
        "diagonal": (high[:, :-1] - high[:, 1:]) / 2,
    }


def gradients(images: Float) -> Float:
    """`GRADIENT_NAMES` (N, 8), from central differences, one-sided halved at the border.

    `coherence` is 1 where all gradients share one axis, 0 where they point everywhere; `vertical_share` is the share of
    the squared gradient that runs along columns, 1/2 for a flat image. `fine_noise` is J. Immerkaer's estimate of noise
    (Computer Vision and Image Understanding 64 (1996) 300-302) with the image repeated at its border.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    squares = (down**2).sum(axis=(1, 2)), (right**2).sum(axis=(1, 2))
    energy = squares[0] + squares[1]
    axis = np.hypot(squares[0] - squares[1], 2 * (down * right).sum(axis=(1, 2)))
    magnitude = np.hypot(down, right).reshape(len(images), -1)
    everywhere = np.ones(magnitude.shape, dtype=bool)
    mean, deviation, skewness, _ = moments(magnitude, everywhere)
    ninetieth = quantile(np.sort(magnitude.astype(np.float32), axis=1), everywhere.sum(axis=1), 0.9)
    share = (magnitude > EDGE).mean(axis=1)
    flat = energy <= NOTHING**2 * magnitude.shape[1]
    energy = np.where(flat, 1, energy)
    coherence, vertical = np.where(flat, 0, axis / energy), np.where(flat, 0.5, squares[0] / energy)
    columns = [mean, deviation, skewness, ninetieth, share, coherence, vertical, _fine_noise(padded)]
    return np.stack(columns, axis=1)


def spectrum(images: Float) -> Float:
    """Orthonormal cosine transform (DCT-II) of each image: the spectrum of the image continued by reflection."""
    result: Float = fft.dctn(images, axes=(1, 2), norm="ortho")
    return result


def laplacian_of_gaussian(coefficients: Float, sigma: float) -> Float:
    """Sigma squared times the Laplacian of the Gaussian-smoothed image (N, H, W), from its `spectrum`.

    The continuous transfer function -(sigma w)^2 exp(-(sigma w)^2 / 2) is sampled at the frequencies of the transform;
    the image is continued by reflection. The factor sigma squared makes responses of several scales comparable.
    """
    square = sigma**2 * np.pi**2 * _frequency(coefficients.shape[1:]) ** 2
    result: Float = fft.idctn(-coefficients * square * np.exp(-square / 2), axes=(1, 2), norm="ortho")
    return result


def spectral(coefficients: Float) -> Float:
    """`SPECTRAL_NAMES` (N, 10) of a `spectrum`: decimal logarithms of mean square by band, and of directional ratios.

    The ratios compare power of patterns that vary along columns with those that vary along rows, below and above half
    the Nyquist frequency. Mean squares are raised by `POWER_FLOOR`.
    """
    shape = coefficients.shape[1:]
    power = coefficients**2 / (shape[0] * shape[1])
    radius = _frequency(shape)
    row, column = np.arange(shape[0])[:, None] / shape[0], np.arange(shape[1]) / shape[1]
    # np.searchsorted counts the edges below a frequency: 0 for the mean, then the number of the band
    bands = _power_by(power, np.searchsorted(BANDS, radius), len(BANDS))
    sides = _power_by(power, np.where(row == column, 0, 1 + 2 * (radius > 0.5) + (row < column)), 5)
    return np.hstack([bands, sides[:, [0, 2]] - sides[:, [1, 3]]])


def _power_by(power: Float, group: NDArray[np.int64], groups: int) -> Float:
    """Decimal logarithm of the summed power of the groups 1, 2, ... (N, groups - 1), raised by `POWER_FLOOR`."""
    n = len(power)
    key = group + groups * np.arange(n)[:, None, None]
    sums = np.bincount(key.ravel(), power.ravel(), n * groups).reshape(n, groups)[:, 1:]
    result: Float = np.log10(sums + POWER_FLOOR)
    return result


def _frequency(shape: tuple[int, ...]) -> Float:
    """Radial frequency (H, W) of the cosine transform's coefficients, as a share of Nyquist's."""
    result: Float = np.hypot((np.arange(shape[0]) / shape[0])[:, None], np.arange(shape[1]) / shape[1])
    return result


def _fine_noise(padded: Float) -> Float:
    """Immerkaer's estimate of the standard deviation of white noise, from images padded by one pixel."""
    rows = padded[:, :-2] - 2 * padded[:, 1:-1] + padded[:, 2:]
    both = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    result: Float = np.sqrt(np.pi / 2) / 6 * np.abs(both).mean(axis=(1, 2))
    return result
