"""The K nearest neighbours of each point, exactly.

Where points crowd (a collapsed generator, near-identical slices), the error of a tile about the mean is wider than the
distances in the crowd and too many candidates remain. Those rows are searched again about a point of the crowd, which
makes the error a small share of each distance, and by plain float64 distances where even that leaves too many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.pairs import TILE, squared_distances
from medgan_qa.metrics.points import Floats, Frame, Ints, Points
from medgan_qa.metrics.search import Seeker, sweep

NEAR_PIVOT = 64.0
"""Squared radius, in squared K-th neighbour distances, of the crowd that is searched about one pivot."""


class Nearest(NamedTuple):
    """The K nearest of each point, nearest first, the lower index first among equals.

    Attributes:
        indices: (N, K) int32.
        squares: (N, K) float64, squared distances.
    """

    indices: NDArray[np.int32]
    squares: Floats


def nearest(a: Points, b: Points, keep: int, *, own: Ints | None = None, side: int = TILE) -> Nearest:
    """The `keep` nearest of `b` for each point of `a`, exactly.

    Args:
        a: n points.
        b: m points in the same frame.
        keep: K, at most m, or m - 1 where a column is left out.
        own: (n,) for each row a column of `b` that is left out, -1 for none.
        side: largest side of a tile.
    """
    seeker = Seeker(len(a), keep)
    i, j, _ = sweep(a, b, seeker, None, own=own, side=side).candidates
    lists = ranked(len(a), keep, i, j, squared_distances(a.values, b.values, i, j))
    return with_crowded(lists, seeker, a, b, own)


def mutual(points: Points, keep: int, *, side: int = TILE) -> Nearest:
    """The `keep` nearest others of each point of one set, exactly; `keep` at most N - 1."""
    seeker = Seeker(len(points), keep)
    i, j, _ = sweep(points, points, seeker, seeker, side=side).candidates
    squares = squared_distances(points.values, points.values, i, j)
    both = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([squares, squares])
    lists = ranked(len(points), keep, *both)
    return with_crowded(lists, seeker, points, points, np.arange(len(points)))


def ranked(count: int, keep: int, rows: NDArray[np.int32], others: NDArray[np.int32], squares: Floats) -> Nearest:
    """The `keep` nearest of each row among listed pairs; -1 and infinity where a row has fewer."""
    # of floats >= 0 the bits sort as the numbers do; float32 leaves few ties to be sorted again
    key = (rows.astype(np.uint64) << np.uint64(32)) | squares.astype(np.float32).view(np.uint32)
    order = np.argsort(key)
    same = np.diff(key[order]) == 0
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    again = order[tied]
    order[tied] = again[np.lexsort((others[again], squares[again], rows[again]))]
    rows, others, squares = rows[order], others[order], squares[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    few = rank < keep
    index, square = np.full((count, keep), -1, np.int32), np.full((count, keep), np.inf)
    index[rows[few], rank[few]], square[rows[few], rank[few]] = others[few], squares[few]
    return Nearest(index, square)


def with_crowded(lists: Nearest, seeker: Seeker, a: Points, b: Points, own: Ints | None) -> Nearest:
    """`lists` with the rows that were given up as crowded filled in."""
    todo = np.flatnonzero(seeker.crowded)
    while todo.size:
        crowd = _crowd(a, b, todo, seeker.keep)
        index, square, done = _about_pivot(a, b, crowd, seeker.keep, None if own is None else own[crowd])
        for row in crowd[~done]:
            lists.indices[row], lists.squares[row] = _plainly(a, b, row, seeker.keep, -1 if own is None else own[row])
        lists.indices[crowd[done]], lists.squares[crowd[done]] = index[done], square[done]
        todo = np.setdiff1d(todo, crowd)
    return lists


def _crowd(a: Points, b: Points, rows: Ints, keep: int) -> Ints:
    """Those of `rows` near the first of them; the first itself stands first."""
    pivot = rows[0]
    columns = np.arange(len(b))
    reach = np.partition(squared_distances(a.values, b.values, np.full(len(b), pivot), columns), keep - 1)[keep - 1]
    away = squared_distances(a.values, a.values, np.full(len(rows), pivot), rows)
    crowd: Ints = rows[away <= NEAR_PIVOT * reach]
    return crowd


def _about_pivot(
    a: Points, b: Points, crowd: Ints, keep: int, own: Ints | None
) -> tuple[NDArray[np.int32], Floats, NDArray[np.bool_]]:
    """Nearest of a crowd in the frame of its first row, and which rows could be settled there."""
    frame = Frame(a.values[crowd[0]].astype(np.float64), a.frame.scale)
    members, others = Points.of(a.values[crowd], frame), Points.of(b.values, frame)
    seeker = Seeker(len(crowd), keep)
    i, j, _ = sweep(members, others, seeker, None, own=own).candidates
    lists = ranked(len(crowd), keep, i, j, squared_distances(members.values, others.values, i, j))
    return lists.indices, lists.squares, ~seeker.crowded


def _plainly(a: Points, b: Points, row: int, keep: int, own: int) -> tuple[NDArray[np.int32], Floats]:
    """Nearest of one row by computing every distance in float64."""
    columns = np.delete(np.arange(len(b)), own) if own >= 0 else np.arange(len(b))
    squares = squared_distances(a.values, b.values, np.full(len(columns), row), columns)
    order = np.argsort(squares, kind="stable")[:keep]
    return columns[order].astype(np.int32), squares[order]
