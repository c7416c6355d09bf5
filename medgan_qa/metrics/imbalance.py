"""How differently a property is distributed in two groups of patients: standardised difference, interval and test.

References:
    P. C. Austin, "Balance diagnostics for comparing the distribution of baseline covariates between treatment groups in
        propensity-score matched samples", Stat. Med. 28 (2009) 3083-3107: standardised differences, of shares as well.
    L. V. Hedges, I. Olkin, "Statistical Methods for Meta-Analysis", Academic Press (1985), chapter 5: their variance.
    R. A. Fisher, "Statistical Methods for Research Workers", 5th ed. (1934), section 21.02: the exact test of a 2 x 2
        table. B. Phipson, G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39: permutation p-values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST_EXPECTED = 5.0
"""Expected count of a cell below which chi-square is not relied upon."""
PERMUTATIONS = 1999

Vector = NDArray[np.float64]


class Imbalance(NamedTuple):
    """One property in two groups."""

    difference: float
    """Standardised difference, >= 0: of means, or of the share of the level that differs most; infinite where nothing
    varies within the groups."""
    error: float
    """Its standard error."""
    p: float
    """P-value of the hypothesis that both groups have one distribution."""
    test: str
    """Which test."""
    level: str | None
    """The level of the largest difference; None for numbers."""
    counts: tuple[int, int]
    """Units of either group."""


def numeric_imbalance(first: Sequence[float], second: Sequence[float]) -> Imbalance:
    """Standardised difference of means (Hedges and Olkin 1985) and the rank-sum test, two-sided.

    Args:
        first: (m,) finite numbers of independent units.
        second: (n,) the same of the other group.

    Raises:
        ValueError: a group is empty, or a number is not finite.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not a.size or not b.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"both groups must hold finite numbers, got {a.size} and {b.size}")
    pooled = math.sqrt((a.var(ddof=1 if a.size > 1 else 0) + b.var(ddof=1 if b.size > 1 else 0)) / 2)
    apart = abs(float(a.mean() - b.mean()))
    d = apart / pooled if pooled > 0 else (0.0 if apart == 0 else math.inf)
    p = float(stats.mannwhitneyu(a, b, alternative="two-sided").pvalue) if np.ptp([*a, *b]) > 0 else 1.0
    return Imbalance(d, _error(d, a.size, b.size), p, "rank-sum test", None, (a.size, b.size))


def level_imbalance(first: Sequence[str], second: Sequence[str], generator: np.random.Generator) -> Imbalance:
    """The largest standardised difference of the share of a level (Austin 2009), and a test of the whole table.

    Fisher's exact test for two levels; for more, chi-square where every expected count is at least 5, else the same
    statistic by permutation of the units.

    Args:
        first: (m,) levels of independent units.
        second: (n,) of the other group.
        generator: draws the permutations.

    Raises:
        ValueError: a group is empty.
    """
    if not first or not second:
        raise ValueError(f"both groups must hold units, got {len(first)} and {len(second)}")
    levels = sorted({*first, *second})
    table = np.array([[list(group).count(level) for level in levels] for group in (first, second)])
    shares = table / table.sum(axis=1, keepdims=True)
    spread = np.sqrt((shares * (1 - shares)).mean(axis=0))
    apart = np.abs(shares[0] - shares[1])
    differences = np.where(spread > 0, apart / np.where(spread > 0, spread, 1), np.where(apart > 0, np.inf, 0.0))
    largest = int(np.argmax(differences))
    d = float(differences[largest])
    p, test = _tested(table, generator)
    return Imbalance(d, _error(d, len(first), len(second)), p, test, levels[largest], (len(first), len(second)))


def _error(d: float, m: int, n: int) -> float:
    return math.sqrt(1 / m + 1 / n + (d * d / (2 * (m + n)) if math.isfinite(d) else 0.0))


def _tested(table: NDArray[np.intp], generator: np.random.Generator) -> tuple[float, str]:
    if table.shape[1] < 2:
        return 1.0, "one level"
    if table.shape[1] == 2:
        return float(stats.fisher_exact(table).pvalue), "Fisher's exact test"
    found = stats.chi2_contingency(table, correction=False)
    if np.min(found.expected_freq) >= FEWEST_EXPECTED:
        return float(found.pvalue), "chi-square test"
    return _permuted(table, generator), f"chi-square by {PERMUTATIONS} permutations"


def _permuted(table: NDArray[np.intp], generator: np.random.Generator) -> float:
    """Share of tables with the same margins that are as uneven, the one at hand among them."""
    levels = np.repeat(np.arange(table.shape[1]), table.sum(axis=0))
    m, totals = int(table[0].sum()), table.sum(axis=0)
    dealt = generator.permuted(np.tile(levels, (PERMUTATIONS, 1)), axis=1)[:, :m]
    first = np.stack([(dealt == k).sum(axis=1) for k in range(len(totals))], axis=1)
    share = m / table.sum()
    found = _uneven(table[:1], totals, share)[0]
    return float(1 + (_uneven(first, totals, share) >= found * (1 - 1e-9)).sum()) / (1 + PERMUTATIONS)


def _uneven(first: NDArray[np.intp], totals: NDArray[np.intp], share: float) -> Vector:
    """Chi-square of tables with these margins, from the counts (B, L) of the first group."""
    expected = totals * share
    other: Vector = (np.square(first - expected) / (expected * (1 - share))).sum(axis=1)
    return other
