"""Kernel matrices in tiles: sums over rows, columns and squares, and products with masks, without the whole matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from medgan_qa.metrics._features import Features, Float, Masks

TILE = 1024
"""Rows and columns of a tile; a few tiles fit the cache, and a product of this size runs at full speed."""

LARGEST_SINGLE = 1e15
"""Kernel values beyond this are computed in float64: their squares are to stay far from the end of float32."""


class Kernel(Protocol):
    """A positive definite kernel on features."""

    def prepare(self, x: Features, y: Features) -> tuple[Features, Features]:
        """Both samples in the type, and from the origin, that tiles are computed in."""

    def tile(self, a: Features, b: Features) -> Features:
        """Kernel of prepared rows with prepared rows, (len(a), len(b)), in a new array."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """(x.y / D + 1)^3; it has an origin, so nothing is centred."""

    dimensions: int

    def prepare(self, x: Features, y: Features) -> tuple[Features, Features]:
        """In float32 where both are, and where a cube has room in it."""
        largest = max(float(np.einsum("nd,nd->n", z, z, dtype=np.float64).max()) for z in (x, y))
        if x.dtype == y.dtype and (largest / self.dimensions + 1.0) ** 3 < LARGEST_SINGLE:
            return x, y
        return x.astype(np.float64), y.astype(np.float64)

    def tile(self, a: Features, b: Features) -> Features:
        """In the type of the features."""
        base = a @ b.T
        base *= 1.0 / self.dimensions
        base += 1.0
        cube = base * base
        cube *= base
        return cube


@dataclass(frozen=True, slots=True)
class Rbf:
    """exp(-|x - y|^2 / (2 bandwidth^2)); in float64 from the distance on, as it may be near 1 everywhere."""

    bandwidth: float

    def prepare(self, x: Features, y: Features) -> tuple[Features, Features]:
        """From the mean of x, so that distances are not the difference of large numbers."""
        origin = x.mean(axis=0, dtype=np.float64)
        kind = np.result_type(x, y)
        return (x - origin).astype(kind), (y - origin).astype(kind)

    def tile(self, a: Features, b: Features) -> Features:
        """In float64."""
        distance = (a @ b.T).astype(np.float64)
        distance *= -2.0
        distance += np.einsum("nd,nd->n", a, a, dtype=np.float64)[:, None]
        distance += np.einsum("nd,nd->n", b, b, dtype=np.float64)
        np.maximum(distance, 0.0, out=distance)
        distance *= -0.5 / self.bandwidth**2
        return np.exp(distance, out=distance)


@dataclass(frozen=True, slots=True)
class Sums:
    """What an unbiased estimate of MMD^2 and of its variance need of one kernel matrix."""

    rows: Float
    """Sum over each row, without the diagonal in a matrix of one sample with itself."""
    columns: Float
    """Sum over each column."""
    squares: float
    """Sum of squares, likewise without the diagonal."""


def sums_over_pairs(kernel: Kernel, x: Features, y: Features | None = None) -> Sums:
    """Sums over the kernel matrix of x with y, or of x with itself without the diagonal; prepared samples."""
    rows, columns, squares = np.zeros(len(x)), np.zeros(len(x if y is None else y)), 0.0
    for i, j, tile, mirrored in _tiles(kernel, x, y):
        along, across = tile.sum(axis=1, dtype=np.float64), tile.sum(axis=0, dtype=np.float64)
        square = float(np.einsum("ij,ij->i", tile, tile).sum(dtype=np.float64))
        rows[i] += along
        columns[j] += across
        squares += square
        if mirrored:
            rows[j] += across
            columns[i] += along
            squares += square
    return Sums(rows, columns, squares)


def sums_within(kernel: Kernel, x: Features, masks: Masks) -> Float:
    """Sum of k(x_i, x_j) over pairs i != j that a row of masks marks, (B,); prepared samples."""
    return _masked(kernel, x, None, masks, masks)


def sums_between(kernel: Kernel, x: Features, y: Features, masks_x: Masks, masks_y: Masks) -> Float:
    """Sum of k(x_i, y_j) over the x and the y that row b of each mask marks, (B,); prepared samples."""
    return _masked(kernel, x, y, masks_x, masks_y)


def _masked(kernel: Kernel, x: Features, y: Features | None, left: Masks, right: Masks) -> Float:
    sums = np.zeros(len(left))
    columns = np.ascontiguousarray(right.T)
    for i, j, tile, mirrored in _tiles(kernel, x, y):
        product = tile @ columns[j].astype(tile.dtype)
        part = np.einsum("bi,ib->b", left[:, i].astype(np.float64), product.astype(np.float64))
        sums += 2.0 * part if mirrored else part
    return sums


def _tiles(kernel: Kernel, x: Features, y: Features | None) -> Iterator[tuple[slice, slice, Features, bool]]:
    """Row range, column range, tile, and whether the tile stands for its mirror image too."""
    other = x if y is None else y
    for top in range(0, len(x), TILE):
        i = slice(top, top + TILE)
        for left in range(top if y is None else 0, len(other), TILE):
            j = slice(left, left + TILE)
            tile = kernel.tile(x[i], other[j])
            if y is None and left == top:
                np.fill_diagonal(tile, 0.0)
            yield i, j, tile, y is None and left > top


def variance_of_mmd(xx: Sums, yy: Sums, xy: Sums) -> float:
    """Variance of the U-statistic, from unbiased estimates of the terms of its Hoeffding decomposition; N, M >= 4."""
    n, m = len(xx.rows), len(yy.rows)
    first = 4.0 * _linear(xx, xy.rows, xy, m) / n + 4.0 * _linear(yy, xy.columns, xy, n) / m
    second = 2.0 * _left_over(xx) / (n * (n - 1.0)) + 2.0 * _left_over(yy) / (m * (m - 1.0))
    second += 4.0 * _left_over_between(xy) / (n * m)
    return max(0.0, first) + max(0.0, second)


def _linear(own: Sums, across: Float, between: Sums, others: int) -> float:
    """Variance over x of E k(x, X') - E k(x, Y); `across` are the sums of k(x, y) over the `others` y."""
    n, total = len(own.rows), float(own.rows.sum())
    pairs = n * (n - 1.0)
    mixed, crossed = float(own.rows @ across), float(across.sum())
    within = _shared(own) - _squared_mean(own)
    covariance = mixed / (pairs * others) - (total * crossed - 2.0 * mixed) / (pairs * (n - 2.0) * others)
    outside = (float(across @ across) - between.squares) / (n * others * (others - 1.0))
    return within - 2.0 * covariance + outside - _squared_mean_between(between)


def _shared(own: Sums) -> float:
    """E k(x, x') k(x, x'')."""
    n = len(own.rows)
    return (float(own.rows @ own.rows) - own.squares) / (n * (n - 1.0) * (n - 2.0))


def _squared_mean(own: Sums) -> float:
    """(E k(x, x'))^2, over pairs that share no sample."""
    n, total = len(own.rows), float(own.rows.sum())
    disjoint = total * total - 4.0 * float(own.rows @ own.rows) + 2.0 * own.squares
    return disjoint / (n * (n - 1.0) * (n - 2.0) * (n - 3.0))


def _squared_mean_between(xy: Sums) -> float:
    """(E k(x, y))^2, over pairs that share no sample."""
    n, m, total = len(xy.rows), len(xy.columns), float(xy.rows.sum())
    disjoint = total * total - float(xy.rows @ xy.rows) - float(xy.columns @ xy.columns) + xy.squares
    return disjoint / (n * (n - 1.0) * m * (m - 1.0))


def _left_over(own: Sums) -> float:
    """Variance of k(x, x') without its averages over either argument."""
    n = len(own.rows)
    return own.squares / (n * (n - 1.0)) - 2.0 * _shared(own) + _squared_mean(own)


def _left_over_between(xy: Sums) -> float:
    """Variance of k(x, y) without its averages over either argument."""
    n, m = len(xy.rows), len(xy.columns)
    by_row = (float(xy.rows @ xy.rows) - xy.squares) / (n * m * (m - 1.0))
    by_column = (float(xy.columns @ xy.columns) - xy.squares) / (n * m * (n - 1.0))
    return xy.squares / (n * m) - by_row - by_column + _squared_mean_between(xy)
