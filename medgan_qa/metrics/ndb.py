"""Number of statistically different bins: where a generated set has more or fewer images than the real one.

References:
    E. Richardson, Y. Weiss, "On GANs and GMMs", NeurIPS (2018), section 3: k-means bins, two-proportion tests.
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979) 65-70.
    J. N. K. Rao, A. J. Scott, "The analysis of categorical data from complex sample surveys", JASA 76 (1981) 221-230:
        chi-square statistics divided by the mean design effect.
    D. R. Thomas, J. N. K. Rao, "Small-sample comparisons of level and power for simple goodness-of-fit statistics under
        cluster sampling", JASA 82 (1987) 630-636: the F reference of the corrected statistic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.cluster.vq import vq

from medgan_qa.metrics._features import Float, codes_of, feature_array

Index = NDArray[np.intp]

MIN_EXPECTED = 10
"""Images expected in a bin of equal share, on the smaller side; more bins than that allows are not made."""
EXACT_BELOW = 30
"""Expected count in any of the four cells of a bin below which its p-value is the exact one."""
ITERATIONS = 25
"""Steps of k-means at most."""
PERMUTATIONS = 9999
"""Tables drawn for the permutation p-value where no images share a patient."""


@dataclass(frozen=True, slots=True, eq=False)
class DifferentBins:
    """Real and generated shares of each bin, and where they differ."""

    bins: int
    """Bins that were made, K: at most as many as asked for."""
    different: int
    """Bins with p <= alpha, the count of the paper. About alpha K of them are expected of a perfect generator."""
    different_holm: int
    """Bins with Holm-adjusted p <= alpha: of a perfect generator, 0 in a share 1 - alpha of the runs."""
    p_value: float
    """Of the whole table: permutation test, or Rao-Scott corrected chi-square where images share a patient."""
    jensen_shannon: float
    """Divergence between the two shares in bits, in [0, 1]. Above 0 for equal distributions, falling as 1 / N."""
    design_effect: float
    """Mean variance of the real shares relative to independent images, at least 1; 1 where no patient repeats."""
    real_counts: Index
    """(K,) real images in each bin."""
    generated_counts: Index
    """(K,) generated images in each bin."""
    z: Float
    """(K,) difference generated less real over its standard error; 0 in a bin that neither has."""
    p_values: Float
    """(K,) two-sided."""
    p_adjusted: Float
    """(K,) after Holm's procedure over the K bins."""
    centres: Float
    """(K, D) centre of each bin in the feature space."""

    @property
    def real_shares(self) -> Float:
        """(K,) share of the real images in each bin."""
        shares: Float = self.real_counts / self.real_counts.sum()
        return shares

    @property
    def generated_shares(self) -> Float:
        """(K,) share of the generated images in each bin."""
        shares: Float = self.generated_counts / self.generated_counts.sum()
        return shares


