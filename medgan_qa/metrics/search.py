"""Which pairs matter: the K nearest of each point and the pairs within a ball, found without sorting a tile.

A row keeps an upper bound of its K-th smallest distance. It starts from the first tile and falls as tiles pass. In
each tile two comparisons against the bounds of rows and columns leave a few candidates a row, and everything
that follows works on those. Bounds use the upper ends and candidates the lower ends of the float32 intervals of
`medgan_qa.metrics.pairs`, so no neighbour is lost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.pairs import TILE, Tile, tiles
from medgan_qa.metrics.points import Floats, Ints, Points, Singles, spread

FOLDED = 256
"""Columns that the first tile is folded to before its K nearest are selected."""
CROWD = 128
"""Candidates beyond 4 K that make a row crowded."""
MOST_PAIRS = 1 << 23
"""Pairs within balls that are kept in memory (200 MB); beyond, they are found again each time they are asked for."""
PRUNE_AT = 1 << 20
FARTHEST = np.float32(np.finfo(np.float32).max)


class Candidates(NamedTuple):
    """Pairs that may matter, with bounds of their distances.

    Attributes:
        i: (P,) int32.
        j: (P,) int32.
        low: (P,) float32, lower bound of half the squared distance in the unit of tiles.
    """

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    low: Singles

    def where(self, keep: NDArray[np.bool_]) -> Candidates:
        """The pairs marked in `keep`."""
        return Candidates(self.i[keep], self.j[keep], self.low[keep])


class Seeker:
    """What the points of one set still look for in the other.

    Attributes:
        bound: (N,) float32, no smaller than half the squared distance of the K-th nearest; -inf where none is sought.
        ball: (N,) float32, half the squared radius within which every point is sought; -inf for none.
        crowded: (N,) bool, given up because too many candidates remain.
    """

    def __init__(self, count: int, keep: int, ball: Floats | None = None) -> None:
        self.keep = keep
        self.best = np.full((count, keep), np.inf, np.float32)
        self.bound = np.full(count, np.inf if keep else -np.inf, np.float32)
        self.ball = np.full(count, -np.inf, np.float32) if ball is None else raised(ball)
        self.crowded = np.zeros(count, bool)
        self._begun = np.zeros(count, bool)

    def limit(self, rows: slice | Ints | NDArray[np.int32]) -> Singles:
        """Half squared distance beyond which a candidate is of no use."""
        return np.maximum(self.bound[rows], self.ball[rows])

    def begin(self, rows: slice, nearness: Singles, slack: Floats, other_slack: Floats) -> None:
        """Take the first bounds of rows from the first tile that they meet."""
        width = nearness.shape[1]
        if self._begun[rows.start] or not 0 < self.keep <= width:
            return
        self._begun[rows] = True
        folds = max(1, width // max(FOLDED, 8 * self.keep))

        def kth(part: slice) -> Singles:
            # the nearest of each few columns: K of these are K neighbours, and seldom miss one of the K nearest
            every = nearness[part]
            folded = every[:, : width // folds].copy()
            for at in range(1, folds):
                np.maximum(folded, every[:, at * folded.shape[1] : (at + 1) * folded.shape[1]], out=folded)
            place = folded.shape[1] - self.keep
            return np.partition(folded, place, axis=1)[:, place]

        lower = -np.concatenate(spread(kth, len(nearness), width)).astype(np.float64)
        self.bound[rows] = raised(lower + slack[rows] + other_slack.max())

    def tighten(self, rows: Ints, upper: Singles) -> None:
        """Lower the bounds of `rows` by the upper bounds of newly met points; a row may stand there many times."""
        if not (self.keep and rows.size):
            return
        # of floats >= 0 the bits sort as the numbers do
        key = (rows.astype(np.uint64) << np.uint64(32)) | np.maximum(upper, 0).view(np.uint32)
        key.sort()
        row = (key >> np.uint64(32)).astype(np.intp)
        start = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
        lengths = np.diff(np.append(start, row.size))
        rank = np.arange(row.size) - np.repeat(start, lengths)
        few = rank < self.keep
        met = np.full((start.size, self.keep), np.inf, np.float32)
        met[np.repeat(np.arange(start.size), lengths)[few], rank[few]] = (
            (key[few] & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)
        )
        hit = row[start]
        best = np.partition(np.concatenate([self.best[hit], met], axis=1), self.keep - 1, axis=1)[:, : self.keep]
        self.best[hit] = best
        open_rows = ~self.crowded[hit]
        self.bound[hit] = np.where(open_rows, np.minimum(self.bound[hit], best[:, -1]), -np.inf)

    def give_up(self, counts: Ints) -> None:
        """Mark rows with too many candidates as crowded."""
        crowded = counts > 4 * self.keep + CROWD
        self.crowded |= crowded
        self.bound[crowded] = -np.inf


def raised(halves: Floats) -> Singles:
    """Float32 no smaller than `halves`."""
    return np.nextafter(np.minimum(halves, FARTHEST).astype(np.float32), FARTHEST)


def survivors(tile: Tile, rows: Singles, columns: Singles | None) -> tuple[Ints, Ints, Singles]:
    """Pairs of a tile whose lower bound is within the limit of their row or of their column.

    Returns:
        Row and column in the whole matrix, and the lower bound.
    """
    nearness, width = tile.nearness, tile.nearness.shape[1]
    of_row = np.maximum(-rows, -FARTHEST)[:, None]
    of_column = None if columns is None else np.maximum(-columns, -FARTHEST)

    def search(part: slice) -> Ints:
        hit = nearness[part] >= of_row[part]
        if of_column is not None:
            hit |= nearness[part] >= of_column
        places: Ints = np.flatnonzero(hit) + part.start * width
        return places

    flat = np.concatenate(spread(search, len(nearness), width))
    i, j = np.divmod(flat, width)
    return i + tile.rows.start, j + tile.columns.start, -nearness.ravel()[flat]


class Found(NamedTuple):
    """What a sweep found: the candidates, and whether pairs within balls were too many to keep."""

    candidates: Candidates
    overflow: bool


class _Collector:
    """Candidates gathered tile by tile, pruned when they grow."""

    def __init__(self, rows: Seeker, columns: Seeker | None) -> None:
        self.rows, self.columns = rows, columns
        self.parts: list[Candidates] = []
        self.size, self.pruned_size = 0, 0
        self.overflow = False

    def add(self, i: Ints, j: Ints, low: Singles) -> None:
        keep = self.wanted(i, j, low)
        self.parts.append(Candidates(i[keep].astype(np.int32), j[keep].astype(np.int32), low[keep]))
        self.size += len(self.parts[-1].i)
        if self.size > PRUNE_AT + 2 * self.pruned_size:
            self.prune()

    def wanted(self, i: Ints, j: Ints, low: Singles) -> NDArray[np.bool_]:
        wanted: NDArray[np.bool_] = low <= self.rows.limit(i)
        if self.columns is not None:
            wanted |= low <= self.columns.limit(j)
        return wanted

    def prune(self) -> Candidates:
        """Drop what tightened bounds no longer need; give up rows that are crowded and balls that hold too much."""
        every = Candidates(*(np.concatenate(field) for field in zip(*self.parts, strict=True)))
        i, j, low = every.where(self.wanted(*every))
        counts = np.bincount(i[low <= self.rows.bound[i]], minlength=len(self.rows.bound))
        if self.columns is not None:
            more = np.bincount(j[low <= self.columns.bound[j]], minlength=len(self.columns.bound))
            if self.columns is self.rows:
                counts += more
            self._watch_balls(i, j, low)
        self.rows.give_up(counts)
        every = Candidates(i, j, low)
        every = every.where(self.wanted(*every))
        self.parts = [every]
        self.size = self.pruned_size = len(every.i)
        return every

    def _watch_balls(self, i: Ints, j: Ints, low: Singles) -> None:
        assert self.columns is not None
        within = (low <= self.rows.ball[i]) | (low <= self.columns.ball[j])
        if np.count_nonzero(within) > MOST_PAIRS:
            self.overflow = True
            self.rows.ball[:] = self.columns.ball[:] = -np.inf


def sweep(
    a: Points, b: Points, rows: Seeker, columns: Seeker | None, *, own: Ints | None = None, side: int = TILE
) -> Found:
    """Pass over all pairs once and return those that may matter.

    Args:
        a: n points.
        b: m points in the same frame. If `b` is `a`, each unordered pair is met once, `columns` must be `rows`, and
            pairs come with i < j.
        rows: what the points of `a` look for; its bounds are lowered.
        columns: what the points of `b` look for, None for nothing: balls, unless `b` is `a`.
        own: (n,) for each row a column that is left out, -1 for none.
        side: largest side of a tile.
    """
    found = _Collector(rows, columns)
    for tile in tiles(a, b, own=own, side=side):
        at, to, nearness = tile
        rows.begin(at, nearness, a.slack, b.slack[to])
        if a is b and at == to:
            np.copyto(nearness, -np.inf, where=np.tri(len(nearness), dtype=bool))
        i, j, low = survivors(tile, rows.limit(at), None if columns is None else columns.limit(to))
        upper = raised(low + (a.slack[i] + b.slack[j]))
        both = (i, j) if columns is rows else (i,)
        rows.tighten(np.concatenate(both), np.tile(upper, len(both)))
        found.add(i, j, low)
    return Found(found.prune(), found.overflow)
