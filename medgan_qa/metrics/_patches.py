"""Patches of images: which are salient, what describes them, and where one is found again.

References:
    J. Shi, C. Tomasi, "Good features to track", CVPR (1994) 593-600: a patch can be recognised where the smaller
        eigenvalue of its gradient covariance is large; along a straight edge it slides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float

FEATURELESS = 0.02
"""Standard deviation (unit range, after smoothing) below which a patch shows nothing that could be recognised."""

OFFSET_PX = 2
"""How far, along each axis, the coarse search may have missed the place in the reference."""
SLIDE_PX = 3
"""How far the window slides over query and reference together."""


class Patches(NamedTuple):
    """P patches of each of N images."""

    corner: NDArray[np.intp]
    """(N, P, 2) first row and column."""
    unit: Float
    """(N, P, D) descriptors of zero mean and unit norm; all zero for a featureless patch."""


def grid(shape: tuple[int, int], patch: int, stride: int) -> NDArray[np.intp]:
    """(K, 2) corners of all patches on a grid of `stride` pixels."""
    rows, columns = (np.arange(0, side - patch + 1, stride) for side in shape)
    corners: NDArray[np.intp] = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    return corners


def salience(images: Float, patch: int, corners: NDArray[np.intp]) -> Float:
    """(N, K) smaller eigenvalue of the gradient covariance of each patch (Shi & Tomasi 1994)."""
    dy, dx = (np.asarray(a, dtype=np.float32) for a in np.gradient(images, axis=(1, 2)))
    yy, yx, xx = (_sums(a, patch, corners) for a in (dy * dy, dy * dx, dx * dx))
    smaller: Float = ((yy + xx) / 2 - np.hypot((yy - xx) / 2, yx)).astype(np.float32)
    return smaller


def _sums(images: Float, patch: int, corners: NDArray[np.intp]) -> NDArray[np.float64]:
    """(N, K) sums over patches, by an integral image."""
    integral = np.pad(images.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    y, x = corners.T
    total: NDArray[np.float64] = (
        integral[:, y + patch, x + patch] - integral[:, y, x + patch] - integral[:, y + patch, x] + integral[:, y, x]
    )
    return total


def most_salient(images: Float, patch: int, corners: NDArray[np.intp], count: int, apart: int) -> NDArray[np.intp]:
    """(N, count') corners of the most salient patches, at least `apart` pixels from each other along one axis.

    Taken greedily; `count'` is smaller than `count` where no image has room for more. Where some images have, the
    others repeat their most salient patch.
    """
    score = salience(images, patch, corners)
    near = np.abs(corners[:, None, :] - corners[None, :, :]).max(axis=2) < apart
    picks: list[NDArray[np.intp]] = []
    for _ in range(min(count, len(corners))):
        pick = score.argmax(axis=1)
        left = np.isfinite(score[np.arange(len(score)), pick])
        if not left.any():
            break
        picks.append(np.where(left, pick, picks[0] if picks else pick))
        score[near[pick]] = -np.inf
    return corners[np.stack(picks, axis=1)]


def described(images: Float, patch: int, corner: NDArray[np.intp]) -> Patches:
    """Descriptors of the patches at `corner` (N, P, 2): means of 2 x 2 pixels, zero mean, unit norm."""
    pairs = images[:, :-1] + images[:, 1:]
    means = (pairs[:, :, :-1] + pairs[:, :, 1:]) / 4
    step = np.arange(0, patch, 2)
    rows = corner[..., 0, None, None] + step[:, None]
    columns = corner[..., 1, None, None] + step
    picked = means[np.arange(len(images))[:, None, None, None], rows, columns]
    return Patches(corner, unit_patches(picked))


def unit_patches(patches: Float) -> Float:
    """(..., D) descriptors of (..., p, p): zero mean and unit norm, all zero for a featureless patch."""
    flat = patches.reshape(*patches.shape[:-2], -1)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(flat, axis=-1, keepdims=True)
    shown = norm > FEATURELESS * np.sqrt(flat.shape[-1])
    unit: Float = np.where(shown, flat / np.where(shown, norm, 1.0), 0.0).astype(np.float32)
    return unit


class Found(NamedTuple):
    """Where each patch of a batch agrees best with its reference, all (B, ...)."""

    residual: NDArray[np.float64]
    """1 - correlation^2, in [0, 1]; 1 where no featured window lies inside both images."""
    query_corner: NDArray[np.intp]
    """(B, 2)"""
    reference_corner: NDArray[np.intp]
    """(B, 2)"""


def found_again(
    queries: Float,
    references: Float,
    query_corner: NDArray[np.intp],
    reference_corner: NDArray[np.intp],
    patch: int,
) -> Found:
    """Refine matches of patches known to within a pixel or two.

    First the reference's corner moves by up to `OFFSET_PX`, then the window slides over both images together by up to
    `SLIDE_PX`.

    Args:
        queries: (B, h, w), the image of each query patch.
        references: (B, h, w), the image that it is compared with.
        query_corner: (B, 2).
        reference_corner: (B, 2).
        patch: side of a patch.
    """
    limit = np.asarray(queries.shape[1:]) - patch
    reference_corner = reference_corner + _best_offset(queries, references, query_corner, reference_corner, patch)
    slides = _window(SLIDE_PX)
    q = _centred(_cut(queries, query_corner - SLIDE_PX, patch + 2 * SLIDE_PX))
    r = _centred(_cut(references, reference_corner - SLIDE_PX, patch + 2 * SLIDE_PX))
    q_mean, r_mean, qq, rr, qr = (_box_means(a, patch) for a in (q, r, q * q, r * r, q * r))
    covariance, q_variance, r_variance = qr - q_mean * r_mean, qq - q_mean**2, rr - r_mean**2
    corners = np.stack([query_corner[:, None] + slides, reference_corner[:, None] + slides])
    usable = ((corners >= 0) & (corners <= limit)).all(axis=(0, 3)) & (covariance > 0)
    usable &= (q_variance > FEATURELESS**2) & (r_variance > FEATURELESS**2)
    residual = np.where(usable, 1 - covariance**2 / np.where(usable, q_variance * r_variance, 1.0), 1.0)
    # Among equals (nothing usable, or a whole copy) the window that has slid least.
    order = np.argsort(np.abs(slides).sum(axis=1), kind="stable")
    best = order[residual[:, order].argmin(axis=1)]
    row = np.arange(len(best))
    return Found(np.clip(residual[row, best], 0, 1), corners[0, row, best], corners[1, row, best])


def _best_offset(
    queries: Float,
    references: Float,
    query_corner: NDArray[np.intp],
    reference_corner: NDArray[np.intp],
    patch: int,
) -> NDArray[np.intp]:
    """(B, 2) move of the reference's corner, by up to `OFFSET_PX`, to where the query's patch correlates best."""
    limit = np.asarray(queries.shape[1:]) - patch
    moves = _window(OFFSET_PX)
    asked = _centred(_cut(queries, query_corner, patch))
    around = _centred(_cut(references, reference_corner - OFFSET_PX, patch + 2 * OFFSET_PX))
    windows = np.lib.stride_tricks.sliding_window_view(around, (patch, patch), axis=(1, 2))
    covariance = np.matmul(windows.reshape(len(around), len(moves), -1), asked.reshape(len(asked), -1, 1))[..., 0]
    variance = _box_means(around**2, patch) - _box_means(around, patch) ** 2
    corners = reference_corner[:, None] + moves
    inside = ((corners >= 0) & (corners <= limit)).all(axis=2)
    score = np.where(inside, covariance / np.sqrt(np.maximum(variance, FEATURELESS**2)), -np.inf)
    chosen: NDArray[np.intp] = moves[score.argmax(axis=1)]
    return chosen


def _centred(patches: Float) -> NDArray[np.float64]:
    """Patches less their means, so that sums of squares lose no digits."""
    exact = patches.astype(np.float64)
    centred: NDArray[np.float64] = exact - exact.mean(axis=(1, 2), keepdims=True)
    return centred


def _box_means(patches: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(B, K) means of (B, s, s) over each window of `side`, in raster order."""
    size = patches.shape[1]
    start = np.arange(size - side + 1)[:, None]
    band = ((np.arange(size) >= start) & (np.arange(size) < start + side)) / side
    means: NDArray[np.float64] = np.matmul(np.matmul(band, patches), band.T).reshape(len(patches), -1)
    return means


def _window(reach: int) -> NDArray[np.intp]:
    """((2 reach + 1)^2, 2) displacements."""
    step = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1).reshape(-1, 2)


def _cut(images: Float, corner: NDArray[np.intp], side: int) -> Float:
    """(B, side, side) window of each image at its corner (B, 2); indices outside the image take its nearest pixel."""
    step = np.arange(side)
    rows = np.clip(corner[:, :1] + step, 0, images.shape[1] - 1)
    columns = np.clip(corner[:, 1:] + step, 0, images.shape[2] - 1)
    picked: Float = images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked
