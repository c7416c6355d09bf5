"""Precision and recall of a generator by k-nearest-neighbour manifolds.

Reference:
    T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved precision and recall metric for assessing
        generative models", NeurIPS 2019, eq. 1 and 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from medgan_qa.metrics.neighbours import Neighbourhood, at_least, neighbourhood
from medgan_qa.metrics.points import Floats, features
from medgan_qa.metrics.subsets import batches

K = 3


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]; higher is better. Arrays (R,) where halves were asked for.

    Attributes:
        precision: share of generated samples inside the ball of some real one.
        recall: share of real samples inside the ball of some generated one.
    """

    precision: Floats
    recall: Floats


def precision_recall(real: Any, generated: Any, k: int = K) -> PrecisionRecall:
    """Precision and recall (Kynkäänniemi et al. 2019).

    The ball of a sample reaches to its k-th nearest other sample of its own set; a point on the sphere is inside. Each
    value is biased by the sample sizes (larger sets have smaller balls, but more of them), so compare at equal sizes.
    One outlier among the samples makes one ball that is too large; `clipped_density_coverage` bounds its weight.

    Args:
        real: (N, D) finite features, N > k.
        generated: (M, D) finite features, M > k. Precision depends on N, recall on M.
        k: which neighbour sets the radius.

    Raises:
        ValueError: a set is not (N, D), not finite, holds fewer than k + 1 samples, or the widths differ.
    """
    real, generated = features(real, "real"), features(generated, "generated")
    at_least(real, "real", k + 1, k)
    at_least(generated, "generated", k + 1, k)
    values = precision_recall_of(neighbourhood(real, generated, keep=k + 1), k=k)
    return PrecisionRecall(*(value[0] for value in values))


def precision_recall_of(
    near: Neighbourhood, real_halves: Any | None = None, generated_halves: Any | None = None, *, k: int = K
) -> PrecisionRecall:
    """`precision_recall` from neighbours already found, for subsets of both sets.

    Args:
        near: neighbours of the whole sets.
        real_halves: (R, N) bool, the samples of each subset; None for all.
        generated_halves: (R, M) bool; None for all.
        k: which neighbour sets the radius.

    Returns:
        (R,) values, each what `precision_recall` gives for that pair of subsets.

    Raises:
        ValueError: the masks do not fit, or a subset holds fewer than k + 1 samples.
    """
    parts = []
    weights = near.real.weights(real_halves, "real"), near.generated.weights(generated_halves, "generated")
    for real, generated in batches(*weights):
        of_real, of_generated = near.real.squared_radii(real, k), near.generated.squared_radii(generated, k)
        near.pairs.reach_further(of_real.max(axis=0), of_generated.max(axis=0))
        hit_generated = near.pairs.count(of_real, real, generated).holding > 0
        hit_real = near.pairs.flipped().count(of_generated, generated, real).holding > 0
        precision = (generated * hit_generated).sum(axis=1) / generated.sum(axis=1)
        parts.append((precision, (real * hit_real).sum(axis=1) / real.sum(axis=1)))
    return PrecisionRecall(*(np.concatenate(value) for value in zip(*parts, strict=True)))
