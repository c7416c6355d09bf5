"""Distances between two sets of points: float32 tiles that say which pairs may matter, float64 for those that do.

A tile holds a lower bound of each distance; the upper bound lies 2 e (h_i + h_j) above (`medgan_qa.metrics.points`). A
pair whose bounds leave a decision open is computed again from the differences of the coordinates as they were given, in
float64. Equal points are then at distance exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.points import DEPTH, FEW, Floats, Ints, Points, Singles, runs, spread

TILE = 2048
"""Rows and columns of a tile: 16 MiB of float32, within a third-level cache."""


class Tile(NamedTuple):
    """One block of pairs: minus the lower bounds of half their squared distances, -inf for pairs left out."""

    rows: slice
    columns: slice
    nearness: Singles


def tiles(a: Points, b: Points, *, own: Ints | None = None, side: int = TILE) -> Iterator[Tile]:
    """Every pair of a point of `a` and a point of `b`, tile by tile; the array of a tile is overwritten by the next.

    Tiles come along wrapped diagonals, so that every row and every column is met early.

    Args:
        a: n points.
        b: m points in the same frame. The same object as `a` asks for tiles on and above the diagonal only, with a
            point's distance to itself left out.
        own: (n,) for each row a column that is left out, -1 for none.
        side: largest side of a tile.
    """
    rows, columns = runs(len(a), side), runs(len(b), side)
    memory = np.empty(side * side, np.float32)
    for step in range(len(columns)):
        for at, block in enumerate(rows):
            if a is b and at + step >= len(columns):
                break
            other = columns[(at + step) % len(columns)]
            nearness = _nearness(a, b, block, other, memory)
            if a is b and block == other:
                np.fill_diagonal(nearness, -np.inf)
            if own is not None:
                at_row = np.flatnonzero((own[block] >= other.start) & (own[block] < other.stop))
                nearness[at_row, own[block][at_row] - other.start] = -np.inf
            yield Tile(block, other, nearness)


def _nearness(a: Points, b: Points, rows: slice, columns: slice, memory: Singles) -> Singles:
    shape = rows.stop - rows.start, columns.stop - columns.start
    out = memory[: shape[0] * shape[1]].reshape(shape)
    np.matmul(a.centred[rows, :DEPTH], b.centred[columns, :DEPTH].T, out=out)
    for at in range(DEPTH, a.centred.shape[1], DEPTH):
        out += a.centred[rows, at : at + DEPTH] @ b.centred[columns, at : at + DEPTH].T
    half_a, half_b = a.half[rows, None], b.half[columns]

    def complete(part: slice) -> None:
        out[part] -= half_b
        out[part] -= half_a[part]

    spread(complete, shape[0], shape[1])
    return out


def squared_distances(a: NDArray[Any], b: NDArray[Any], i: Ints, j: Ints) -> Floats:
    """Squared Euclidean distances of a[i] and b[j] in float64, from the differences of the coordinates.

    A pair has the same value in either order and wherever it stands in the list; equal points have distance 0.

    Args:
        a: (n, D).
        b: (m, D).
        i: (P,) rows of a.
        j: (P,) rows of b.

    Returns:
        (P,) float64.
    """
    squares = np.empty(len(i))
    few = max(1, FEW // a.shape[1])

    def compute(part: slice) -> None:
        for at in range(part.start, part.stop, few):
            run = slice(at, min(at + few, part.stop))
            difference = a[i[run]].astype(np.float64)
            difference -= b[j[run]]
            squares[run] = np.vecdot(difference, difference)

    if len(i):
        spread(compute, len(i), a.shape[1])
    return squares
