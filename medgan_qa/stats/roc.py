"""Area under the ROC curve, with intervals that allow for units that share a patient.

References:
    D. Bamber, "The area above the ordinal dominance graph and the area below the receiver operating characteristic
        graph", J. Math. Psychol. 12 (1975) 387-415: the area is the Mann-Whitney statistic, ties counted half.
    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more correlated receiver
        operating characteristic curves", Biometrics 44 (1988) 837-845: variance from placements.
    N. A. Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53 (1997) 567-578: the same for
        clustered units.
    M. S. Pepe, "The Statistical Evaluation of Medical Tests for Classification and Prediction", Oxford (2003), section
        5.2.4: interval on the logit scale.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from medgan_qa.stats._arguments import Sided, cluster_codes, finite_vector, tail_probability
from medgan_qa.stats.half_sampling import FEWEST_CLUSTERS
from medgan_qa.stats.proportions import clopper_pearson

Vector = NDArray[np.float64]
Bool = NDArray[np.bool_]

LOGIT = "placements clustered by patient (DeLong, Obuchowski 1997), logit scale, Student t"
PAIRS = "exact, from disjoint pairs of patients: no variance can be estimated"
PAIRED = "paired placements clustered by patient (DeLong, Obuchowski 1997), Student t"
TOO_FEW = f"none: fewer than {FEWEST_CLUSTERS} patients on one side"


@dataclass(frozen=True, slots=True)
class RocArea:
    """An area, or a difference of two areas of the same units, with its interval."""

    value: float | None
    """In [0, 1], a difference in [-1, 1]; None without a positive or without a negative."""
    low: float | None
    """Lower end; None where too few patients support one."""
    high: float | None
    """Upper end; None where too few patients support one."""
    se: float | None
    """Standard error, clustered; None with fewer than 2 patients on a side."""
    positives: int
    """Units with the condition."""
    negatives: int
    """Units without it."""
    positive_clusters: int
    """Patients with a positive unit."""
    negative_clusters: int
    """Patients with a negative unit; a patient may be in both."""
    disjoint_pairs: int
    """Most pairs of one positive and one negative unit of which no two share a patient."""
    method: str
    """How the interval was computed."""


class RocCurve(NamedTuple):
    """Operating points, from calling nothing positive to calling everything."""

    thresholds: Vector
    """(K,) units with at least this score are called; the first is infinite."""
    false_positives: Vector
    """(K,) share of the negatives that are called, rising."""
    true_positives: Vector
    """(K,) share of the positives that are called, rising."""


class _Sides(NamedTuple):
    """Placements of every unit, and where the units belong."""

    own: Vector
    """(N,) for a positive its share of negatives below it, for a negative its share of positives above it."""
    positive: Bool
    codes: NDArray[np.intp]
    clusters: int

    @property
    def area(self) -> float:
        return float(self.own[self.positive].mean())


def placements(scores: Any, positive: Any) -> Vector:
    """For a positive the share of negatives below it, for a negative the share of positives above it, ties half.

    Args:
        scores: (N,) finite; larger speaks for the condition.
        positive: (N,) bool, at least one of each kind.

    Returns:
        (N,) in [0, 1]. Their mean over either kind is the area under the curve.
    """
    values, is_positive = _checked(scores, positive)
    together = stats.rankdata(values)
    own = np.empty(values.size)
    for side in (is_positive, ~is_positive):
        own[side] = (together[side] - stats.rankdata(values[side])) / np.count_nonzero(~side)
    return np.where(is_positive, own, 1.0 - own)


def roc_area(scores: Any, positive: Any, cluster: Iterable[Hashable], alpha: float = 0.05, sided: Sided = 1) -> RocArea:
    """Area under the ROC curve: the chance that a positive scores higher than a negative, ties counted half.

    The standard error is DeLong's from placements, with sums over patients in place of units (Obuchowski 1997), so
    units of one patient may depend on each other in any way, within a kind and between the two. The interval is
    symmetric on the logit scale, with Student's t on one degree of freedom less than the patients of the smaller side.

    1. A variance of 0 (complete separation, or one score for all) is no certainty. Pair patients off, one positive unit
       against one negative, no patient twice: k such pairs are independent and each is in order with probability
       theta, so complete separation has probability at most theta^k, and the lower end is that of k events of k
       (Clopper-Pearson), alpha^(1/k). A constant score counts as k/2 of k.
    2. In every other case the lower end is never above that one, nor the upper end below that of complete reversal: a
       few pairs out of order never make a claim stronger than none.

    Args:
        scores: (N,) finite; larger speaks for the condition.
        positive: (N,) bool, whether each unit has the condition.
        cluster: (N,) labels of the patient that each unit belongs to.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The area. Value None without a positive or a negative; ends None with fewer than 8 patients on either side.

    Raises:
        ValueError: wrong shapes, scores that are not finite, a missing label, or alpha outside its range.
    """
    tail = tail_probability(alpha, sided)
    values, is_positive = _checked(scores, positive)
    codes, clusters = cluster_codes(cluster, values.size)
    if is_positive.all() or not is_positive.any():
        return _area(None, None, None, None, is_positive, codes, clusters, "none: one class only")
    sides = _Sides(placements(values, is_positive), is_positive, codes, clusters)
    value, se = sides.area, _standard_error(sides)
    few, pairs = _fewer(is_positive, codes), disjoint_pairs(is_positive, codes, clusters)
    if few < FEWEST_CLUSTERS:
        return _area(value, None, None, se, is_positive, codes, clusters, TOO_FEW)
    least, most = clopper_pearson(pairs, pairs, tail)[0], clopper_pearson(0, pairs, tail)[1]
    if not se or not 0.0 < value < 1.0:
        low, high = clopper_pearson(value * pairs, pairs, tail)
        return _area(value, low, high, se, is_positive, codes, clusters, PAIRS)
    logit, half = special.logit(value), _quantile(few - 1, tail) * se / (value * (1.0 - value))
    low, high = float(special.expit(logit - half)), float(special.expit(logit + half))
    return _area(value, min(low, least), max(high, most), se, is_positive, codes, clusters, LOGIT)


def roc_area_difference(
    first: Any, second: Any, positive: Any, cluster: Iterable[Hashable], alpha: float = 0.05, sided: Sided = 1
) -> RocArea:
    """Area of one classifier minus that of another on the same units.

    The variance is that of the differences of placements, by patient. Where both order nearly every pair alike, that
    variance is near 0 and proves little; the interval therefore always reaches at least as far as one pair in disorder
    can not be excluded: 1 - alpha^(1/k) to either side, k as in `roc_area`.

    Args:
        first: (N,) scores of the one classifier.
        second: (N,) scores of the other.
        positive: (N,) bool.
        cluster: (N,) labels of the patient that each unit belongs to.
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        The difference in [-1, 1], positive where the first is better.

    Raises:
        ValueError: as `roc_area`.
    """
    tail = tail_probability(alpha, sided)
    one, is_positive = _checked(first, positive)
    other, _ = _checked(second, positive)
    codes, clusters = cluster_codes(cluster, one.size)
    if is_positive.all() or not is_positive.any():
        return _area(None, None, None, None, is_positive, codes, clusters, "none: one class only")
    own = placements(one, is_positive) - placements(other, is_positive)
    sides = _Sides(own, is_positive, codes, clusters)
    value, se, few = sides.area, _standard_error(sides), _fewer(is_positive, codes)
    if few < FEWEST_CLUSTERS or se is None:
        return _area(value, None, None, se, is_positive, codes, clusters, TOO_FEW)
    pairs = disjoint_pairs(is_positive, codes, clusters)
    half = max(_quantile(few - 1, tail) * se, clopper_pearson(0, pairs, tail)[1])
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return _area(value, low, high, se, is_positive, codes, clusters, PAIRED)


def roc_curve(scores: Any, positive: Any) -> RocCurve:
    """Every operating point of a score; units with one score are called together.

    Args:
        scores: (N,) finite; larger speaks for the condition.
        positive: (N,) bool, at least one of each kind.
    """
    values, is_positive = _checked(scores, positive)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    called = [np.cumsum(side[order])[ends] / np.count_nonzero(side) for side in (~is_positive, is_positive)]
    start = np.zeros(1)
    return RocCurve(
        np.concatenate([[math.inf], values[order][ends]]),
        np.concatenate([start, called[0]]),
        np.concatenate([start, called[1]]),
    )


def disjoint_pairs(positive: Bool, codes: NDArray[np.intp], clusters: int) -> int:
    """Most pairs of a positive and a negative unit, no patient in two of them.

    With a patients who have positives only, b with negatives only and c with both, that is the least of a + c, b + c
    and (a + b + c) / 2.
    """
    has_positive, has_negative = np.zeros(clusters, bool), np.zeros(clusters, bool)
    has_positive[codes[positive]] = True
    has_negative[codes[~positive]] = True
    return int(min(has_positive.sum(), has_negative.sum(), (has_positive | has_negative).sum() // 2))


def _standard_error(sides: _Sides) -> float | None:
    """Obuchowski (1997): sums of centred placements by patient, on either side and between them."""
    sums, present, units = [], [], []
    centred = sides.own - sides.area
    for side in (sides.positive, ~sides.positive):
        sums.append(np.bincount(sides.codes[side], centred[side], sides.clusters))
        present.append(len(set(sides.codes[side].tolist())))
        units.append(int(side.sum()))
    if min(present) < 2:
        return None
    within = sum(p / (p - 1) * float(s @ s) / n**2 for s, p, n in zip(sums, present, units, strict=True))
    between = sides.clusters / (sides.clusters - 1) * float(sums[0] @ sums[1]) / (units[0] * units[1])
    variance = within + 2.0 * between
    # What is left of sums that cancel is rounding, or a negative estimate of a variance of about 0.
    return math.sqrt(variance) if variance > 1e-18 else 0.0


def _quantile(df: int, tail: float) -> float:
    return 0.0 if tail == 0.5 else -float(special.stdtrit(df, tail))


def _fewer(positive: Bool, codes: NDArray[np.intp]) -> int:
    """Patients on the side that has fewer."""
    return min(len(set(codes[side].tolist())) for side in (positive, ~positive))


def _area(
    value: float | None,
    low: float | None,
    high: float | None,
    se: float | None,
    positive: Bool,
    codes: NDArray[np.intp],
    clusters: int,
    method: str,
) -> RocArea:
    people = [len(set(codes[side].tolist())) for side in (positive, ~positive)]
    pairs = disjoint_pairs(positive, codes, clusters)
    counts = int(positive.sum()), int((~positive).sum())
    return RocArea(value, low, high, se, *counts, people[0], people[1], pairs, method)


def _checked(scores: Any, positive: Any) -> tuple[Vector, Bool]:
    values, flags = finite_vector(scores, "scores"), np.asarray(positive)
    if flags.shape != values.shape or (flags.size and not np.isin(flags, (0, 1)).all()):
        raise ValueError(f"positive must hold one false or true a score, got shape {flags.shape} for {values.size}")
    return values, flags.astype(bool)
