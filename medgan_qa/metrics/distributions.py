"""How two samples of one measure differ.

References:
    L. N. Vaserstein, "Markov processes over denumerable products of spaces", Probl. Inf. Transm. 5 (1969) 47-52; in one
        dimension the area between two distribution functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._arrays import BoolMask, mask2d

BLOCK = 64
"""Half samples handled at a time; bounds memory and changes no number."""


class DistributionDistance(NamedTuple):
    """How two samples of one measure differ: numbers, or vectors of half-sample replicates (B,)."""

    kolmogorov_smirnov: Any
    """Largest difference of the distribution functions, in [0, 1]."""
    wasserstein: Any
    """Area between the distribution functions in units of the reference's standard deviation (ddof 1), >= 0."""


def distribution_distance(reference: Any, values: Any) -> DistributionDistance:
    """Kolmogorov-Smirnov and Wasserstein-1 distance of two samples.

    Neither is 0 for two samples of one distribution: the expected distances are then about 0.87 sqrt(1/N + 1/M) and,
    for a normal one, 1.29 sqrt(1/N + 1/M). Compare with the distance of real to real at the same sizes.

    Args:
        reference: (N,) finite, N >= 2, not all equal unless `values` equal them.
        values: (M,) finite, M >= 1.

    Returns:
        Two floats; the Wasserstein distance is infinite where the reference does not vary and the samples differ.

    Raises:
        ValueError: wrong shapes, too few values, or not finite.
    """
    first, second = _sample(reference, "reference", 2), _sample(values, "values", 1)
    both = half_sample_distances(first, second, np.ones((1, first.size), bool), np.ones((1, second.size), bool))
    return DistributionDistance(float(both.kolmogorov_smirnov[0]), float(both.wasserstein[0]))


def half_sample_distances(
    reference: Any, values: Any, reference_halves: Any, value_halves: Any
) -> DistributionDistance:
    """`distribution_distance` between half samples, from one sorting of both samples.

    Args:
        reference: (N,) finite.
        values: (M,) finite.
        reference_halves: (B, N) bool, the reference values in each half, at least two a row.
        value_halves: (B, M) bool, at least one a row.

    Returns:
        Two vectors (B,); each replicate is standardised by its own half of the reference.

    Raises:
        TypeError: the halves are not bool.
        ValueError: shapes that do not fit, rows with too few values, or values that are not finite.
    """
    first, second = _sample(reference, "reference", 2), _sample(values, "values", 1)
    a, b = mask2d(reference_halves, "reference_halves"), mask2d(value_halves, "value_halves")
    if a.shape[1] != first.size or b.shape != (a.shape[0], second.size):
        raise ValueError(
            f"halves must have shapes (B, {first.size}) and (B, {second.size}), got {a.shape} and {b.shape}"
        )
    if a.sum(axis=1).min(initial=2) < 2 or b.sum(axis=1).min(initial=1) < 1:
        raise ValueError("every half must hold at least two reference values and one value")
    blocks = [_distances(first, second, a[i : i + BLOCK], b[i : i + BLOCK]) for i in range(0, len(a), BLOCK)]
    ks, w1 = (np.concatenate([np.empty(0), *column]) for column in (zip(*blocks, strict=True) if blocks else ((), ())))
    return DistributionDistance(ks, w1)


def _sample(values: Any, name: str, fewest: int) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < fewest or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite vector of at least {fewest} values, got shape {array.shape}")
    return array


def _distances(
    first: NDArray[np.float64], second: NDArray[np.float64], a: BoolMask, b: BoolMask
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pooled = np.concatenate([first, second])
    order = np.argsort(pooled, kind="stable")
    ordered = pooled[order]
    zero_a, zero_b = np.zeros(b.shape), np.zeros(a.shape)
    share_a = np.concatenate([a / a.sum(axis=1, keepdims=True), zero_a], axis=1)
    share_b = np.concatenate([zero_b, b / b.sum(axis=1, keepdims=True)], axis=1)
    difference = np.abs(np.cumsum((share_a - share_b)[:, order], axis=1))[:, :-1]
    step = np.diff(ordered)
    # Between equal values the distribution functions are in the middle of a jump.
    ks = np.minimum(difference[:, step > 0].max(axis=1, initial=0.0), 1.0)
    area = difference @ step
    spread = _spreads(first, a)
    w1 = np.where(area > 0, np.inf, 0.0)
    np.divide(area, spread, out=w1, where=spread > 0)
    return ks, w1


def _spreads(values: NDArray[np.float64], halves: BoolMask) -> NDArray[np.float64]:
    """(B,) standard deviation (ddof 1) of each half; exactly 0 where it does not vary."""
    n = halves.sum(axis=1)
    mean = (halves @ values) / n
    variance = (halves * np.square(values - mean[:, None])).sum(axis=1) / (n - 1)
    highest = np.where(halves, values, -np.inf).max(axis=1)
    lowest = np.where(halves, values, np.inf).min(axis=1)
    return np.where(highest > lowest, np.sqrt(variance), 0.0)
