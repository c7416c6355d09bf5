"""Sets of points as distances want them: checked, centred, in float32, with the error that this makes.

Half the squared distance of a pair is h_i + h_j - a_i.b_j with h = |.|^2 / 2 of the centred points. A matrix product in
float32, the fastest arithmetic there is, gives it with an error of at most e (h_i + h_j), where

    e = (d + ceil(D / 2048) + 144) u,   d = min(D, 2048),   u = 2^-24,

whatever the order of summation: d u bounds the rounding of a product of d terms (Higham 2002, eq. 3.5, with
|a.b| <= h_a + h_b), the second term that of adding up products of 2048 columns each, 128 u that of the norms, 16 u the
rounding of the centred coordinates, of two subtractions and of a comparison.

Reference:
    N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM 2002, section 3.1.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import current_process
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.signedinteger[Any]]
T = TypeVar("T")

DEPTH = 2048
"""Columns of one float32 product; more are added up, so that the error does not grow with D."""
RUN = 128
"""Terms of a norm summed in float32 before float64 takes over."""
UNIT = 2.0**-24
LARGEST = np.float64(1e150)
"""Magnitude beyond which squared differences overflow float64."""
FEW = 1 << 17
"""Coordinates worked on at a time: 1 MiB of float64."""
WORKERS = 4
"""Threads for what no matrix product does."""
WORTH_THREADS = 1 << 18
"""Coordinates below which threads cost more than they save."""


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
            first = rows[:5].tolist()
            raise ValueError(f"{name} holds NaN, infinity or magnitudes above 1e150 in {rows.size} rows, first {first}")
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
            for rows in runs(part.stop - part.start, max(1, FEW // depth)):
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
    blocks = (values[rows] for values in sets for rows in runs(len(values), max(1, FEW // values.shape[1])))
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
        centre: Singles = (np.full(len(values), 1 / len(values), values.dtype) @ values).astype(np.float32)
    if np.isfinite(centre).all():
        return centre
    wide: Floats = values.mean(axis=0, dtype=np.float64)
    return wide


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


def spread(work: Callable[[slice], T], count: int, cost: int = 1) -> list[T]:
    """Do `work` on `count` rows, in a few threads where rows of `cost` elements add up to enough.

    Returns:
        What each part returned, in the order of the rows. Which parts there are does not depend on the machine.
    """
    if count * cost < WORTH_THREADS:
        return [work(slice(0, count))]
    return list(_pool(current_process().pid).map(work, runs(count, math.ceil(count / WORKERS))))


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of a process; a forked one has none of its parent's."""
    return ThreadPoolExecutor(WORKERS, f"pairs-{process}")


def runs(count: int, longest: int) -> list[slice]:
    """`count` places in runs of nearly equal length, none longer than `longest`."""
    edges = np.linspace(0, count, math.ceil(count / longest) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
