"""Distances between two sets of points: float32 tiles that say which pairs may matter, float64 for those that do.

Half the squared distance of a pair is h_i + h_j - a_i.b_j with h = |.|^2 / 2 of the centred points. A tile of it costs one
matrix product, in float32 because that is the fastest arithmetic there is, and is wrong by at most e (h_i + h_j) with

    e = (d + ceil(D / 2048) + 144) u,   d = min(D, 2048),   u = 2^-24,

whatever the order of summation: d u bounds the rounding of a product of d terms (Higham 2002, eq. 3.5, with
|a.b| <= h_a + h_b), the second term that of adding up products of 2048 columns each, 128 u that of the norms, 16 u the
rounding of the centred coordinates, the two subtractions and the comparison. Tiles therefore hold a lower bound of each
distance, its upper bound lies 2 e (h_i + h_j) above, and a pair whose bounds leave a decision open is computed again
from the differences of the coordinates as they were given, in float64. Equal points are then at distance exactly 0.

Reference:
    N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002, section 3.1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import current_process
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.intp]
T = TypeVar("T")

TILE = 1024
"""Rows and columns of a tile: 4 MiB of float32, near the second-level cache."""
DEPTH = 2048
"""Columns of one float32 product; more are added up, so that the error does not grow with D."""
RUN = 128
"""Terms of a norm summed in float32 before float64 takes over."""
UNIT = 2.0**-24
LARGEST = 1e150
"""Magnitude beyond which squared differences overflow float64."""
WORKERS = 4
"""Threads for what no matrix product does."""
WORTH_THREADS = 1 << 18
GATHERED = 1 << 17
"""Coordinates gathered at a time when pairs are computed again: 1 MiB of float64."""


def features(values: Any, name: str) -> NDArray[Any]:
    """`values` as a (N, D) array of float32 or float64 with at least one row and one column.

    Raises:
        ValueError: not two-dimensional, empty, NaN or infinite (the first rows concerned are named), or larger than
            1e150 in magnitude.
    """
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be features (N, D) with N, D >= 1, got shape {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    array = np.ascontiguousarray(array)
    # a row that holds NaN or infinity sums to one of them; squares of float32 fit float64, those of LARGEST too
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = ~(np.vecdot(array, array) < LARGEST**2)
    if suspect.any():
        rows = np.flatnonzero(suspect)
        rows = rows[~(np.abs(array[rows]) <= LARGEST).all(axis=1)]
        if rows.size:
            raise ValueError(f"{name} holds NaN, infinity or magnitudes above 1e150 in {rows.size} rows, first {rows[:5]}")
    return array


def same_width(a: NDArray[Any], b: NDArray[Any], names: str) -> None:
    """Raise ValueError unless both sets have the same number of features."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{names} must have the same number of features, got {a.shape[1]} and {b.shape[1]}")


class Frame(NamedTuple):
    """Origin and scale in which a tile is computed. Any origin is right; the mean makes the error bound small."""

    centre: NDArray[Any]
    scale: float

    def halved(self, squares: Any) -> Any:
        """Squared distances in the unit of tiles: half of them, scaled."""
        return np.asarray(squares) * (self.scale**2 / 2)


