"""The birthday test: how many different images a generator can make, from the duplicates in a sample of it.

References:
    S. Arora, A. Risteski, Y. Zhang, "Do GANs learn the distribution? Some theory and empirics", ICLR (2018): the test.
    F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936) 437-442.
    E. H. Simpson, "Measurement of diversity", Nature 163 (1949) 688: the chance that two draws coincide.
    P. M. Aronow, C. Samii, V. A. Assenova, "Cluster-robust variance estimation for dyadic data", Political Analysis 23
        (2015) 564-577.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from medgan_qa.metrics._features import Float, codes_of, feature_array

Index = NDArray[np.intp]

_TILE = 1 << 22
_SLACK = 1e-10


@dataclass(frozen=True, slots=True)
class BirthdayDiversity:
    """Near-duplicates among pairs of images, and the number of different images that they speak for."""

    duplicates: int
    """Pairs closer than the threshold, of different clusters where there are clusters."""
    pairs: int
    """Pairs that could have been."""
    rate: float
    """duplicates / pairs, the chance that two images coincide, in [0, 1]; unbiased."""
    support: float | None
    """1 / rate, the effective number of different images, at least 1; None without a duplicate."""
    support_low: float
    """Lower bound of the number of different images at level 1 - alpha."""
    support_high: float | None
    """Upper bound of the effective number at level 1 - alpha; None without a duplicate: no number is too high then."""
    even_odds: float | None
    """Batch size at which a duplicate is as likely as not; None without a duplicate. Arora et al. take its square for
    the support."""
    design_effect: float
    """Variance of the number of duplicates relative to a Poisson count, at least 1."""
    threshold: float
    """Euclidean distance up to which two images count as one."""


def near_duplicates(features: Any, threshold: float, limit: int = 1_000_000) -> Index:
    """Pairs of rows at a Euclidean distance of at most `threshold`, in row order.

    Distances are searched for in tiles of bounded memory and decided on by differences in float64, so that a threshold
    of 0 finds exact copies and nothing else. The relation is no equivalence: a may be near b and b near c, and a not
    near c.

    Args:
        features: (N, D) finite.
        threshold: >= 0, in the unit of the features. What counts as the same image is the caller's to set, from the
            distances of real images of different patients.
        limit: pairs that are listed at most.

    Returns:
        (P, 2) with first < second.

    Raises:
        TypeError: features are no real numbers.
        ValueError: wrong shape, a value that is not finite, `threshold` negative or not finite, or more than `limit`
            pairs (`birthday_diversity` counts them without a list).
    """
    array = feature_array(features, "features").astype(np.float64)
    found, total = [np.zeros((0, 2), np.intp)], 0
    for first, second in _near(array, _threshold(threshold)):
        total += first.size
        if total > limit:
            raise ValueError(f"over {limit} pairs lie within {threshold!r}; lower the threshold or raise the limit")
        found.append(np.column_stack([first, second]))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def birthday_diversity(
    features: Any, threshold: float, *, clusters: Sequence[str] | None = None, alpha: float = 0.05
) -> BirthdayDiversity:
    """Support of a generator from near-duplicates in a sample of it (Arora et al. 2018).

    If a generator makes S images with equal chance, two samples coincide with chance 1 / S and N samples hold about
    N^2 / (2 S) coinciding pairs. `rate` is the share of pairs within the threshold, a U-statistic without bias, and
    `support` its inverse: the number of equally likely images that would coincide as often. A generator that prefers
    some images has more different ones than that, so `support` is an effective number (inverse Simpson), not a count.

    Without duplicates, `support_low` is the smallest S for which N draws are all different with a chance above alpha,
    prod (1 - i / S) over i < N, about N^2 / (2 log(1 / alpha)) (N^2 / 6 at alpha = 0.05), and at least N. As equal
    chances make duplicates rarest, it bounds the number of different images whatever their chances. With clusters N is
    their number, as if each gave one image.

    With duplicates, the bounds are Garwood's for a Poisson mean, for the number of duplicates over `design_effect`,
    scaled back. The design effect is the dyadic variance of the number (Aronow et al. 2015), which allows for images
    with many duplicates, over the number itself; below 1 it is noise and taken as 1. From a handful of duplicates it
    cannot be told: the lower bound is one of the number of different images. The effective number, which a single
    favoured image can keep low, lay above it in 87 to 94 % of simulated samples of unequal chances instead of 95 %.

    A near-duplicate need not be a copy, and a threshold that real images of different patients stay above by design
    has its own chance of false pairs. Compare with the rate of real images of different patients at the same threshold.

    Args:
        features: (N, D) finite, N at least 2.
        threshold: Euclidean distance up to which two images count as one, >= 0; see `near_duplicates`.
        clusters: (N,) patient of each image (real sets): pairs within a patient are left out; at least 2 different.
        alpha: error rate of each bound, in (0, 0.5].

    Raises:
        TypeError, ValueError: as `near_duplicates`; fewer than 2 images or clusters, wrong number of labels, or alpha
            out of range.
    """
    array = feature_array(features, "features").astype(np.float64)
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha must lie in (0, 0.5], got {alpha!r}")
    codes = _codes(clusters, len(array))
    sizes = np.bincount(codes)
    degrees = np.zeros(len(sizes))
    for first, second in _near(array, _threshold(threshold)):
        apart = codes[first] != codes[second]
        degrees += np.bincount(codes[np.concatenate([first[apart], second[apart]])], minlength=len(sizes))
    partners = sizes * (len(array) - sizes)
    duplicates, pairs = int(degrees.sum()) // 2, int(partners.sum()) // 2
    if duplicates == 0:
        low = _all_different(len(sizes), alpha)
        return BirthdayDiversity(0, pairs, 0.0, None, low, None, None, 1.0, float(threshold))
    rate = duplicates / pairs
    spread = float(np.square(degrees - rate * partners).sum()) - duplicates * (1 - rate)
    effect = max(1.0, spread / duplicates)
    low, high = (min(1.0, effect * bound / pairs) for bound in _garwood(duplicates / effect, alpha))
    return BirthdayDiversity(
        duplicates, pairs, rate, 1 / rate, 1 / high, 1 / low, _even_odds(rate), effect, float(threshold)
    )


def _near(features: Float, threshold: float) -> Iterator[tuple[Index, Index]]:
    """Rows first < second within the threshold, tile by tile."""
    centred = features - features.mean(axis=0)
    squares = np.einsum("nd,nd->n", centred, centred)
    # what an expanded square may be off by; pairs within it of the threshold are decided on by differences
    slack = _SLACK * squares.max()
    step = max(1, _TILE // len(features))
    for start in range(0, len(features), step):
        rows = slice(start, start + step)
        distances = squares[rows, None] + squares[None, start:] - 2 * centred[rows] @ centred[start:].T
        first, second = np.nonzero(np.triu(distances <= threshold**2 + slack, 1))
        certain = distances[first, second] < threshold**2 - slack
        first, second = first + start, second + start
        yield first[certain], second[certain]
        yield _decided(features, first[~certain], second[~certain], threshold)


def _decided(features: Float, first: Index, second: Index, threshold: float) -> tuple[Index, Index]:
    """Those of the pairs that lie within the threshold by their differences."""
    step = max(1, _TILE // features.shape[1])
    near = np.zeros(first.size, bool)
    for start in range(0, first.size, step):
        part = slice(start, start + step)
        gaps = features[first[part]] - features[second[part]]
        near[part] = np.sqrt(np.einsum("nd,nd->n", gaps, gaps)) <= threshold
    return first[near], second[near]


def _all_different(n: int, alpha: float) -> float:
    """Smallest support, n or more, from which n equally likely draws are all different with a chance above alpha."""
    draws = np.arange(n)

    def excess(log_support: float) -> float:
        return float(np.log1p(-draws / math.exp(log_support)).sum()) - math.log(alpha)

    # the chance is at most exp(-pairs / support), so that the root lies below twice where that is alpha
    low, high = math.log(n), math.log(max(n, n * n / -math.log(alpha)))
    if excess(low) >= 0:
        return float(n)
    return math.exp(optimize.brentq(excess, low, high, xtol=1e-12))


def _garwood(count: float, alpha: float) -> tuple[float, float]:
    """Exact bounds of a Poisson mean, each at level 1 - alpha, from a count above 0 that need not be an integer."""
    return float(special.gammaincinv(count, alpha)), float(special.gammainccinv(count + 1, alpha))


def _even_odds(rate: float) -> float:
    """N with N (N - 1) / 2 pairs at which exp(-pairs rate) is one half."""
    return 0.5 + math.sqrt(0.25 + 2 * math.log(2) / rate)


def _threshold(threshold: float) -> float:
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"threshold must be a number >= 0, got {threshold!r}")
    return float(threshold)


def _codes(clusters: Sequence[str] | None, n: int) -> Index:
    """Clusters as integers 0 ... G-1, (n,)."""
    codes: Index = codes_of(clusters, n, "clusters")
    if np.unique(codes).size < 2:
        raise ValueError(f"duplicates need at least 2 independent images, got {np.unique(codes).size}")
    return codes
