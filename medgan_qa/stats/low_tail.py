"""A limit that no score of many should fall below, from the middle of the scores themselves.

Where some of the scores are what is looked for, an order statistic taken from among them is drawn down by them and
hides them. Quartile and median hardly move until a quarter of the scores is contaminated. The tail beyond them is
extrapolated as that of a log-normal distribution.

References:
    F. R. Hampel, "The influence curve and its role in robust estimation", J. Am. Stat. Assoc. 69 (1974) 383-393:
        quantiles for scale, and how much contamination they bear.
    H. A. David, H. N. Nagaraja, "Order Statistics", 3rd ed., Wiley 2003, section 10.3: quantiles in large samples.
    O. J. Dunn, "Multiple comparisons among means", J. Am. Stat. Assoc. 56 (1961) 52-64: the error rate shared out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from medgan_qa.stats._arguments import finite_vector

LEAST_SPREAD = 0.05
"""Standard deviation of the logarithm that is taken where the scores hardly differ."""
QUARTILE = 0.6744897501960817
"""Distance of a quartile from the median of a standard normal distribution."""
FEWEST = 20
"""Scores below which a quartile says little."""


@dataclass(frozen=True, slots=True)
class LowTail:
    """A limit for positive scores of which small is suspicious."""

    threshold: float
    """Scores strictly below it are flagged."""
    middle: float
    """Median of the scores."""
    spread: float
    """Standard deviation of the logarithm, from the lower quartile."""
    n: int
    """Scores behind it."""
    alpha: float
    """Chance that any of `looks` scores of the same kind is flagged."""
    looks: int


def low_tail(scores: Any, alpha: float, looks: int, independent: int | None = None) -> LowTail:
    """The limit that the lowest of `looks` scores of the same kind falls below with probability `alpha` at most.

    With z the normal quantile of alpha / looks (Dunn 1961) that is the median times exp(-z s), where s is the distance
    of the lower quartile from the median on the logarithm, over 0.674. Both are estimates: the limit is the lower end,
    at confidence 1 - alpha, of a normal interval from the asymptotic variance of the two quantiles (David and Nagaraja
    2003), so that few scores give a cautious one. It rests on the lower tail of the logarithm being no heavier than a
    normal one; how many scores that are known to be innocent fall below it shows whether.

    Args:
        scores: (n,) positive, n >= 20; scores of which a few may be what is looked for.
        alpha: in (0, 1).
        looks: scores that will be held against the limit, at least 1.
        independent: independent units behind the scores, such as patients; None: every score is one.

    Raises:
        ValueError: too few scores, one that is not positive and finite, or an argument outside its range.
    """
    values = finite_vector(scores, "scores")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha!r}")
    if len(values) < FEWEST:
        raise ValueError(f"scores must hold at least {FEWEST} values, got {len(values)}")
    units = len(values) if independent is None else independent
    if looks < 1 or not 1 <= units <= len(values):
        raise ValueError(f"looks and independent must be at least 1, the latter at most n, got {looks!r} and {units!r}")
    if (values <= 0).any():
        raise ValueError("scores must be positive")
    low, middle = np.quantile(np.log(values), (0.25, 0.5))
    spread = max(float(middle - low) / QUARTILE, LEAST_SPREAD)
    z = -float(special.ndtri(alpha / looks))
    doubt = -float(special.ndtri(alpha)) * _deviation(z) / math.sqrt(units)
    threshold = math.exp(middle - max(z + doubt, 0.0) * spread)
    return LowTail(threshold, math.exp(middle), spread, len(values), alpha, looks)


def _deviation(z: float) -> float:
    """Standard deviation of median less z times spread, for one score of a standard normal distribution."""
    c = z / QUARTILE
    at_middle, at_quartile = (math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) for x in (0.0, QUARTILE))
    variance = (1 - c) ** 2 * 0.25 / at_middle**2 + c**2 * 0.1875 / at_quartile**2
    return math.sqrt(variance + 2 * c * (1 - c) * 0.125 / (at_middle * at_quartile))
