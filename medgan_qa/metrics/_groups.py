"""Labels of images: which belong to one patient, or are duplicates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray


def encoded(*labels: Iterable[Hashable]) -> NDArray[np.intp]:
    """Labels as integers in order of first appearance, one numbering for all the sequences, which are concatenated."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(label, len(first)) for part in labels for label in part], dtype=np.intp)


def group_codes(
    references: int,
    queries: int,
    reference_groups: Iterable[Hashable] | None,
    query_groups: Iterable[Hashable] | None,
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """Groups of references and queries in one numbering; without labels each reference is a group of its own.

    Raises:
        ValueError: there is not one label per image, labels of queries are given alone, or a query's group holds all
            references, which leaves none to compare it with.
    """
    if reference_groups is None:
        if query_groups is not None:
            raise ValueError("query_groups says which references to leave out, which needs reference_groups")
        return np.arange(references), None
    labels = list(reference_groups)
    own = [] if query_groups is None else list(query_groups)
    if len(labels) != references or (query_groups is not None and len(own) != queries):
        raise ValueError(f"one group per image: got {len(labels)} for {references} references, {len(own)} for queries")
    codes = encoded(labels, own)
    known, asked = codes[:references], codes[references:]
    if query_groups is None:
        return known, None
    if references and (known == known[0]).all() and (asked == known[0]).any():
        first = int(np.flatnonzero(asked == known[0])[0])
        raise ValueError(f"query {first} has no reference outside its own group")
    return known, asked
