"""Differences between two models: on the same units (paired), and between two estimates that have intervals (not).

Differences are candidate minus baseline. Where more is worse, a positive difference is a worsening; the caller turns
values round first where more is better.

References:
    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
        Biometrika 26 (1934) 404-413.
    G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach", Statistics in
        Medicine 27 (2008) 1693-1702: MOVER, eq. 5 and 6.
    W. G. Cochran, "Sampling Techniques", 3rd ed., Wiley (1977), section 6.3: variance of a ratio of sums.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.stats._arguments import Sided, cluster_codes, finite_vector, tail_probability
from medgan_qa.stats.half_sampling import FEWEST_CLUSTERS
from medgan_qa.stats.proportions import clopper_pearson, clustered_proportion
from medgan_qa.stats.resampling import cluster_median

PAIRED_SHARE = "paired: exact clustered bounds on the shares that got worse and better, half of alpha each (Bonferroni)"
PAIRED_MEAN = "paired: mean difference, linearised variance by cluster, Student t"
PAIRED_MEDIAN = "paired: order statistics of the clusters' median differences (exact)"
MOVER = "not paired: MOVER from the two intervals (Zou and Donner 2008)"


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How units changed from one model to another, candidate minus baseline."""

    difference: float | None
    """In the unit of the values; None without a pair."""
    low: float | None
    """Lower end; None where too few clusters support one."""
    high: float | None
    """Upper end; None where too few clusters support one."""
    worsened: int
    """Units whose value rose."""
    improved: int
    """Units whose value fell."""
    n: int
    """Pairs."""
    clusters: int
    """Clusters (patients) that the pairs belong to."""
    method: str
    """How the interval was computed."""


class Ends(NamedTuple):
    """An estimate with its interval; an end is None where there is none."""

    value: float
    low: float | None
    high: float | None


def paired_share(
    candidate: Any, baseline: Any, clusters: Iterable[Hashable], alpha: float = 0.05, sided: Sided = 1
) -> PairedDifference:
    """Difference of two shares of the same units, with bounds that hold at small n and when nothing changed.

    A unit has the event (a lesion is lost) under both models, under neither, or under one. Of the four shares only two
    matter:

        p_candidate - p_baseline = (p11 + p10) - (p11 + p01) = p10 - p01,

    p10 being the share of units that got worse (event under the candidate only) and p01 that of units that got better.
    Each has an exact-type clustered interval of its own (`clustered_proportion`). With U and L their one-sided bounds
    at error rate a / 2, a being the error rate of one end,

        p10 - p01 <= U(p10) - L(p01)   and   p10 - p01 >= L(p10) - U(p01),

    and each line is wrong with probability at most a / 2 + a / 2 (Bonferroni), whatever the dependence between the two.
    Nothing is estimated from the number of changed units being large, as McNemar's and Wald's intervals do: if no unit
    changed, the upper end is U(0 of n) and not 0. The price is width; the interval covers more than its level. The two
    conditions of `clustered_proportion` on units that share a patient hold here as they do there.

    Args:
        candidate: (N,) bool, whether each unit has the event under the candidate.
        baseline: (N,) bool, the same units under the baseline.
        clusters: (N,) labels of the independent unit (patient) that each unit belongs to.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The difference in [-1, 1]. N = 0 gives None and the interval (-1, 1).

    Raises:
        ValueError: shapes differ, values other than false and true, a missing label, or alpha outside its range.
    """
    half = tail_probability(alpha, sided) / 2
    after, before = (np.asarray(values) for values in (candidate, baseline))
    if after.ndim != 1 or after.shape != before.shape:
        raise ValueError(f"candidate and baseline must be vectors of one length, got {after.shape} and {before.shape}")
    if not all(np.isin(values, (0, 1)).all() for values in (after, before)):
        raise ValueError("events must be false or true; leave units without an answer out and report their number")
    labels = list(clusters)
    worse = clustered_proportion((after == 1) & (before == 0), labels, alpha=half, sided=1)
    better = clustered_proportion((after == 0) & (before == 1), labels, alpha=half, sided=1)
    return PairedDifference(
        None if worse.value is None else (worse.k - better.k) / worse.n,
        worse.low - better.high,
        worse.high - better.low,
        worse.k,
        better.k,
        worse.n,
        worse.clusters,
        PAIRED_SHARE,
    )


def required_pairs(margin: float, worsened: float, improved: float, alpha: float) -> int | None:
    """Fewest independent pairs for which the upper end of `paired_share` is at or below `margin`, the shares given.

    Args:
        margin: largest acceptable difference, in (0, 1).
        worsened: share of units that get worse, in [0, 1].
        improved: share of units that get better, in [0, 1].
        alpha: error rate of the upper end, in (0, 0.5].

    Returns:
        The number of pairs; None where the difference itself is at or above the margin, or more than a million pairs
        are needed.

    Raises:
        ValueError: an argument is outside its range.
    """
    half = tail_probability(alpha, 1) / 2
    if not 0.0 < margin < 1.0:
        raise ValueError(f"margin must lie in (0, 1), got {margin!r}")
    if not (worsened >= 0 and improved >= 0 and worsened + improved <= 1):
        raise ValueError(f"shares must lie in [0, 1] and not exceed 1 together, got {worsened!r} and {improved!r}")
    if worsened - improved >= margin:
        return None
    too_few, enough = 0, 1
    while _upper(worsened, improved, enough, half) > margin:
        too_few, enough = enough, 2 * enough
        if enough > 1_000_000:
            return None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _upper(worsened, improved, middle, half) <= margin:
            enough = middle
        else:
            too_few = middle
    return enough


