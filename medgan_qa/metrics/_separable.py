"""Linear operators that act on rows and columns of an image apart, y = R x C', with their pseudo-inverse.

The singular value decomposition of such an operator is the product of those of R and C, so that its pseudo-inverse is
exact however large the image is.

References:
    G. H. Golub, C. F. Van Loan, "Matrix Computations", 4th edition (2013), section 12.3: Kronecker products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng

Float = NDArray[np.float64]
Shape = tuple[int, int]
Profile = Literal["box", "gaussian", "point"]
Axis = Literal["rows", "columns"]
AXES: tuple[Axis, ...] = ("rows", "columns")

SEEN = 0.01
"""Share of the largest singular value below which an operator counts as not seeing a detail."""
FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian of standard deviation 1."""


@dataclass(frozen=True)
class KSpace:
    """Lines of the input's k-space that were acquired; the others are 0."""

    kept: float = 0.5
    """Share of the lines, in (0, 1]."""
    centre: float = 0.08
    """Share of the lines about the centre that are always kept, in [0, kept]."""
    seed: int = 1
    """Names the draw of the other lines."""
    axis: Axis = "rows"
    """Whether rows or columns of k-space are left out."""

    def lines(self, n: int) -> NDArray[np.bool_]:
        """(n,) which lines are kept, in the order of `numpy.fft`; a line and its mirror image share their fate."""
        distance = np.minimum(np.arange(n), n - np.arange(n))  # from the centre of k-space
        # The mean is never left out: an image without it has no level that anything could be compared at.
        kept: NDArray[np.bool_] = distance <= max(0.0, (self.centre * n - 1) / 2)
        outer = np.unique(distance[~kept])
        for d in rng.child(self.seed, "k-space lines", n).permutation(outer):
            if np.count_nonzero(kept) < round(self.kept * n):
                kept |= distance == d
        return kept


class Thick(NamedTuple):
    """What an operator does along one axis."""

    scale: int
    """Pixels of the truth in one of the input."""
    blur_sd: float
    """Pixels of the truth; mirrored at the border."""
    profile: Profile
    fwhm: float
    """Of a Gaussian profile, in pixels of the input."""
    lines: KSpace | None
    """Lines of k-space that are kept along this axis; None where all are."""

    def matrix(self, n: int) -> Float:
        """(n / scale, n), for an axis of `n` pixels."""
        blur = np.eye(n)
        if self.blur_sd:
            blur = ndimage.gaussian_filter1d(blur, self.blur_sd, axis=0, mode="reflect")
        matrix: Float = self._averages(n) @ blur
        return matrix if self.lines is None else masked_lines(matrix, self.lines.lines(len(matrix)))

    def _averages(self, n: int) -> Float:
        """Averages over thick pixels; each row sums to 1."""
        if self.scale == 1:
            return np.eye(n)
        centre = np.arange(n // self.scale)[:, None] * self.scale + (self.scale - 1) / 2
        distance = np.abs(np.arange(n) - centre)
        if self.profile == "gaussian":
            weights: Float = np.exp(-((distance * FWHM / (self.fwhm * self.scale)) ** 2) / 2)
        else:
            weights = (distance <= (self.scale / 2 if self.profile == "box" else 0.5)).astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights


def masked_lines(y: Float, kept: NDArray[np.bool_]) -> Float:
    """`y` (n, m) with those of the n frequencies along its first axis set to 0 that are not `kept`."""
    return np.fft.ifft(np.fft.fft(y, axis=0) * kept[:, None], axis=0).real


class Separable(NamedTuple):
    """A separable operator on one size of truth, with its singular value decomposition."""

    shape: Shape
    """(H, W)."""
    forward: tuple[Float, Float]
    """(h, H) along rows and (w, W) along columns."""
    left: tuple[Float, Float]
    """(h, k) and (w, l), columns orthonormal."""
    right: tuple[Float, Float]
    """(k, H) and (l, W), rows orthonormal."""
    values: Float
    """(k, l) singular values of the product; 0 where they are under `SEEN`."""
    seen: Float
    """(H, W) share of each pixel's white noise that is seen: the diagonal of the projection."""

    def apply(self, x: Float) -> Float:
        """The operator without the singular values that are under `SEEN`."""
        return along(self.left, self.values * along(self.right, x))

    def adjoint(self, y: Float) -> Float:
        """The adjoint of `apply`."""
        return along(transposed(self.right), self.values * along(transposed(self.left), y))

    def solve(self, y: Float) -> Float:
        """The pseudo-inverse of `apply`."""
        return along(transposed(self.right), ratio(along(transposed(self.left), y), self.values))

    def project(self, x: Float) -> Float:
        """`solve` after `apply`: the projection on what is seen."""
        return along(transposed(self.right), (self.values > 0) * along(self.right, x))


@lru_cache(maxsize=16)
def separable(rows: Thick, columns: Thick, shape: Shape) -> Separable:
    """The operator that does `rows` along the rows' axis (down) and `columns` along the other, on images of `shape`."""
    forward = rows.matrix(shape[0]), columns.matrix(shape[1])
    (u, s, v), (p, t, q) = (np.linalg.svd(matrix, full_matrices=False) for matrix in forward)
    values = np.outer(s, t)
    values = np.where(values >= SEEN * values.max(), values, 0.0)
    seen = along((np.square(v).T, np.square(q).T), (values > 0).astype(np.float64))
    return Separable(shape, forward, (u, p), (v, q), values, seen)


def along(pair: tuple[Float, Float], x: Float) -> Float:
    """R x C' for a pair (R, C) and images (..., H, W)."""
    rows, columns = pair
    y: Float = rows @ x @ columns.T
    return y


def transposed(pair: tuple[Float, Float]) -> tuple[Float, Float]:
    """(R', C')."""
    return pair[0].T, pair[1].T


def ratio(a: Float, b: Float) -> Float:
    """A / b, 0 where b is."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b > 0)
