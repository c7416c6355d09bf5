"""Frechet distance between feature distributions, without matrix square roots.

FD = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), the squared 2-Wasserstein distance between the two Gaussians that
have the samples' means and unbiased covariances (ddof 1). With S1 = F1 F1' and S2 = F2 F2' for any factors, the last
trace is the sum of the singular values of F1' F2: with A = (X - m1) / sqrt(n - 1) and B likewise, that of A B', exact
for any rank. With at least as many samples as features, triangular factors make the same sum a symmetric eigenproblem.

The distance has a large positive bias at the sample sizes of medical data, about c / N with c depending on the
distributions: two samples of one distribution are a positive distance apart. It is to be compared at equal N, beside
that of real against real data. No constant is added to a diagonal.

References:
    D. C. Dowson, B. V. Landau, "The Frechet distance between multivariate normal distributions", J. Multivar. Anal. 12
        (1982) 450-455.
    M. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS
        (2017): the distance of Inception features (FID).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics import _frechet_halves
from medgan_qa.metrics._features import Features, Float, feature_pair, mask_pair
from medgan_qa.metrics.moments import Moments

EPS = float(np.finfo(np.float64).eps)

ACCURACY = 1e-6
"""Relative error of the distance above which the faster of two routes is left for the more accurate one."""


def frechet_distance(real: Any, generated: Any) -> float:
    """Frechet distance between two samples of features, >= 0; 0 for equal means and covariances.

    Computed in float64 and right to about 1e-6 of its value, for any rank: constant columns, duplicates, fewer samples
    than features. Equal samples give 0 up to rounding of the traces. Scales with the square of the features.

    Args:
        real: (N, D) finite, N >= 2.
        generated: (M, D) finite, M >= 2.

    Raises:
        TypeError: no real numbers.
        ValueError: wrong shapes, fewer than 2 samples (no covariance), or rows that are not finite.
    """
    first, second = feature_pair(real, generated, 2)
    if min(len(first), len(second)) > first.shape[1]:
        return frechet_distance_of(Moments.of(first), Moments.of(second))
    a, mean_a = _centred(first)
    b, mean_b = _centred(second)
    delta, cross = mean_a - mean_b, a @ b.T
    rest = float(delta @ delta) + float(np.vdot(a, a)) + float(np.vdot(b, b))
    nuclear = _sum_of_roots(cross @ cross.T if len(a) <= len(b) else cross.T @ cross, rest)
    return _from_parts(rest, _nuclear_norm(cross) if nuclear is None else nuclear)


def frechet_distance_of(real: Moments, generated: Moments) -> float:
    """`frechet_distance` from moments, for features that are too many to hold.

    As exact as a covariance matrix in float64 allows. With fewer samples than features `frechet_distance` is faster and
    does not have to tell small variances from rounding.

    Raises:
        ValueError: different numbers of features, or fewer than 2 samples.
    """
    if real.dimensions != generated.dimensions:
        raise ValueError(f"moments of {real.dimensions} and of {generated.dimensions} features cannot be compared")
    s1, s2 = real.covariance, generated.covariance
    delta = real.mean - generated.mean
    # where one side does not vary the product vanishes, and without such columns triangular factors exist more often
    varied = _varied(s1, real.mean) & _varied(s2, generated.mean)
    rest = float(delta @ delta) + float(np.trace(s1)) + float(np.trace(s2))
    if not varied.any():
        return max(0.0, rest)
    return _from_parts(rest, _trace_of_root(s1[np.ix_(varied, varied)], s2[np.ix_(varied, varied)], rest))


def frechet_replicates(real: Any, generated: Any, halves_real: Any, halves_generated: Any) -> Float:
    """`frechet_distance` of half samples, for `medgan_qa.stats.half_sample_interval` with bounds (0, None).

    Computed from shared pieces, with an error of less than a hundredth of the spread between halves. Rows should come
    in complementary pairs, as `medgan_qa.stats.draw_halves` makes them: where halves are larger than D, the scatter of
    the second of a pair is a difference. Half the samples have about twice the bias, so replicates lie far above the
    distance; only their spread is an estimate. Between equal distributions it overstates the standard error, by nearly
    sqrt(3). Resampling with replacement would not do: repeated samples lower the rank, and the percentile interval of a
    bootstrap excludes the distance that it was drawn for.

    Args:
        real: (N, D) finite.
        generated: (M, D) finite.
        halves_real: (B, N) bool, at least 2 samples in a row.
        halves_generated: (B, M) bool, at least 2 samples in a row; row b goes with row b of `halves_real`.

    Returns:
        (B,) distances, >= 0.

    Raises:
        TypeError: features that are no real numbers, or masks that are not bool.
        ValueError: wrong shapes, too few samples in a row, or rows that are not finite.
    """
    first, second = feature_pair(real, generated, 2)
    masks = mask_pair(halves_real, halves_generated, len(first), len(second))
    return _frechet_halves.replicates(first, second, *masks)


def _centred(features: Features) -> tuple[Float, Float]:
    """A with A A' = F' F the Gram of the covariance, (N, D), and the mean (D,)."""
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    values -= mean
    values /= math.sqrt(len(values) - 1)
    return values, mean


def _from_parts(rest: float, trace_of_root: float) -> float:
    # a squared distance is never negative; of equal samples the difference is rounding of either sign
    return max(0.0, rest - 2.0 * trace_of_root)


def _varied(covariance: Float, mean: Float) -> NDArray[np.bool_]:
    """Columns whose standard deviation is more than the rounding of their mean."""
    return np.sqrt(np.diag(covariance)) > 8.0 * EPS * np.abs(mean)


def _trace_of_root(s1: Float, s2: Float, rest: float) -> float:
    """Trace of (S1 S2)^(1/2), as accurate as the distance, rest minus twice that trace, needs it."""
    c1 = _triangle(s1)
    trace = None if c1 is None else _sum_of_roots(_frechet_halves.congruent(c1, s2), rest)
    if trace is not None:
        return trace
    c2 = _triangle(s2)
    f1, f2 = (_factor(s1) if c1 is None else c1), (_factor(s2) if c2 is None else c2)
    return _nuclear_norm(f1.T @ f2)


def _nuclear_norm(matrix: Float) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _sum_of_roots(squared: Float, rest: float) -> float | None:
    """Nuclear norm by the eigenvalues of the matrix times its transpose, many times faster than singular values.

    None where squaring has lost small singular values that the distance, rest minus twice the sum, depends on.
    """
    values = np.maximum(np.linalg.eigvalsh(squared), 0.0)
    total = float(np.sqrt(values).sum())
    return total if 2.0 * _error_of_roots(values) <= ACCURACY * abs(rest - 2.0 * total) else None


def _error_of_roots(values: Float) -> float:
    """Error to expect in the sum of roots of eigenvalues that are each off by the rounding of the largest one.

    Pessimistic: computed eigenvalues are mostly off by a tenth of that, and small ones of graded matrices by far less.
    """
    noise = EPS * float(values.max())
    resolved = values > noise
    # to first order a root is off by noise / (2 root), to either side; where rounding is all there is, always upwards
    random = float(np.linalg.norm(noise / (2.0 * np.sqrt(values[resolved]))))
    return random + math.sqrt(noise) * int(np.count_nonzero(~resolved))


def _triangle(covariance: Float) -> Float | None:
    """Lower triangular C with C C' the covariance; None where that is singular as far as float64 can tell."""
    try:
        c = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    # rounding may leave a small positive pivot where the exact one is 0
    certain = np.square(c.diagonal()) > len(c) * EPS * np.diag(covariance)
    return c if certain.all() else None


def _factor(covariance: Float) -> Float:
    """F (D, rank) with F F' the covariance, which may be singular; every variance is positive."""
    scale = np.sqrt(np.diag(covariance))
    # correlations: columns of small variance are not to be taken for rounding of those of a large one
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    kept = values > len(values) * EPS * values[-1]
    factor: Float = scale[:, None] * vectors[:, kept] * np.sqrt(values[kept])
    return factor
