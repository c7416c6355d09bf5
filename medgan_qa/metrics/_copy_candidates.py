"""Which references a query may be an augmented version of, with a rough layout each: by signature, then by pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics._polar import Poses, Rings, poses
from medgan_qa.metrics._prepared import Prepared, cut_off
from medgan_qa.metrics._similarity import Layout
from medgan_qa.metrics.neighbours import nearest_neighbors
from medgan_qa.metrics.points import spread

BY_SIGNATURE, BY_WINDOW = 64, 12
"""Candidates that go on to the comparison of poses: about the foreground, and in each window of the frame."""
BY_POSE, OUTRIGHT = 6, 2
"""Candidates a view that go on to be laid out: the best by pose, and the nearest by signature."""
POSED = 3
"""The best by pose, and by signature, of each window that are held against those of the others."""
OF_A_GROUP, LAYOUTS_OF_A_GROUP = 2, 4
"""The most candidates of one group, and layouts of them: slices of one volume must not crowd out everything else."""
MOST_OWN = 256
"""Images of a query's own group that may stand among its nearest without costing it a candidate."""
STEP = 0.1
"""Distance of neighbouring windows in units of half the shorter side of the image."""
WINDOWS: tuple[tuple[float, int], ...] = ((1.0, 1), (0.9, 1), (0.8, 2))
"""Windows that a reference is read in, where the foreground of a query is cut off: side over that of the image, and
steps from the middle each way. They undo shifts and crops."""
AXES = 48
"""Directions of signatures that windows are compared in, those of most spread."""
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

    def __init__(self, references: Float, axes: int | None = None) -> None:
        self.mean = references.mean(axis=0)
        apart = (references - self.mean).astype(np.float64)
        energy, every = np.linalg.eigh(apart.T @ apart / max(len(references) - 1, 1))
        kept = slice(0 if axes is None else max(len(energy) - axes, 0), None)
        # Directions of hardly any spread hold rounding and noise; the median keeps them from being blown up.
        scale = np.sqrt(np.maximum(energy, 0) + max(float(np.median(energy)), 0.0) + 1e-12)
        self.axes = (every / scale)[:, kept]

    def __call__(self, signatures: Float) -> Float:
        white: Float = ((signatures - self.mean) @ self.axes).astype(np.float32)
        return white


class Groups(NamedTuple):
    """Which images are of one patient, and which pairs are worth a search for crops."""

    own: Index
    """(Q,) group of each query."""
    labels: Index
    """(N,) group of each reference."""
    asked: Bool
    """(Q,) queries that are searched for crops of all references."""
    known: Bool
    """(N,) references that all queries are searched for crops of."""


def of_others(queries: Prepared, references: Prepared, groups: Groups) -> Candidates:
    """The best few references of other groups, by signature and pose, about the foreground and in the frame."""
    every = np.arange(len(queries))
    whole = (queries.about_foreground, references.about_foreground)
    parts = [_best(*_nearest(*whole, every, np.arange(len(references)), groups, BY_SIGNATURE, None), groups)]
    cut = cut_off(queries.weight, queries.reach)
    for rows, columns in (
        (cut & groups.asked, np.ones(len(references), bool)),
        (cut & ~groups.asked, groups.known),
    ):
        if rows.any() and columns.any():
            parts.append(_windowed(queries, references, np.flatnonzero(rows), np.flatnonzero(columns), groups))
    return Candidates.joined(parts)


def _windowed(queries: Prepared, references: Prepared, rows: Index, columns: Index, groups: Groups) -> Candidates:
    """Candidates of which the query may be a shifted version or a crop."""
    asked = queries.window((0.0, 0.0), 1.0)
    found, scores = [], []
    for scale, steps in WINDOWS:
        for place in np.ndindex(2 * steps + 1, 2 * steps + 1):
            shift = (STEP * (place[0] - steps), STEP * (place[1] - steps))
            known = references.window(shift, scale, columns)
            near, score = _nearest(asked, known, rows, columns, groups, BY_WINDOW, AXES)
            # How much nearer than the others in this window: windows have scales of their own.
            farthest = np.zeros(len(queries))
            np.maximum.at(farthest, near.query, score[1])
            score[1] /= np.maximum(farthest[near.query], 1e-9)
            few = (rank_within(near.query, score[0]) < POSED) | (rank_within(near.query, score[1]) < POSED)
            found.append(near.where(few))
            scores.append(score[:, few])
    return _best(Candidates.joined(found), np.concatenate(scores, axis=1), groups)


def _nearest(
    asked: Rings, known: Rings, rows: Index, columns: Index, groups: Groups, keep: int, axes: int | None
) -> tuple[Candidates, Vector]:
    """The nearest of other groups by signature, laid out by pose, with (2, P) how far they are by pose and signature.

    `known` are the rings of the references `columns`, `asked` those of all queries, of which `rows` are searched.
    """
    signatures = known.signatures
    white = _Whitened(signatures, axes)
    labels = groups.labels[columns]
    most = min(int(np.bincount(labels).max(initial=0)), MOST_OWN)
    near = nearest_neighbors(white(asked.signatures[rows]), white(signatures), min(len(columns), keep + most))
    other = labels[near.index] != groups.own[rows][:, None]
    at, column = np.nonzero(other & (other.cumsum(axis=1) <= keep))
    chosen = near.index[at, column]
    found, correlation = _posed(asked, known, rows[at], chosen)
    return Candidates(found.query, columns[chosen], found.layout), np.stack([-correlation, near.distance[at, column]])


def _best(found: Candidates, scores: Vector, groups: Groups) -> Candidates:
    """The best by pose and the nearest by signature, not more than a few of one group."""
    crowd = found.query * (int(groups.labels.max(initial=0)) + 1) + groups.labels[found.reference]
    chosen = np.zeros(len(found.query), bool)
    for score, count in zip(scores, (BY_POSE, OUTRIGHT), strict=True):
        few = rank_within(crowd, score) < LAYOUTS_OF_A_GROUP
        chosen |= rank_within(found.query, np.where(few, score, np.inf)) < count
    return found.where(chosen)


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
        (queries.window((0.0, 0.0), 1.0), references.window((0.0, 0.0), 1.0)),
    )
    parts = [_posed(one, other, query[few], reference[few])[0] for one, other in views]
    return Candidates.joined(parts)
