"""Intervals for what several fits of one learner reach on one test set, over fits and test patients together.

A learner that is trained again reaches another number, and so it does on other patients. Two numbers from single runs
differ by both, and an interval that knows the patients only takes the luck of a training run for an effect of its data.

References:
    X. Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys (2021): fits on resampled
        training sets, so that one interval holds every source of chance.
    F. E. Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bull. 2 (1946)
        110-114.
    E. L. Korn, B. I. Graubard, Survey Methodology 24 (1998) 193-201: exact bounds at the effective sample size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from medgan_qa.stats._arguments import finite_vector, tail_probability
from medgan_qa.stats.half_sampling import FEWEST_CLUSTERS, half_sample_interval
from medgan_qa.stats.proportions import clopper_pearson

OVER_FITS = "Student t on the variance over test patients (half samples) and over fits"
SHARE_OVER_FITS = "Clopper-Pearson on the effective sample size, from test patients (half samples) and fits together"
FEWEST_ERRORS = 5
"""Errors that a variance must rest on before it is believed."""
TOO_FEW = f"none: fewer than {FEWEST_CLUSTERS} patients, or a half of them lacks a class"


@dataclass(frozen=True, slots=True)
class FitsInterval:
    """The mean over fits with an interval; ends are None where none can be given."""

    value: float
    low: float | None
    high: float | None
    se_patients: float | None
    """Standard error over test patients; None where a half sample has no value."""
    se_fits: float
    """Standard error of the mean over fits."""
    df: float
    """Degrees of freedom (Satterthwaite)."""
    method: str


def repeated_fits_interval(
    values: Any,
    replicates: Any,
    *,
    clusters: int,
    independent: int,
    kind: Literal["share", "difference"],
    lower: float = 1.0,
    alpha: float = 0.05,
) -> FitsInterval:
    """Interval of the mean over fits that are alike but for chance (drawn training sets, seeds).

    The variance is the sum of two. Over test patients: that of half samples, of the mean over fits. Over fits: that of
    the values, divided by their number S. What test patients and fits do together is in the first. The interval is for
    further fits on the same training images, and further patients; it does not allow for other training images.

    1. A share (an area under the curve, an accuracy) gets the exact binomial interval at the effective sample size.
    2. A difference gets Student's t with Satterthwaite's degrees of freedom. Where the lower of its two shares leaves
       fewer than 5 errors to k patients, the variance knows too little, and the interval reaches at least
       1 - alpha^(1/k) to either side: k patients of each class who all agree exclude no more than that.
    3. A share of 0 or 1 or without any spread stands for k of k.

    Args:
        values: (S,) what each fit reaches on all test patients, S >= 2.
        replicates: (B,) the mean over fits on half samples of the test patients.
        clusters: test patients.
        independent: k, the most patients that can be paired off class against class with nobody twice; at least 1.
        kind: `share` in [0, 1], or `difference` of two shares in [-1, 1].
        lower: the lower of the two shares that a difference is of; 1.0 is the cautious choice.
        alpha: one-sided error rate of each end, in (0, 0.5].

    Raises:
        ValueError: fewer than 2 fits or replicates, values that are not finite or out of range, counts below 1.
    """
    tail = tail_probability(alpha, 1)
    fits = finite_vector(values, "values")
    if fits.size < 2 or independent < 1:
        raise ValueError(f"at least 2 fits and 1 independent patient are needed, got {fits.size} and {independent}")
    lowest = 0.0 if kind == "share" else -1.0
    if fits.min() < lowest - 1e-12 or fits.max() > 1 + 1e-12:
        raise ValueError(f"values of a {kind} must lie in [{lowest:g}, 1], got {fits.min():g} to {fits.max():g}")
    value = float(np.clip(fits.mean(), lowest, 1.0))
    over_patients = half_sample_interval(value, replicates, clusters=clusters, alpha=alpha)
    of_fits = 0.0 if np.ptp(fits) == 0 else float(fits.var(ddof=1)) / fits.size
    if over_patients.se is None or clusters < FEWEST_CLUSTERS:
        return FitsInterval(value, None, None, over_patients.se, math.sqrt(of_fits), 0.0, TOO_FEW)
    of_patients = over_patients.se**2
    df = _satterthwaite((of_patients, min(clusters - 1, over_patients.resamples // 2)), (of_fits, fits.size - 1))
    if kind == "share":
        ends = _share(value, of_patients + of_fits, df, independent, tail)
    else:
        floor = 1.0 - tail ** (1.0 / independent) if independent * (1.0 - lower) < FEWEST_ERRORS else 0.0
        ends = _difference(value, of_patients + of_fits, df, floor, tail)
    method = SHARE_OVER_FITS if kind == "share" else OVER_FITS
    return FitsInterval(value, *ends, over_patients.se, math.sqrt(of_fits), df, method)


def _satterthwaite(*parts: tuple[float, int]) -> float:
    """Degrees of freedom of a sum of variances; those of the first where nothing varies."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return float(parts[0][1])
    return total**2 / sum(variance**2 / df for variance, df in parts)


def _difference(value: float, variance: float, df: float, floor: float, tail: float) -> tuple[float, float]:
    t = 0.0 if tail == 0.5 else float(special.stdtrit(df, 1.0 - tail))
    half = max(t * math.sqrt(variance), floor)
    return max(-1.0, value - half), min(1.0, value + half)


def _share(value: float, variance: float, df: float, independent: int, tail: float) -> tuple[float, float]:
    spread = value * (1.0 - value)
    effective = float(independent)
    if spread > 0 and variance > 0:
        # both quantiles are 0 for the median
        ratio = 1.0 if tail == 0.5 else float(special.ndtri(tail) / special.stdtrit(df, tail))
        effective = spread / variance * ratio**2
    low, high = clopper_pearson(value * effective, effective, tail)
    certain = tail ** (1.0 / independent)
    return min(low, certain), max(high, 1.0 - certain)
