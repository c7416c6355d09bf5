"""Intervals from random halves of the patients, for estimators that are no plain proportion.

Drawing with replacement puts copies of a case into a sample. Distances between distributions, nearest neighbours and
counts of distinct things take the copies for structure, and their bootstrap interval may leave out the estimate itself.
Half of the patients, drawn without replacement, holds no copies, and with halves the spread of the replicates is the
standard error of the estimate on all patients, with no rescaling.

References:
    J. Shao, C. F. J. Wu, "A general theory for jackknife variance estimation", Ann. Statist. 17 (1989) 1176-1197:
        delete-d jackknife, eq. 2.2.
    P. J. McCarthy, "Pseudo-replication: half samples", Rev. Int. Stat. Inst. 37 (1969) 239-264: halves and complements.
    E. L. Korn, B. I. Graubard, "Confidence intervals for proportions with small expected number of positive counts
        estimated from survey data", Survey Methodology 24 (1998) 193-201.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.stats._arguments import Sided, cluster_codes, tail_probability
from medgan_qa.stats.proportions import _t_ratio, clopper_pearson

FEWEST_CLUSTERS = 8
"""With fewer patients than this no ends are given: too few halves differ for their spread to be known."""

HALF_SAMPLING = "half-sampling by cluster (delete-half jackknife), Student t"
SHARE_HALF_SAMPLING = "Clopper-Pearson on the effective sample size from half-sampling by cluster"
SHARE_BY_CLUSTER = "Clopper-Pearson, each cluster counts once (the half samples show no spread)"
TOO_FEW_CLUSTERS = f"none: fewer than {FEWEST_CLUSTERS} clusters"
NOT_COMPUTED = "none: a half sample has no value"


@dataclass(frozen=True, slots=True)
class ResampledInterval:
    """An interval from half samples; ends are None where none can be given, and `method` says why."""

    low: float | None
    """Lower end, in the unit of the estimate."""
    high: float | None
    """Upper end, in the unit of the estimate."""
    se: float | None
    """Standard error of the estimate at its full sample sizes; None where a half sample has no value."""
    clusters: int
    """Clusters (patients) behind it: the fewer of the two sides."""
    resamples: int
    """Half samples that the standard error was computed from."""
    method: str
    """How the interval was computed."""


def draw_halves(clusters: Iterable[Hashable], resamples: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Random halves of the patients, in complementary pairs.

    Row 2b marks the cases of floor(G / 2) of the G patients, drawn without replacement, and row 2b + 1 those of all the
    others, so every case stands in exactly half of the rows and the errors that are linear in the data cancel in the
    mean over rows. A patient's cases stay together. Generated samples are drawn apart, with their own call; where each
    is independent of the others, their identifiers are the clusters.

    Args:
        clusters: (N,) labels of the independent unit (patient) that each case belongs to.
        resamples: rows B, an even number >= 2; 200 leave a Monte Carlo error of about 7 % in the standard error.
        generator: the generator to draw from; the result depends on the order of the cases.

    Returns:
        (B, N) bool.

    Raises:
        ValueError: fewer than 2 patients, a missing label, or `resamples` odd or below 2.
    """
    labels = list(clusters)
    codes, count = cluster_codes(labels, len(labels))
    if count < 2:
        raise ValueError(f"half-sampling needs at least 2 clusters, got {count}")
    if resamples < 2 or resamples % 2:
        raise ValueError(f"resamples must be an even number >= 2, as halves come in pairs, got {resamples!r}")
    pairs = resamples // 2
    chosen = np.zeros((pairs, count), dtype=bool)
    order = generator.random((pairs, count)).argsort(axis=1, kind="stable")
    np.put_along_axis(chosen, order[:, : count // 2], True, axis=1)
    first = chosen[:, codes]
    return np.stack([first, ~first], axis=1).reshape(resamples, len(labels))


def half_sample_interval(
    value: float,
    replicates: Any,
    *,
    clusters: int,
    alpha: float = 0.05,
    sided: Sided = 1,
    bounds: tuple[float | None, float | None] = (None, None),
) -> ResampledInterval:
    """Interval of an estimate from its values on half samples, value -+ t se.

    se is the standard deviation of the replicates round their own mean (delete-d jackknife with d = G / 2, Shao and Wu
    1989). Round their own mean, because half the sample has another bias than the whole. For odd G, where the pairs
    hold (G - 1) / 2 and (G + 1) / 2 patients, the variance is divided by (G^2 + 1) / (G^2 - 1), the mean of (G - m) / m
    over the two. t has G - 1 degrees of freedom, and no more than there are pairs of half samples.

    The interval is for the estimator's expectation AT THESE SAMPLE SIZES. It does not correct the estimator's own bias:
    a Frechet distance of 500 images is nearly all bias, and so is the middle of its interval. An estimator whose linear
    part vanishes (a kernel distance between equal distributions) has its standard error overstated, a quadratic one by
    sqrt(3).

    Args:
        value: the estimate on all cases.
        replicates: (B,) the estimate on the rows of `draw_halves`; with two samples, row b of the one goes with row b
            of the other.
        clusters: number G of independent units; with two samples that of the smaller side.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.
        bounds: smallest and largest value that the quantity can take; the ends are cut there.

    Returns:
        The interval. Ends are None with fewer than 8 clusters; ends and se where a replicate is not finite. All
        replicates equal give an interval without width: nothing in the data varied.

    Raises:
        ValueError: value not finite or outside `bounds`, fewer than 2 replicates, clusters below 1, or alpha outside
            its range.
    """
    tail = tail_probability(alpha, sided)
    lowest, highest = (-math.inf if bounds[0] is None else bounds[0]), (math.inf if bounds[1] is None else bounds[1])
    if not (math.isfinite(value) and lowest <= value <= highest):
        raise ValueError(f"value must be finite and within its bounds {bounds}, got {value!r}")
    resamples, se = _standard_error(replicates, clusters)
    if se is None or clusters < FEWEST_CLUSTERS:
        return _without_ends(se, clusters, resamples)
    half = 0.0 if tail == 0.5 else float(special.stdtrit(_degrees(clusters, resamples), 1.0 - tail)) * se
    low, high = max(lowest, value - half), min(highest, value + half)
    return ResampledInterval(low, high, se, clusters, resamples, HALF_SAMPLING)


def half_sample_share(
    value: float, replicates: Any, *, clusters: int, units: int, alpha: float = 0.05, sided: Sided = 1
) -> ResampledInterval:
    """Interval of a share in [0, 1] (precision, recall, coverage) from its values on half samples.

    Clopper-Pearson for value n_eff events among n_eff independent units (Korn and Graubard 1998), where

    1. n_eff = value (1 - value) / se^2 (t[units-1] / t[df])^2, with se and df as in `half_sample_interval`, and at most
       `units`: half samples that agree better than independent units would are noise, which must not narrow it.
    2. A value of 0 or 1, or half samples without any spread, say nothing about dependence: every patient then counts
       once, n_eff = clusters.
    3. The upper end is never below the one that 0 of `clusters` would give, nor the lower end above that of all of
       them, so that events seen never make a claim stronger than none seen.

    Like that of `half_sample_interval`, the interval is for the estimator's expectation AT THESE SAMPLE SIZES.

    Args:
        value: the share on all cases, in [0, 1].
        replicates: (B,) the share on the rows of `draw_halves`.
        clusters: number of independent units; with two samples that of the smaller side.
        units: units that the share is a mean over (images), >= 1.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The interval, with ends in [0, 1]. Ends are None with fewer than 8 clusters; ends and se where a replicate is
        not finite.

    Raises:
        ValueError: value outside [0, 1], fewer than 2 replicates, clusters or units below 1, or alpha outside its
            range.
    """
    tail = tail_probability(alpha, sided)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a share must lie in [0, 1], got {value!r}")
    if units < 1:
        raise ValueError(f"units must be at least 1, got {units!r}")
    resamples, se = _standard_error(replicates, clusters)
    if se is None or clusters < FEWEST_CLUSTERS:
        return _without_ends(se, clusters, resamples)
    spread = value * (1.0 - value)
    if spread == 0.0 or se == 0.0:
        n_eff, method = float(min(clusters, units)), SHARE_BY_CLUSTER
    else:
        t_ratio = min(1.0, _t_ratio(max(units - 1, 1), _degrees(clusters, resamples), tail))
        n_eff, method = min(float(units), spread / se**2 * t_ratio**2), SHARE_HALF_SAMPLING
    low, high = clopper_pearson(value * n_eff, n_eff, tail)
    low = min(low, clopper_pearson(clusters, clusters, tail)[0])
    high = max(high, clopper_pearson(0, clusters, tail)[1])
    return ResampledInterval(low, high, se, clusters, resamples, method)


def _standard_error(replicates: Any, clusters: int) -> tuple[int, float | None]:
    """Number of replicates and the standard error; None for the latter where a replicate is not finite."""
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"replicates must be a vector of at least 2 values, got shape {values.shape}")
    if clusters < 1:
        raise ValueError(f"clusters must be at least 1, got {clusters!r}")
    if not np.isfinite(values).all():
        return values.size, None
    # numpy's mean of equal numbers may differ from them in the last bit
    spread = 0.0 if np.ptp(values) == 0.0 else float(values.std(ddof=1))
    return values.size, spread / math.sqrt(_variance_factor(clusters))


def _variance_factor(clusters: int) -> float:
    """Variance of a half sample's mean about the whole one's, over that of the whole one: mean of (G - m) / m."""
    # one patient has no two halves; that there are no ends is said elsewhere
    return (clusters**2 + 1) / (clusters**2 - 1) if clusters % 2 and clusters > 1 else 1.0


def _degrees(clusters: int, resamples: int) -> int:
    return max(1, min(clusters - 1, resamples // 2))


def _without_ends(se: float | None, clusters: int, resamples: int) -> ResampledInterval:
    method = NOT_COMPUTED if se is None else TOO_FEW_CLUSTERS
    return ResampledInterval(None, None, se, clusters, resamples, method)
