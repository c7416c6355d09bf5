"""Frechet distance extrapolated to infinitely many samples, on both sides.

References:
    M. J. Chong, D. Forsyth, "Effectively unbiased FID and Inception score and where to find them", CVPR (2020): the
        bias is about c / N with c depending on the model, and a line in 1 / N removes it. There the generated side
        alone is extrapolated; the reference has a bias of the same kind at its own N.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._features import Float, Masks, codes_of, feature_pair, mask_pair
from medgan_qa.metrics.frechet import frechet_distance, frechet_replicates


@dataclass(frozen=True, slots=True)
class FrechetPoint:
    """Mean Frechet distance at one sample size."""

    blocks: int
    """Blocks that both sides were divided into; the distance was computed between one block of each."""
    real: float
    """Mean number of real samples in a block."""
    generated: float
    """Mean number of generated samples in a block."""
    distance: float
    """Mean distance over blocks and partitions."""


@dataclass(frozen=True, slots=True)
class FrechetExtrapolation:
    """A line through Frechet distances at several sample sizes."""

    value: float
    """Distance at infinitely many samples; below 0 where noise, or curvature, exceeds it."""
    slope: float
    """Rise per block: the estimated bias of the plain distance at the full sample sizes."""
    points: tuple[FrechetPoint, ...]
    """The distances that the line was fitted to, largest samples first."""


def frechet_distance_infinity(
    real: Any,
    generated: Any,
    *,
    generator: np.random.Generator,
    points: int = 2,
    partitions: int = 5,
    clusters_real: Iterable[Hashable] | None = None,
    clusters_generated: Iterable[Hashable] | None = None,
) -> FrechetExtrapolation:
    """Frechet distance extrapolated in 1 / N on both sides.

    For j = 1 ... points both sides are divided at random into j blocks of whole patients, and FD_j is the mean distance
    between block and block. A block holds 1 / j of the samples of both sides, so the bias of FD_j is j times that of
    FD_1 also where N and M differ, and the line FD_j = value + slope j meets infinitely many samples at j = 0. Blocks
    of a partition share no patient: each sample counts once at every size, and what is linear in the data cancels.

    What bias is left: the line is straight once the smallest block holds about D samples, and the value is then right
    to its sampling error. With fewer the distance grows more slowly than 1 / N and the value is too high: with points=2
    and flat spectra by 15 to 25 % of the plain distance at N = D and by 40 to 60 % at N = D / 2, and by less where the
    spectrum decays, as what counts is how many directions carry variance. More points reach to smaller blocks, which
    leaves more bias, and show whether the line is straight. The value is not clipped at 0: that would bias it again.

    Args:
        real: (N, D) finite.
        generated: (M, D) finite.
        generator: draws the partitions.
        points: sample sizes of the fit, >= 2.
        partitions: random partitions that each FD_j, j > 1, is averaged over, >= 1.
        clusters_real: (N,) patients of the samples; each sample for itself when None.
        clusters_generated: (M,) the same for the generated side.

    Raises:
        TypeError: features that are no real numbers.
        ValueError: wrong shapes, rows that are not finite, points below 2, partitions below 1, or so few samples or
            patients that a block holds fewer than 2 samples.
    """
    first, second = feature_pair(real, generated, 2)
    _check_counts(points, partitions)
    groups = (
        codes_of(clusters_real, len(first), "clusters_real"),
        codes_of(clusters_generated, len(second), "clusters_generated"),
    )
    table = [FrechetPoint(1, float(len(first)), float(len(second)), frechet_distance(first, second))]
    for blocks in range(2, points + 1):
        masks = [_partitions(codes, blocks, partitions, generator) for codes in groups]
        distance = float(frechet_replicates(first, second, *masks).mean())
        table.append(FrechetPoint(blocks, len(first) / blocks, len(second) / blocks, distance))
    distances = np.array([[point.distance] for point in table])
    value, slope = (float(end[0]) for end in _line(distances))
    return FrechetExtrapolation(value, slope, tuple(table))


def frechet_infinity_replicates(
    real: Any,
    generated: Any,
    halves_real: Any,
    halves_generated: Any,
    *,
    generator: np.random.Generator,
    points: int = 2,
    clusters_real: Iterable[Hashable] | None = None,
    clusters_generated: Iterable[Hashable] | None = None,
) -> Float:
    """The value of `frechet_distance_infinity` on half samples, for `medgan_qa.stats.half_sample_interval`.

    Each half is divided once for each j. Only the spread of the replicates is an estimate: what bias the value has left
    the interval does not see. Between equal distributions the standard error is overstated, about twofold.

    Args:
        real: (N, D) finite.
        generated: (M, D) finite.
        halves_real: (B, N) bool, as `medgan_qa.stats.draw_halves` makes them.
        halves_generated: (B, M) bool; row b goes with row b of `halves_real`.
        generator: draws the partitions.
        points: as in `frechet_distance_infinity`.
        clusters_real: as in `frechet_distance_infinity`.
        clusters_generated: as in `frechet_distance_infinity`.

    Returns:
        (B,) extrapolated distances, of either sign.

    Raises:
        TypeError, ValueError: as `frechet_distance_infinity` and `frechet_replicates`.
    """
    first, second = feature_pair(real, generated, 2)
    _check_counts(points, 1)
    masks = mask_pair(halves_real, halves_generated, len(first), len(second))
    codes = (
        codes_of(clusters_real, len(first), "clusters_real"),
        codes_of(clusters_generated, len(second), "clusters_generated"),
    )
    distances = [frechet_replicates(first, second, *masks)]
    for blocks in range(2, points + 1):
        parts = [
            np.concatenate([_within(half, side, blocks, generator) for half in halves])
            for halves, side in zip(masks, codes, strict=True)
        ]
        distances.append(frechet_replicates(first, second, *parts).reshape(-1, blocks).mean(axis=1))
    return _line(np.array(distances))[0]


def _line(distances: Float) -> tuple[Float, Float]:
    """Value at 0 and slope of the least-squares line through distances at 1 ... points, (points, B)."""
    x = np.arange(1.0, len(distances) + 1)
    slope = (x - x.mean()) @ distances / np.square(x - x.mean()).sum()
    return distances.mean(axis=0) - slope * x.mean(), slope


def _partitions(codes: NDArray[np.intp], blocks: int, count: int, generator: np.random.Generator) -> Masks:
    """Masks of the blocks of `count` random partitions, (count * blocks, N); a partition's blocks follow each other."""
    return np.concatenate([np.stack(list(_blocks(codes, blocks, generator))) for _ in range(count)])


def _within(half: NDArray[np.bool_], codes: NDArray[np.intp], blocks: int, generator: np.random.Generator) -> Masks:
    """Masks of the blocks of one random partition of the samples in `half`, (blocks, N)."""
    masks = np.zeros((blocks, len(half)), dtype=bool)
    masks[:, half] = list(_blocks(np.unique(codes[half], return_inverse=True)[1], blocks, generator))
    return masks


def _blocks(codes: NDArray[np.intp], blocks: int, generator: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """Masks of the samples whose patients fell into each of `blocks` nearly equal parts."""
    patients = int(codes.max()) + 1
    drawn = generator.permutation(np.arange(patients) % blocks)[codes]
    for block in range(blocks):
        mask = drawn == block
        if np.count_nonzero(mask) < 2:
            raise ValueError(f"{len(codes)} samples of {patients} patients do not make {blocks} blocks of at least 2")
        yield mask


def _check_counts(points: int, partitions: int) -> None:
    if points < 2 or partitions < 1:
        raise ValueError(f"needs at least 2 points and 1 partition, got {points} and {partitions}")