def _upper(worsened: float, improved: float, n: int, tail: float) -> float:
    return clopper_pearson(worsened * n, n, tail)[1] - clopper_pearson(improved * n, n, tail)[0]


def paired_mean(
    differences: Any, clusters: Iterable[Hashable], alpha: float = 0.05, sided: Sided = 1
) -> PairedDifference:
    """Mean over units of a difference, with the variance between patients and Student's t.

    The mean is the ratio of the patients' sums to their numbers of units, so its variance is C / (C-1) times the sum of
    (S_i - mean m_i)^2 over n^2 (Cochran 1977), with C - 1 degrees of freedom: units of one patient may depend on each
    other in any way. The t interval is approximate where a few patients carry most of the change.

    Args:
        differences: (N,) finite, candidate minus baseline of each unit.
        clusters: (N,) labels of the patient that each unit belongs to.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The mean difference. Ends are None with fewer than 8 patients; an interval without width if all differences are
        equal, as nothing in the data varied.

    Raises:
        ValueError: wrong shapes, differences that are not finite, a missing label, or alpha outside its range.
    """
    tail = tail_probability(alpha, sided)
    vector = finite_vector(differences, "differences")
    codes, count = cluster_codes(clusters, vector.size)
    if count == 0:
        return _paired(None, None, None, vector, count, PAIRED_MEAN)
    # numpy's mean of equal numbers may differ from them in the last bit
    same = bool(np.ptp(vector) == 0.0)
    value = float(vector[0]) if same else float(vector.mean())
    if count < FEWEST_CLUSTERS:
        return _paired(value, None, None, vector, count, f"none: fewer than {FEWEST_CLUSTERS} clusters")
    residuals = np.bincount(codes, vector, count) - value * np.bincount(codes, minlength=count)
    variance = 0.0 if same else count / (count - 1) * float(residuals @ residuals) / vector.size**2
    half = 0.0 if tail == 0.5 else -float(special.stdtrit(count - 1, tail)) * math.sqrt(variance)
    return _paired(value, value - half, value + half, vector, count, PAIRED_MEAN)


def paired_median(
    differences: Any, clusters: Iterable[Hashable], alpha: float = 0.05, sided: Sided = 1
) -> PairedDifference:
    """The median patient's difference, with an exact interval from order statistics.

    A patient's difference is the median over its units. That is the median of what changed, and in general not the
    difference of two medians. See `cluster_median` for interval, arguments and errors; ends are None with fewer than 5
    patients at an error rate of 0.05 per end.
    """
    vector = finite_vector(differences, "differences")
    m = cluster_median(vector, clusters, alpha=alpha, sided=sided)
    return _paired(m.value, m.low, m.high, vector, m.clusters, PAIRED_MEDIAN)


def _paired(
    value: float | None,
    low: float | None,
    high: float | None,
    differences: NDArray[np.float64],
    clusters: int,
    method: str,
) -> PairedDifference:
    up, down = int(np.count_nonzero(differences > 0)), int(np.count_nonzero(differences < 0))
    return PairedDifference(value, low, high, up, down, differences.size, clusters, method)


def independent_difference(candidate: Ends, baseline: Ends) -> Ends:
    """Difference of two estimates from their intervals, by the method of variance estimates recovery (MOVER).

    Zou and Donner (2008): the distance from an estimate to an end of its interval recovers its standard error near that
    end, so that

        low  = d - sqrt((c - c_low)^2 + (b_high - b)^2),    high = d + sqrt((c_high - c)^2 + (b - b_low)^2),

    with d = c - b. Both intervals must have the same level, which the result has too, and may be lopsided. The two
    estimates are taken as independent; made on the same cases they agree more than that, and the interval is wider than
    it need be.

    Args:
        candidate: estimate and interval c.
        baseline: estimate and interval b.

    Returns:
        The difference. An end is None where an end that it needs is None.

    Raises:
        ValueError: a number is not finite, or an end lies on the wrong side of its estimate.
    """
    for ends in (candidate, baseline):
        _check_ends(ends)
    difference = candidate.value - baseline.value
    down = _recovered(candidate.value, candidate.low, baseline.value, baseline.high)
    up = _recovered(candidate.value, candidate.high, baseline.value, baseline.low)
    return Ends(difference, None if down is None else difference - down, None if up is None else difference + up)


def _check_ends(ends: Ends) -> None:
    if not all(math.isfinite(x) for x in ends if x is not None):
        raise ValueError(f"an estimate and its ends must be finite, got {tuple(ends)}")
    if (ends.low is not None and ends.low > ends.value) or (ends.high is not None and ends.high < ends.value):
        raise ValueError(f"an interval must hold its estimate, got {tuple(ends)}")


def _recovered(one: float, end: float | None, other: float, other_end: float | None) -> float | None:
    return None if end is None or other_end is None else math.hypot(end - one, other_end - other)
