"""Calibrating a score on held-out units: thresholds with exact false-alarm rates, and what flags then prove.

Scores are such that small is suspicious, and a unit is flagged if its score lies strictly below the threshold. All is
distribution-free: it rests on held-out and innocent new units being exchangeable, and on units being independent.
Slices of one patient are not; take one a patient.

References:
    S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Statist. 12 (1941) 91-96: the
        share of a population below an order statistic is beta distributed.
    R. A. Fisher, "The logic of inductive inference", J. R. Statist. Soc. 98 (1935) 39-82: the exact test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.stats._arguments import Sided, finite_vector, tail_probability


@dataclass(frozen=True, slots=True)
class CalibratedThreshold:
    """A threshold taken from held-out scores, and how often it gives false alarm."""

    threshold: float
    """Scores strictly below it are flagged."""
    rank: int
    """It is the rank-th smallest held-out score; rank - 1 held-out units are flagged, fewer if scores are tied."""
    n: int
    """Held-out units."""
    expected: float
    """Expected false-alarm rate of a new unit, rank / (n + 1): exact without ties, an upper bound with them."""
    low: float
    """Lower end of the interval for the rate of this very threshold, in [0, 1]."""
    high: float
    """Upper end, in [0, 1]; with ties still an upper bound."""


def required_held_out(false_alarm: float) -> int:
    """Fewest held-out units for which `calibrated_threshold` exists: the smallest n with 1 / (n + 1) <= false_alarm.

    Raises:
        ValueError: `false_alarm` is outside (0, 1).
    """
    _check_rate(false_alarm)
    # A rate such as 0.01 is no binary fraction: 100 units too many by rounding are none.
    return math.ceil(1.0 / false_alarm * (1 - 1e-12)) - 1


def calibrated_threshold(
    held_out: Any, false_alarm: float, alpha: float = 0.05, sided: Sided = 1
) -> CalibratedThreshold:
    """The largest order statistic of held-out scores whose expected false-alarm rate is at most `false_alarm`.

    A new, exchangeable score lies below the r-th smallest of n with probability r / (n + 1); the rate of the one
    threshold obtained is beta(r, n - r + 1) distributed (Wilks 1941), which gives the interval.

    Args:
        held_out: (n,) scores of independent held-out units, finite; small is suspicious.
        false_alarm: largest expected rate, in (0, 1).
        alpha: error rate of the interval.
        sided: 1: each end is a one-sided bound at level 1 - alpha; 2: alpha / 2 on each side.

    Raises:
        ValueError: too few held-out scores (see `required_held_out`), or an argument outside its range.
    """
    scores = np.sort(finite_vector(held_out, "held_out"))
    tail = tail_probability(alpha, sided)
    needed = required_held_out(false_alarm)
    n = len(scores)
    if n < needed:
        raise ValueError(f"a false-alarm rate of {false_alarm:g} takes {needed} held-out units, got {n}")
    rank = min(n, math.floor(false_alarm * (n + 1) * (1 + 1e-12)))
    low, high = _rate_bounds(rank, n, tail)
    return CalibratedThreshold(float(scores[rank - 1]), rank, n, rank / (n + 1), low, high)


def excess_test(flagged: int, m: int, flagged_held_out: int, n: int) -> float:
    """Exact one-sided p-value: are more of m new units flagged than their exchangeability with n held-out ones allows?

    The hypergeometric tail P(K >= flagged) for K of m new units among flagged + flagged_held_out of m + n (Fisher
    1935). It is exact for a threshold fixed beforehand, given the total flagged, and also for one taken from the
    held-out scores as their r-th smallest: then r - 1 held-out units lie strictly below it, at least k new ones do if
    and only if at least k of the k + r - 1 smallest of all scores are new, and that is the same tail (the negative
    hypergeometric distribution). Ties make it conservative when flagging is strict.

    Held-out units limit what it can show: with n of them and none flagged, p is about (m / (m + n))^flagged.

    Args:
        flagged: new units strictly below the threshold.
        m: new units.
        flagged_held_out: held-out units strictly below it; `rank` - 1 for a `CalibratedThreshold`.
        n: held-out units.

    Returns:
        p in (0, 1].

    Raises:
        ValueError: counts are not integers, negative, or exceed m and n.
    """
    _check_count(flagged, m, "flagged")
    _check_count(flagged_held_out, n, "flagged_held_out")
    draws = flagged + flagged_held_out
    k = np.arange(flagged, min(m, draws) + 1)
    log_terms = _log_choose(m, k) + _log_choose(n, draws - k) - _log_choose(m + n, np.array([draws]))
    return min(1.0, float(np.exp(special.logsumexp(log_terms))))


def _rate_bounds(rank: int, n: int, tail: float) -> tuple[float, float]:
    """Bounds of the false-alarm rate of the rank-th smallest of n, each at error rate `tail`."""
    return (
        float(special.betaincinv(rank, n - rank + 1, tail)),
        float(special.betainccinv(rank, n - rank + 1, tail)),
    )


def _log_choose(n: int, k: NDArray[np.intp]) -> NDArray[np.float64]:
    """Logarithm of the binomial coefficient; minus infinity where k is outside 0 ... n."""
    inside = (k >= 0) & (k <= n)
    held = np.where(inside, k, 0)
    log: NDArray[np.float64] = special.gammaln(n + 1) - special.gammaln(held + 1) - special.gammaln(n - held + 1)
    return np.where(inside, log, -np.inf)


def _check_rate(rate: float) -> None:
    if not 0.0 < rate < 1.0:
        raise ValueError(f"false_alarm must lie in (0, 1), got {rate!r}")


def _check_count(count: int, total: int, name: str) -> None:
    if int(count) != count or int(total) != total or not 0 <= count <= total:
        raise ValueError(f"{name} must be an integer between 0 and {total}, got {count!r}")
