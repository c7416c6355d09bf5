"""First-order statistics of many images at once, and their grey levels.

First-order names follow the Image Biomarker Standardisation Initiative (arXiv:1612.07003, sections 3.3 and 3.4), with
standard deviations in place of variances so that everything keeps the unit of the image. Quantiles are interpolated
linearly. Whatever is a quotient has a stated value where its denominator vanishes: skewness and kurtosis are
0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa.features._texture import LEVELS, entropy

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIRST_ORDER_NAMES = (
    "mean",
    "standard_deviation",
    "skewness",
    "excess_kurtosis",
    "minimum",
    "percentile_10",
    "median",
    "percentile_90",
    "maximum",
    "interquartile_range",
    "mean_absolute_deviation",
    "robust_mean_absolute_deviation",
    "median_absolute_deviation",
    "discretised_entropy",
    "discretised_uniformity",
)
NOTHING = 1e-9
"""Spread, in unit range, below which an image is constant; float32 resolves 6e-8 of full range."""


def levels_of(images: NDArray[np.float32]) -> NDArray[np.int32]:
    """Grey levels 1 ... `LEVELS` in equal bins of [0, 1]; values outside belong to the first and the last."""
    # clipped first: a float beyond the range of an int has no defined integer
    return 1 + np.minimum(images.clip(0, 1) * np.float32(LEVELS), LEVELS - 1).astype(np.int32)


def first_order(values: Float, mask: Mask) -> Float:
    """`FIRST_ORDER_NAMES` (N, 15) of the elements of (N, P) values under a mask with at least one in every row.

    The values are those of float32 images: quantiles are taken at that precision.
    """
    count = mask.sum(axis=1)
    ordered = np.sort(np.where(mask, values, np.inf).astype(np.float32), axis=1)
    low, tenth, quarter, median, upper, ninetieth, high = (
        quantile(ordered, count, q) for q in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
    )
    mean, deviation, skewness, kurtosis = moments(values, mask)
    inner = mask & (values >= tenth[:, None]) & (values <= ninetieth[:, None])
    histogram = _histogram(values, mask) / count[:, None]
    columns = [
        mean,
        deviation,
        skewness,
        kurtosis,
        low,
        tenth,
        median,
        ninetieth,
        high,
        upper - quarter,
        masked_mean(np.abs(values - mean[:, None]), mask),
        masked_mean(np.abs(values - masked_mean(values, inner)[:, None]), inner),
        masked_mean(np.abs(values - median[:, None]), mask),
        entropy(histogram),
        (histogram**2).sum(axis=1),
    ]
    return np.stack(columns, axis=1)


def masked_mean(values: Float, mask: Mask) -> Float:
    """Mean under the mask; every row marks at least one element."""
    result: Float = np.where(mask, values, 0).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    return result


def moments(values: Float, mask: Mask) -> tuple[Float, Float, Float, Float]:
    """Mean, standard deviation (ddof 0), skewness and excess kurtosis; both are 0 where nothing varies (IBSI 3.3)."""
    mean = masked_mean(values, mask)
    deviation = np.where(mask, values - mean[:, None], 0)
    square, count = deviation**2, mask.sum(axis=1)
    variance = square.sum(axis=1) / count
    still = variance <= NOTHING**2
    safe = np.where(still, 1, variance)
    skewness = np.where(still, 0, (square * deviation).sum(axis=1) / count / safe**1.5)
    kurtosis = np.where(still, 0, (square**2).sum(axis=1) / count / safe**2 - 3)
    return mean, np.where(still, 0, np.sqrt(variance)), skewness, kurtosis


def _histogram(values: Float, mask: Mask) -> Float:
    """Counts (N, LEVELS) of `levels_of` under the mask."""
    n = len(values)
    level = np.where(mask, levels_of(values.astype(np.float32)), 0) + np.arange(n)[:, None] * (LEVELS + 1)
    return np.bincount(level.ravel(), minlength=n * (LEVELS + 1)).reshape(n, -1)[:, 1:].astype(np.float64)


def quantile(ordered: NDArray[np.float32], count: NDArray[np.int64], q: float) -> Float:
    """Quantile of the first `count` elements of rows in ascending order, linear interpolation."""
    place = q * (count - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, count - 1)
    low, high = (np.take_along_axis(ordered, k[:, None], axis=1)[:, 0].astype(np.float64) for k in (below, above))
    result: Float = low + (high - low) * (place - below)
    return result
