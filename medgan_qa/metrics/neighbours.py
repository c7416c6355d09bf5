"""Neighbours of real and of generated samples, found in one pass, from which every neighbour statistic is read.

Distances are Euclidean. A point is no neighbour of itself; it is left out by its index, so that a duplicate of it is its
neighbour at distance 0. Sets are reduced to distinct points that count as often as they occur, so that duplicates
neither crowd a list nor change a value. Comparisons are made on squared distances in float64 (`medgan_qa.metrics.pairs`).

A half sample is a subset: its radii come from the kept neighbours that are in it, and are the same as if they had been
computed from the subset alone. Where too few of the kept neighbours are in a half, that row's list is made longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics import search
from medgan_qa.metrics.balls import Balls, Counts, Listed, bounded
from medgan_qa.metrics.pairs import (
    TILE,
    Distinct,
    Floats,
    Ints,
    Points,
    distinct,
    features,
    framed,
    own_frame,
    same_width,
)

KEEP = 6
"""Neighbours kept for point values: one more than the largest customary k, so that a tie at the k-th is seen."""
KEEP_FOR_HALVES = 32
"""Neighbours kept for half samples: fewer than 5 of 32 are in a random half with probability 1e-5."""
BATCH = 32
"""Replicates whose radii and counts are held at a time."""


class Neighbours(NamedTuple):
    """The nearest references of each query, nearest first; of equals the one that stands first.

    Attributes:
        index: (Q, K) rows of the references.
        distance: (Q, K) float64, in the unit of the features.
    """

    index: Ints
    distance: Floats


def nearest_neighbors(queries: Any, references: Any, k: int = 1) -> Neighbours:
    """The k nearest references of each query, by Euclidean distance.

    A query that also stands among the references finds itself at distance 0.

    Args:
        queries: (Q, D) finite.
        references: (R, D) finite, R >= k.
        k: number of neighbours, at least 1.

    Raises:
        ValueError: a set is not (N, D), not finite, the widths differ, or there are fewer than k references.
    """
    queries, references = features(queries, "queries"), features(references, "references")
    same_width(queries, references, "queries and references")
    at_least(references, "references", k, k)
    near, of = framed(references, queries)
    lists = search.nearest(of, near, k)
    return Neighbours(lists.index.astype(np.intp), np.sqrt(lists.square))


def at_least(values: NDArray[Any], name: str, count: int, k: int) -> None:
    """Raise ValueError unless k >= 1 and `values` holds at least `count` samples."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if len(values) < count:
        raise ValueError(f"{name} must hold at least {count} samples for k = {k}, got {len(values)}")


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

    def __init__(self, points: Points, others: Points, lists: search.Nearest) -> None:
        self.points, self.others = points, others
        self.index, self.square = lists
        self.longest = len(others) - (points is others)
        self._long: dict[int, tuple[NDArray[np.int32], Floats]] = {}

    @property
    def complete(self) -> bool:
        """Whether the lists hold every other point."""
        return self.index.shape[1] == self.longest

    def reach(self) -> Floats:
        """Squared radius up to which each list holds every point: the last but one, or the last of a complete list."""
        if self.longest == 0:
            return np.zeros(len(self.points))
        return self.square[:, -1 if self.complete else max(0, self.index.shape[1] - 2)].copy()

    def tied(self, squared_radii: Floats) -> Ints:
        """Rows whose list may lack points on the sphere of the given radius (U,)."""
        if self.complete:
            return np.zeros(0, np.intp)
        return np.flatnonzero(squared_radii >= self.square[:, -1])

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
        reached = begun[:, None] + np.cumsum(weights[self.index], axis=1) >= k
        found = reached.any(axis=1)
        at = reached.argmax(axis=1) if reached.shape[1] else np.zeros(len(found), np.intp)
        index, square = np.full(len(found), -1, np.intp), np.zeros(len(found))
        index[found], square[found] = self.index[found, at[found]], self.square[found, at[found]]
        index[begun >= k], square[begun >= k] = -1, 0.0
        self._look_further(np.flatnonzero(~found & (begun < k)), weights, k - begun, index, square)
        return index, square

    def _look_further(self, rows: Ints, weights: Counts, missing: Counts, index: Ints, square: Floats) -> None:
        size = self.index.shape[1]
        while rows.size:
            if size == self.longest:
                raise ValueError("a subset holds too few samples for its nearest neighbours")
            size = min(2 * size, self.longest)
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
        at = (self.square == squares[:, None]) & (weights[self.index] > 0)
        largest: Floats = np.where(at, values[self.index], -np.inf).max(axis=1)
        rows, size = self.tied(squares), self.index.shape[1]
        while rows.size:
            size = min(2 * size, self.longest)
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
            index, square = search.nearest(self.points.take(short), self.others, size, own=own)
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
        self.rows = Rows(points, points, search.mutual(points, min(self._keep, len(points) - 1), side=self._side))

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


