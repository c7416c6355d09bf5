"""Nearest neighbours in subsets of two sets, from lists made once for the whole sets.

A half sample is a subset: its radii come from the kept neighbours that are in it, and are the same as if they had been
computed from the subset alone. Where too few of the kept neighbours are in it, that row's list is made longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.balls import Counts
from medgan_qa.metrics.nearest import Nearest, mutual, nearest
from medgan_qa.metrics.points import Distinct, Floats, Ints, Points, distinct

BATCH = 32
"""Replicates whose radii and counts are held at a time."""


def batches(weights_real: Counts, weights_generated: Counts) -> Iterator[tuple[Counts, Counts]]:
    """Subsets of both sets, a few replicates at a time; a single subset of one set goes with every one of the other.

    Raises:
        ValueError: different numbers of subsets.
    """
    count = max(len(weights_real), len(weights_generated))
    if {len(weights_real), len(weights_generated)} - {1, count}:
        raise ValueError(f"as many halves of each set are needed, got {len(weights_real)} and {len(weights_generated)}")
    both = [np.broadcast_to(weights, (count, weights.shape[1])) for weights in (weights_real, weights_generated)]
    for at in range(0, count, BATCH):
        yield both[0][at : at + BATCH], both[1][at : at + BATCH]


class Rows:
    """The nearest of one set for each distinct point of another, longer where a half sample asks for it.

    Args:
        points: U points.
        others: V points in the same frame; the same object as `points` for neighbours within one set.
        lists: K nearest of each.
    """

    def __init__(self, points: Points, others: Points, lists: Nearest) -> None:
        self.points, self.others = points, others
        self.indices, self.squares = lists
        self.longest = len(others) - (points is others)
        self._long: dict[int, tuple[NDArray[np.int32], Floats]] = {}

    @property
    def complete(self) -> bool:
        """Whether the lists hold every other point."""
        return bool(self.indices.shape[1] == self.longest)

    def reach(self) -> Floats:
        """Squared radius up to which each list holds every point: the last but one, or the last of a complete list."""
        if self.longest == 0:
            return np.zeros(len(self.points))
        return self.squares[:, -1 if self.complete else max(0, self.indices.shape[1] - 2)].copy()

    def tied(self, squared_radii: Floats) -> Ints:
        """Rows whose list may lack points on the sphere of the given radius (U,)."""
        if self.complete:
            return np.zeros(0, np.intp)
        return np.flatnonzero(squared_radii >= self.squares[:, -1])

    def kth(self, weights: Counts, k: int, own: Counts | None = None) -> tuple[Ints, Floats]:
        """The k-th nearest of each point in a weighted subset of the others.

        Args:
            weights: (V,) how often each of the others occurs.
            k: which neighbour.
            own: (U,) how many duplicates at distance 0 each point has besides; None for none.

        Returns:
            (U,) index, -1 where a duplicate is the one, and (U,) squared distance.
        """
        begun = np.zeros(len(self.points), np.int64) if own is None else own
        reached: NDArray[np.bool_] = begun[:, None] + np.cumsum(weights[self.indices], axis=1) >= k
        found = np.logical_or.reduce(reached, axis=1)
        at = reached.argmax(axis=1) if reached.shape[1] else np.zeros(len(self.points), np.intp)
        index, square = np.full(len(self.points), -1, np.intp), np.zeros(len(self.points))
        index[found], square[found] = self.indices[found, at[found]], self.squares[found, at[found]]
        index[begun >= k], square[begun >= k] = -1, 0.0
        self._look_further(np.flatnonzero(~found & (begun < k)), weights, k - begun, index, square)
        return index, square

    def _look_further(self, rows: Ints, weights: Counts, missing: Counts, index: Ints, square: Floats) -> None:
        size = self.indices.shape[1]
        while rows.size:
            if size == self.longest:
                raise ValueError("a subset holds too few samples for its nearest neighbours")
            size = min(4 * size, self.longest)
            self._lengthen(rows, size)
            left = []
            for row in rows.tolist():
                near, squares = self._long[row]
                reached = np.flatnonzero(np.cumsum(weights[near]) >= missing[row])
                if reached.size:
                    index[row], square[row] = near[reached[0]], squares[reached[0]]
                else:
                    left.append(row)
            rows = np.asarray(left, np.intp)

    def largest_at(self, squares: Floats, weights: Counts, values: Floats) -> Floats:
        """The largest of `values` (V,) among the others at exactly the squared distance of each row (U,)."""
        at = (self.squares == squares[:, None]) & (weights[self.indices] > 0)
        largest: Floats = np.where(at, values[self.indices], -np.inf).max(axis=1)
        rows, size = self.tied(squares), self.indices.shape[1]
        while rows.size:
            size = min(4 * size, self.longest)
            self._lengthen(rows, size)
            for row in rows.tolist():
                near, square = self._long[row]
                equals = near[(square == squares[row]) & (weights[near] > 0)]
                largest[row] = values[equals].max()
            rows = rows[[size < self.longest and self._long[row][1][-1] <= squares[row] for row in rows.tolist()]]
        return largest

    def _lengthen(self, rows: Ints, size: int) -> None:
        short = np.asarray([row for row in rows.tolist() if row not in self._long or len(self._long[row][0]) < size])
        if short.size:
            own = short if self.points is self.others else None
            index, square = nearest(self.points.take(short), self.others, size, own=own)
            self._long.update(zip(short.tolist(), zip(index, square, strict=True), strict=True))


class Sample:
    """One set: its distinct points, how often each occurs, and the neighbours within the set.

    Args:
        points: N points.
        keep: nearest others kept of each distinct point, cut to what there is.
        side: largest side of a tile.
    """

    def __init__(self, points: Points, keep: int, side: int) -> None:
        self.size = len(points)
        self.same: Distinct = distinct(points)
        self.points = points if len(self.same.first) == self.size else points.take(self.same.first)
        self._keep, self._side = keep, side
        self.rows: Rows

    def find(self, points: Points) -> None:
        """Find the neighbours within the set, from its distinct points in whichever frame suits them."""
        self.rows = Rows(points, points, mutual(points, min(self._keep, len(points) - 1), side=self._side))

    def weights(self, masks: Any | None, name: str) -> Counts:
        """How often each distinct point occurs in each of R subsets: (R, U).

        Args:
            masks: (R, N) or (N,) bool, None for the whole set.
            name: what the subsets are of, for messages.
        """
        marked = np.ones((1, self.size), bool) if masks is None else np.atleast_2d(np.asarray(masks))
        if marked.dtype != np.bool_ or marked.ndim != 2 or marked.shape[1] != self.size:
            raise ValueError(f"masks of {name} must be bool (R, {self.size}), got {marked.dtype} {marked.shape}")
        if len(self.points) == self.size:
            return marked.astype(np.int64)
        count = len(self.points)
        return np.stack([np.bincount(self.same.group[mask], minlength=count) for mask in marked])

    def squared_radii(self, weights: Counts, k: int) -> Floats:
        """(R, U) squared distance of each point's k-th nearest other in each subset; -1 for points not in it.

        Raises:
            ValueError: a subset holds fewer than k + 1 samples.
        """
        if weights.sum(axis=1).min() <= k:
            raise ValueError(f"a set or a half of it must hold at least {k + 1} samples for k = {k}")
        radii = np.empty(weights.shape)
        for at, weight in enumerate(weights):
            # points that are not in the subset are not asked for: as if they had all the duplicates they need
            others = np.where(weight > 0, weight - 1, k)
            radii[at] = np.where(weight > 0, self.rows.kth(weight, k, others)[1], -1.0)
        return radii
