"""Density and coverage of a generator, plain and clipped.

References:
    M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable fidelity and diversity metrics for generative models", ICML
        2020, eq. 3 to 6 and lemma 2.
    N. Salvy, H. Talbot, B. Thirion, "Enhanced generative model evaluation with clipped density and coverage", ICLR
        2026.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.balls import Balls, Counts
from medgan_qa.metrics.neighbours import Neighbourhood, at_least, neighbourhood
from medgan_qa.metrics.points import Floats, features
from medgan_qa.metrics.subsets import batches

K = 5


class DensityCoverage(NamedTuple):
    """Both are 1 or nearly so for a sample of the same distribution. Arrays (R,) where halves were asked for.

    Attributes:
        density: mean number of real balls that hold a generated sample, over k; 0 or more, 1 expected.
        coverage: share of real balls that hold a generated sample, in [0, 1]; `expected_coverage` expected.
    """

    density: Floats
    coverage: Floats


class ClippedDensityCoverage(NamedTuple):
    """Equivalent shares of good samples; 1 expected for the same distribution. Arrays (R,) for halves.

    Attributes:
        density: fidelity, 0 or more.
        coverage: between 0 and `MOST_COVERAGE`.
    """

    density: Floats
    coverage: Floats


MOST_COVERAGE = 2.0
"""Where every ball holds k samples, no number of good samples explains it; clipped coverage ends here."""


def density_coverage(real: Any, generated: Any, k: int = K) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020).

    The ball of a real sample reaches to its k-th nearest other real sample. A point on the sphere is inside: with a
    strict comparison, sets in which every sample occurs more than k times would have empty balls and score 0 against
    themselves. Coverage grows with M / N: divide by `expected_coverage`, or compare at equal sizes.

    Args:
        real: (N, D) finite features, N > k.
        generated: (M, D) finite features.
        k: which neighbour sets the radius.

    Raises:
        ValueError: a set is not (N, D), not finite, `real` holds fewer than k + 1 samples, or the widths differ.
    """
    return DensityCoverage(*(value[0] for value in density_coverage_of(_near(real, generated, k), k=k)))


def density_coverage_of(
    near: Neighbourhood, real_halves: Any | None = None, generated_halves: Any | None = None, *, k: int = K
) -> DensityCoverage:
    """`density_coverage` from neighbours already found, for subsets of both sets.

    Args:
        near: neighbours of the whole sets.
        real_halves: (R, N) bool, the samples of each subset; None for all.
        generated_halves: (R, M) bool; None for all.
        k: which neighbour sets the radius.

    Returns:
        (R,) values, each what `density_coverage` gives for that pair of subsets.

    Raises:
        ValueError: the masks do not fit, or a subset holds too few samples.
    """
    parts = []
    for real, generated, radii in _balls(near, real_halves, generated_halves, k):
        held = near.pairs.count(radii, real, generated).held
        density = (real * held).sum(axis=1) / (k * generated.sum(axis=1))
        parts.append((density, (real * (held > 0)).sum(axis=1) / real.sum(axis=1)))
    return DensityCoverage(*(np.concatenate(value) for value in zip(*parts, strict=True)))


def clipped_density_coverage(real: Any, generated: Any, k: int = K) -> ClippedDensityCoverage:
    """Clipped density and clipped coverage (Salvy et al. 2026).

    Density counts at most k balls a generated sample, of radii no larger than the median radius, and is divided by the
    same quantity of the real samples among themselves, each without its own ball. Coverage counts at most k generated
    samples a ball and is mapped to the share of good samples that has this expectation (`expected_clipped_coverage`),
    so it does not depend on M / N beyond noise. Neither is cut at 1: noise about 1 stays visible, and values well above
    1 say that samples lie nearer to real ones than fresh samples would, as copies do.

    Args:
        real: (N, D) finite features, N > k.
        generated: (M, D) finite features.
        k: which neighbour sets the radius.

    Raises:
        ValueError: a set is not (N, D), not finite, `real` holds fewer than k + 1 samples, or the widths differ.
    """
    values = clipped_density_coverage_of(_near(real, generated, k), k=k)
    return ClippedDensityCoverage(*(value[0] for value in values))


def clipped_density_coverage_of(
    near: Neighbourhood, real_halves: Any | None = None, generated_halves: Any | None = None, *, k: int = K
) -> ClippedDensityCoverage:
    """`clipped_density_coverage` from neighbours already found, for subsets of both sets.

    Args:
        near: neighbours of the whole sets.
        real_halves: (R, N) bool, the samples of each subset; None for all.
        generated_halves: (R, M) bool; None for all.
        k: which neighbour sets the radius.

    Returns:
        (R,) values, each what `clipped_density_coverage` gives for that pair of subsets.

    Raises:
        ValueError: the masks do not fit, or a subset holds too few samples.
    """
    parts = []
    among_real = near.real_pairs()
    for real, generated, radii in _balls(near, real_halves, generated_halves, k):
        clipped = np.where(radii < 0, radii, np.minimum(radii, _median_squares(radii, real)[:, None]))
        among_real.reach_further(clipped.max(axis=0), np.full(clipped.shape[1], -1.0))
        of_real = _clipped_density(among_real, clipped, real, real, k, duplicates=real - 1)
        density = _clipped_density(near.pairs, clipped, real, generated, k) / of_real
        held = np.minimum(near.pairs.count(radii, real, generated).held, k)
        sizes = real.sum(axis=1), generated.sum(axis=1)
        coverage = (real * held).sum(axis=1) / (k * sizes[0])
        shares = [
            _good_share(value, n, m, k)
            for value, n, m in zip(coverage.tolist(), *map(np.ndarray.tolist, sizes), strict=True)
        ]
        parts.append((density, np.asarray(shares)))
    return ClippedDensityCoverage(*(np.concatenate(value) for value in zip(*parts, strict=True)))