class Neighbourhood:
    """Neighbours within and between a real and a generated sample; see `neighbourhood`.

    Attributes:
        real: the real sample.
        generated: the generated sample.
        to_real: nearest real points of each generated one.
        pairs: pairs of a real and a generated point within reach of each other.
    """

    def __init__(self, real: Sample, generated: Sample, keep: int, side: int) -> None:
        self.real, self.generated = real, generated
        x, y = real.points, generated.points
        keep = min(keep, len(x))
        reach_x, reach_y = real.rows.reach(), generated.rows.reach()
        rows = search.Seeker(len(x), 0, x.frame.halved(reach_x))
        columns = search.Seeker(len(y), keep, x.frame.halved(reach_y))
        (i, j, low), overflow = search.sweep(x, y, rows, columns, side=side)
        listed = bounded(x, y, i, j, low)
        near = low <= columns.bound[j]
        listed.settle(np.flatnonzero(near))
        lists = search.ranked(len(y), keep, j[near], i[near], listed.low[near])
        self.to_real = Rows(y, x, search.with_crowded(lists, columns, y, x, None))
        within = (low <= rows.ball[i]) | (low <= columns.ball[j])
        kept = Listed(x, y, i[within], j[within], listed.low[within], listed.high[within])
        self.pairs = Balls(x, y, reach_x, reach_y, None if overflow else kept)

    def real_pairs(self) -> Balls:
        """Ordered pairs of real points of which the second lies within reach of the first."""
        rows = self.real.rows
        points, reach = rows.points, rows.reach()
        i, at = np.nonzero(rows.square <= reach[:, None])
        square = rows.square[i, at]
        listed = Listed(points, points, i.astype(np.int32), rows.index[i, at], square, square.copy())
        nothing = np.full(len(points), -1.0)
        tied = rows.tied(reach)
        reach[tied] = -1.0  # to be searched for again, with every point on the sphere
        pairs = Balls(points, _another(points), reach, nothing, listed, own=np.arange(len(points)))
        wanted = reach.copy()
        wanted[tied] = rows.reach()[tied]
        pairs.reach_further(wanted, nothing)
        return pairs


def _another(points: Points) -> Points:
    """The same points as another object: pairs in both orders, not each once."""
    return Points(points.values, points.frame, points.centred, points.norms, points.half, points.slack)


def neighbourhood(real: Any, generated: Any, *, keep: int = KEEP, side: int = TILE) -> Neighbourhood:
    """Find the neighbours from which precision, recall, density, coverage and authenticity are read.

    Three matrices of distances are passed over once, tile by tile, and never held. Memory beyond the arguments is one
    float32 copy of each set and the lists.

    Args:
        real: (N, D) finite features.
        generated: (M, D) finite features of the same extractor.
        keep: neighbours kept of each point: k + 1 or more, `KEEP_FOR_HALVES` where half samples will be asked for.
            Fewer is never wrong, only slower.
        side: largest side of a tile; no value depends on it.

    Raises:
        ValueError: a set is not (N, D), not finite, or the widths differ.
    """
    real, generated = features(real, "real"), features(generated, "generated")
    same_width(real, generated, "real and generated")
    x, y = (Sample(points, keep, side) for points in framed(real, generated))
    x.find(x.points)
    y.find(own_frame(y.points))
    return Neighbourhood(x, y, keep, side)

