"""One test set used for several tests: what the error rate of all of them together is.

References:
    O. J. Dunn, "Multiple comparisons among means", J. Am. Stat. Assoc. 56 (1961) 52-64 (Bonferroni's inequality).
    Z. Sidak, "Rectangular confidence regions for the means of multivariate normal distributions", J. Am. Stat. Assoc.
    62 (1967) 626-633 (the product under independence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RepeatedTesting:
    """The chance of at least one false pass in several tests on the same data, in (0, 1]."""

    bound: float
    """The most it can be, however the tests depend on each other (Bonferroni): min(1, tests * alpha)."""
    independent: float
    """What it would be if the tests were independent (Sidak): 1 - (1 - alpha) ** tests; never above `bound`."""


def repeated_testing(alpha: float, tests: int) -> RepeatedTesting:
    """The error rate of `tests` tests together, each of which passes falsely with probability at most `alpha`.

    Tests of models on one test set depend on each other in an unknown way, so `bound` (Bonferroni's inequality, also
    called the union bound) is what holds; `independent` (Sidak) is given for comparison.

    Args:
        alpha: error rate of one test, in (0, 1).
        tests: how many different tests were made, at least 1.

    Raises:
        ValueError: alpha lies outside (0, 1) or there is no test.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha!r}")
    if tests < 1:
        raise ValueError(f"tests must be at least 1, got {tests!r}")
    bound = min(1.0, tests * alpha)
    # The power itself loses small alphas in rounding: 1 - (1 - 1e-17) is 0.
    independent = -math.expm1(tests * math.log1p(-alpha))
    return RepeatedTesting(bound, min(bound, independent))
