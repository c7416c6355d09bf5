"""Parts of training images inside generated ones: a lesion lifted from one patient and set into another.

The most distinctive patches of each query are looked for in every training image, wherever they may lie. A lesion
copied with its noise agrees with its source better than with any other lesion, which only the comparison with other
patients shows: bright spots resemble each other. The score to calibrate on held-out images is therefore the ratio of
the best residual to those of the best matches in other patients.

References:
    S. U. H. Dar et al., "Unconditional latent diffusion models memorize patient imaging data", Nature Biomedical
        Engineering (2025), arXiv 2402.01054: memorized samples of medical generators, judged against held-out images.
    G. Somepalli et al., "Diffusion art or digital forgery?", CVPR (2023) 6048-6058: generators that paste together
        parts of training images, and similarity judged against that among training images.
    J. P. Lewis, "Fast normalized cross-correlation", Vision Interface (1995) 120-123.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float, image_stack, working_images, working_scale
from medgan_qa.metrics._groups import group_codes
from medgan_qa.metrics._pairs import over_rivals
from medgan_qa.metrics._patch_search import MostSimilar, most_similar
from medgan_qa.metrics._patches import Patches, described, found_again, grid, most_salient, salience

SMOOTHING_PX = 0.35
"""Standard deviation, in working pixels, of the Gaussian applied before patches are compared."""
REFERENCE_PATCHES = 160
"""Most salient patches of each reference that are searched."""
APART_PX = 3
"""Least distance of two patches of one query along one axis."""
CLOSE = 24
"""Patches of each query, the most promising ones, whose matches are refined pixel by pixel."""
BATCH = 1024
"""Pairs of patches refined at once."""


@dataclass(frozen=True, slots=True)
class LocalMatches:
    """The patch of each query that matches one training image far better than those of other patients.

    All (Q, ...); a query without any salient patch has residual 1, ratio NaN and reference -1.
    """

    reference: NDArray[np.intp]
    """(Q,) reference in which the patch was found again."""
    query_corner: NDArray[np.intp]
    """(Q, 2) first row and column of the patch in the query, in image pixels."""
    reference_corner: NDArray[np.intp]
    """(Q, 2) first row and column in the reference, in image pixels."""
    residual: NDArray[np.float64]
    """(Q,) share of the patch's variance not explained there, 1 - correlation^2, in [0, 1]; 0 = a copy."""
    ratio: NDArray[np.float64]
    """(Q,) that residual over the median of the best ones in other groups; NaN where there is no other group."""
    patch: int
    """Side of a patch in image pixels."""


def local_matches(
    queries: Any,
    references: Any,
    *,
    reference_groups: Iterable[Hashable] | None = None,
    query_groups: Iterable[Hashable] | None = None,
    patch: int = 10,
    stride: int = 3,
    salient: int = 32,
    candidates: int = 5,
) -> LocalMatches:
    """For each query, the patch that is nearest to being a copy from one reference and from no other.

    1. The `salient` patches of the query with the most two-dimensional structure (Shi & Tomasi), 3 pixels apart.
    2. Coarse: correlation of means of 2 x 2 pixels with the 160 most salient patches of every reference on a grid of
       `stride`; the best references of `candidates` + 1 groups are kept for each patch.
    3. Close: for the most promising patches, the match is refined by +-2 pixels, and the window slides over both images
       together by +-3 pixels: a copied region rarely coincides with the patch.

    What is returned is the patch of least ratio. It works on images reduced to 64 pixels along the shorter
    side, smoothed by a third of one.

    Limits. Patches are found moved, under another gain and offset, but not turned, flipped or scaled. A copied region
    smaller than the patch is diluted by what surrounds it, so that few lesions of half its diameter are found. A
    copied region without structure is not looked at. Whole copies are found too, but `aligned_neighbors` undoes more.

    Args:
        queries: (Q, H, W) finite, unit range.
        references: (N, H, W) of the same size, N >= 1.
        reference_groups: (N,) patients, duplicates joined; None: each reference is a group of its own.
        query_groups: (Q,) labels comparable with `reference_groups`; references of the query's group are left out.
        patch: side of a patch, in pixels of an image of 64 pixels along its shorter side and in proportion for other
            sizes; even, 6 to 32.
        stride: distance of reference patches, likewise, 1 to 4.
        salient: patches of each query that are looked for, >= 1.
        candidates: groups besides the best whose matches the ratio is over, >= 1.

    Returns:
        One entry a query, in order.

    Raises:
        ValueError: shapes differ, an image is not finite, there is no reference, labels do not fit, an argument is
            outside its range, the images are so small that a patch has fewer than 4 pixels, or a query has no reference
            outside its own group.
    """
    known = image_stack(references, "references")
    asked = image_stack(queries, "queries", known.shape[1:])
    _check_search(known.shape, patch, stride, salient, candidates)
    labels, own = group_codes(len(known), len(asked), reference_groups, query_groups)
    scale = working_scale(known.shape[1:])
    asked, known = working_images(asked, SMOOTHING_PX), working_images(known, SMOOTHING_PX)
    shorter = min(known.shape[1:])
    side, step = 2 * round(patch * shorter / 128), max(1, round(stride * shorter / 64))
    if side < 4:
        raise ValueError(f"images of {shorter} pixels are too small to look for parts of them; patches would be {side}")
    if not len(asked):
        return _nothing(round(side * scale))
    wanted = _query_patches(asked, side, salient)
    searched = _reference_patches(known, side, step)
    coarse = most_similar(wanted, searched, labels, own, candidates + 1)
    return _closest(asked, known, wanted, searched, coarse, side, scale)


