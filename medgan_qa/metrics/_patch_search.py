"""Which training images hold a patch like a given one: all patches of all references by matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics._patches import Patches

BLOCK = 64
"""References compared at once; more where one group holds more."""
TILE_ELEMENTS = 4_000_000
"""Correlations held at once: bounds memory to a few tens of megabytes."""


class MostSimilar(NamedTuple):
    """Best groups of each query patch, each (rows, groups kept); -inf and -1 where there are fewer."""

    similarity: Float
    reference: NDArray[np.intp]


def most_similar(
    queries: Patches,
    references: Patches,
    labels: NDArray[np.intp],
    own: NDArray[np.intp] | None,
    kept: int,
) -> MostSimilar:
    """The `kept` most similar groups of each query patch (rows: patches of all queries), and their best references."""
    rows = queries.unit.reshape(-1, queries.unit.shape[-1])
    owner = None if own is None else np.repeat(own, queries.unit.shape[1])
    best = MostSimilar(
        np.full((len(rows), kept), -np.inf, np.float32),
        np.full((len(rows), kept), -1, dtype=np.intp),
    )
    for members in _blocks(labels):
        block = references.unit[members].reshape(-1, rows.shape[1]).T
        tile = max(1, TILE_ELEMENTS // block.shape[1])
        for start in range(0, len(rows), tile):
            part = slice(start, start + tile)
            similarity = (rows[part] @ block).reshape(-1, len(members), references.unit.shape[1]).max(axis=2)
            if owner is not None:
                similarity[owner[part, None] == labels[members]] = -np.inf
            _merge(best, part, _by_group(similarity, members, labels[members]))
    return best


def _blocks(labels: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """References in blocks of whole groups, 64 references or a little more where the groups are small."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    first = 0
    for start in (*starts[1:], len(order)):
        if start - first >= BLOCK or start == len(order):
            yield order[first:start]
            first = start


def _by_group(similarity: Float, members: NDArray[np.intp], labels: NDArray[np.intp]) -> MostSimilar:
    """Largest similarity of each row to each group, and the first reference that has it; -1 if left out."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    largest = np.maximum.reduceat(similarity, starts, axis=1)
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(labels)))
    place = np.where(similarity >= largest[:, group], np.arange(len(members)), len(members))
    reference = members[np.minimum.reduceat(place, starts, axis=1)]
    return MostSimilar(largest, np.where(np.isfinite(largest), reference, -1))


def _merge(best: MostSimilar, part: slice, new: MostSimilar) -> None:
    """Keep the largest of what was known of some rows and what is new."""
    kept = best.similarity.shape[1]
    similarity = np.concatenate([best.similarity[part], new.similarity], axis=1)
    reference = np.concatenate([best.reference[part], new.reference], axis=1)
    largest = np.argpartition(-similarity, kept - 1, axis=1)[:, :kept]
    best.similarity[part] = np.take_along_axis(similarity, largest, axis=1)
    best.reference[part] = np.take_along_axis(reference, largest, axis=1)
