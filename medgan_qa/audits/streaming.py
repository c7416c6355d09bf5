"""Cases read ahead of the work and handed over in batches, so that no partition is ever held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort
from medgan_qa.cohorts.prefetch import prefetched
from medgan_qa.engines import Streamed

T = TypeVar("T")

AT_ONCE = 64
"""Images looked at together where every one of a partition is."""


def loaded(cohort: Cohort, cases: Sequence[Case]) -> Streamed[tuple[Case, CaseImages]]:
    """Cases with their images, in order; the next ones are read while work goes on.

    Raises:
        DatasetError: when it is taken: a file of the case cannot be used.
    """
    return Streamed(prefetched(cohort, cases), len(cases))


def batches_of(items: Iterable[T], count: int, size: int) -> Streamed[list[T]]:
    """`count` items in lists of `size`, the last one shorter."""
    return Streamed(_batches(items, size), -(-count // size))


def is_finite(images: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether each image (N, ...) holds numbers alone."""
    parts = (images[k : k + AT_ONCE] for k in range(0, len(images), AT_ONCE))
    axes = tuple(range(1, images.ndim))
    return np.concatenate([np.zeros(0, bool), *(np.isfinite(part).all(axis=axes) for part in parts)])


def is_constant(images: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether each image (N, ...) holds one value everywhere; NaN equals nothing."""
    return np.array([bool((image == image.flat[0]).all()) for image in images], dtype=bool)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
