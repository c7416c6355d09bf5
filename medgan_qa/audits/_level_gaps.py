"""The largest difference between the levels of one attribute, with an interval over all pairs of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medgan_qa.criteria import Estimate
from medgan_qa.record import Interval
from medgan_qa.stats import Ends, independent_difference


def largest_gap(levels: Sequence[Estimate], alpha: float, method: str) -> Interval:
    """One-sided bounds of the largest difference, in [0, 1]: MOVER for each pair, Bonferroni over the pairs.

    Args:
        levels: at least two estimates of disjoint groups, each with a value and an interval.
        alpha: error rate of each bound.
        method: what the Record says of it.
    """
    share = alpha / math.comb(len(levels), 2)
    ends = [_ends(e, share) for e in levels]
    pairs = [independent_difference(a, b) for a in ends for b in ends if a is not b and a.value >= b.value]
    low = max((d.low for d in pairs if d.low is not None), default=0.0)
    high = max((d.high for d in pairs if d.high is not None), default=1.0)
    return Interval(low=max(0.0, low), high=min(1.0, high), level=1 - alpha, method=method, sided=1)


def _ends(estimate: Estimate, alpha: float) -> Ends:
    assert estimate.interval_at is not None
    assert estimate.measurement.value is not None
    interval = estimate.interval_at(alpha)
    return Ends(estimate.measurement.value, interval.low, interval.high)
