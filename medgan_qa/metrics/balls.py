"""Which points lie in the neighbour balls of another set, for whole samples and for half samples.

The pairs within reach of each other are listed once; a half sample has other radii and other members but no other
pairs. A distance known only between bounds is computed again when a radius falls between them, once for all halves.
Pairs that are inside in every half are counted by one product of a sparse matrix, the others half by half.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from medgan_qa.metrics import search
from medgan_qa.metrics.pairs import squared_distances, tiles
from medgan_qa.metrics.points import Floats, Ints, Points, Singles

Counts = NDArray[np.int64]


@dataclass
class Listed:
    """Pairs of a point of `a` and a point of `b` with bounds of their squared distances; equal bounds are exact.

    Attributes:
        i: (P,) rows of a.
        j: (P,) rows of b.
        low: (P,) float64.
        high: (P,) float64.
    """

    a: Points
    b: Points
    i: NDArray[np.int32]
    j: NDArray[np.int32]
    low: Floats
    high: Floats

    def within(self, squared_radii: Floats) -> Ints:
        """Places of the pairs no farther apart than `squared_radii` (P,); a negative radius holds nothing."""
        inside = self.high <= squared_radii
        open_ = np.flatnonzero((self.low <= squared_radii) & ~inside)
        if open_.size:
            self.settle(open_)
            inside[open_] = self.high[open_] <= squared_radii[open_]
        return np.flatnonzero(inside)

    def at(self, places: Ints) -> Listed:
        """A copy of the pairs at `places`."""
        return Listed(self.a, self.b, self.i[places], self.j[places], self.low[places], self.high[places])

    def settle(self, places: Ints) -> None:
        """Compute the distances at `places` exactly."""
        exact = squared_distances(self.a.values, self.b.values, self.i[places], self.j[places])
        self.low[places] = self.high[places] = exact


class Inside(NamedTuple):
    """How much of one set lies in the balls of the other.

    Attributes:
        held: (R, n) for each ball the weight of the points inside, in each of R replicates.
        holding: (R, m) for each point the weight of the balls that it lies in.
    """

    held: Counts
    holding: Counts


class Balls:
    """Every pair of a point of `a` and a point of `b` that is within reach of the one or of the other.

    Args:
        a: n points.
        b: m points in the same frame.
        reach_a: (n,) squared radius up to which the pairs of each point are held.
        reach_b: (m,) the same for the other set; -1 for none.
        listed: the pairs, or None where they are too many to keep: they are then found again whenever they are read.
        own: (n,) for each point of `a` a point of `b` that it is not paired with, -1 for none.
    """

    def __init__(
        self, a: Points, b: Points, reach_a: Floats, reach_b: Floats, listed: Listed | None, own: Ints | None = None
    ) -> None:
        self.a, self.b, self.own = a, b, own
        self.reach_a, self.reach_b = reach_a.copy(), reach_b.copy()
        self.listed = listed

    def chunks(self) -> Iterator[Listed]:
        """The pairs, in one piece where they are kept and tile by tile where they are not."""
        if self.listed is not None:
            yield self.listed
            return
        rows, columns = (search.raised(self.a.frame.halved(reach)) for reach in (self.reach_a, self.reach_b))
        rows[self.reach_a < 0], columns[self.reach_b < 0] = -np.inf, -np.inf
        for tile in tiles(self.a, self.b, own=self.own):
            yield bounded(self.a, self.b, *search.survivors(tile, rows[tile.rows], columns[tile.columns]))

    def reach_further(self, squared_a: Floats, squared_b: Floats) -> None:
        """Extend the pairs so that radii up to `squared_a` (n,) and `squared_b` (m,) can be asked for."""
        self._extend(np.flatnonzero(squared_a > self.reach_a), squared_a, of_a=True)
        self._extend(np.flatnonzero(squared_b > self.reach_b), squared_b, of_a=False)

    def _extend(self, rows: Ints, squared: Floats, *, of_a: bool) -> None:
        (self.reach_a if of_a else self.reach_b)[rows] = squared[rows]
        if rows.size == 0 or self.listed is None:
            return
        centre, others = (self.a, self.b) if of_a else (self.b, self.a)
        seeker = search.Seeker(rows.size, 0, centre.frame.halved(squared[rows]))
        if self.own is not None and not of_a:
            raise ValueError("pairs of a set with itself are extended by their rows")
        part = centre.take(rows)
        found = _within(part, others, seeker, None if self.own is None else self.own[rows])
        if found is None:
            self.listed = None
            return
        i, j = rows[found[0]].astype(np.int32), found[1].astype(np.int32)
        self._append(bounded(self.a, self.b, *((i, j) if of_a else (j, i)), found[2]))

    def _append(self, more: Listed) -> None:
        assert self.listed is not None
        old = self.listed
        new = ~np.isin(more.i.astype(np.int64) * len(self.b) + more.j, old.i.astype(np.int64) * len(self.b) + old.j)
        fields = ((getattr(old, name), getattr(more, name)[new]) for name in ("i", "j", "low", "high"))
        self.listed = Listed(self.a, self.b, *(np.concatenate(pair) for pair in fields))
        if len(self.listed.i) > search.MOST_PAIRS:
            self.listed = None

    def flipped(self) -> Balls:
        """The same pairs seen from the other set."""
        old = self.listed
        listed = None if old is None else Listed(self.b, self.a, old.j, old.i, old.low, old.high)
        return Balls(self.b, self.a, self.reach_b, self.reach_a, listed)

    def count(self, squared_radii: Floats, weights_a: Counts, weights_b: Counts) -> Inside:
        """How many points of `b` each ball round a point of `a` holds, and how many balls hold each point of `b`.

        A point on the sphere is inside.

        Args:
            squared_radii: (R, n), none beyond the reach; negative for points that have no ball.
            weights_a: (R, n) how often each point of `a` counts.
            weights_b: (R, m) how often each point of `b` counts.
        """
        held, holding = np.zeros(weights_a.shape, np.int64), np.zeros(weights_b.shape, np.int64)
        present = weights_a > 0
        smallest = np.where(present, squared_radii, np.inf).min(axis=0)
        radii = np.where(present, squared_radii, -1.0)
        largest = radii.max(axis=0)
        for chunk in self.chunks():
            always = np.zeros(len(chunk.i), bool)
            always[chunk.within(smallest[chunk.i])] = True
            shape = len(self.a), len(self.b)
            matrix = sparse.csr_array((np.ones(always.sum(), np.int64), (chunk.i[always], chunk.j[always])), shape)
            held += (matrix @ weights_b.T).T
            holding += (matrix.T @ weights_a.T).T
            places = np.flatnonzero(~always & (chunk.low <= largest[chunk.i]))
            sometimes = chunk.at(places)
            for at, (radius, of_a, of_b) in enumerate(zip(radii, weights_a, weights_b, strict=True)):
                inside = sometimes.within(radius[sometimes.i])
                i, j = sometimes.i[inside], sometimes.j[inside]
                held[at] += np.bincount(i, of_b[j], shape[0]).astype(np.int64)
                holding[at] += np.bincount(j, of_a[i], shape[1]).astype(np.int64)
            chunk.low[places], chunk.high[places] = sometimes.low, sometimes.high
        return Inside(held * present, holding)


def bounded(a: Points, b: Points, i: Ints | NDArray[np.int32], j: Ints | NDArray[np.int32], low: Singles) -> Listed:
    """Candidates of a sweep as pairs with bounds of their squared distances."""
    unit = float(a.frame.halved(1.0))
    lower = np.maximum(low.astype(np.float64), 0)
    high = low + (a.slack[i] + b.slack[j])
    return Listed(a, b, i.astype(np.int32), j.astype(np.int32), lower / unit, high / unit)


def _within(part: Points, others: Points, seeker: search.Seeker, own: Ints | None) -> tuple[Ints, Ints, Singles] | None:
    """All pairs within the balls of `seeker`, or None where they are too many."""
    parts, size = [], 0
    for tile in tiles(part, others, own=own):
        found = search.survivors(tile, seeker.ball[tile.rows], None)
        size += len(found[0])
        if size > search.MOST_PAIRS:
            return None
        parts.append(found)
    return tuple(np.concatenate(field) for field in zip(*parts, strict=True))  # type: ignore[return-value]
