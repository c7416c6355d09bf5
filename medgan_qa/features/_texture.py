"""Texture matrices of many images at once, and the features read from them.

Grey levels are integers (N, H, W), 1 ... `LEVELS` inside the region of interest and 0 outside of it. Definitions and
names follow the Image Biomarker Standardisation Initiative (IBSI), reference manual, section 3: "by slice, with merged
directions" for GLCM and GLRLM. Left out are features that follow from others by a linear equation, exactly or nearly so
(sum average, cluster tendency; the normalised inverse differences at 32 levels), and those that grow with the number of
pixels (the non-uniformities that are not normalised).

References:
    A. Zwanenburg et al., "The Image Biomarker Standardization Initiative", Radiology 295 (2020) 328-338;
    reference manual, arXiv:1612.07003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 32
COARSEST = 1e6
"""Coarseness of a region without any difference between neighbours (IBSI 3.9.1)."""

GLCM_NAMES = (
    "joint_maximum",
    "joint_average",
    "joint_standard_deviation",
    "joint_entropy",
    "difference_average",
    "difference_variance",
    "difference_entropy",
    "sum_entropy",
    "angular_second_moment",
    "contrast",
    "inverse_difference",
    "inverse_difference_moment",
    "inverse_variance",
    "correlation",
    "autocorrelation",
    "cluster_shade_root",
    "cluster_prominence_root",
    "information_correlation_1",
    "information_correlation_2",
)
"""`joint_standard_deviation` is the root of IBSI's joint variance; the roots (third and fourth) bring cluster shade and
prominence back to the unit of a grey level.
"""
NGTDM_NAMES = ("log_coarseness", "log_contrast", "log_busyness", "log_complexity", "log_strength")

Float = NDArray[np.float64]
Levels = NDArray[np.int32]

_STEPS, _SUMS = np.arange(LEVELS), np.arange(2, 2 * LEVELS + 1)
_I, _J = (np.indices((LEVELS, LEVELS)) + 1).reshape(2, -1)
_DIFFERENCE_ORDER, _SUM_ORDER = np.argsort(np.abs(_I - _J), kind="stable"), np.argsort(_I + _J, kind="stable")
_DIFFERENCE_START = np.searchsorted(np.abs(_I - _J)[_DIFFERENCE_ORDER], _STEPS)
_SUM_START = np.searchsorted((_I + _J)[_SUM_ORDER], _SUMS)
_CLOSENESS = np.stack(
    [
        1 / (1 + _STEPS),
        1 / (1 + _STEPS**2),
        (_STEPS > 0) / np.maximum(_STEPS**2, 1),
    ],
    axis=1,
)
"""Weights by difference of level: the inverse difference, its moment, and the inverse variance."""


def entropy(p: Float) -> Float:
    """Entropy in bits of the distributions along the last axis; 0 log 0 is 0."""
    result: Float = -np.sum(p * np.log2(np.where(p > 0, p, 1.0)), axis=-1)
    # not -0.0, which is another bit pattern than 0.0
    return np.abs(result)


def glcm(levels: Levels, distance: int) -> Float:
    """Co-occurrence probabilities (N, LEVELS, LEVELS), symmetric, over the four directions at a Chebyshev distance.

    A region in which no two pixels are that far apart is taken to be constant at the level of its first pixel.
    """
    steps = ((0, distance), (distance, 0), (distance, distance), (distance, -distance))
    counts = np.sum([_pairs(levels, down, right) for down, right in steps], axis=0)
    counts = (counts + counts.transpose(0, 2, 1)).astype(np.float64)
    lonely = np.flatnonzero(counts.sum(axis=(1, 2)) == 0)
    first = _first_level(levels)[lonely] - 1
    counts[lonely, first, first] = 1
    result: Float = counts / counts.sum(axis=(1, 2), keepdims=True)
    return result


def glcm_features(levels: Levels, distance: int) -> Float:
    """`GLCM_NAMES` (N, 19) of the co-occurrence at `distance`. Where nothing varies, correlation is 1."""
    matrix = glcm(levels, distance)
    p, marginals = matrix.reshape(len(levels), LEVELS**2), matrix.sum(axis=2)
    difference = np.add.reduceat(p[:, _DIFFERENCE_ORDER], _DIFFERENCE_START, axis=1)
    total = np.add.reduceat(p[:, _SUM_ORDER], _SUM_START, axis=1)
    average = (marginals * (_STEPS + 1)).sum(axis=1)
    away = (_STEPS + 1) - average[:, None]
    variance = not_rounding((marginals * away**2).sum(axis=1))
    step, contrast = (difference * _STEPS).sum(axis=1), (difference * _STEPS**2).sum(axis=1)
    # E (i - j)^2 = 2 variance - 2 covariance; the correlation of a constant region is 1, it is predicted perfectly
    covariance = variance - contrast / 2
    correlation = np.where(variance > 0, covariance / np.where(variance > 0, variance, 1), 1.0)
    inverse, inverse_moment, inverse_variance = np.einsum("nd,dk->kn", difference, _CLOSENESS)
    deviation = _SUMS - 2 * average[:, None]
    joint, marginal = entropy(p), entropy(marginals)
    # p is symmetric: both cross entropies of IBSI (HXY1, HXY2) are twice the marginal entropy
    shared = np.maximum(2 * marginal - joint, 0)
    columns = [
        p.max(axis=1),
        average,
        np.sqrt(variance),
        joint,
        step,
        not_rounding(contrast - step**2),
        entropy(difference),
        entropy(total),
        (p**2).sum(axis=1),
        contrast,
        inverse,
        inverse_moment,
        inverse_variance,
        correlation,
        covariance + average**2,
        np.cbrt(not_rounding((total * deviation**3).sum(axis=1))),
        not_rounding((total * deviation**4).sum(axis=1)) ** 0.25,
        -shared / np.where(marginal > 0, marginal, 1),
        np.sqrt(1 - np.exp(-2 * shared)),
    ]
    return np.stack(columns, axis=1)


def ngtdm_features(levels: Levels) -> Float:
    """`NGTDM_NAMES` (N, 5), neighbourhood of 3 x 3 pixels; decimal logarithms, of 1 + value but for coarseness.

    Only neighbours in the region count, and pixels without one are left out. Without any difference between neighbours
    coarseness is 1e6 (IBSI) and the others 0; busyness is 0 too where its denominator vanishes.
    """
    n = len(levels)
    inside = levels > 0
    total, neighbours = _around(levels.astype(np.float64)), _around(inside.astype(np.float64))
    used = inside & (neighbours > 0)
    difference = np.where(used, np.abs(levels - total / np.maximum(neighbours, 1)), 0.0)
    key = (np.arange(n)[:, None, None] * (LEVELS + 1) + np.where(used, levels, 0)).ravel()
    counts = np.bincount(key, minlength=n * (LEVELS + 1)).reshape(n, -1)[:, 1:].astype(np.float64)
    s = np.bincount(key, difference.ravel(), n * (LEVELS + 1)).reshape(n, -1)[:, 1:].astype(np.float64)
    return _ngtdm(counts, s)


def _ngtdm(counts: Float, s: Float) -> Float:
    """The features of counts and summed differences by level, both (N, LEVELS)."""
    pixels = np.maximum(counts.sum(axis=1), 1)
    p, present = counts / pixels[:, None], counts > 0
    i = np.arange(1.0, LEVELS + 1)
    coarse = (p * s).sum(axis=1)
    kinds = present.sum(axis=1)
    spread = np.maximum(2 * ((p @ i**2) * p.sum(axis=1) - (p @ i) ** 2), 0)
    contrast = spread / np.maximum(kinds * (kinds - 1), 1) * s.sum(axis=1) / pixels
    both = present[:, :, None] & present[:, None, :]
    pi, pj, gap = p[:, :, None], p[:, None, :], np.abs(i[:, None] - i)
    # of whole numbers, so that equal products differ by nothing rather than by rounding
    products = i * counts
    busy = np.where(both, np.abs(products[:, :, None] - products[:, None, :]), 0).sum(axis=(1, 2)) / pixels
    pair = np.where(both, (p * s)[:, :, None] + (p * s)[:, None, :], 0) / np.where(both, pi + pj, 1)
    complexity = (gap * pair).sum(axis=(1, 2)) / pixels
    strength = np.where(both, (pi + pj) * gap**2, 0).sum(axis=(1, 2))
    sums = s.sum(axis=1)
    coarseness = np.where(coarse > 0, 1 / np.where(coarse > 0, coarse, 1), COARSEST).clip(max=COARSEST)
    busyness = np.where((busy > 0) & (kinds > 1), coarse / np.where(busy > 0, busy, 1), 0)
    strength = np.where(sums > 0, strength / np.where(sums > 0, sums, 1), 0)
    logs = [np.log10(1 + v) for v in (contrast, busyness, complexity, strength)]
    return np.stack([np.log10(coarseness), *logs], axis=1)


def _pairs(levels: Levels, down: int, right: int) -> NDArray[np.int64]:
    """How often level j stands `down` rows below and `right` columns beside level i, (N, LEVELS, LEVELS)."""
    n, height, width = levels.shape
    base, size = LEVELS + 1, (LEVELS + 1) ** 2
    rows, columns = max(height - down, 0), max(width - abs(right), 0)
    a = levels[:, :rows, max(-right, 0) : max(-right, 0) + columns]
    b = levels[:, down : down + rows, max(right, 0) : max(right, 0) + columns]
    key = a * base + b + (np.arange(n) * size)[:, None, None]
    return np.bincount(key.ravel(), minlength=n * size).reshape(n, base, base)[:, 1:, 1:]


def _first_level(levels: Levels) -> NDArray[np.int64]:
    flat = levels.reshape(len(levels), -1)
    return np.take_along_axis(flat, (flat > 0).argmax(axis=1)[:, None], axis=1)[:, 0].astype(np.int64)


def _around(values: Float) -> Float:
    """Sum over the eight neighbours of each pixel, (N, H, W); nothing beyond the border."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - values


def not_rounding(values: Float) -> Float:
    """Central moments, with 0 for what rounding leaves of nothing."""
    return np.where(np.abs(values) > _ROUNDING, values, 0.0)


_ROUNDING = 1e-9
"""Moments of grey levels below this are rounding: one pair in 1e6 at the next level makes 1e-6."""