def _query_patches(images: Float, patch: int, count: int) -> Patches:
    corners = most_salient(images, patch, grid(images.shape[1:], patch, 2), count, APART_PX)
    return described(images, patch, corners)


def _reference_patches(images: Float, patch: int, stride: int) -> Patches:
    corners = grid(images.shape[1:], patch, stride)
    count = min(REFERENCE_PATCHES, len(corners))
    order = np.argsort(-salience(images, patch, corners), axis=1, kind="stable")[:, :count]
    return described(images, patch, corners[order])


def _closest(
    queries: Float,
    references: Float,
    wanted: Patches,
    searched: Patches,
    coarse: MostSimilar,
    patch: int,
    scale: float,
) -> LocalMatches:
    """Refine the promising patches of each query and report the most distinctive one."""
    per_query = wanted.unit.shape[1]
    rows = _promising(coarse, per_query)
    reference = coarse.reference[rows]
    owner, row = np.divmod(np.repeat(rows, reference.shape[1]), per_query)
    flat = reference.ravel()
    real = flat >= 0
    residual = np.ones(flat.shape)
    corners = np.zeros((2, len(flat), 2), dtype=np.intp)
    for pairs in np.array_split(np.flatnonzero(real), max(1, -(-int(real.sum()) // BATCH))):
        query, patch_of, known = owner[pairs], row[pairs], flat[pairs]
        near = np.einsum("bd,bpd->bp", wanted.unit[query, patch_of], searched.unit[known]).argmax(axis=1)
        found = found_again(
            queries[query], references[known], wanted.corner[query, patch_of], searched.corner[known, near], patch
        )
        residual[pairs], corners[0, pairs], corners[1, pairs] = found
    compared = np.where(real, residual, np.inf).reshape(reference.shape)
    return _reported(compared, reference, corners.reshape(2, *reference.shape, 2), len(queries), patch, scale)


def _promising(coarse: MostSimilar, per_query: int) -> NDArray[np.intp]:
    """Rows of each query's patches of smallest coarse ratio, at most `CLOSE` a query."""
    left = np.sort(1 - np.square(np.clip(coarse.similarity, 0, 1)), axis=1)
    ratio = left[:, 0] / np.maximum(np.median(left[:, 1:], axis=1), 1e-6)
    order = np.argsort(ratio.reshape(-1, per_query), axis=1, kind="stable")[:, :CLOSE]
    rows: NDArray[np.intp] = (order + per_query * np.arange(len(order))[:, None]).ravel()
    return rows


def _reported(
    residual: NDArray[np.float64],
    reference: NDArray[np.intp],
    corners: NDArray[np.intp],
    queries: int,
    patch: int,
    scale: float,
) -> LocalMatches:
    """The patch of least ratio of each query; the residuals are (patches of all queries, groups), inf for no group."""
    order = np.argsort(residual, axis=1, kind="stable")
    ranked = np.take_along_axis(residual, order, axis=1)
    best, rivals = ranked[:, 0], np.where(np.isfinite(ranked[:, 1:]), ranked[:, 1:], np.nan)
    ratio = over_rivals(best, rivals)
    # Where nothing is left to compare with, the residual itself decides.
    score = np.where(np.isfinite(ratio), ratio, 1 + best).reshape(queries, -1)
    row = score.argmin(axis=1) + score.shape[1] * np.arange(queries)
    place = order[row, 0]
    featured = best[row] < 1
    image_corners = np.rint(corners[:, row, place] * scale).astype(np.intp)
    return LocalMatches(
        reference=np.where(featured, reference[row, place], -1),
        query_corner=image_corners[0],
        reference_corner=image_corners[1],
        residual=best[row],
        ratio=np.where(featured, ratio[row], np.nan),
        patch=round(patch * scale),
    )


def _nothing(patch: int) -> LocalMatches:
    """The answer to no query."""
    whole, corners, real = np.empty(0, dtype=np.intp), np.empty((0, 2), dtype=np.intp), np.empty(0)
    return LocalMatches(whole, corners, corners, real, real, patch)


def _check_search(shape: tuple[int, ...], patch: int, stride: int, salient: int, candidates: int) -> None:
    if shape[0] == 0:
        raise ValueError("there is no reference; at least one image is needed to search")
    if patch % 2 or not 6 <= patch <= 32:
        raise ValueError(f"patch must be even and lie in [6, 32], got {patch!r}")
    if not 1 <= stride <= 4:
        raise ValueError(f"stride must lie in [1, 4], got {stride!r}")
    if salient < 1 or candidates < 1:
        raise ValueError(f"salient and candidates must be at least 1, got {salient!r} and {candidates!r}")
