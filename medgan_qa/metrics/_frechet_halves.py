"""Frechet distances of many half samples from pieces that they share.

Means and traces of all halves are one matrix product each. What is left is the trace of (S1 S2)^(1/2) of each half:

- Halves hardly larger than D: the Gram matrix A B' of all samples is formed once, its rows and columns picked, and
  centred again, as picking changes the means; the squares of its singular values are eigenvalues of a matrix as large
  as the smaller half.
- Larger halves: covariances in the eigenbasis of the pooled one, where each is near the identity and float32 loses
  nothing that matters. The scatter of a complement is the total less that of the half.

float32 and squared singular values put an error of some 1e-5 of the distance on a replicate, far below the spread
between halves that replicates are made for; the distance itself is not computed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from medgan_qa.metrics._features import Features, Float, Masks

Single = NDArray[np.float32]

GRAM_UP_TO = 1.1
"""Largest half, as a multiple of D, that goes by its Gram matrix: covariances of little more than D samples are nearly
singular, and no cheaper."""

KEPT = 1.0 - 1e-5
"""Share of the pooled variance whose eigenvectors are kept; the rest is small beside a half's sampling error."""

GRAM_BYTES = 2**29
"""Largest Gram matrix of all samples that is held; beyond it each half forms its own."""


def replicates(real: Features, generated: Features, masks_real: Masks, masks_generated: Masks) -> Float:
    """Frechet distance of each pair of halves, (B,); the arguments are checked by the caller."""
    sizes = np.minimum(masks_real.sum(axis=1), masks_generated.sum(axis=1))
    by_gram = sizes <= GRAM_UP_TO * real.shape[1]
    distances = np.empty(len(sizes))
    a, mean_a = _centred(real)
    b, mean_b = _centred(generated)
    for route, rows in ((_by_gram, by_gram), (_by_covariance, ~by_gram)):
        if rows.any():
            h1, h2 = masks_real[rows], masks_generated[rows]
            shift = mean_a - mean_b + _means(h1, a) - _means(h2, b)
            distances[rows] = np.einsum("bd,bd->b", shift, shift) + route(a, b, h1, h2)
    # as for the distance itself: a square, negative by rounding only
    return np.maximum(distances, 0.0)


def _centred(features: Features) -> tuple[Float, Float]:
    mean = features.mean(axis=0, dtype=np.float64)
    return features - mean, mean


def _means(masks: Masks, values: Float) -> Float:
    return np.asarray(masks.astype(np.float64) @ values / masks.sum(axis=1)[:, None], dtype=np.float64)


def _traces(masks: Masks, values: Float) -> Float:
    """Trace of the unbiased covariance of each half, (B,)."""
    sizes, means = masks.sum(axis=1), _means(masks, values)
    squares = masks @ np.einsum("nd,nd->n", values, values) - sizes * np.einsum("bd,bd->b", means, means)
    return np.asarray(squares / (sizes - 1), dtype=np.float64)


def _by_gram(a: Float, b: Float, masks_a: Masks, masks_b: Masks) -> Float:
    gram = a @ b.T if 8 * len(a) * len(b) <= GRAM_BYTES else None
    nuclear = np.empty(len(masks_a))
    for row, (h1, h2) in enumerate(zip(masks_a, masks_b, strict=True)):
        picked = a[h1] @ b[h2].T if gram is None else gram[np.ix_(h1, h2)]
        picked -= picked.mean(axis=0)
        picked -= picked.mean(axis=1, keepdims=True)
        n, m = picked.shape
        squared = picked @ picked.T if n <= m else picked.T @ picked
        nuclear[row] = _sum_of_roots(squared) / np.sqrt((n - 1.0) * (m - 1.0))
    return _traces(masks_a, a) + _traces(masks_b, b) - 2.0 * nuclear


def _by_covariance(a: Float, b: Float, masks_a: Masks, masks_b: Masks) -> Float:
    basis, variances = _pooled_basis(a, b)
    if not variances.size:
        return np.zeros(len(masks_a))
    a, b = a @ basis, b @ basis
    scale = np.sqrt(variances)
    halves_a, halves_b = _Covariances(a / scale, masks_a), _Covariances(b / scale, masks_b)
    weights = (variances / variances[0]).astype(np.float32)
    trace = np.empty(len(masks_a))
    for row in range(len(masks_a)):
        s1, s2 = halves_a.of(row), halves_b.of(row)
        s2 *= weights
        s2 *= weights[:, None]
        trace[row] = float(variances[0]) * _sum_of_roots(_congruent(s1, s2))
    return _traces(masks_a, a) + _traces(masks_b, b) - 2.0 * trace


class _Covariances:
    """Covariances of halves in whitened coordinates, float32 (r, r), asked for in order of the rows of the masks."""

    def __init__(self, whitened: Float, masks: Masks) -> None:
        self.means = _means(masks, whitened).astype(np.float32)
        self.samples: Single = whitened.astype(np.float32)
        self.masks = masks
        self.total: Single = self.samples.T @ self.samples
        self.last: Single | None = None

    def of(self, row: int) -> Single:
        half, size = self.masks[row], int(self.masks[row].sum())
        paired = row % 2 == 1 and not (half ^ ~self.masks[row - 1]).any()
        if paired and self.last is not None:
            scatter = self.total - self.last
        else:
            picked = self.samples[half]
            scatter = picked.T @ picked
        self.last = scatter
        mean = self.means[row]
        return np.asarray((scatter - np.outer(size * mean, mean)) / np.float32(size - 1), dtype=np.float32)


def _pooled_basis(a: Float, b: Float) -> tuple[Float, Float]:
    """Eigenvectors (D, r) and eigenvalues (r,) of the mean of both covariances, largest first."""
    pooled = (a.T @ a / len(a) + b.T @ b / len(b)) / 2.0
    values, vectors = np.linalg.eigh(pooled)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    if values[0] == 0.0:
        return vectors[:, :0], values[:0]
    kept = int(np.searchsorted(np.cumsum(values), KEPT * values.sum())) + 1
    # what is below the largest one's rounding has no direction
    kept = min(kept, int(np.count_nonzero(values > len(values) * np.finfo(np.float64).eps * values[0])))
    return vectors[:, :kept], values[:kept]


def congruent(triangle: Any, symmetric: Any) -> Any:
    """C' S C for a lower triangular C and a symmetric S of the same type, both (D, D) in rows; half the products."""
    (multiply,) = blas.get_blas_funcs(("trmm",), (triangle,))
    # the routine reads columns: what it is given in rows is the transpose, upper triangular and, for S, S itself
    left = multiply(1.0, triangle.T, symmetric.T)
    return multiply(1.0, triangle.T, left, side=1, trans_a=1, overwrite_b=1)


def _congruent(s1: Single, s2: Single) -> Any:
    """F' S2 F with F F' = S1; symmetric, float32 unless S1 is singular."""
    try:
        return congruent(np.linalg.cholesky(s1), s2)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(s1.astype(np.float64))
        factor = vectors * np.sqrt(np.maximum(values, 0.0))
        return factor.T @ s2 @ factor


def _sum_of_roots(squared: Any) -> float:
    """Sum of the square roots of the eigenvalues of a positive semidefinite matrix."""
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(squared.astype(np.float64)), 0.0)).sum())
