"""Multi-scale structural similarity of image pairs, and the diversity of a set by that of its random pairs.

References:
    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar
        Conf. Signals, Systems and Computers (2003) 1398-1402: scales, weights (section 3.2).
    A. Odena, C. Olah, J. Shlens, "Conditional image synthesis with auxiliary classifier GANs", ICML (2017): mean
        MS-SSIM of random pairs as a measure of diversity.
    P. M. Aronow, C. Samii, V. A. Assenova, "Cluster-robust variance estimation for dyadic data", Political Analysis 23
        (2015) 564-577: the variance of a mean over pairs that share members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._features import Float, codes_of, half_masks

Index = NDArray[np.intp]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from the finest scale to the coarsest (Wang et al. 2003); they add up to 1.0001, as published."""
WINDOW = 11
"""Side of the Gaussian window (sigma 1.5) in pixels, and the smallest side of an image."""
_CHUNK = 1 << 22
_OFFSETS = np.arange(WINDOW) - WINDOW // 2
_KERNEL = np.exp(-_OFFSETS * _OFFSETS / (2 * 1.5**2)) / np.exp(-_OFFSETS * _OFFSETS / (2 * 1.5**2)).sum()


@dataclass(frozen=True, slots=True, eq=False)
class PairSimilarity:
    """How alike the images of one set are, by MS-SSIM of random pairs."""

    value: float
    """Mean MS-SSIM over the pairs, in [0, 1]; lower is more diverse."""
    standard_error: float
    """Standard error of the value that allows for pairs sharing an image or a patient; 0 where all pairs agree."""
    scales: int
    """Scales that the images had room for, 1 to 5. Values at different numbers of scales are not comparable."""
    images: int
    """Images that pairs were drawn from, N."""
    first: Index
    """(P,) index of one image of each pair."""
    second: Index
    """(P,) index of the other."""
    similarities: Float
    """(P,) MS-SSIM of each pair."""


def ms_ssim_scales(height: int, width: int) -> int:
    """Scales that an image has room for: halved to ceil(side / 2) each time, the last must still hold the window.

    Five need a shorter side above 160 pixels, four above 80, three above 40, two above 20, one at least 11.

    Raises:
        ValueError: a side is below 11 pixels.
    """
    side = min(height, width)
    if side < WINDOW:
        raise ValueError(f"MS-SSIM needs images of at least {WINDOW} x {WINDOW} pixels, got {height} x {width}")
    return sum(side > (WINDOW - 1) * 2**level for level in range(len(WEIGHTS)))


def ms_ssim(a: Any, b: Any, data_range: float = 1.0) -> Float:
    """MS-SSIM of pairs of images, in [0, 1]; 1 for identical images (Wang et al. 2003, eq. 7).

    The product of one mean a scale, each raised to its weight: that of contrast times structure at every scale but the
    coarsest, and that of the full SSIM there. Gaussian window of 11 x 11 pixels with sigma 1.5 inside the image only,
    K = (0.01, 0.03), population covariance (ddof 0), float64. The next scale is the mean of 2 x 2 blocks; an odd last
    row or column is repeated first. Channels are compared one by one and averaged at each scale.

    Images too small for five scales use as many as fit (`ms_ssim_scales`), with the published weights of those scales
    divided by their sum. A mean below 0 at any scale has no real power and counts as 0, so that the product is 0.

    Args:
        a: (P, H, W) or (P, C, H, W) finite; sides of at least 11 pixels.
        b: the same shape.
        data_range: the span of values that the modality is stored in, > 0; never taken from the images.

    Returns:
        (P,) float64.

    Raises:
        ValueError: shapes differ, an image is smaller than the window, a value is not finite, or `data_range` is not
            positive.
    """
    first, second = _images(a, "a"), _images(b, "b")
    if first.shape != second.shape:
        raise ValueError(f"a and b must have one shape, got {np.shape(a)} and {np.shape(b)}")
    return _similarities(first, second, np.arange(len(first)), np.arange(len(first)), _positive(data_range))


