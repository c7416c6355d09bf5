"""Which training images are worth a close look: a coarse search over every reference, orientation and shift.

The search is exhaustive. Each query is moved by every whole pixel of the search range, averaged into few cells, turned
into every orientation and correlated with all references. Anatomies that are registered to each other (heads in a
scanner) differ by less than a shift of one pixel does, so neither a blurred descriptor nor a coarser grid of shifts
finds a shifted copy among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import INVERSE, Float, oriented, resampling_rows
from medgan_qa.metrics._pairs import Pairs

CELLS = 10
"""Cells along each side of the coarse descriptor; a cell of a 64-pixel image is 6.4 pixels wide."""
TILE_ELEMENTS = 4_000_000
"""Similarities held at once: bounds memory to a few tens of megabytes."""


class Search(NamedTuple):
    """What is searched, and how widely."""

    codes: tuple[int, ...]
    """Orientations tried."""
    reach: int
    """Largest shift along each axis, in working pixels."""
    rivals: int
    """Groups of references whose best member is looked at closely, besides as many best members of any group."""


def candidate_pairs(
    queries: Float,
    references: Float,
    search: Search,
    reference_groups: NDArray[np.intp],
    query_groups: NDArray[np.intp] | None,
) -> Pairs:
    """The pairs of each query that a close comparison is worth.

    Args:
        queries: (Q, h, w) on the working grid.
        references: (N, h, w).
        search: orientations, shifts and how many candidates.
        reference_groups: (N,) group of each reference.
        query_groups: (Q,); references of the query's own group are left out. None leaves none out.

    Returns:
        For each query the `rivals` + 1 most similar references in their best orientations, and the most similar member
        of each of the `rivals` + 1 most similar groups.
    """
    order = np.argsort(reference_groups, kind="stable")
    starts = np.flatnonzero(np.diff(reference_groups[order], prepend=-1))
    found = []
    for first, similarity in _similarities(queries, references, search):
        for row, of_query in enumerate(similarity, start=first):
            if query_groups is not None:
                of_query[:, reference_groups == query_groups[row]] = -np.inf
            found.append(_chosen(row, of_query, order, starts, search))
    return Pairs(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _chosen(row: int, similarity: Float, order: NDArray[np.intp], starts: NDArray[np.intp], search: Search) -> Pairs:
    """Pairs of one query from its (orientations, N) similarities."""
    wanted = search.rivals + 1
    flat = similarity.ravel()
    overall = _largest(flat, wanted)
    best = similarity.max(axis=0)
    groups = _largest(np.maximum.reduceat(best[order], starts), wanted)
    ends = np.append(starts[1:], order.size)
    members = np.array([m[best[m].argmax()] for m in (order[starts[g] : ends[g]] for g in groups)], dtype=np.intp)
    chosen = np.union1d(overall, similarity[:, members].argmax(axis=0) * best.size + members)
    code, reference = np.divmod(chosen[np.isfinite(flat[chosen])], best.size)
    return Pairs(np.full(code.shape, row, dtype=np.intp), reference, np.asarray(search.codes)[code])


def _largest(values: Float, count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values, or of all if there are fewer."""
    count = min(count, values.size)
    return np.argpartition(values, values.size - count)[values.size - count :]


def _similarities(queries: Float, references: Float, search: Search) -> Iterator[tuple[int, Float]]:
    """First query of a tile, and (tile, orientations, N) correlations at the best shift."""
    known = _unit(_cells(references, 0)[:, 0]).T
    shifts = (2 * search.reach + 1) ** 2
    variants = shifts * len(search.codes)
    block = min(len(references), 1024)
    tile = max(1, TILE_ELEMENTS // (variants * block))
    for first in range(0, len(queries), tile):
        part = _cells(queries[first : first + tile], search.reach)
        # Undoing an orientation of the query is cheaper than trying it on every reference.
        turned = _unit(np.stack([oriented(part, INVERSE[code]) for code in search.codes], axis=1))
        flat = turned.reshape(-1, turned.shape[-1])
        similarity = np.empty((len(part), len(search.codes), len(references)), np.float32)
        for start in range(0, len(references), block):
            product = flat @ known[:, start : start + block]
            shape = (len(part), len(search.codes), shifts, product.shape[1])
            similarity[:, :, start : start + block] = product.reshape(shape).max(axis=2)
        yield first, similarity


def _cells(images: Float, reach: int) -> Float:
    """(N, (2 reach + 1)^2, CELLS, CELLS) cell means of every image moved by every shift; border pixels repeat."""
    size = 2 * reach + 1
    height, width = (min(CELLS, side) for side in images.shape[1:])
    down = _moved_rows(images.shape[1], height, reach)
    across = _moved_rows(images.shape[2], width, reach)
    halfway = np.matmul(down.reshape(size * height, -1), images)
    cells = np.matmul(halfway, across.reshape(size * width, -1).T).reshape(-1, size, height, size, width)
    moved: Float = cells.transpose(0, 1, 3, 2, 4).reshape(-1, size * size, height, width)
    return moved


def _moved_rows(size: int, cells: int, reach: int) -> Float:
    """(2 reach + 1, cells, size) averaging weights for every shift along one axis."""
    plain = resampling_rows(size, cells, 0.0)
    pixel = np.arange(size)
    moved = np.zeros((2 * reach + 1, cells, size), np.float32)
    for number, shift in enumerate(range(-reach, reach + 1)):
        source = np.clip(pixel + shift, 0, size - 1)
        for weights, column in zip(plain.T, source, strict=True):
            moved[number, :, column] += weights
    return moved


def _unit(cells: Float) -> Float:
    """Descriptors (..., cells) of zero mean and unit norm; all zero where the image is flat."""
    flat = cells.reshape(*cells.shape[:-2], -1)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(flat, axis=-1, keepdims=True)
    unit: Float = np.where(norm > 1e-6, flat / np.maximum(norm, 1e-6), 0.0).astype(np.float32)
    return unit