def ndb(
    binning: Any,
    real: Any,
    generated: Any,
    generator: np.random.Generator,
    *,
    bins: int = 100,
    real_clusters: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> DifferentBins:
    """Number of statistically different bins (Richardson & Weiss 2018), with clustering and multiplicity allowed for.

    Bins are the cells of k-means (k-means++ start, 25 iterations) of a third set of real images. Neither of the sets
    compared may take part: centres follow the noise of the images that they were made from, which would then differ
    from any other set. The number of bins is lowered until an equal share is at least 10 independent images on either
    side and 10 binning images.

    In each bin the shares p are compared by z = (p_gen - p_real) / sqrt(p (1 - p) (1 / N_eff + 1 / M)), p pooled. The
    p-value is normal (Student t with one less than the number of patients, where images share one). Where one of the
    four cells is expected to hold fewer than 30, it is that of Fisher's exact test (two-sided, sum of tables no more
    probable). `different` counts as published; `different_holm` keeps the chance of any false alarm among the bins at
    alpha.

    Several images of a patient are no independent draws: N_eff is N over the design effect of the bin, the larger of
    its own linearised one and the mean over the bins, at least 1 and at most sum m^2 / N for m images of a patient (as
    if a patient's images always shared a bin). The exact test takes counts rounded to effective ones. The generated
    images are taken as independent.

    Bias: `different` and `different_holm` are counts of rejections and grow with N for a generator that is not perfect;
    compare at equal N and bins. `jensen_shannon` has a positive bias of about (K - 1) / 8 (1 / N + 1 / M) nats.

    Args:
        binning: (L, D) finite features of real images that are in neither other set.
        real: (N, D) finite.
        generated: (M, D) finite.
        generator: source of the start of k-means and of the permutations.
        bins: bins asked for, at least 2.
        real_clusters: (N,) patient of each real image; each image its own where absent.
        alpha: error rate, in (0, 1).

    Raises:
        TypeError: features are no real numbers.
        ValueError: wrong shapes, a value that is not finite, settings out of range, wrong number of labels, or too few
            independent images for 2 bins.
    """
    binning, real, generated = _three(binning, real, generated)
    if bins < 2 or int(bins) != bins or not 0 < alpha < 1:
        raise ValueError(f"bins must be an integer of at least 2 and alpha in (0, 1), got {bins!r} and {alpha!r}")
    codes = codes_of(real_clusters, len(real), "real_clusters")
    patients = int(codes.max()) + 1
    # about the mean, so that distances to the centres do not cancel
    origin = binning.mean(axis=0)
    centres = _centres(binning - origin, min(int(bins), _room(len(binning), patients, len(generated))), generator)
    tally = np.zeros((patients, len(centres)), np.intp)
    np.add.at(tally, (codes, vq(real - origin, centres)[0]), 1)
    counts = np.bincount(vq(generated - origin, centres)[0], minlength=len(centres))
    return _compare(tally, counts, centres + origin, alpha, generator)


def _compare(
    tally: Index, generated: Index, centres: Float, alpha: float, generator: np.random.Generator
) -> DifferentBins:
    """The tests, from real counts by patient and bin (C, K) and generated counts (K,)."""
    real, m = tally.sum(axis=0), int(generated.sum())
    n, independent = int(real.sum()), len(tally) == int(real.sum())
    pooled = (real + generated) / (n + m)
    effects, mean_effect = _design_effects(tally)
    z, p = _bin_tests(real, generated, n / effects, math.inf if independent else len(tally) - 1)
    adjusted = _holm(p)
    chi_square = _chi_square(real[None], generated[None], pooled)[0]
    if independent:
        p_value = _permutation_p(chi_square, real + generated, n, pooled, generator)
    else:
        p_value = _rao_scott_p(chi_square, mean_effect, n, m, int(np.count_nonzero(pooled)) - 1, len(tally) - 1)
    different, different_holm = (int(np.count_nonzero(x <= alpha)) for x in (p, adjusted))
    divergence = _jensen_shannon(real / n, generated / m)
    numbers = len(centres), different, different_holm, p_value, divergence, mean_effect
    return DifferentBins(*numbers, real, generated, z, p, adjusted, centres)


def _bin_tests(real: Index, generated: Index, effective: Float, df: float) -> tuple[Float, Float]:
    """Statistic and two-sided p of each bin (K,); `effective` are the independent images behind its real share."""
    n, m = int(real.sum()), int(generated.sum())
    first, second = real / n, generated / m
    pooled = (real + generated) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / effective + 1 / m))
    z = np.divide(second - first, error, out=np.zeros(len(real)), where=error > 0)
    p: Float = 2 * special.stdtr(df, -np.abs(z))
    smallest = np.minimum(pooled, 1 - pooled) * np.minimum(effective, m)
    for j in np.flatnonzero(smallest < EXACT_BELOW):
        size = round(effective[j])
        p[j] = _fisher(round(first[j] * size), size, int(generated[j]), m)
    return z, p


def _fisher(a: int, n: int, b: int, m: int) -> float:
    """Two-sided exact p of a in n against b in m: tables with these margins that are no more probable."""
    x = np.arange(max(0, a + b - m), min(n, a + b) + 1)
    log = -special.gammaln([x + 1, n - x + 1, a + b - x + 1, m - a - b + x + 1]).sum(axis=0)
    chance = np.exp(log - log.max())
    # tables as probable as the observed one count, whatever the last bits say
    return float(chance[chance <= chance[x == a] * (1 + 1e-7)].sum() / chance.sum())


