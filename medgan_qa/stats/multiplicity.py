"""Several criteria judged in one run: Holm's step-down procedure.

References:
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979) 65-70.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgan_qa.stats._arguments import finite_vector


@dataclass(frozen=True, slots=True)
class HolmStep:
    """What the procedure made of one hypothesis."""

    p_adjusted: float
    """Smallest family-wise error rate at which this hypothesis is rejected, in [0, 1]."""
    alpha_tested: float
    """Error rate that its p-value is held against: rejected exactly when p <= alpha_tested."""
    rejected: bool
    """Whether it is rejected with the family-wise error rate kept at alpha."""


def holm(p_values: Sequence[float], alpha: float) -> list[HolmStep]:
    """Holm's step-down procedure, which keeps the family-wise error rate under any dependence (Holm 1979).

    The j-th smallest of m p-values (j = 0 ... m-1) is held against alpha / (m - j) until one is not rejected; that one
    and all larger ones stand. These share its error rate as `alpha_tested`, so that an interval at 1 - alpha_tested
    says the same as the procedure for each hypothesis taken alone. Ties are taken in input order, which changes no
    rejection. A hypothesis that could not be tested belongs in the family with p = 1, so that dropping it cannot help
    the others.

    Args:
        p_values: (m,) in [0, 1], in any order.
        alpha: family-wise error rate, in (0, 1).

    Returns:
        One step per p-value, in input order; empty for m = 0.

    Raises:
        ValueError: a p-value is NaN or outside [0, 1], or alpha outside (0, 1).
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha!r}")
    p = finite_vector(p_values, "p_values")
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p_values must lie in [0, 1]")
    steps: dict[int, HolmStep] = {}
    adjusted, stopped_at = 0.0, None
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        remaining = p.size - rank
        level = alpha / remaining if stopped_at is None else stopped_at
        rejected = stopped_at is None and bool(p[index] <= level)
        if not rejected:
            stopped_at = level
        adjusted = max(adjusted, min(1.0, remaining * float(p[index])))
        steps[int(index)] = HolmStep(adjusted, level, rejected)
    return [steps[index] for index in range(p.size)]
