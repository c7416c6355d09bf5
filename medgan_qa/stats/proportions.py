"""Exact intervals for proportions, and the correction for units that share a patient.

References:
    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
        Biometrika 26 (1934) 404-413.
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212.
    E. L. Korn, B. I. Graubard, "Confidence intervals for proportions with small expected number of positive counts
        estimated from survey data", Survey Methodology 24 (1998) 193-201.
    L. Kish, "Survey Sampling", Wiley (1965): design effect and effective sample size.
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

EXACT = "Clopper-Pearson (exact)"
KORN_GRAUBARD = "Clopper-Pearson on the effective sample size (Korn-Graubard), clustered"
MOST_DEPENDENT = "Clopper-Pearson for the most dependent case (each cluster counts once)"


@dataclass(frozen=True, slots=True)
class ClusteredProportion:
    """A proportion whose interval allows for units that share a cluster (a patient)."""

    value: float | None
    """k / n in [0, 1]; None when n is 0."""
    low: float
    """Lower end, in [0, 1]."""
    high: float
    """Upper end, in [0, 1]."""
    n: int
    """Units (lesions, images)."""
    k: int
    """Units with the event."""
    clusters: int
    """Clusters (patients) that the n units belong to."""
    design_effect: float
    """Variance relative to n independent units, at least 1: estimated, or assumed in the most dependent case."""
    effective_n: float
    """Independent units that the interval was computed for, in [1, n]; 0 when n is 0."""
    method: str
    """How the interval was computed."""


def clopper_pearson(k: float, n: float, alpha: float, sided: Sided = 1) -> tuple[float, float]:
    """Exact binomial bounds by quantiles of the beta distribution (Clopper & Pearson 1934).

    Args:
        k: events, 0 <= k <= n. Need not be an integer: effective counts are allowed.
        n: trials, >= 0. Need not be an integer.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        Lower and upper bound in [0, 1]. (0, 1) for n = 0; lower 0 for k = 0; upper 1 for k = n.

    Raises:
        ValueError: an argument is not finite or outside its range.
    """
    tail = tail_probability(alpha, sided)
    _check_counts(k, n)
    low = 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(special.betainccinv(k + 1, n - k, tail))
    return low, high


def wilson(k: float, n: float, alpha: float, sided: Sided = 2) -> tuple[float, float]:
    """Score interval without continuity correction (Wilson 1927), for display beside an estimate.

    Its coverage is near the nominal level on average and can fall below it, so nothing is gated on it. Arguments,
    ranges and errors are those of `clopper_pearson`, but two-sided unless told otherwise.
    """
    z = float(special.ndtri(1.0 - tail_probability(alpha, sided)))
    _check_counts(k, n)
    if n == 0:
        return 0.0, 1.0
    p, z2 = k / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # the ends are 0 and 1 in closed form there; rounding would leave 1e-18
    low = 0.0 if k == 0 else centre - half
    high = 1.0 if k == n else centre + half
    return low, high


def required_n(limit: float, alpha: float, events: int = 0) -> int:
    """Fewest independent units for which `events` events still leave the upper bound at or below `limit`.

    The bound is the one-sided Clopper-Pearson bound at level 1 - alpha, which falls as n grows with `events` fixed.
    With 0 events and alpha = 0.05 this is close to the rule of three, n = 3 / limit. Where units share patients, it
    counts patients.

    Args:
        limit: largest acceptable proportion, in (0, 1).
        alpha: error rate, in (0, 0.5].
        events: events allowed, >= 0.

    Raises:
        ValueError: an argument is outside its range.
    """
    tail_probability(alpha, 1)
    if not 0.0 < limit < 1.0:
        raise ValueError(f"limit must lie in (0, 1), got {limit!r}")
    if events < 0 or int(events) != events:
        raise ValueError(f"events must be an integer >= 0, got {events!r}")
    too_few, enough = int(events), int(events) + 1
    while clopper_pearson(events, enough, alpha)[1] > limit:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if clopper_pearson(events, middle, alpha)[1] <= limit:
            enough = middle
        else:
            too_few = middle
    return enough


def clustered_proportion(
    events: Any, cluster: Iterable[Hashable], alpha: float = 0.05, sided: Sided = 1
) -> ClusteredProportion:
    """Proportion of units with an event, with an exact-type interval that allows for clustering by patient.

    Units of one patient resemble each other, so n of them tell less than n patients would. The interval is
    Clopper-Pearson for k_eff = p n_eff events among n_eff units (Korn & Graubard 1998), where n_eff comes about so:

    1. Every cluster holds one unit: n_eff = n, plain Clopper-Pearson.
    2. No event, or nothing but events: dependence cannot be estimated and the most dependent case is assumed, in which
       a patient's units all say the same. Each patient counts once, n_eff = C clusters. As P(a patient shows no event)
       is at most P(a given unit shows none) = 1 - p, this bound holds whatever the dependence, provided the event rate
       does not depend on how many units a patient has.
    3. Otherwise n_eff = n / deff (t[n-1] / t[df])^2, with t the quantiles at the error rate of one end and deff the
       Taylor-linearised variance of the ratio estimator, C / (C-1) sum_i (k_i - p m_i)^2 / n^2, over that of
       independent units, p (1-p) / (n-1). deff is never taken below 1: units of one patient that seem to agree less
       than chance would have them agree are noise in the estimate, which must not narrow an interval.
       df is one less than the number of patients with an event, or of those with a unit without one, whichever is
       fewer, and not C - 1: with rare events only the few patients who have any carry information on the variance, and
       C - 1 gives one-sided bounds that cover near 0.9 instead of 0.95 when patients differ in size.
       n_eff is never below n^2 / sum_i m_i^2 (Kish), its value if a patient's units all say the same (C for patients of
       equal size), and has that value when df is 0, as there is then no variance to estimate.
    4. The upper end is never below the one that no event at all would give for the same patients, nor the lower end
       above that of nothing but events: events seen never make a claim stronger than none seen.

    20 slices of one patient without an event therefore count as one unit, with an upper bound of 0.95 at alpha = 0.05:
    they prove nothing.

    Args:
        events: (N,) bool, whether the unit (lesion, image) shows the event.
        cluster: (N,) labels of the independent unit (patient) that each unit belongs to.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The proportion with its interval. N = 0 gives value None and the interval (0, 1).

    Raises:
        ValueError: wrong shape, events other than false and true, a missing label, or alpha outside its range.
    """
    tail = tail_probability(alpha, sided)
    flags = _flags(events)
    codes, clusters = cluster_codes(cluster, flags.size)
    n, k = int(flags.size), int(flags.sum())
    if n == 0:
        return ClusteredProportion(None, 0.0, 1.0, 0, 0, 0, 1.0, 0.0, EXACT)
    sizes = np.bincount(codes, minlength=clusters)
    counts = np.bincount(codes[flags], minlength=clusters)
    design_effect, effective_n, method = _effective_sample(counts, sizes, tail)
    # k_eff is exact at both ends, where a rounded product could exceed n_eff
    k_eff = effective_n if k == n else k * (effective_n / n)
    low, high = clopper_pearson(k_eff, effective_n, tail)
    low = min(low, clopper_pearson(clusters, clusters, tail)[0])
    high = max(high, clopper_pearson(0, clusters, tail)[1])
    return ClusteredProportion(k / n, low, high, n, k, clusters, design_effect, effective_n, method)


def _effective_sample(counts: NDArray[np.intp], sizes: NDArray[np.intp], tail: float) -> tuple[float, float, str]:
    """Design effect, effective sample size and method, from events and units by cluster, both (C,)."""
    n, k, clusters = int(sizes.sum()), int(counts.sum()), len(sizes)
    if clusters == n:
        return 1.0, float(n), EXACT
    if k in (0, n):
        return n / clusters, float(clusters), MOST_DEPENDENT
    most_dependent = n * n / float(np.square(sizes, dtype=np.float64).sum())
    df = int(min(np.count_nonzero(counts), np.count_nonzero(counts < sizes))) - 1
    if df == 0:
        return n / most_dependent, most_dependent, MOST_DEPENDENT
    design_effect = max(1.0, _linearised_variance(counts, sizes) / (k / n * (1 - k / n) / (n - 1)))
    effective_n = n / design_effect * _t_ratio(n - 1, df, tail) ** 2
    if effective_n <= most_dependent:
        return n / most_dependent, most_dependent, MOST_DEPENDENT
    return design_effect, effective_n, KORN_GRAUBARD


def _t_ratio(df_independent: int, df: int, tail: float) -> float:
    """Quantile of t for independent units over that for clusters, in (0, 1]."""
    # both quantiles are 0 for the median
    return 1.0 if tail == 0.5 else float(special.stdtrit(df_independent, tail) / special.stdtrit(df, tail))


def _linearised_variance(counts: NDArray[np.intp], sizes: NDArray[np.intp]) -> float:
    """Between-cluster variance of the ratio sum(counts) / sum(sizes); C / (C-1) corrects for the mean."""
    clusters, n = len(sizes), int(sizes.sum())
    residuals = counts - counts.sum() / n * sizes
    return clusters / (clusters - 1) * float(residuals @ residuals) / n**2


def _flags(events: Any) -> NDArray[np.bool_]:
    flags = np.asarray(events)
    if flags.ndim != 1:
        raise ValueError(f"events must be one-dimensional, got shape {flags.shape}")
    if flags.size and not np.isin(flags, (0, 1)).all():
        raise ValueError("events must be false or true; leave units without an answer out and report their number")
    return flags.astype(bool)


def _check_counts(k: float, n: float) -> None:
    if not (math.isfinite(k) and math.isfinite(n) and 0 <= k <= n):
        raise ValueError(f"counts must be finite with 0 <= k <= n, got k={k!r}, n={n!r}")
