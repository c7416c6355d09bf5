"""How much nearer a sample is to one training image than to the next ones, in any feature space.

References:
    N. Carlini et al., "Extracting training data from diffusion models", USENIX Security (2023): a distance relative to
        those of the next neighbours, which adapts to how crowded the neighbourhood is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._groups import encoded


def neighbor_ratio(
    distances: Any,
    neighbors: Any = None,
    groups: Iterable[Hashable] | None = None,
    *,
    count: int | None = None,
) -> NDArray[np.float64]:
    """Distance to the nearest training image over the mean distance to the next ones of other groups.

    The score of Carlini et al. (2023) for any feature space, without their factor: d1 / mean(d2 ... dk). Small means
    much nearer to one training image than the neighbourhood is dense; it is 1 at most. References of the nearest one's
    group (its patient, its duplicates) are left out of the mean, and where the nearest is at distance 0 so are others
    at distance 0, which are its duplicates in this space.

    Args:
        distances: (Q, K) to the K nearest references, ascending, finite, >= 0.
        neighbors: (Q, K) indices of those references; needed with `groups`.
        groups: (N,) group of every reference. None: each is a group of its own.
        count: how many of the next ones are averaged, >= 1; None: all that are left. With large groups give K room.

    Returns:
        (Q,) ratios; NaN where no neighbour of another group is left.

    Raises:
        ValueError: not ascending, negative or not finite, shapes differ, or only one of `neighbors` and `groups` given.
    """
    d = np.asarray(distances, dtype=np.float64)
    if d.ndim != 2 or d.shape[1] < 1:
        raise ValueError(f"distances must be (Q, K) with K >= 1, got shape {d.shape}")
    if not np.isfinite(d).all() or (d < 0).any() or (np.diff(d, axis=1) < 0).any():
        raise ValueError("distances must be finite, >= 0 and ascending along each row")
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count!r}")
    other = _of_other_groups(d.shape, neighbors, groups) & (d > 0)
    if count is not None:
        other &= np.cumsum(other, axis=1) <= count
    n = other.sum(axis=1)
    mean = np.divide((d * other).sum(axis=1), n, out=np.full(len(d), np.nan), where=n > 0)
    ratio: NDArray[np.float64] = d[:, 0] / mean
    return ratio


def _of_other_groups(shape: tuple[int, ...], neighbors: Any, groups: Iterable[Hashable] | None) -> NDArray[np.bool_]:
    """Which neighbours (Q, K) belong to another group than the first of their row."""
    if (neighbors is None) != (groups is None):
        raise ValueError("neighbors and groups go together: the one says whom the other is about")
    if groups is None or neighbors is None:
        return np.broadcast_to(np.arange(shape[1]) > 0, shape).copy()
    index = np.asarray(neighbors)
    if index.shape != shape or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"neighbors must be integers of shape {shape}, got {index.dtype} {index.shape}")
    codes = encoded(groups)
    if index.size and (index.min() < 0 or index.max() >= len(codes)):
        raise ValueError(f"neighbors must lie in 0 ... {len(codes) - 1}, as there are {len(codes)} groups")
    labels = codes[index]
    different: NDArray[np.bool_] = labels != labels[:, :1]
    return different