@dataclass(frozen=True)
class Points:
    """A set of points ready for tiles.

    Attributes:
        values: (N, D) as given.
        frame: origin and scale of the rest.
        centred: (N, D) float32.
        norms: (N,) float64, squared norms of `centred`.
        half: (N,) float32, a lower bound of half the squared norm, lowered by e of it.
        slack: (N,) float64; the sum of two of them is what the upper bound of a pair lies above its lower bound.
    """

    values: NDArray[Any]
    frame: Frame
    centred: Singles
    norms: Floats
    half: Singles
    slack: Floats

    @classmethod
    def of(cls, values: NDArray[Any], frame: Frame) -> Points:
        """Points of `values` (N, D) in a frame."""
        centred, norms = np.empty(values.shape, np.float32), np.zeros(len(values))
        depth = values.shape[1]

        def prepare(part: slice) -> None:
            for rows in _runs(part.stop - part.start, max(1, GATHERED // depth)):
                rows = slice(part.start + rows.start, part.start + rows.stop)
                with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                    if frame.scale == 1.0:
                        np.subtract(values[rows], frame.centre, out=centred[rows], casting="same_kind")
                    else:
                        centred[rows] = (values[rows].astype(np.float64) - frame.centre) * frame.scale
                    for at in range(0, depth, RUN):
                        run = centred[rows, at : at + RUN]
                        norms[rows] += np.vecdot(run, run)

        spread(prepare, len(values), depth)
        error = 1.01 * UNIT * (min(depth, DEPTH) + math.ceil(depth / DEPTH) + RUN + 16)
        vanished = depth * 2.0**-120
        half = ((0.5 - error / 2) * norms - vanished).astype(np.float32)
        return cls(values, frame, centred, norms, half, error * norms + 2 * vanished)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Ints) -> Points:
        """The points at `rows`."""
        return Points(
            self.values[rows], self.frame, self.centred[rows], self.norms[rows], self.half[rows], self.slack[rows]
        )


def framed(*sets: NDArray[Any]) -> list[Points]:
    """Sets of points in one frame, centred at the mean of the first."""
    centre = _centre(sets[0])
    points = [Points.of(values, Frame(centre, 1.0)) for values in sets]
    if 1e-20 < max(p.norms.max() for p in points) < 1e30:
        return points
    blocks = (values[rows] for values in sets for rows in _runs(len(values), TILE))
    spread = max(float(np.abs(block - centre.astype(np.float64)).max()) for block in blocks)
    # norms beyond what float32 squares can hold; a power of two scales without rounding
    exponent = 0 if spread == 0 else max(-500, min(500, -math.frexp(spread)[1]))
    return [Points.of(values, Frame(centre.astype(np.float64), 2.0**exponent)) for values in sets]


def own_frame(points: Points) -> Points:
    """The same points about their own mean, where that is far enough from the frame's origin to matter."""
    centre = _centre(points.values)
    shift = (centre.astype(np.float64) - points.frame.centre) * points.frame.scale
    if float(shift @ shift) < 0.25 * float(points.norms.mean()):
        return points
    return framed(points.values)[0]


def _centre(values: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        centre = (np.full(len(values), 1 / len(values), values.dtype) @ values).astype(np.float32)
    return centre if np.isfinite(centre).all() else values.mean(axis=0, dtype=np.float64)


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
    rows, columns = _runs(len(a), side), _runs(len(b), side)
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


def spread(work: Callable[[slice], T], count: int, cost: int = 1) -> list[T]:
    """Do `work` on `count` rows, in a few threads where rows of `cost` elements add up to enough.

    Returns:
        What each part returned, in the order of the rows. Which parts there are does not depend on the machine.
    """
    if count * cost < WORTH_THREADS:
        return [work(slice(0, count))]
    return list(_pool(current_process().pid).map(work, _runs(count, math.ceil(count / WORKERS))))


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of a process; a forked one has none of its parent's."""
    return ThreadPoolExecutor(WORKERS, f"pairs-{process}")


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
    few = max(1, GATHERED // a.shape[1])

    def compute(part: slice) -> None:
        for at in range(part.start, part.stop, few):
            run = slice(at, min(at + few, part.stop))
            difference = a[i[run]].astype(np.float64)
            difference -= b[j[run]]
            squares[run] = np.vecdot(difference, difference)

    if len(i):
        spread(compute, len(i), a.shape[1])
    return squares


class Distinct(NamedTuple):
    """Which points of a set are equal to each other.

    Attributes:
        first: (U,) where each distinct point stands first, ascending.
        group: (N,) which distinct point each point is.
    """

    first: Ints
    group: Ints


def distinct(points: Points) -> Distinct:
    """Equal points of a set. Only points of equal norm are compared, so a set without duplicates costs one sort."""
    count = len(points)
    order = np.argsort(points.norms, kind="stable")
    equal = points.norms[order[1:]] == points.norms[order[:-1]]
    suspects = np.sort(order[np.append(equal, False) | np.append(False, equal)])
    representative = np.arange(count)
    seen: dict[tuple[float, bytes], int] = {}
    for row in suspects:
        # adding zero makes the two signs of zero one
        key = points.norms[row], hashlib.sha256((points.values[row] + 0).tobytes()).digest()
        representative[row] = seen.setdefault(key, int(row))
    first, group = np.unique(representative, return_inverse=True)
    return Distinct(first, group)


def _runs(count: int, longest: int) -> list[slice]:
    """`count` places in runs of nearly equal length, none longer than `longest`."""
    edges = np.linspace(0, count, math.ceil(count / longest) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)]
