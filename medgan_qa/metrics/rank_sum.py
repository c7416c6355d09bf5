"""The Mann-Whitney statistic in standard units."""

from __future__ import annotations

import math

import numpy as np

from medgan_qa.metrics.points import Floats


def rank_sum_z(first: Floats, second: Floats) -> float:
    """Mann-Whitney statistic of two samples in standard units, above 0 where `first` tends to be larger.

    Midranks for ties, variance corrected for them, no continuity correction; 0 where every value is the same.

    Raises:
        ValueError: a sample is empty.
    """
    n, m = len(first), len(second)
    if not (n and m):
        raise ValueError("a rank sum needs values in both samples")
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
    times = np.unique(np.concatenate([first, second]), return_counts=True)[1].astype(np.float64)
    ties = float((times**3 - times).sum())
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    return 0.0 if variance <= 0 else (float(below.sum()) / 2 - n * m / 2) / math.sqrt(variance)
