"""Cells of feature space by k-means.

References:
    N. Halko, P.-G. Martinsson, J. A. Tropp, "Finding structure with randomness", SIAM Review 53 (2011), algorithm 4.3.
    D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.balls import Counts
from medgan_qa.metrics.points import Floats, Singles
from medgan_qa.rng import child

COMPONENTS = 32
ITERATIONS = 25
"""Of Lloyd's iteration; cells need not have settled to partition the space."""


def leading_dimensions(points: Singles, seed: int) -> Singles | None:
    """(D, 32) orthonormal basis near the leading principal components; None where there are no more dimensions."""
    if min(points.shape) <= COMPONENTS:
        return None
    generator = child(seed, "data copying", "basis")
    start = generator.standard_normal((points.shape[1], COMPONENTS), dtype=np.float32)
    shifted = points - points.mean(axis=0)
    basis: Singles = np.linalg.qr(shifted.T @ (shifted @ start))[0]
    return basis


def k_means(points: Singles, weights: Counts, cells: int, seed: int) -> Floats:
    """(cells, D) centres by Lloyd's iteration from k-means++ seeds; an emptied cell keeps its centre.

    Args:
        points: (N, D).
        weights: (N,) how often each counts.
        cells: number of centres.
        seed: of the first centres.
    """
    generator = child(seed, "data copying", "cells")
    at = points.astype(np.float64)
    centres = at[[generator.choice(len(at), p=weights / weights.sum())]]
    while len(centres) < cells:
        away = weights * _squares(at, centres).min(axis=0)
        odds = away if away.sum() > 0 else weights.astype(np.float64)
        centres = np.concatenate([centres, at[[generator.choice(len(at), p=odds / odds.sum())]]])
    cell = np.full(len(at), -1)
    for _ in range(ITERATIONS):
        new = nearest_centre(at, centres)
        if np.array_equal(new, cell):
            break
        cell = new
        for one in np.unique(cell):
            centres[one] = np.average(at[cell == one], axis=0, weights=weights[cell == one])
    return centres


def nearest_centre(points: NDArray[Any], centres: Floats) -> NDArray[np.intp]:
    """Which centre each point is nearest to (N,)."""
    cell: NDArray[np.intp] = _squares(points, centres).argmin(axis=0)
    return cell


def _squares(points: NDArray[Any], centres: Floats) -> Floats:
    return np.stack([np.square(points - centre).sum(axis=1) for centre in centres])
