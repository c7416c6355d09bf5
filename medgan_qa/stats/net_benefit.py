"""What acting on a classifier is worth, at threshold probabilities at which somebody would act.

References:
    A. J. Vickers, E. B. Elkin, "Decision curve analysis: a novel method for evaluating prediction models", Medical
        Decision Making 26 (2006) 565-574.
    A. J. Vickers, B. Van Calster, E. W. Steyerberg, "A simple, step-by-step guide to interpreting decision curve
        analysis", Diagnostic and Prognostic Research 3 (2019) 18.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.stats._arguments import Sided, finite_vector, tail_probability
from medgan_qa.stats.proportions import clustered_proportion

EXACT_SHARES = "exact clustered bounds on the shares that it is made of (Bonferroni)"

Vector = NDArray[np.float64]


class DecisionCurve(NamedTuple):
    """Net benefit in true positives a case, at each threshold."""

    thresholds: Vector
    """(T,) probabilities."""
    model: Vector
    """(T,) of acting on those whom the model calls; at most the prevalence."""
    treat_all: Vector
    """(T,) of acting on everybody."""

    @property
    def gain(self) -> Vector:
        """(T,) of the model over the better of acting on everybody and on nobody; above 0 where it is of use."""
        gain: Vector = self.model - np.maximum(self.treat_all, 0.0)
        return gain


def decision_curve(probabilities: Any, positive: Any, thresholds: Sequence[float]) -> DecisionCurve:
    """Net benefit, TP / n - FP / n * t / (1 - t): a false positive costs the odds of the threshold (Vickers 2006).

    Who acts from a probability of 10 % on takes nine needless actions for one that was needed.

    Args:
        probabilities: (N,) in [0, 1], N >= 1.
        positive: (N,) bool.
        thresholds: (T,) in (0, 1).

    Raises:
        ValueError: wrong shapes, no unit, or a number outside its range.
    """
    p, y, t = _checked(probabilities, positive, thresholds)
    worth = np.where(y[:, None], 1.0, -t / (1 - t))
    return DecisionCurve(t, np.where(p[:, None] >= t, worth, 0.0).mean(axis=0), worth.mean(axis=0))


def net_benefit_gain(
    probabilities: Any,
    positive: Any,
    cluster: Sequence[Hashable],
    threshold: float,
    alpha: float = 0.05,
    sided: Sided = 1,
) -> tuple[float, float]:
    """Ends of the interval of `DecisionCurve.gain` at one threshold, by patient.

    With w = t / (1 - t), TP, FP, TN and FN the shares of all units, the gain is the smaller of two:

        over acting on nobody        TP - w FP,
        over acting on everybody     w TN - FN.

    Each share has exact-type clustered bounds (`clustered_proportion`) at a part of the error rate, so the ends hold at
    small n, for rare misses and where both strategies are worth the same, where resampling does not. The lower end is
    the smaller of the two lower ends: if it lay above the gain, that of the smaller one would. The upper end takes half
    of the error rate for either.

    Args:
        probabilities: (N,) in [0, 1], N >= 1.
        positive: (N,) bool.
        cluster: (N,) labels of the patient that each unit belongs to.
        threshold: t, in (0, 1).
        alpha: error rate, in (0, 0.5] for sided=1 and (0, 1) for sided=2.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Returns:
        Lower and upper end, in true positives a case.

    Raises:
        ValueError: as `decision_curve`; a missing label, or alpha outside its range.
    """
    tail = tail_probability(alpha, sided)
    p, y, t = _checked(probabilities, positive, (threshold,))
    called, odds = p >= t[0], float(t[0] / (1 - t[0]))

    def ends(good: NDArray[np.bool_], bad: NDArray[np.bool_], good_worth: float, bad_cost: float) -> list[float]:
        shares = [[clustered_proportion(s, cluster, alpha=tail / k) for s in (good, bad)] for k in (2, 4)]
        low = good_worth * shares[0][0].low - bad_cost * shares[0][1].high
        return [low, good_worth * shares[1][0].high - bad_cost * shares[1][1].low]

    nobody = ends(called & y, called & ~y, 1.0, odds)
    everybody = ends(~called & ~y, ~called & y, odds, 1.0)
    return min(nobody[0], everybody[0]), min(nobody[1], everybody[1])


def _checked(
    probabilities: Any, positive: Any, thresholds: Sequence[float]
) -> tuple[Vector, NDArray[np.bool_], Vector]:
    p, t, y = (
        finite_vector(probabilities, "probabilities"),
        finite_vector(thresholds, "thresholds"),
        np.asarray(positive),
    )
    if y.shape != p.shape or not p.size or not np.isin(y, (0, 1)).all():
        raise ValueError(f"one false or true a probability, at least one: got shapes {p.shape} and {y.shape}")
    if p.min() < 0 or p.max() > 1 or not t.size or t.min() <= 0 or t.max() >= 1:
        raise ValueError("probabilities must lie in [0, 1] and thresholds in (0, 1)")
    return p, y.astype(bool), t