def expected_coverage(n: int, m: int, k: int = K) -> float:
    """Coverage expected of m samples of the distribution of the n real ones (Naeem et al. 2020, lemma 2).

    1 - prod_{j<k} (n-1-j) / (n+m-1-j), whatever the distribution, as long as it is continuous.

    Raises:
        ValueError: k < 1, n <= k or m < 0.
    """
    if k < 1 or n <= k or m < 0:
        raise ValueError(f"expected coverage needs k >= 1, n > k and m >= 0, got n = {n}, m = {m}, k = {k}")
    return float(1 - np.prod([(n - 1 - j) / (n + m - 1 - j) for j in range(k)]))


def expected_clipped_coverage(n: int, m: int, k: int = K) -> float:
    """Clipped coverage before mapping that is expected of m samples of the distribution of the n real ones.

    The ball of a real sample has a Beta(k, n - k) share of the probability, so the number of m samples that it holds is
    beta-binomial; the value is the mean of min(number, k) / k.

    Raises:
        ValueError: k < 1, n <= k or m < 0.
    """
    if k < 1 or n <= k or m < 0:
        raise ValueError(f"expected coverage needs k >= 1, n > k and m >= 0, got n = {n}, m = {m}, k = {k}")
    return float(_clipped_expectations(n, np.asarray([m]), k)[0])


def _near(real: Any, generated: Any, k: int) -> Neighbourhood:
    real, generated = features(real, "real"), features(generated, "generated")
    at_least(real, "real", k + 1, k)
    return neighbourhood(real, generated, keep=k + 1)


def _balls(
    near: Neighbourhood, real_halves: Any | None, generated_halves: Any | None, k: int
) -> list[tuple[Counts, Counts, Floats]]:
    """Subsets and the squared radii of the real balls in them, with the pairs reaching as far."""
    weights = near.real.weights(real_halves, "real"), near.generated.weights(generated_halves, "generated")
    if weights[1].sum(axis=1).min() < 1:
        raise ValueError("generated, or a half of it, holds no sample")
    parts = [(real, generated, near.real.squared_radii(real, k)) for real, generated in batches(*weights)]
    farthest = np.max([radii.max(axis=0) for _, _, radii in parts], axis=0)
    near.pairs.reach_further(farthest, np.full(len(near.generated.points), -1.0))
    return parts


def _clipped_density(
    pairs: Balls, radii: Floats, real: Counts, inside: Counts, k: int, duplicates: Counts | int = 0
) -> Floats:
    holding = pairs.count(radii, real, inside).holding + duplicates
    clipped: Floats = (inside * np.minimum(holding, k)).sum(axis=1) / (k * inside.sum(axis=1))
    return clipped


def _median_squares(squares: Floats, weights: Counts) -> Floats:
    """(R,) squares of the median radii of weighted points."""
    medians = []
    for square, weight in zip(squares, weights, strict=True):
        each = np.repeat(square, weight)
        middle = each.size // 2
        low, high = np.partition(each, [(each.size - 1) // 2, middle])[[(each.size - 1) // 2, middle]]
        # the middle one itself where there is one, so that the point at its radius stays inside
        medians.append(low if low == high else (np.sqrt(low) + np.sqrt(high)) ** 2 / 4)
    return np.asarray(medians)


def _clipped_expectations(n: int, m: NDArray[np.int64], k: int) -> Floats:
    # P(0) and the ratios P(j + 1) / P(j) of the beta-binomial; what a ball with j < k samples lacks is (k - j) / k
    probability = np.prod([(n - 1 - j) / (n + m - 1 - j) for j in range(k)], axis=0)
    missing = np.zeros(len(m))
    for j in range(k):
        missing += (k - j) / k * probability
        probability = probability * np.maximum(m - j, 0) * (k + j) / ((j + 1) * np.maximum(n + m - k - j - 1, 1))
    expectations: Floats = 1 - missing
    return expectations


@lru_cache(maxsize=64)
def _expectations(n: int, m: int, k: int) -> Floats:
    """`expected_clipped_coverage` for 0, 1, ... samples up to `MOST_COVERAGE` times m."""
    return _clipped_expectations(n, np.arange(int(MOST_COVERAGE * m) + 1), k)


def _good_share(coverage: float, n: int, m: int, k: int) -> float:
    """How many good samples, as a share of m, have this expected value; linear between whole numbers."""
    expectations = _expectations(n, m, k)
    return float(np.interp(coverage, expectations, np.arange(len(expectations)))) / m