def _design_effects(tally: Index) -> tuple[Float, float]:
    """Design effect of the real share of each bin (K,), and its mean over the bins (Rao & Scott), both at least 1."""
    sizes = tally.sum(axis=1)
    clusters, n = len(sizes), int(sizes.sum())
    share = tally.sum(axis=0) / n
    residuals = tally - sizes[:, None] * share
    variance = clusters / (clusters - 1) * np.square(residuals).sum(axis=0) / n**2
    seen = (share > 0) & (share < 1)
    own = np.ones(len(share))
    own[seen] = variance[seen] * n / (share[seen] * (1 - share[seen]))
    most = float(sizes @ sizes) / n
    weights = np.where(seen, 1 - share, 0.0)
    mean = float(weights @ own / weights.sum()) if seen.any() else 1.0
    mean = min(max(mean, 1.0), most)
    return np.clip(np.maximum(own, mean), 1.0, most), mean


def _chi_square(real: Index, generated: Index, pooled: Float) -> Float:
    """Pearson's statistic of 2 x K tables with the margins of `pooled`, (R,) from counts (R, K)."""
    seen = pooled > 0
    n, m = int(real[0].sum()), int(generated[0].sum())
    gaps = real[:, seen] / n - generated[:, seen] / m
    return np.square(gaps) @ (1 / pooled[seen]) / (1 / n + 1 / m)


def _permutation_p(observed: float, totals: Index, n: int, pooled: Float, generator: np.random.Generator) -> float:
    """Share of tables with these margins that are at least as uneven, the observed one among them."""
    real = generator.multivariate_hypergeometric(totals, n, size=PERMUTATIONS, method="marginals")
    drawn = _chi_square(real, totals - real, pooled)
    return (1 + int(np.count_nonzero(drawn >= observed * (1 - 1e-9)))) / (PERMUTATIONS + 1)


def _rao_scott_p(observed: float, effect: float, n: int, m: int, df: int, cluster_df: int) -> float:
    """Chi-square over the mean design effect of the difference, held against F."""
    if df == 0:
        return 1.0
    combined = (effect / n + 1 / m) / (1 / n + 1 / m)
    return float(special.fdtrc(df, df * cluster_df, observed / (combined * df)))


def _jensen_shannon(p: Float, q: Float) -> float:
    """Divergence in bits."""
    nats = special.entr((p + q) / 2).sum() - (special.entr(p).sum() + special.entr(q).sum()) / 2
    return min(1.0, max(0.0, float(nats) / math.log(2)))


def _holm(p: Float) -> Float:
    """Holm-adjusted p-values, in input order."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(p.size, 0, -1)))
    return adjusted


def _centres(features: Float, bins: int, generator: np.random.Generator) -> Float:
    """Centres of k-means (at most `bins`, D): fewer where there are fewer different rows; none without a row."""
    chosen = [features[generator.integers(len(features))]]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < bins:
        nearest = np.minimum(nearest, np.square(features - chosen[-1]).sum(axis=1))
        if not (total := nearest.sum()) > 0:
            break
        chosen.append(features[generator.choice(len(features), p=nearest / total)])
    centres = np.array(chosen)
    for _ in range(ITERATIONS):
        codes = vq(features, centres)[0]
        order = np.argsort(codes, kind="stable")
        present, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
        moved = np.add.reduceat(features[order], starts, axis=0) / counts[:, None]
        if present.size == len(centres) and np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _room(binning: int, independent: int, generated: int) -> int:
    """Bins that leave `MIN_EXPECTED` independent images each."""
    room = min(binning, independent, generated) // MIN_EXPECTED
    if room < 2:
        raise ValueError(
            f"two bins need {2 * MIN_EXPECTED} independent images in each set, got {binning} for the bins, "
            f"{independent} real and {generated} generated"
        )
    return room


def _three(*sets: Any) -> list[Float]:
    """The three feature sets as float64 with one number of columns."""
    checked = [
        feature_array(x, name).astype(np.float64)
        for x, name in zip(sets, ("binning", "real", "generated"), strict=True)
    ]
    if len({x.shape[1] for x in checked}) > 1:
        raise ValueError(f"features differ in D: {', '.join(str(x.shape[1]) for x in checked)}")
    return checked
