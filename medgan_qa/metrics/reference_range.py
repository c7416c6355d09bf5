"""The range of one measure in real images, and which values fall outside it.

Limits are order statistics of real values, so how often they would flag a further real image by mistake is known
whatever the distribution. `medgan_qa.metrics.joint_range` judges several measures together.

References:
    G. Zamzmi et al., "Scorecard for synthetic medical data evaluation", Commun. Eng. 4 (2025) 130: constraint, there
        the share of values outside the real 1st to 99th percentile.
    S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Stat. 12 (1941) 91-96.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._arrays import ROUNDING

Side = Literal["low", "high", "both"]
Table = dict[str, NDArray[np.float64]]


class Quantity(NamedTuple):
    """What a measure is, for comparing and for printing."""

    unit: str
    """`1` for shares and pure numbers."""
    side: Side
    """The side on which a deviation from real images is a fault."""
    resolution: float
    """Smallest deviation that means something: keeps a measure that hardly varies among real images from turning
    rounding into a fault."""
    meaning: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class ReferenceLimits:
    """The range of real values that a further real one leaves with a stated probability."""

    low: float | None
    """Values below are outside; None where the side is not asked for or there are too few values."""
    high: float | None
    """Values above are outside."""
    expected_rate: float | None
    """Probability that a further real value is outside: exact for continuous values, an upper bound with ties. None
    with too few values."""
    n: int
    """Reference values."""
    n_needed: int
    """Fewest reference values for the false-alarm rate asked for."""


def reference_limits(reference: Any, false_alarm: float = 0.01, side: Side = "both") -> ReferenceLimits:
    """Order statistics of real values that a further, exchangeable one leaves with probability <= `false_alarm`.

    With k = floor(false_alarm (N + 1)), halved between two sides, the limits are the k-th smallest and largest value: a
    further value lies strictly beyond each with probability k / (N + 1), whatever the distribution (Wilks 1941). That
    holds on average over references; for one reference the rate is Beta(k, N + 1 - k).

    Args:
        reference: (N,) without NaN; infinite values are values that no finite limit holds.
        false_alarm: in (0, 1).
        side: on which side values count as outside.

    Raises:
        ValueError: wrong shape, NaN, `false_alarm` outside (0, 1), or an unknown side.
    """
    values = np.asarray(reference, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError(f"reference must be a vector without NaN, got shape {values.shape}")
    if not 0.0 < false_alarm < 1.0:
        raise ValueError(f"false_alarm must lie in (0, 1), got {false_alarm!r}")
    if side not in ("low", "high", "both"):
        raise ValueError(f"side must be 'low', 'high' or 'both', got {side!r}")
    sides = 2 if side == "both" else 1
    n = values.size
    needed = math.ceil(sides / false_alarm - ROUNDING) - 1
    k = math.floor(false_alarm / sides * (n + 1) + ROUNDING)
    if k < 1:
        return ReferenceLimits(None, None, None, n, needed)
    ordered = np.sort(values)
    low = float(ordered[k - 1]) if side != "high" else None
    high = float(ordered[n - k]) if side != "low" else None
    return ReferenceLimits(low, high, sides * k / (n + 1), n, needed)


def out_of_range(
    reference: Any, values: Any, false_alarm: float = 0.01, side: Side = "both"
) -> tuple[NDArray[np.bool_] | None, ReferenceLimits]:
    """Which values lie outside `reference_limits`; their share is the constraint violation of Zamzmi et al. (2025).

    Args:
        reference: (N,) finite, of real images.
        values: (M,) finite, of the images under test.
        false_alarm: rate at which a further real value may be outside, in (0, 1).
        side: on which side values count as outside.

    Returns:
        (M,) bool, None with too few reference values; and the limits with the expected rate.

    Raises:
        ValueError: as `reference_limits`, or values of another shape or not finite.
    """
    tested = np.asarray(values, dtype=np.float64)
    if tested.ndim != 1 or not np.isfinite(tested).all():
        raise ValueError(f"values must be a finite vector, got shape {tested.shape}")
    limits = reference_limits(reference, false_alarm, side)
    if limits.expected_rate is None:
        return None, limits
    low = -math.inf if limits.low is None else limits.low
    high = math.inf if limits.high is None else limits.high
    return (tested < low) | (tested > high), limits
