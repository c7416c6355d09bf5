"""Many pairs of a query and a turned reference, aligned in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Alignment, Float, aligned, gamma_between, oriented
from medgan_qa.metrics.body import body_mask

BATCH = 256
"""Pairs aligned at once."""


class Pairs(NamedTuple):
    """Query, reference and orientation of the reference, each (P,)."""

    query: NDArray[np.intp]
    reference: NDArray[np.intp]
    orientation: NDArray[np.intp]


def foregrounds(images: Float) -> NDArray[np.bool_]:
    """`body_mask` of each image of (N, H, W)."""
    masks = np.empty(images.shape, dtype=bool)
    for image, mask in zip(images, masks, strict=True):
        mask[...] = body_mask(image)
    return masks


def align_pairs(pairs: Pairs, queries: Float, masks: NDArray[np.bool_], references: Float, reach: int) -> Alignment:
    """`aligned` for every pair (at least one), in batches; images and masks on the working grid."""
    parts = [aligned(queries[query], masks[query], turned, reach) for query, turned, _ in _batches(pairs, references)]
    return Alignment(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def gammas_of_pairs(
    pairs: Pairs, queries: Float, masks: NDArray[np.bool_], references: Float, shift: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Gamma of each pair, read off unsmoothed images."""
    return np.concatenate(
        [
            gamma_between(queries[query], masks[query], turned, shift[batch])
            for query, turned, batch in _batches(pairs, references)
        ]
    )


def _batches(pairs: Pairs, references: Float) -> Iterator[tuple[NDArray[np.intp], Float, slice]]:
    """Queries, turned references, and the place of each batch among the pairs."""
    for start in range(0, len(pairs.query), BATCH):
        batch = slice(start, start + BATCH)
        turned = [
            oriented(references[r], c) for r, c in zip(pairs.reference[batch], pairs.orientation[batch], strict=True)
        ]
        yield pairs.query[batch], np.stack(turned), batch


def over_rivals(best: NDArray[np.float64], rivals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals (Q,) over the median of those of their rivals (Q, R).

    NaN rivals are absent; the ratio is NaN where all are, or where their median is 0: rivals that are copies too are
    duplicates that nobody declared.
    """
    middle = np.full(len(best), np.nan)
    known = np.isfinite(rivals).any(axis=1)
    middle[known] = np.nanmedian(rivals[known], axis=1)
    ratio: NDArray[np.float64] = np.divide(best, middle, out=np.full(len(best), np.nan), where=middle > 0)
    return ratio
