"""Neighbours of real and of generated samples, found in one pass, from which every neighbour statistic is read.

Distances are Euclidean. A point is no neighbour of itself; it is left out by its index, so that a duplicate of it is
its neighbour at distance 0. Sets are reduced to distinct points that count as often as they occur, so that duplicates
neither crowd a list nor change a value. Comparisons are made on squared distances in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics import nearest, search
from medgan_qa.metrics.balls import Balls, Listed, bounded
from medgan_qa.metrics.pairs import TILE
from medgan_qa.metrics.points import Floats, Points, features, framed, own_frame, same_width
from medgan_qa.metrics.subsets import Rows, Sample

KEEP = 6
"""Neighbours kept for point values: one more than the largest customary k, so that a tie at the k-th is seen."""
KEEP_FOR_HALVES = 32
"""Neighbours kept for half samples: fewer than 5 of 32 are in a random half with probability 1e-5."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest references of each query, nearest first; of equals the one that stands first.

    Attributes:
        index: (Q, K) rows of the references.
        distance: (Q, K) float64, in the unit of the features.
    """

    index: NDArray[np.intp]
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
    lists = nearest.nearest(of, near, k)
    return Neighbours(lists.indices.astype(np.intp), np.sqrt(lists.squares))


def at_least(values: NDArray[Any], name: str, count: int, k: int) -> None:
    """Raise ValueError unless k >= 1 and `values` holds at least `count` samples."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if len(values) < count:
        raise ValueError(f"{name} must hold at least {count} samples for k = {k}, got {len(values)}")


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
        seeking = search.Seeker(len(y), keep, x.frame.halved(reach_y))
        sought = search.Seeker(len(x), 0, x.frame.halved(reach_x))
        (j, i, low), overflow = search.sweep(y, x, seeking, sought, side=side)
        listed = bounded(y, x, j, i, low)
        near = low <= seeking.bound[j]
        listed.settle(np.flatnonzero(near))
        lists = nearest.ranked(len(y), keep, j[near], i[near], listed.low[near])
        self.to_real = Rows(y, x, nearest.with_crowded(lists, seeking, y, x, None))
        within = (low <= seeking.ball[j]) | (low <= sought.ball[i])
        kept = Listed(x, y, i[within], j[within], listed.low[within], listed.high[within])
        self.pairs = Balls(x, y, reach_x, reach_y, None if overflow else kept)

    def real_pairs(self) -> Balls:
        """Ordered pairs of real points of which the second lies within reach of the first."""
        rows = self.real.rows
        points, reach = rows.points, rows.reach()
        i, at = np.nonzero(rows.squares <= reach[:, None])
        square = rows.squares[i, at]
        listed = Listed(points, points, i.astype(np.int32), rows.indices[i, at], square, square.copy())
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
