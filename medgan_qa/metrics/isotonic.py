"""Monotone smoothing of shares that can only rise along both axes of a grid.

References:
    R. L. Dykstra, T. Robertson, "An algorithm for isotonic regression for two or more independent variables", Annals of
        Statistics 10 (1982) 708-716.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

ROUNDS = 500
TOLERANCE = 1e-9


def isotonic_grid(values: Any, weights: Any) -> NDArray[np.float64]:
    """The weighted least-squares fit that falls along neither axis.

    Rows and columns are smoothed in turn, each from the data less what the other's last pass changed (Dykstra and
    Robertson 1982), until a pass changes nothing.

    Args:
        values: (R, C) finite.
        weights: (R, C), >= 0, such as the number of units behind a share; 0 for a value that is to be filled in.

    Returns:
        (R, C); equal to `values` where these are monotone already and weighted.

    Raises:
        ValueError: shapes differ, a value is not finite, or no weight is positive.
    """
    y, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if y.ndim != 2 or y.shape != w.shape:
        raise ValueError(f"values and weights must share a shape (R, C), got {y.shape} and {w.shape}")
    if not (np.isfinite(y).all() and np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise ValueError("values must be finite, and weights finite, not negative and not all 0")
    # The regression takes no weight of 0; what weighs a millionth of the others bends them by as little.
    w = np.maximum(w, 1e-6 * w.max())
    rows = columns = np.zeros_like(y)
    fit = y
    for _ in range(ROUNDS):
        before = fit
        by_row = _smoothed(y + columns, w)
        rows = by_row - (y + columns)
        fit = _smoothed((y + rows).T, w.T).T
        columns = fit - (y + rows)
        if np.abs(fit - before).max() < TOLERANCE and np.abs(fit - by_row).max() < TOLERANCE:
            break
    return fit


def _smoothed(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([isotonic_regression(v, weights=w).x for v, w in zip(values, weights, strict=True)])
