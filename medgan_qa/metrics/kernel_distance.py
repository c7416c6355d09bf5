"""Squared maximum mean discrepancy (MMD^2) between features: kernel distance (KID) and CMMD, unbiased.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), estimated by the U-statistic over all pairs of distinct samples. Its
expectation is the distance itself at any N, M >= 2, and it is below 0 about as often as above where the distributions
are equal. It is computed once on all samples: the mean over random subsets, as which KID is often given, estimates the
same with more noise, and the standard deviation over such subsets, which overlap, is no standard error.

References:
    A. Gretton et al., "A kernel two-sample test", JMLR 13 (2012) 723-773: the U-statistic; the median heuristic.
    M. Binkowski et al., "Demystifying MMD GANs", ICLR (2018): the polynomial kernel and KID.
    W. Bounliphone et al., "A test of relative similarity for model selection in generative models", ICLR (2016), and
        D. J. Sutherland et al., "Generative models and model criticism via optimized maximum mean discrepancy", ICLR
        (2017): variance of the U-statistic, here for N and M that may differ.
    S. Jayasumana et al., "Rethinking FID: towards a better evaluation metric for image generation", CVPR (2024): CMMD.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medgan_qa.metrics._features import Features, Float, Masks, codes_of, feature_array, feature_pair, mask_pair
from medgan_qa.metrics._kernels import (
    Kernel,
    Polynomial,
    Rbf,
    sums_between,
    sums_over_pairs,
    sums_within,
    variance_of_mmd,
)

KernelName = Literal["polynomial", "rbf"]

MEDIAN_ROWS = 2000
"""Samples that the median heuristic looks at, evenly spaced; more would give the same median from many more pairs."""

FEWEST_FOR_ERROR = 4
"""Samples on a side below which there are no two pairs without a sample in common."""


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """An unbiased estimate of MMD^2."""

    value: float
    """The estimate; of either sign."""
    standard_error: float | None
    """For independent samples; None with fewer than 4 on a side. Patients with several images make it larger: see
    `kernel_replicates`."""
    kernel: KernelName
    """polynomial: (x.y / D + 1)^3; rbf: exp(-|x - y|^2 / (2 bandwidth^2))."""
    bandwidth: float | None
    """Of the rbf kernel, in the unit of the features."""
    real: int
    """Real samples N."""
    generated: int
    """Generated samples M."""


def kernel_distance(
    real: Any, generated: Any, kernel: KernelName = "polynomial", *, bandwidth: float | None = None
) -> KernelDistance:
    """Unbiased MMD^2 on all samples, with its standard error for independent samples.

    Kernels are evaluated in tiles, those of equal sets once for both triangles, and never held as a whole. Products of
    float32 features are float32, sums are float64; that moves the value by far less than its standard error. float64
    features are computed in float64 throughout, and so are float32 ones too large for a cube in float32.

    The variance is that of the Hoeffding decomposition, 4 V_x / N + 4 V_y / M + 2 W_xx / (N (N - 1)) +
    2 W_yy / (M (M - 1)) + 4 W_xy / (N M), where V are the variances of k(x, X') - k(x, Y) averaged over the other
    samples and W those of what is left of k when its averages over either argument are taken out. Both are estimated
    from the sums of rows and of squares of the kernel matrices. The V part is not taken below 0; it vanishes where the
    distributions are equal, and the estimate is then not normal.

    Args:
        real: (N, D) finite, N >= 2.
        generated: (M, D) finite, M >= 2.
        kernel: polynomial, (x.y / D + 1)^3, whose value depends on the scale and the origin of the features; or rbf.
        bandwidth: of the rbf kernel, > 0, required there; `median_bandwidth` of the real set, or of a set that is fixed
            for all models, as values for different bandwidths do not compare.

    Raises:
        TypeError: no real numbers.
        ValueError: wrong shapes, fewer than 2 samples, rows that are not finite, or a bandwidth missing, not positive,
            or given where the kernel has none.
    """
    first, second = feature_pair(real, generated, 2)
    return _distance(_kernel(kernel, bandwidth, first.shape[1]), first, second)


def cmmd(real: Any, generated: Any, sigma: float = 10.0) -> KernelDistance:
    """CMMD: MMD^2 of features scaled to unit length, rbf kernel, unbiased.

    The published CMMD is the biased V-statistic (pairs of a sample with itself included) times 1000, on CLIP features
    with sigma 10. This is the U-statistic, not multiplied: with N = M it is smaller by (2 / N) (1 - mean k) before the
    factor, so published values do not compare with it at small N.

    Args:
        real: (N, D) finite, N >= 2, no row all zero.
        generated: (M, D) finite, M >= 2, no row all zero.
        sigma: bandwidth, > 0.

    Raises:
        TypeError: no real numbers.
        ValueError: as `kernel_distance`, or rows that are all zero and have no direction.
    """
    first, second = feature_pair(real, generated, 2)
    return _distance(_kernel("rbf", sigma, first.shape[1]), _unit(first, "real"), _unit(second, "generated"))


def median_bandwidth(real: Any) -> float:
    """Median distance between distinct samples (Gretton et al. 2012), of the real set alone.

    Of both sets pooled, the bandwidth would depend on the model under test, and a bad model would widen its own kernel.
    Of more than 2000 samples, 2000 evenly spaced ones are used.

    Args:
        real: (N, D) finite, N >= 2.

    Returns:
        The median, > 0, in the unit of the features.

    Raises:
        TypeError: no real numbers.
        ValueError: wrong shape, fewer than 2 samples, rows that are not finite, or more than half of the pairs equal.
    """
    features = feature_array(real, "real", 2)
    rows = np.linspace(0, len(features) - 1, min(len(features), MEDIAN_ROWS)).astype(np.intp)
    values = features[rows].astype(np.float64)
    values -= values.mean(axis=0)
    squares = np.einsum("nd,nd->n", values, values)
    pairs = (squares[:, None] + squares - 2.0 * (values @ values.T))[np.triu_indices(len(values), 1)]
    # what is left of the products of equal rows is rounding
    pairs[pairs <= 1e-12 * squares.max()] = 0.0
    median = math.sqrt(float(np.median(pairs)))
    if median == 0.0:
        raise ValueError("real: more than half of the pairs of samples are equal, so their median distance is 0")
    return median


def kernel_replicates(
    real: Any,
    generated: Any,
    halves_real: Any,
    halves_generated: Any,
    kernel: KernelName = "polynomial",
    *,
    bandwidth: float | None = None,
) -> Float:
    """`kernel_distance` of half samples, for `medgan_qa.stats.half_sample_interval` without bounds.

    One pass over the kernel matrices: each tile is multiplied by the masks, so 200 replicates cost little more than the
    distance itself. Between equal distributions the interval overstates the standard error, by sqrt(3).

    Args:
        real: (N, D) finite.
        generated: (M, D) finite.
        halves_real: (B, N) bool, at least 2 samples in a row.
        halves_generated: (B, M) bool, at least 2 samples in a row; row b goes with row b of `halves_real`.
        kernel: as in `kernel_distance`.
        bandwidth: as in `kernel_distance`; that of the whole real set, not of the halves.

    Returns:
        (B,) unbiased MMD^2, of either sign.

    Raises:
        TypeError: features that are no real numbers, or masks that are not bool.
        ValueError: as `kernel_distance`, or masks of the wrong shape or with fewer than 2 samples in a row.
    """
    first, second = feature_pair(real, generated, 2)
    of = _kernel(kernel, bandwidth, first.shape[1])
    h1, h2 = mask_pair(halves_real, halves_generated, len(first), len(second))
    x, y = of.prepare(first, second)
    n, m = h1.sum(axis=1).astype(np.float64), h2.sum(axis=1).astype(np.float64)
    within = sums_within(of, x, h1) / (n * (n - 1.0)) + sums_within(of, y, h2) / (m * (m - 1.0))
    return np.asarray(within - 2.0 * sums_between(of, x, y, h1, h2) / (n * m), dtype=np.float64)


def kernel_permutation_p(
    real: Any,
    generated: Any,
    *,
    permutations: int,
    generator: np.random.Generator,
    kernel: KernelName = "polynomial",
    bandwidth: float | None = None,
    clusters_real: Iterable[Hashable] | None = None,
    clusters_generated: Iterable[Hashable] | None = None,
) -> float:
    """P-value of equal distributions, by permuting which samples are called real.

    The share of relabellings, the observed one among them, whose distance is at least the observed one: exact at any N
    where the samples are exchangeable under the null. Patients change sides whole. With several images a patient the
    null includes that both sides hold patients of like size: it does not suit generated samples that are independent
    of each other beside real ones that are not. There one image a patient is to be drawn first.

    Args:
        real: (N, D) finite.
        generated: (M, D) finite.
        permutations: random relabellings, >= 1; p is at least 1 / (permutations + 1).
        generator: draws them.
        kernel: as in `kernel_distance`.
        bandwidth: as in `kernel_distance`; must not depend on which samples are called real if the test is to be exact.
        clusters_real: (N,) patients; each sample for itself when None.
        clusters_generated: (M,) the same for the generated side; a label on both sides names two patients.

    Raises:
        TypeError: no real numbers.
        ValueError: as `kernel_distance`, wrong numbers of labels, permutations below 1, or a relabelling that leaves
            fewer than 2 samples on a side.
    """
    first, second = feature_pair(real, generated, 2)
    of = _kernel(kernel, bandwidth, first.shape[1])
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations!r}")
    codes_1 = codes_of(clusters_real, len(first), "clusters_real")
    codes_2 = codes_of(clusters_generated, len(second), "clusters_generated")
    sides = np.arange(codes_1.max() + codes_2.max() + 2) <= codes_1.max()
    drawn = np.stack([sides, *(generator.permutation(sides) for _ in range(permutations))])
    masks = drawn[:, np.concatenate([codes_1, codes_2 + codes_1.max() + 1])]
    x, y = of.prepare(first, second)
    values = _relabelled(of, feature_array(np.concatenate([x, y]), "pooled"), masks)
    # relabellings that are the observed one up to order differ from it by rounding
    return float(np.mean(values >= values[0] - 1e-9 * np.abs(values).max()))


def _kernel(name: KernelName, bandwidth: float | None, dimensions: int) -> Kernel:
    if name == "polynomial":
        if bandwidth is not None:
            raise ValueError("the polynomial kernel has no bandwidth")
        return Polynomial(dimensions)
    if name != "rbf":
        raise ValueError(f"kernel must be 'polynomial' or 'rbf', got {name!r}")
    if bandwidth is None or not (math.isfinite(bandwidth) and bandwidth > 0.0):
        raise ValueError(f"the rbf kernel needs a bandwidth > 0, got {bandwidth!r}")
    return Rbf(bandwidth)


def _distance(of: Kernel, real: Features, generated: Features) -> KernelDistance:
    x, y = of.prepare(real, generated)
    xx, yy, xy = sums_over_pairs(of, x), sums_over_pairs(of, y), sums_over_pairs(of, x, y)
    n, m = len(x), len(y)
    within = float(xx.rows.sum()) / (n * (n - 1.0)) + float(yy.rows.sum()) / (m * (m - 1.0))
    value = within - 2.0 * float(xy.rows.sum()) / (n * m)
    error = math.sqrt(variance_of_mmd(xx, yy, xy)) if min(n, m) >= FEWEST_FOR_ERROR else None
    name: KernelName = "rbf" if isinstance(of, Rbf) else "polynomial"
    return KernelDistance(value, error, name, of.bandwidth if isinstance(of, Rbf) else None, n, m)


def _relabelled(of: Kernel, pooled: Features, masks: Masks) -> Float:
    """MMD^2 between the marked and the other rows, for each row of `masks`."""
    n = masks.sum(axis=1).astype(np.float64)
    m = masks.shape[1] - n
    if min(n.min(), m.min()) < 2:
        raise ValueError("a relabelling leaves fewer than 2 samples on a side; there are too few patients to permute")
    everything = np.ones_like(masks[:1])
    sums = sums_within(of, pooled, np.concatenate([masks, ~masks, everything]))
    first, second, total = sums[: len(masks)], sums[len(masks) : -1], sums[-1]
    within = first / (n * (n - 1.0)) + second / (m * (m - 1.0))
    # every other pair is between the sides, and is in the total both ways round
    return np.asarray(within - (total - first - second) / (n * m), dtype=np.float64)


def _unit(features: Features, name: str) -> Features:
    lengths = np.asarray(np.linalg.norm(features.astype(np.float64), axis=1), dtype=np.float64)
    if not lengths.all():
        rows = np.flatnonzero(lengths == 0.0)
        raise ValueError(
            f"{name} holds {len(rows)} rows that are all zero and have no direction; first: {int(rows[0])}"
        )
    return feature_array((features / lengths[:, None]).astype(features.dtype), name)
