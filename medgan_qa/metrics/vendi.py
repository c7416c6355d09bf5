"""The Vendi score: how many different images a set effectively holds, from similarities alone.

References:
    D. Friedman, A. B. Dieng, "The Vendi Score: a diversity evaluation metric for machine learning", TMLR (2023).
    A. P. Pasarkar, A. B. Dieng, "Cousins of the Vendi Score: a family of similarity-based diversity metrics for science
        and machine learning", AISTATS (2024): orders q other than 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from medgan_qa.metrics._features import Float, feature_array, half_masks


def vendi_score(features: Any, q: float = 1.0) -> float:
    """Effective number of different rows under the cosine kernel; higher is more diverse (Friedman & Dieng 2023).

    With lambda the eigenvalues of K / N, where K is the (N, N) matrix of cosines, the score is the exponential of their
    Renyi entropy of order q: (sum lambda^q)^(1 / (1 - q)), exp(-sum lambda log lambda) at q = 1, 1 / max lambda at
    q = inf and the rank at q = 0. Lower orders weigh rare kinds more, higher ones common kinds. k groups of equal size,
    orthogonal to each other and without spread, score k at every order; identical rows score 1.

    The eigenvalues come from the (N, N) or the (D, D) matrix, whichever is smaller; they are the same but for zeros.
    Those below max(N, D) times the float64 rounding of the largest are taken as zero.

    Bias: the score of a sample rises with N towards that of the population, and is never above min(N, D). Two scores
    are compared at equal N only, and the sample is never drawn with replacement: repeated rows lower it.

    Limits: the cosine knows no origin but zero. Features that share a large offset (raw radiomic features, activations
    behind a ReLU) all point one way and score near 1; standardise them with the statistics of the real images first.
    Noise is diversity to this score, so that it is read beside a measure of fidelity.

    Args:
        features: (N, D) finite, N and D at least 1, no row of zeros.
        q: order, in [0, inf].

    Returns:
        The score, in [1, min(N, D)].

    Raises:
        TypeError: features are no real numbers.
        ValueError: wrong shape, a value that is not finite, a row of zeros (it has no direction), or q below 0 or NaN.
    """
    _check_order(q)
    return _renyi(_spectrum(_directions(features)), q)


def vendi_replicates(features: Any, halves: Any, q: float = 1.0) -> Float:
    """`vendi_score` of each part of a sample, for half-sample intervals.

    A half scores lower than the whole (see `vendi_score`), so that only the spread of the replicates is used, never
    their level.

    Args:
        features: (N, D) as in `vendi_score`.
        halves: (B, N) bool, the rows that each replicate keeps; at least one in each.
        q: order, in [0, inf].

    Returns:
        (B,) scores.

    Raises:
        TypeError, ValueError: as `vendi_score`, or `halves` is not bool of shape (B, N) or keeps nothing.
    """
    _check_order(q)
    directions = _directions(features)
    masks = half_masks(halves, len(directions), "halves", fewest=1)
    return np.array([_renyi(_spectrum(directions[mask]), q) for mask in masks])


def _spectrum(directions: Float) -> Float:
    """Eigenvalues of K / N above rounding, summing to 1, from unit rows (N, D)."""
    n, d = directions.shape
    gram = directions @ directions.T if n <= d else directions.T @ directions
    eigenvalues = np.linalg.eigvalsh(gram / n)
    kept = eigenvalues[eigenvalues > max(n, d) * np.finfo(np.float64).eps * eigenvalues[-1]]
    share: Float = kept / kept.sum()
    return share


def _renyi(share: Float, q: float) -> float:
    """Exponential of the Renyi entropy of order q of positive shares that sum to 1."""
    if math.isinf(q):
        return float(1.0 / share.max())
    log_share = np.log(share)
    if q == 1.0:
        return float(np.exp(-(share @ log_share)))
    # sum share^q as 1 plus a small number, so that orders next to 1 do not cancel
    return float(np.exp(np.log1p(share @ np.expm1((q - 1.0) * log_share)) / (1.0 - q)))


def _directions(features: Any) -> Float:
    """Rows of unit length, (N, D) float64."""
    array = feature_array(features, "features").astype(np.float64)
    # the largest element first: squares of very small or large features leave the range of float64
    largest = np.abs(array).max(axis=1, keepdims=True)
    if not (largest > 0).all():
        rows = np.flatnonzero(largest == 0)[:10].tolist()
        raise ValueError(f"rows {rows} are all zero; the cosine of a vector without a direction is undefined")
    scaled = array / largest
    unit: Float = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit


def _check_order(q: float) -> None:
    if not q >= 0:
        raise ValueError(f"q must be in [0, inf], got {q!r}")
