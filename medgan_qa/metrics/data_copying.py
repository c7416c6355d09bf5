"""Are generated samples nearer to the training set than held-out samples are?

References:
    C. Meehan, K. Chaudhuri, S. Dasgupta, "A non-parametric test to detect data-copying in generative models", AISTATS
        2020, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.balls import Counts
from medgan_qa.metrics.cells import k_means, leading_dimensions, nearest_centre
from medgan_qa.metrics.neighbours import Neighbourhood, neighbourhood
from medgan_qa.metrics.points import Floats, Ints, features, same_width
from medgan_qa.metrics.rank_sum import rank_sum_z
from medgan_qa.rng import child

CELLS = 3
LEAST = 20
"""Test and generated samples that a cell needs for the normal approximation of its rank sum."""

Mask = NDArray[np.bool_]


class Cell(NamedTuple):
    """One cell of feature space.

    Attributes:
        train: training samples in it.
        test: held-out samples in it.
        generated: generated samples in it.
        z: rank-sum statistic, None where the cell was left out for want of samples.
    """

    train: int
    test: int
    generated: int
    z: float | None


class DataCopying(NamedTuple):
    """C_T and the cells that it is made of.

    Attributes:
        statistic: C_T; standard normal or narrower without copying, well below -3 with it, well above 3 for underfit.
        cells: every cell, also those left out.
        left_out: share of the generated samples in cells that were left out.
    """

    statistic: float
    cells: tuple[Cell, ...]
    left_out: float


class TrainingShare(NamedTuple):
    """Which of two equally large sets the generated samples are nearer to.

    Attributes:
        train: generated samples whose nearest reference is a training sample.
        held_out: generated samples whose nearest reference is held out.
        tied: generated samples equally near to both, counted in neither.
        references: samples compared with in each set.
        exchange_sd: standard deviation of `train` when a random half of the clusters of references is the training set.
    """

    train: int
    held_out: int
    tied: int
    references: int
    exchange_sd: float


def data_copying(
    train: Any, test: Any, generated: Any, *, cells: int = CELLS, least: int = LEAST, seed: int = 0
) -> DataCopying:
    """The three-sample statistic C_T of Meehan et al. (2020).

    In each cell, distances to the nearest training sample are compared between generated and held-out samples by the
    Mann-Whitney statistic (midranks, variance corrected for ties), z < 0 where generated ones are nearer; C_T is the
    mean over cells, weighted by held-out samples. Cells come from k-means on the training samples, in the 32 leading
    dimensions of these. The nearest training sample is sought in all cells. A cell with fewer than `least` held-out or
    generated samples is left out and reported.

    It cancels: copies push it down and over-dispersed samples push it up, so that a set with a third of copies can
    score above 0. A value near 0 does not show that nothing was copied; count near copies sample by sample as well. It
    grows with the square root of the sample sizes, so it has no meaning apart from them.

    Args:
        train: (N, D) finite features.
        test: (T, D) held-out samples of the same distribution.
        generated: (M, D) finite features.
        cells: number of cells.
        least: held-out and generated samples that a cell needs.
        seed: of the cells.

    Raises:
        ValueError: a set is not (N, D), not finite, or the widths differ; fewer training samples than cells; or no cell
            holds enough samples.
    """
    real, train_mask = _joined(train, test, "test")
    near = neighbourhood(real, features(generated, "generated"))
    return data_copying_of(near, train_mask, cells=cells, least=least, seed=seed)


def data_copying_of(
    near: Neighbourhood, train: Mask, *, cells: int = CELLS, least: int = LEAST, seed: int = 0
) -> DataCopying:
    """`data_copying` from neighbours already found.

    Args:
        near: neighbours with training and held-out samples together as the real set.
        train: (N,) bool, which of the real samples are training samples; the others are held out.
        cells: number of cells.
        least: held-out and generated samples that a cell needs.
        seed: of the cells.
    """
    weights = near.real.weights(train, "train")[0]
    if not 1 <= cells <= np.count_nonzero(weights):
        raise ValueError(f"{cells} cells need as many distinct training samples, got {np.count_nonzero(weights)}")
    of_test = _to_train(near, weights)[near.real.same.group][~train]
    of_generated = near.to_real.kth(weights, 1)[1][near.generated.same.group]
    real, generated = _assign(near, weights, cells, seed)
    parts = []
    for cell in range(cells):
        test_here, generated_here = of_test[real[~train] == cell], of_generated[generated == cell]
        enough = min(len(test_here), len(generated_here)) >= max(1, least)
        z = rank_sum_z(generated_here, test_here) if enough else None
        parts.append(Cell(int((real[train] == cell).sum()), len(test_here), len(generated_here), z))
    return _combined(parts, least)


def _combined(parts: list[Cell], least: int) -> DataCopying:
    used = [(cell.test, cell.z) for cell in parts if cell.z is not None]
    if not used:
        raise ValueError(f"no cell holds {least} held-out and {least} generated samples: {parts}; ask for fewer cells")
    statistic = sum(test * z for test, z in used) / sum(test for test, _ in used)
    left_out = sum(cell.generated for cell in parts if cell.z is None)
    return DataCopying(statistic, tuple(parts), left_out / sum(cell.generated for cell in parts))


def training_share(
    train: Any,
    held_out: Any,
    generated: Any,
    *,
    train_clusters: Sequence[str] | None = None,
    held_out_clusters: Sequence[str] | None = None,
    seed: int = 0,
) -> TrainingShare:
    """Whether generated samples are nearer to training samples than to as many held-out ones.

    A generator that kept nothing of its training samples is as often nearest to either set. The larger set is cut to
    the size of the smaller by `equal_size`. Given the references, `train` of `train + held_out` is binomial; that the
    references are themselves a sample makes it vary more about one half: `exchange_sd` says how much, and a binomial
    test of one half is too eager where it exceeds sqrt(train + held_out) / 2.

    Args:
        train: (N, D) finite features.
        held_out: (T, D) samples of the same distribution that were not trained on.
        generated: (M, D) finite features.
        train_clusters: (N,) patient of each training sample; None where each is its own.
        held_out_clusters: (T,) the same for the held-out samples.
        seed: of the cut.

    Raises:
        ValueError: a set is not (N, D), not finite, or the widths differ; or clusters do not fit the samples.
    """
    real, train_mask = _joined(train, held_out, "held_out")
    counts = int(train_mask.sum()), int((~train_mask).sum())
    given = ("train", train_clusters), ("held out", held_out_clusters)
    names = [
        [f"{side} {name}" for name in (range(count) if clusters is None else clusters)]
        for count, (side, clusters) in zip(counts, given, strict=True)
    ]
    if (len(names[0]), len(names[1])) != counts:
        raise ValueError(f"clusters must be {counts[0]} and {counts[1]} names, got {len(names[0])} and {len(names[1])}")
    near = neighbourhood(real, features(generated, "generated"))
    return training_share_of(near, train_mask, names[0] + names[1], seed=seed)


def training_share_of(near: Neighbourhood, train: Mask, clusters: Sequence[str], *, seed: int = 0) -> TrainingShare:
    """`training_share` from neighbours already found.

    Args:
        near: neighbours with training and held-out samples together as the real set.
        train: (N,) bool, which of the real samples are training samples; the others are held out.
        clusters: (N,) patient of each real sample.
        seed: of the cut to equal size.
    """
    train = np.asarray(train)
    chosen = equal_size(train, clusters, seed)
    sides = near.real.weights(np.stack([chosen & train, chosen & ~train]), "train")
    (nearest, to_train), (other, to_held_out) = (near.to_real.kth(side, 1) for side in sides)
    times = near.generated.weights(None, "generated")[0]
    nearer, farther = to_train < to_held_out, to_train > to_held_out
    cluster = np.unique(np.asarray(clusters), return_inverse=True)[1]
    member = np.full((2, sides.shape[1]), -1)
    for side, mask in enumerate((chosen & train, chosen & ~train)):
        member[side, near.real.same.group[mask]] = cluster[mask]
    hits = np.bincount(member[0, nearest[nearer]], times[nearer], cluster.max() + 1)
    hits += np.bincount(member[1, other[farther]], times[farther], cluster.max() + 1)
    tied = times[~nearer & ~farther].sum()
    groups = len(np.unique(cluster[chosen]))
    variance = groups / max(groups - 1, 1) * (float((hits**2).sum()) - float(hits.sum()) ** 2 / groups) / 4
    return TrainingShare(
        int(times[nearer].sum()), int(times[farther].sum()), int(tied), int(chosen.sum()) // 2, math.sqrt(variance)
    )


def equal_size(first: Mask, clusters: Sequence[str], seed: int) -> Mask:
    """Which samples to keep so that both sides have as many: the smaller whole, the larger cut by whole clusters.

    Clusters of the larger side are taken in random order; the last one taken is cut so that the sizes are equal.

    Args:
        first: (N,) bool, one side; the others are the other side.
        clusters: (N,) cluster of each sample.
        seed: of the order.

    Raises:
        ValueError: a side is empty, or the clusters are not N.
    """
    first = np.asarray(first)
    if first.dtype != np.bool_ or len(clusters) != len(first) or not 0 < first.sum() < len(first):
        raise ValueError(
            f"two sides with samples and a cluster for each are needed, got {first.shape}, {len(clusters)}"
        )
    smaller, larger = sorted((np.flatnonzero(first), np.flatnonzero(~first)), key=len)
    names = np.unique(np.asarray(clusters)[larger], return_inverse=True)[1]
    generator = child(seed, "equal size")
    rank = generator.permutation(names.max() + 1)[names]
    order = np.lexsort((generator.permutation(len(larger)), rank))
    chosen = np.zeros(len(first), bool)
    chosen[smaller] = chosen[larger[order[: len(smaller)]]] = True
    return chosen


def _joined(train: Any, other: Any, name: str) -> tuple[NDArray[Any], Mask]:
    train, other = features(train, "train"), features(other, name)
    same_width(train, other, f"train and {name}")
    return np.concatenate([train, other]), np.arange(len(train) + len(other)) < len(train)


def _to_train(near: Neighbourhood, train: Counts) -> Floats:
    """(U,) squared distance of each real point to the nearest training sample, itself included where it is one."""
    outside = np.where(train > 0, 1, 0)
    return near.real.rows.kth(train, 1, outside)[1]


def _assign(near: Neighbourhood, train: Counts, cells: int, seed: int) -> tuple[Ints, Ints]:
    """Cell of each real and of each generated sample."""
    x, y = near.real.points.centred, near.generated.points.centred
    basis = leading_dimensions(x[train > 0], seed)
    if basis is not None:
        x, y = x @ basis, y @ basis
    centres = k_means(x[train > 0], train[train > 0], cells, seed)
    return nearest_centre(x, centres)[near.real.same.group], nearest_centre(y, centres)[near.generated.same.group]
