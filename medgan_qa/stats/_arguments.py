"""Arguments that several statistics share, checked in one place."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Sided = Literal[1, 2]
"""1: each end is a one-sided bound at level 1 - alpha; 2: both ends hold together at level 1 - alpha."""


def tail_probability(alpha: float, sided: Sided) -> float:
    """The error rate of one end of an interval, alpha / sided, in (0, 0.5].

    Raises:
        ValueError: `sided` is neither 1 nor 2, or the error rate of one end lies outside (0, 0.5], where the lower end
            would stand above the upper one.
    """
    if sided not in (1, 2):
        raise ValueError(f"sided must be 1 or 2, got {sided!r}")
    tail = alpha / sided
    if not (0.0 < alpha < 1.0 and tail <= 0.5):
        raise ValueError(f"alpha must lie in (0, 0.5] for sided=1 and in (0, 1) for sided=2, got alpha={alpha!r}")
    return tail


def cluster_codes(cluster: Iterable[Hashable], n: int) -> tuple[NDArray[np.intp], int]:
    """Labels as integers 0 ... C-1 in order of first appearance: codes (n,) and the number of clusters C.

    Raises:
        ValueError: there are not exactly `n` labels, or a label is missing (None or NaN). A unit whose patient is
            unknown cannot be counted as independent of the others.
    """
    labels = list(cluster)
    if len(labels) != n:
        raise ValueError(f"cluster must hold one label per unit: expected {n}, got {len(labels)}")
    if any(_is_missing(label) for label in labels):
        raise ValueError("cluster holds a missing label (None or NaN); every unit needs a patient")
    first: dict[Hashable, int] = {}
    codes = [first.setdefault(label, len(first)) for label in labels]
    return np.asarray(codes, dtype=np.intp), len(first)


def finite_vector(values: Any, name: str) -> NDArray[np.float64]:
    """`values` as float64 (N,).

    Raises:
        ValueError: not one-dimensional, or not all finite.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite; leave units without a value out and report how many there were")
    return vector


def _is_missing(label: Hashable) -> bool:
    return label is None or (isinstance(label, (float, np.floating)) and math.isnan(label))
