"""The range of real images, and which images fall outside it.

Limits are order statistics of real values, so how often they would flag a further real image by mistake is known
whatever the distribution. Several measures are judged together on one scale, with one false-alarm rate.

References:
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", Springer (2005), ch. 2: error rates that
        hold for exchangeable data of any distribution.
    G. Zamzmi et al., "Scorecard for synthetic medical data evaluation", Commun. Eng. 4 (2025) 130: constraint, there
        the share of values outside the real 1st to 99th percentile.
    S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Stat. 12 (1941) 91-96.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._arrays import ROUNDING

Side = Literal["low", "high", "both"]
Table = dict[str, NDArray[np.float64]]

NON_FINITE = "non_finite"
"""The measure that is a fault above 0 whatever the reference: the share of pixels that are no numbers."""


class Quantity(NamedTuple):
    """What a measure is, for comparing and for printing."""

    unit: str
    """`1` for shares and pure numbers."""
    side: Side
    """The side on which a deviation from real images is a fault."""
    resolution: float
    """Smallest spread of real images that a deviation is compared with: keeps a measure that hardly varies among them
    from turning rounding into a fault."""
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


@dataclass(frozen=True, slots=True)
class GrossFailures:
    """Which images fall outside the joint range of the reference."""

    flags: NDArray[np.bool_]
    """(M,) True for a gross failure."""
    measures: tuple[tuple[str, ...], ...]
    """For each image the measures beyond their limits, the farthest first; empty where it is not flagged."""
    scores: NDArray[np.float64]
    """(M,) distance from the reference median in units of the reference's median-to-5 % (95 %) range, of the measure
    that is farthest out."""
    limits: dict[str, tuple[float | None, float | None]]
    """Lowest and highest value that is not flagged, by measure; None where a side is not judged."""
    expected_rate: float | None
    """Probability that a further real image is flagged; None with too few reference images, when only non-finite pixels
    are."""
    n_reference: int
    """Reference images."""
    n_needed: int
    """Fewest reference images for the false-alarm rate asked for."""


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


def gross_failures(
    reference_table: Mapping[str, Any],
    table: Mapping[str, Any],
    quantities: Mapping[str, Quantity],
    false_alarm: float = 0.01,
) -> GrossFailures:
    """Flag the images that fall outside the joint range of real ones.

    Each measure is put on one scale: its distance from the reference median, over the distance from there to the
    reference's 95 % (5 %) quantile, but no less than the measure's resolution. An image's score is that of its farthest
    measure. The limit on the score is the k-th largest score of the reference, k = floor(false_alarm (n + 1)), as in
    `reference_limits`: it takes account of all measures, sides and their dependence together, and needs 1 / false_alarm
    - 1 images where Bonferroni's limits on each of 20 order statistics would need 20 times as many. Translated back it
    is a limit on each measure.

    An exchangeable real image is flagged with probability `expected_rate` = k / (n + 1), up to terms of order 1 / n
    because median and quantiles are taken from the same reference. Several slices of a patient count as exchangeable.
    A measure of the name `NON_FINITE` is a fault above 0 whatever the reference.

    Args:
        reference_table: by measure (n,) finite, of real images.
        table: by measure (M,) finite, of the images under test; the same measures.
        quantities: side and resolution of every measure in the tables.
        false_alarm: rate at which a further real image may be flagged, in (0, 1).

    Raises:
        ValueError: tables with different, unknown or no measures, columns of different length or not finite, or
            `false_alarm` outside (0, 1).
    """
    names = _names(reference_table, table, quantities)
    reference, tested = _columns(reference_table, names), _columns(table, names)
    broken = _non_finite(tested, names)
    n = len(reference)
    if n == 0:
        limit = reference_limits([], false_alarm, "high")
        return _without_reference(names, broken, limit)
    middle, below, above = _scales(reference, [quantities[name] for name in names])
    deviation = _deviation(tested, middle, below, above)
    limit = reference_limits(_deviation(reference, middle, below, above).max(axis=1), false_alarm, "high")
    if limit.high is None:
        return _without_reference(names, broken, limit, deviation.max(axis=1))
    beyond = deviation > limit.high
    beyond |= broken[:, None] & (np.array(names) == NON_FINITE)
    return GrossFailures(
        flags=np.any(beyond, axis=1),
        measures=tuple(_farthest_first(row, d, names) for row, d in zip(beyond, deviation, strict=True)),
        scores=deviation.max(axis=1),
        limits={
            name: (_limit(m, -b, limit.high), _limit(m, a, limit.high))
            for name, m, b, a in zip(names, middle, below, above, strict=True)
        },
        expected_rate=limit.expected_rate,
        n_reference=n,
        n_needed=limit.n_needed,
    )


def _names(reference: Mapping[str, Any], table: Mapping[str, Any], quantities: Mapping[str, Quantity]) -> list[str]:
    if not reference or set(reference) != set(table):
        raise ValueError(f"both tables must hold the same measures, got {sorted(reference)} and {sorted(table)}")
    if unknown := sorted(set(reference) - set(quantities)):
        raise ValueError(f"measures without a quantity: {unknown}")
    return [name for name in quantities if name in reference]


def _non_finite(columns: NDArray[np.float64], names: list[str]) -> NDArray[np.bool_]:
    if NON_FINITE not in names:
        return np.zeros(len(columns), dtype=bool)
    flags: NDArray[np.bool_] = columns[:, names.index(NON_FINITE)] > 0
    return flags


def _columns(table: Mapping[str, Any], names: list[str]) -> NDArray[np.float64]:
    """(N, measures) float64."""
    columns = [np.asarray(table[name], dtype=np.float64) for name in names]
    if any(c.shape != columns[0].shape or c.ndim != 1 for c in columns):
        raise ValueError(f"measures must be vectors of one length, got shapes {[c.shape for c in columns]}")
    if bad := [name for name, c in zip(names, columns, strict=True) if not np.isfinite(c).all()]:
        raise ValueError(f"measures must be finite; NaN or infinity in {bad}")
    return np.stack(columns, axis=1)


def _scales(
    reference: NDArray[np.float64], quantities: list[Quantity]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Median, and scale below and above it; infinite on a side that is no fault."""
    if bad := [q.meaning for q in quantities if not q.resolution > 0]:
        raise ValueError(f"every quantity needs a resolution above 0; without one: {bad}")
    low, middle, high = np.quantile(reference, (0.05, 0.5, 0.95), axis=0)
    floor = np.array([q.resolution for q in quantities])
    below = np.where([q.side == "high" for q in quantities], np.inf, np.maximum(middle - low, floor))
    above = np.where([q.side == "low" for q in quantities], np.inf, np.maximum(high - middle, floor))
    return middle, below, above


def _deviation(
    values: NDArray[np.float64], middle: NDArray[np.float64], below: NDArray[np.float64], above: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, measures) >= 0."""
    off = values - middle
    return np.maximum(off / above, -off / below)


def _limit(middle: float, scale: float, score: float) -> float | None:
    return None if math.isinf(scale) else float(middle + scale * score)


def _farthest_first(beyond: NDArray[np.bool_], deviation: NDArray[np.float64], names: list[str]) -> tuple[str, ...]:
    order = np.argsort(-deviation, kind="stable")
    return tuple(names[i] for i in order if beyond[i])


def _without_reference(
    names: list[str], broken: NDArray[np.bool_], limit: ReferenceLimits, scores: NDArray[np.float64] | None = None
) -> GrossFailures:
    """Only what is a fault whatever the reference."""
    return GrossFailures(
        flags=broken,
        measures=tuple((NON_FINITE,) if b else () for b in broken),
        scores=np.zeros(len(broken)) if scores is None else scores,
        limits=dict.fromkeys(names, (None, None)),
        expected_rate=None,
        n_reference=limit.n,
        n_needed=limit.n_needed,
    )
