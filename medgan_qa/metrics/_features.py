"""Feature arrays and masks of half samples, checked in one place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._groups import encoded

Float = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]
Masks = NDArray[np.bool_]

ROWS_NAMED = 5
"""Offending rows that a message lists before it only counts them."""


def feature_array(features: Any, name: str, fewest: int = 1) -> Features:
    """`features` as (N, D), N >= fewest; float32 stays float32, any other real type becomes float64.

    Raises:
        TypeError: complex, or no numbers at all.
        ValueError: not two-dimensional, no columns, fewer than `fewest` rows, or rows that are not finite; the message
            names them.
    """
    array = np.asarray(features)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (N, D) with D >= 1, got {array.shape}")
    if len(array) < fewest:
        raise ValueError(f"{name} must hold at least {fewest} samples, got {len(array)}")
    if array.dtype != np.float32:
        array = array.astype(np.float64, copy=False)
    _refuse_unfinished(array, name)
    return array


def feature_pair(real: Any, generated: Any, fewest: int = 1) -> tuple[Features, Features]:
    """Both feature arrays, as `feature_array`; also refuses different numbers of columns."""
    first, second = feature_array(real, "real", fewest), feature_array(generated, "generated", fewest)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"real and generated must have the same D, got shapes {first.shape} and {second.shape}")
    return first, second


def half_masks(halves: Any, n: int, name: str, fewest: int = 2) -> Masks:
    """Masks of half samples as (B, N) bool.

    Raises:
        TypeError: not bool.
        ValueError: not (B, n), or a row that marks fewer than `fewest` samples.
    """
    masks = np.asarray(halves)
    if masks.dtype != np.bool_:
        raise TypeError(f"{name} must be a bool array, got dtype {masks.dtype}")
    if masks.ndim != 2 or masks.shape[1] != n:
        raise ValueError(f"{name} must have shape (B, {n}), got {masks.shape}")
    sizes = masks.sum(axis=1)
    if (sizes < fewest).any():
        raise ValueError(f"{name} must mark at least {fewest} samples in each row; row {int(sizes.argmin())} does not")
    return masks


def mask_pair(halves_real: Any, halves_generated: Any, n: int, m: int, fewest: int = 2) -> tuple[Masks, Masks]:
    """Both sides' masks, as `half_masks`; also refuses different numbers of rows."""
    first = half_masks(halves_real, n, "halves_real", fewest)
    second = half_masks(halves_generated, m, "halves_generated", fewest)
    if len(first) != len(second):
        raise ValueError(f"halves_real and halves_generated must have the same B, got {len(first)} and {len(second)}")
    return first, second


def codes_of(clusters: Iterable[Hashable] | None, n: int, name: str) -> NDArray[np.intp]:
    """Patients as integers 0 ... G-1 in order of first appearance, (n,); each sample for itself when None.

    Raises:
        ValueError: not exactly `n` labels.
    """
    if clusters is None:
        return np.arange(n)
    codes = encoded(clusters)
    if len(codes) != n:
        raise ValueError(f"{name} must hold one label per image: expected {n}, got {len(codes)}")
    return codes


def _refuse_unfinished(array: Features, name: str) -> None:
    # a row's sum is finite unless the row holds NaN or infinity, or overflows; only then is it looked at in full
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(array.sum(axis=1)))
    rows = [int(row) for row in suspects if not np.isfinite(array[row]).all()]
    if rows:
        listed = ", ".join(map(str, rows[:ROWS_NAMED])) + (", ..." if len(rows) > ROWS_NAMED else "")
        raise ValueError(f"{name} holds NaN or infinity in {len(rows)} rows: {listed}")
