"""Whether a rate is the same in every group of patients.

References:
    P. I. Good, "Permutation, Parametric, and Bootstrap Tests of Hypotheses", 3rd ed., Springer (2005), chapter 3.
    B. Phipson, G. K. Smyth, "Permutation p-values should never be zero", Stat. Appl. Genet. Mol. Biol. 9 (2010) 39.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._groups import encoded

PERMUTATIONS = 1999
"""Permutations: the smallest p-value is 1 in 2000, enough for Holm's correction over 20 attributes at 5 %."""
TIE = 1e-9


def equal_rates_p(
    events: Any,
    patients: Sequence[Hashable],
    groups: Sequence[Hashable],
    generator: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> float:
    """P-value of the hypothesis that the groups of patients have one rate, by permutation of whole patients.

    The statistic is the sum over groups of n (rate - overall rate)^2. Groups are dealt anew to the patients, each of
    whom keeps the units that are his, so units that share a patient need not be independent. The p-value counts the
    data themselves as one permutation (Phipson and Smyth 2010) and is therefore valid for any number of permutations.

    Args:
        events: (N,) bool, whether each unit shows the event.
        patients: (N,) the patient of each unit.
        groups: (N,) the group of each unit, one for all units of a patient.
        generator: draws the permutations.
        permutations: how many, >= 1.

    Returns:
        In (0, 1]; 1 where there is one group, no unit, or nothing varies.

    Raises:
        ValueError: lengths differ, a patient is in several groups, or `permutations` is below 1.
    """
    flags, codes, levels = np.asarray(events, bool), encoded(patients), encoded(groups)
    if not len(flags) == len(codes) == len(levels):
        raise ValueError(f"one patient and one group a unit: got {len(flags)}, {len(codes)}, {len(levels)}")
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations!r}")
    count = int(codes.max(initial=-1)) + 1
    if len(set(zip(codes.tolist(), levels.tolist(), strict=True))) > count:
        raise ValueError("a patient is in several groups; leave such patients out, or name one group for each")
    if flags.all() or not flags.any() or (levels == levels[0]).all():
        return 1.0
    of_patient = np.zeros(count, np.intp)
    of_patient[codes] = levels
    hits, sizes = np.bincount(codes, flags, count), np.bincount(codes, np.ones(len(codes)), count)
    dealt = generator.permuted(np.tile(of_patient, (permutations, 1)), axis=1)
    found = _between(of_patient[None], hits, sizes)[0]
    as_far = int((_between(dealt, hits, sizes) >= found * (1 - TIE)).sum())
    return (1 + as_far) / (1 + permutations)


def _between(groups: NDArray[np.intp], hits: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.float64]:
    """(B,) sum over groups of n (rate - overall)^2, for groups (B, patients)."""
    overall = hits.sum() / sizes.sum()
    total = np.zeros(len(groups))
    for level in range(int(groups.max()) + 1):
        member = groups == level
        n = member @ sizes
        total += np.divide((member @ hits - n * overall) ** 2, n, out=np.zeros_like(n), where=n > 0)
    return total
