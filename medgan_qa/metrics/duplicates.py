"""Duplicates inside one set of images, so that a model is not charged with what its training set repeats.

A training set that holds an image twice makes its copies look ordinary (another training image is just as near) and
teaches the image twice. Duplicates are found before copies are looked for, by the same score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medgan_qa.metrics._alignment import Transforms
from medgan_qa.metrics._groups import encoded
from medgan_qa.metrics.copies import aligned_neighbors


def exact_duplicates(arrays: Any) -> NDArray[np.intp]:
    """Group of each image or feature vector; those that are equal in every element share one.

    Args:
        arrays: (N, ...) of any numeric kind. Equal means equal bytes (SHA-256), but 0 and -0 are the same.

    Returns:
        (N,) labels 0, 1, ... in order of first appearance.
    """
    # Adding zero turns -0 into 0.
    stack = np.ascontiguousarray(np.asarray(arrays) + 0)
    return encoded(hashlib.sha256(item.tobytes()).digest() for item in stack)


def duplicate_groups(
    images: Any,
    threshold: float | None = None,
    *,
    candidates: int = 5,
    max_shift: float = 4.0,
    transforms: Transforms = "dihedral",
) -> NDArray[np.intp]:
    """Group of each image; exact and near duplicates, and duplicates of duplicates, share one.

    Near duplicates are pairs whose residual in `aligned_neighbors` is below `threshold` whichever of the two is the
    query, orientation, shift and gamma undone. Each image is compared closely with its `candidates` nearest ones.
    A threshold that calls few pairs of different patients duplicates is the residual that `calibrated_threshold` gives
    for held-out images; neighbouring slices of one patient may fall below it, which joins what is joined already.

    Args:
        images: (N, H, W) finite, unit range. Exact duplicates of anything else: `exact_duplicates`.
        threshold: residual below which two images are near duplicates, in (0, 1]; None looks for exact ones alone.
        candidates: images that each one is compared with closely.
        max_shift: as in `aligned_neighbors`.
        transforms: as in `aligned_neighbors`.

    Returns:
        (N,) labels 0, 1, ... in order of first appearance.

    Raises:
        ValueError: as `aligned_neighbors`, or the threshold is outside its range.
    """
    exact = exact_duplicates(images)
    if threshold is None:
        return exact
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold!r}")
    _, first = np.unique(exact, return_index=True)
    if len(first) < 2:
        return exact
    distinct = np.asarray(images)[first]
    own = np.arange(len(first))
    found = aligned_neighbors(
        distinct,
        distinct,
        reference_groups=own,
        query_groups=own,
        candidates=candidates,
        max_shift=max_shift,
        transforms=transforms,
    )
    nearest = np.column_stack([found.reference, found.rival_reference])
    near = np.column_stack([found.residual, found.rivals]) < threshold
    image, column = np.nonzero(near)
    return _components(image, nearest[image, column], len(first))[exact]


def joined_groups(*labellings: Iterable[Hashable]) -> NDArray[np.intp]:
    """Groups of units that any of the labellings joins, directly or through others: patients and their duplicates.

    Args:
        labellings: each (N,) labels; equal labels within one labelling join their units.

    Returns:
        (N,) labels 0, 1, ... in order of first appearance.

    Raises:
        ValueError: no labelling, or of different lengths.
    """
    codes = [encoded(labels) for labels in labellings]
    if not codes or len({len(c) for c in codes}) != 1:
        raise ValueError(f"labellings must be of one length, got {[len(c) for c in codes]}")
    firsts = [np.unique(c, return_index=True)[1][c] for c in codes]
    units = np.tile(np.arange(len(codes[0])), len(codes))
    return _components(units, np.concatenate(firsts), len(codes[0]))


def _components(a: NDArray[np.intp], b: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Connected components of n units joined pairwise, numbered in order of first appearance."""
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return encoded(labels.tolist())