def ms_ssim_diversity(
    images: Any,
    pairs: int,
    generator: np.random.Generator,
    data_range: float = 1.0,
    clusters: Sequence[str] | None = None,
) -> PairSimilarity:
    """Mean MS-SSIM of random pairs of one set: the more alike its images, the higher (Odena et al. 2017).

    Pairs are drawn without replacement from all pairs of different images, and of different clusters where these are
    given, as slices of one patient are alike for another reason than a generator's collapse. All pairs are used where
    there are no more than asked for.

    The value means something only beside that of real pairs from as many patients, at the same size and number of
    scales: aligned anatomy is alike in any two patients, so that the value is near its ceiling for good sets too. It
    falls with noise, which is not diversity. As a mean over pairs it has no bias with N.

    The standard error is the dyadic one of Aronow et al. (2015): products of the residuals of all pairs that share an
    image (or cluster), never below what independent pairs would give.

    Args:
        images: (N, H, W) or (N, C, H, W) finite, N at least 3, sides of at least 11 pixels.
        pairs: pairs to draw, at least 2.
        generator: source of the draw.
        data_range: as in `ms_ssim`.
        clusters: (N,) patient of each image, at least 3 different; each image its own where absent.

    Raises:
        ValueError: as `ms_ssim`; fewer than 3 images or clusters, fewer than 2 pairs, or wrong number of labels.
    """
    stack = _images(images, "images")
    codes = _codes(clusters, len(stack))
    if int(pairs) != pairs or pairs < 2:
        raise ValueError(f"pairs must be an integer of at least 2, got {pairs!r}")
    first, second = _draw_pairs(codes, int(pairs), generator)
    similarities = _similarities(stack, stack, first, second, _positive(data_range))
    error = _dyadic_error(similarities, codes[first], codes[second])
    scales = ms_ssim_scales(*stack.shape[-2:])
    return PairSimilarity(float(similarities.mean()), error, scales, len(stack), first, second, similarities)


def ms_ssim_replicates(diversity: PairSimilarity, halves: Any) -> Float:
    """Mean over the pairs whose images are both in a half, for half-sample intervals; nothing is computed anew.

    A half of the images holds about a quarter of the drawn pairs. The part of the spread that comes from drawing pairs
    is therefore up to three times too large in variance and the interval conservative, unless pairs are many times the
    images.

    Args:
        diversity: result for N images.
        halves: (B, N) bool, the images that each replicate keeps; at least one drawn pair within each.

    Returns:
        (B,) means.

    Raises:
        TypeError: `halves` is not bool.
        ValueError: `halves` is not of shape (B, N), or a half holds no pair.
    """
    masks = half_masks(halves, diversity.images, "halves")
    means = np.empty(len(masks))
    for row, mask in enumerate(masks):
        kept = mask[diversity.first] & mask[diversity.second]
        if not kept.any():
            raise ValueError(f"half {row} holds none of the {diversity.first.size} pairs; draw more pairs")
        means[row] = diversity.similarities[kept].mean()
    return means


