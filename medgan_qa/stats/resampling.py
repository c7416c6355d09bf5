"""Intervals for statistics that are no proportions, with the patient as the unit that is drawn or counted.

References:
    A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge (1997): sections 3.8 (clustered
        data) and 5.3 (percentile intervals).
    H. A. David, H. N. Nagaraja, "Order Statistics", 3rd ed., Wiley (2003), section 7.1: intervals for quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.stats._arguments import Sided, cluster_codes, finite_vector, tail_probability


@dataclass(frozen=True, slots=True)
class BootstrapInterval:
    """A percentile interval; both ends are None where there is none."""

    low: float | None
    """Lower end, in the unit of the statistic."""
    high: float | None
    """Upper end, in the unit of the statistic."""
    clusters: int
    """Clusters (patients) that were drawn from."""
    resamples: int
    """Resamples behind the ends; 0 where there is no interval."""


@dataclass(frozen=True, slots=True)
class MedianInterval:
    """A median over clusters with an exact interval; an end is None where too few clusters support it."""

    value: float | None
    """Median of the clusters' medians; None without any value."""
    low: float | None
    """Lower end, in the unit of the values."""
    high: float | None
    """Upper end, in the unit of the values."""
    clusters: int
    """Clusters (patients) behind it."""


def cluster_bootstrap(
    values: Any,
    cluster: Iterable[Hashable],
    statistic: Callable[[NDArray[np.float64]], float],
    alpha: float,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    sided: Sided = 1,
) -> BootstrapInterval:
    """Percentile interval of a statistic, resampling whole patients with replacement.

    As many patients as there are get drawn, each with all its values, so a resample's size varies with the patients'
    sizes. The ends are order statistics of the replicates, taken outwards (no interpolation). The percentile method
    does not correct for bias or skewness: it suits means, medians and ratios of sums, covers less than the nominal
    level with few patients, and is wrong for statistics that duplicates bias (distances between distributions,
    numbers of distinct things). For a median, `cluster_median` is exact.

    Args:
        values: (N,) finite.
        cluster: (N,) labels of the patient that each value belongs to.
        statistic: maps a float64 vector of any length >= 1 to a number.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        rng: the generator to draw from; the result depends on the order of the values.
        n_resamples: replicates; at least 1 / (error rate of one end).
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The interval. Ends are None with fewer than 2 patients, as nothing is known of how patients differ, and where a
        replicate is not finite.

    Raises:
        ValueError: wrong shapes, values that are not finite, a missing label, alpha outside its range, or too few
            resamples for it.
    """
    tail = tail_probability(alpha, sided)
    if n_resamples * tail < 1:
        raise ValueError(f"n_resamples must be at least {1 / tail:.0f} for this alpha, got {n_resamples}")
    vector = finite_vector(values, "values")
    codes, clusters = cluster_codes(cluster, vector.size)
    if clusters < 2:
        return BootstrapInterval(None, None, clusters, 0)
    groups = _by_cluster(vector, codes)
    draws = rng.integers(clusters, size=(n_resamples, clusters))
    replicates = np.array([statistic(np.concatenate([groups[i] for i in draw])) for draw in draws], dtype=np.float64)
    if not np.isfinite(replicates).all():
        return BootstrapInterval(None, None, clusters, 0)
    low = float(np.quantile(replicates, tail, method="lower"))
    high = float(np.quantile(replicates, 1 - tail, method="higher"))
    return BootstrapInterval(low, high, clusters, n_resamples)


def cluster_median(values: Any, cluster: Iterable[Hashable], alpha: float, sided: Sided = 1) -> MedianInterval:
    """Median over patients with an exact, distribution-free interval from order statistics.

    Each patient is reduced to the median of its values, which makes the units independent; the quantity estimated is
    the median patient, so a patient with many lesions weighs no more than one with few. Of the sorted patient medians
    x_(1) ... x_(C), the lower end is x_(r) and the upper x_(C+1-r) with r the largest rank for which
    P(Binomial(C, 1/2) < r) <= the error rate of the end. Coverage is at least the nominal level for any distribution,
    with or without ties.

    Args:
        values: (N,) finite.
        cluster: (N,) labels of the patient that each value belongs to.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The median with its interval. Ends are None where even the extremes do not reach the level: fewer than 5
        patients at an error rate of 0.05 per end, fewer than 6 at 0.025. Value None for N = 0.

    Raises:
        ValueError: wrong shapes, values that are not finite, a missing label, or alpha outside its range.
    """
    tail = tail_probability(alpha, sided)
    vector = finite_vector(values, "values")
    codes, clusters = cluster_codes(cluster, vector.size)
    if clusters == 0:
        return MedianInterval(None, None, None, 0)
    medians = np.sort([np.median(group) for group in _by_cluster(vector, codes)])
    value = float(np.median(medians))
    # entry j is P(Binomial(C, 1/2) <= j) and rises with j, so the entries within the error rate count the rank
    rank = int(np.count_nonzero(special.bdtr(np.arange(clusters), clusters, 0.5) <= tail))
    if rank == 0:
        return MedianInterval(value, None, None, clusters)
    # an error rate near 0.5 pushes the ranks to the middle, never across it
    rank = min(rank, (clusters + 1) // 2)
    return MedianInterval(value, float(medians[rank - 1]), float(medians[clusters - rank]), clusters)


def _by_cluster(vector: NDArray[np.float64], codes: NDArray[np.intp]) -> list[NDArray[np.float64]]:
    """The values of each cluster, in order of codes."""
    order = np.argsort(codes, kind="stable")
    return np.split(vector[order], np.cumsum(np.bincount(codes))[:-1])
