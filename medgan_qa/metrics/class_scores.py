"""How well scores of several classes tell labelled images apart: on all of them, and on subsets of them.

References:
    D. J. Hand, R. J. Till, "A simple generalisation of the area under the ROC curve for multiple class classification
        problems", Mach. Learn. 45 (2001) 171-186: M, the mean over pairs of classes.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Index = NDArray[np.intp]


def area_over_pairs(scores: Any, labels: Any, subsets: Any = None) -> Float:
    """Mean area under the curve over ordered pairs of classes, in subsets of the images.

    For classes i and j it is the chance that an image of i has a larger score of class i than an image of j has, ties
    counted half. With two classes whose scores are each other's negative, it is the usual area. 0.5 is chance.

    Args:
        scores: (N, K) finite; larger speaks for the class of the column. Any increasing function of a column will do.
        labels: (N,) class numbers from 0.
        subsets: (B, N) bool, the images of each subset; None: one subset with all of them.

    Returns:
        (B,) in [0, 1]; NaN where a subset lacks a class.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    values, codes, held = _checked(scores, labels, subsets)
    pairs = [_area(values[:, i], codes, (i, j), held) for i, j in permutations(range(values.shape[1]), 2)]
    return np.asarray(np.mean(pairs, axis=0))


def balanced_accuracy(scores: Any, labels: Any, subsets: Any = None) -> Float:
    """Mean over classes of the share of their images with the largest score in their own column, in subsets.

    A tie between columns counts for the first of them. Arguments, result and errors as in `area_over_pairs`; chance is
    1 / K.
    """
    values, codes, held = _checked(scores, labels, subsets)
    right = (values.argmax(axis=1) == codes).astype(np.float64)
    of_class = np.eye(values.shape[1])[codes]
    with np.errstate(invalid="ignore"):
        recall = (held @ (right[:, None] * of_class)) / (held @ of_class)
    return np.asarray(recall.mean(axis=1))


def _area(score: Float, codes: Index, pair: tuple[int, int], held: Float) -> Float:
    """(B,) chance that an image of the first class has the larger score."""
    chosen = np.flatnonzero((codes == pair[0]) | (codes == pair[1]))
    order = chosen[np.argsort(score[chosen], kind="stable")]
    weights = held[:, order]
    first = weights * (codes[order] == pair[0])
    second = weights - first
    if not len(order):
        return np.full(len(held), np.nan)
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    own, other = (np.add.reduceat(side, starts, axis=1) for side in (first, second))
    below = np.cumsum(other, axis=1) - other / 2
    with np.errstate(invalid="ignore"):
        area: Float = (own * below).sum(axis=1) / (first.sum(axis=1) * second.sum(axis=1))
    return area


def _checked(scores: Any, labels: Any, subsets: Any) -> tuple[Float, Index, Float]:
    values, codes = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or values.shape[1] < 2 or codes.shape != (len(values),):
        raise ValueError(f"scores (N, K) and labels (N,) are needed, got {values.shape} and {codes.shape}")
    if not np.isfinite(values).all():
        raise ValueError("scores hold NaN or infinity")
    if codes.size and not np.isin(codes, np.arange(values.shape[1])).all():
        raise ValueError(f"labels must be class numbers below {values.shape[1]}")
    held = np.ones((1, len(values))) if subsets is None else np.asarray(subsets, dtype=np.float64)
    if held.ndim != 2 or held.shape[1] != len(values):
        raise ValueError(f"subsets must be (B, {len(values)}), got {held.shape}")
    return values, codes.astype(np.intp), held
