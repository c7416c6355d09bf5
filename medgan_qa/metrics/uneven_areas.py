"""Whether a score tells positives from negatives equally well in every group of patients.

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
from medgan_qa.metrics.uneven_rates import PERMUTATIONS, TIE

MOST_PAIRS = 2e11
"""Comparisons of a positive with a negative, over all permutations, beyond which there are fewer of these."""
FEWEST = 199
BLOCK = 256

Vector = NDArray[np.float32]
Bool = NDArray[np.bool_]


def equal_areas_p(
    scores: Any,
    positive: Any,
    patients: Sequence[Hashable],
    groups: Sequence[Hashable],
    generator: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> float:
    """P-value of the hypothesis that the area under the ROC curve is the same within every group, by permutation.

    Only positives and negatives of one group are compared. The statistic is the sum over groups of w (area - mean)^2,
    w = m n / (m + n) for m positives and n negatives, the mean taken with the same weights. Groups are dealt anew to
    whole patients, among those alike in whether they have positives, negatives or both, so that groups keep their share
    of positives. What is tested is that patients of a kind are exchangeable: groups whose scores have one area and
    another spread are no exact null. The data count as one permutation (Phipson and Smyth 2010).

    Args:
        scores: (N,) finite; larger speaks for the condition.
        positive: (N,) bool.
        patients: (N,) the patient of each unit.
        groups: (N,) the group of each unit, one for all units of a patient.
        generator: draws the permutations.
        permutations: how many, >= 1; fewer, and at least 199, where pairs are so many that it would take minutes.

    Returns:
        In (0, 1]; 1 where fewer than two groups have both kinds.

    Raises:
        ValueError: lengths differ, scores are not finite, a patient is in several groups, or `permutations` is below 1.
    """
    values, flags = np.asarray(scores, np.float64), np.asarray(positive, bool)
    codes, levels = encoded(patients), encoded(groups)
    if not values.shape == flags.shape == codes.shape == levels.shape:
        raise ValueError(
            f"one label, patient and group a score: got {[len(v) for v in (values, flags, codes, levels)]}"
        )
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite")
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations!r}")
    count = int(codes.max(initial=-1)) + 1
    if len(set(zip(codes.tolist(), levels.tolist(), strict=True))) > count:
        raise ValueError("a patient is in several groups; leave such patients out, or name one group for each")
    if flags.all() or not flags.any() or (levels == levels[0]).all():
        return 1.0
    order = _order(values[flags], values[~flags])
    many = int(MOST_PAIRS / (order.size * (levels.max() + 1)))
    permutations = min(permutations, max(FEWEST, many))
    of_patient = np.zeros(count, np.intp)
    of_patient[codes] = levels
    sides = codes[flags], codes[~flags]
    found = _between(of_patient[None], sides, order)[0]
    if found == 0.0:
        return 1.0
    dealt = _dealt(of_patient, _kinds(codes, flags, count), generator, permutations)
    blocks = [_between(dealt[k : k + BLOCK], sides, order) for k in range(0, permutations, BLOCK)]
    as_far = int((np.concatenate(blocks) >= found * (1 - TIE)).sum())
    return (1 + as_far) / (1 + permutations)


def _order(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> Vector:
    """(M, N) 1 where the positive scores higher, a half where they are tied."""
    above, tied = positives[:, None] > negatives, positives[:, None] == negatives
    order: Vector = above.astype(np.float32) + np.float32(0.5) * tied
    return order


def _kinds(codes: NDArray[np.intp], flags: Bool, count: int) -> NDArray[np.intp]:
    """(patients,) 1 with positives, 2 with negatives, 3 with both."""
    kinds = np.zeros(count, np.intp)
    for bit, side in ((1, flags), (2, ~flags)):
        kinds[np.unique(codes[side])] += bit
    return kinds


def _dealt(
    of_patient: NDArray[np.intp], kinds: NDArray[np.intp], generator: np.random.Generator, permutations: int
) -> NDArray[np.intp]:
    """(B, patients) groups, exchanged among patients of a kind."""
    dealt = np.tile(of_patient, (permutations, 1))
    for kind in np.unique(kinds):
        same = np.flatnonzero(kinds == kind)
        dealt[:, same] = generator.permuted(dealt[:, same], axis=1)
    return dealt


def _between(groups: NDArray[np.intp], sides: tuple[NDArray[np.intp], NDArray[np.intp]], order: Vector) -> Any:
    """(B,) the statistic for groups (B, patients)."""
    areas, weights = [], []
    for level in range(int(groups.max()) + 1):
        ours, others = ((groups[:, side] == level).astype(np.float32) for side in sides)
        m, n = (side.sum(axis=1, dtype=np.float64) for side in (ours, others))
        ordered = ((ours @ order) * others).sum(axis=1, dtype=np.float64)
        pairs = m * n
        areas.append(np.divide(ordered, pairs, out=np.zeros_like(pairs), where=pairs > 0))
        weights.append(np.divide(pairs, m + n, out=np.zeros_like(pairs), where=pairs > 0))
    area, weight = np.array(areas), np.array(weights)
    total = weight.sum(axis=0)
    mean = np.divide((weight * area).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    # Sums in float32 of one another's halves may differ in the last digits; a spread of that size is none.
    spread = (weight * (area - mean) ** 2).sum(axis=0)
    return np.where(spread < 1e-10, 0.0, spread)
