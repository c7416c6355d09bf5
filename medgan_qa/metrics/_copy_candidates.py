"""Which references a query may be an augmented version of, with a rough layout each: by signature, then by pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics._polar import Poses, Rings, poses
from medgan_qa.metrics._prepared import Prepared
from medgan_qa.metrics._similarity import Layout
from medgan_qa.metrics.neighbours import nearest_neighbors
from medgan_qa.metrics.points import spread

BY_SIGNATURE, BY_SHIFT = 64, 12
"""Candidates that go on to the comparison of poses: about the foreground, and about the frame for each shift."""
BY_POSE, OUTRIGHT = 6, 2
"""Candidates a view that go on to be laid out: the best by pose, and the nearest by signature."""
RUN = 1 << 13
"""Pairs whose poses a thread compares at once: bounds memory to some ten megabytes."""

Index = NDArray[np.intp]
Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


class Candidates(NamedTuple):
    """Pairs with a layout each."""

    query: Index
    reference: Index
    layout: Layout

    def where(self, chosen: Index | Bool | slice) -> Candidates:
        """Some of the pairs."""
        return Candidates(self.query[chosen], self.reference[chosen], self.layout.take(chosen))

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Several lists one after the other."""
        layout = Layout(*(np.concatenate(part) for part in zip(*(p.layout for p in parts), strict=True)))
        query, reference = (np.concatenate([p[place] for p in parts]) for place in (0, 1))
        return cls(query, reference, layout)


class _Whitened:
    """Signatures in units of their own spread, so that no ring drowns the others."""

    def __init__(self, references: Float) -> None:
        self.mean = references.mean(axis=0)
        apart = (references - self.mean).astype(np.float64)
        energy, self.axes = np.linalg.eigh(apart.T @ apart / max(len(references) - 1, 1))
        # Directions of hardly any spread hold rounding and noise; the median keeps them from being blown up.
        self.scale = np.sqrt(np.maximum(energy, 0) + max(float(np.median(energy)), 0.0) + 1e-12)

    def __call__(self, signatures: Float) -> Float:
        white: Float = ((signatures - self.mean) @ self.axes / self.scale).astype(np.float32)
        return white


def of_others(queries: Prepared, references: Prepared, own: Index, labels: Index) -> Candidates:
    """The best few references of other groups, by signature and pose in either view."""
    every, cut = np.arange(len(queries)), np.flatnonzero(_cut_off(queries.weight))
    parts = [_viewed((queries.about_foreground,), references.about_foreground, every, own, labels, BY_SIGNATURE)]
    if cut.size:
        parts.append(_viewed(queries.about_frame, references.unmoved, cut, own, labels, BY_SHIFT))
    return Candidates.joined(parts)


def _cut_off(weight: Float) -> Bool:
    """(N,) whether the foreground reaches the border of the image."""
    border = np.stack(
        [weight[:, side].max(axis=1) for side in (0, -1)] + [weight[:, :, s].max(axis=1) for s in (0, -1)]
    )
    cut: Bool = border.max(axis=0) > 0.5
    return cut


def _viewed(views: Sequence[Rings], references: Rings, rows: Index, own: Index, labels: Index, keep: int) -> Candidates:
    """Candidates of some queries in one or several views: the best by pose and the nearest by signature."""
    white = _Whitened(references.signatures)
    known = white(references.signatures)
    k = min(len(labels), keep + int(np.bincount(labels).max(initial=0)))
    parts, nearness = [], []
    for view in views:
        near = nearest_neighbors(white(view.signatures[rows]), known, k)
        other: Any = labels[near.index] != own[rows][:, None]
        at, column = np.nonzero(other & (other.cumsum(axis=1) <= keep))
        found, correlation = _posed(view, references, rows[at], near.index[at, column])
        parts.append(found)
        nearness.append(np.stack([-correlation, near.distance[at, column]]))
    found, (by_pose, by_signature) = Candidates.joined(parts), np.concatenate(nearness, axis=1)
    return found.where(
        (rank_within(found.query, by_pose) < BY_POSE) | (rank_within(found.query, by_signature) < OUTRIGHT)
    )


def _posed(queries: Rings, references: Rings, query: Index, reference: Index) -> tuple[Candidates, Float]:
    """Pairs laid out by the best turn of their rings, and how well these correlate."""

    def turned(part: slice) -> list[Poses]:
        runs = [slice(part.start + run.start, part.start + run.stop) for run in blocks(part.stop - part.start, RUN)]
        return [poses(queries.spectra[query[run]], references.spectra[reference[run]]) for run in runs or [part]]

    every = [run for part in spread(turned, len(query), 1000) for run in part]
    correlation, angle, mirrored = (np.concatenate(part) for part in zip(*every, strict=True))
    scale = references.radius[reference] / queries.radius[query]
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    (from_y, from_x), (to_y, to_x) = queries.centre[query].T, references.centre[reference].T
    u = np.where(mirrored, -to_x, to_x) - (a * from_x - b * from_y)
    v = to_y - (b * from_x + a * from_y)
    layout = Layout(np.stack([a, b, u, v], axis=1).astype(np.float32), mirrored)
    return Candidates(query, reference, layout), correlation


def blocks(count: int, longest: int) -> list[slice]:
    """`count` places in blocks of `longest`, the last one shorter."""
    return [slice(start, min(start + longest, count)) for start in range(0, count, longest)]


def rank_within(group: Index, score: NDArray[Any]) -> Index:
    """(P,) place of each pair among those of its group by score, smallest first, 0 upwards."""
    order = np.lexsort((score, group))
    rank = np.empty(len(group), np.intp)
    rank[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    return rank


def of_own(queries: Prepared, references: Prepared, own: Index, labels: Index) -> Candidates:
    """Every other image of the query's own group, the nearest few by signature where there are many."""
    members = np.argsort(labels, kind="stable")
    start, stop = (np.searchsorted(labels[members], own, side) for side in ("left", "right"))
    query = np.repeat(np.arange(len(own)), stop - start)
    offset = np.arange(len(query)) - np.repeat(np.cumsum(stop - start) - (stop - start), stop - start)
    reference = members[np.repeat(start, stop - start) + offset]
    if queries is references:
        apart = query != reference
        query, reference = query[apart], reference[apart]
    white = _Whitened(references.about_foreground.signatures)
    q, r = white(queries.about_foreground.signatures), white(references.about_foreground.signatures)
    distance = np.concatenate(
        [np.square(q[query[b]] - r[reference[b]]).sum(axis=1) for b in blocks(len(query), 1 << 14)] or [np.empty(0)]
    )
    few = rank_within(query, distance) < BY_POSE + OUTRIGHT
    views = (
        (queries.about_foreground, references.about_foreground),
        (queries.unmoved, references.unmoved),
    )
    parts = [_posed(one, other, query[few], reference[few])[0] for one, other in views]
    return Candidates.joined(parts)