def _similarities(a: Float, b: Float, first: Index, second: Index, data_range: float) -> Float:
    """MS-SSIM of a[first] and b[second], a few pairs at a time so that memory stays bounded."""
    step = max(1, _CHUNK // math.prod(a.shape[1:]))
    parts = [
        _ms_ssim(a[first[start : start + step]], b[second[start : start + step]], data_range)
        for start in range(0, first.size, step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _ms_ssim(a: Float, b: Float, data_range: float) -> Float:
    scales = ms_ssim_scales(*a.shape[-2:])
    weights = np.array(WEIGHTS[:scales])
    if scales < len(WEIGHTS):
        weights /= weights.sum()
    product = np.ones(len(a))
    for scale, weight in enumerate(weights, start=1):
        full, contrast_structure = _ssim_means(a, b, data_range)
        product *= np.maximum(full if scale == scales else contrast_structure, 0.0) ** weight
        if scale < scales:
            a, b = _halved(a), _halved(b)
    return product


def _ssim_means(a: Float, b: Float, data_range: float) -> tuple[Float, Float]:
    """Means over channels and pixels of the full SSIM and of its contrast-structure factor, both (P,)."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = _filtered(a), _filtered(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance, variances = _filtered(a * b) - product, _filtered(a * a + b * b) - squares
    contrast_structure = (2 * covariance + c2) / (variances + c2)
    full = (2 * product + c1) / (squares + c1) * contrast_structure
    return full.mean(axis=(1, 2, 3)), contrast_structure.mean(axis=(1, 2, 3))


def _filtered(x: Float) -> Float:
    """Gaussian-weighted means (P, C, H, W) where the window lies inside the image: (P, C, H - 10, W - 10)."""
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    rows = ndimage.correlate1d(x, _KERNEL, axis=2)[:, :, inside]
    window_means: Float = ndimage.correlate1d(rows, _KERNEL, axis=3)[..., inside]
    return window_means


def _halved(x: Float) -> Float:
    """Means of 2 x 2 blocks, an odd last row or column repeated."""
    x = np.pad(x, ((0, 0), (0, 0), (0, x.shape[2] % 2), (0, x.shape[3] % 2)), mode="edge")
    return 0.25 * (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2])


def _draw_pairs(codes: Index, pairs: int, generator: np.random.Generator) -> tuple[Index, Index]:
    """Up to `pairs` different pairs (i < j) of different clusters, all of them equally likely."""
    n = codes.size
    total = n * (n - 1) // 2
    drawn = min(total, pairs)
    while True:
        first, second = _unranked(generator.choice(total, size=drawn, replace=False), n)
        allowed = codes[first] != codes[second]
        if drawn == total or np.count_nonzero(allowed) >= pairs:
            return first[allowed][:pairs], second[allowed][:pairs]
        drawn = min(total, 2 * drawn)


def _unranked(rank: Index, n: int) -> tuple[Index, Index]:
    """The pairs i < j of n numbered row by row: 0 is (0, 1), 1 is (0, 2), ..."""
    starts = np.concatenate([[0], np.cumsum(np.arange(n - 1, 0, -1))])
    first = np.searchsorted(starts, rank, side="right") - 1
    return first, rank - starts[first] + first + 1


def _dyadic_error(values: Float, first: Index, second: Index) -> float:
    """Standard error of the mean of `values` (P,) over pairs of the clusters `first` and `second`, both (P,)."""
    residuals = values - values.mean()
    count = int(max(first.max(), second.max())) + 1
    by_cluster = np.bincount(first, residuals, count) + np.bincount(second, residuals, count)
    unordered = np.minimum(first, second) * count + np.maximum(first, second)
    by_pair = np.bincount(np.unique(unordered, return_inverse=True)[1], residuals)
    # pairs of the same two clusters are in the first sum twice
    variance = by_cluster @ by_cluster - by_pair @ by_pair
    return math.sqrt(max(variance, float(residuals @ residuals))) / values.size


def _codes(clusters: Sequence[str] | None, n: int) -> Index:
    """Clusters as integers 0 ... G-1, (n,)."""
    codes: Index = codes_of(clusters, n, "clusters")
    if np.unique(codes).size < 3:
        raise ValueError(f"pairs need at least 3 independent images, got {np.unique(codes).size}")
    return codes


def _images(images: Any, name: str) -> Float:
    """`images` as float64 (N, C, H, W)."""
    array = np.asarray(images, dtype=np.float64)
    if array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(f"{name} must be (N, H, W) or (N, C, H, W) and hold pixels, got shape {array.shape}")
    array = array[:, None] if array.ndim == 3 else array
    if not (finite := np.isfinite(array).all(axis=(1, 2, 3))).all():
        raise ValueError(f"{name} holds NaN or infinity in images {np.flatnonzero(~finite)[:10].tolist()}")
    ms_ssim_scales(*array.shape[-2:])
    return array


def _positive(data_range: float) -> float:
    if not (math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be a positive number, got {data_range!r}")
    return data_range
