"""Which of the eight positions of a square an image is in, read by what real images look like upright.

One vector of weights says how upright an image looks; an image is read in the position that, undone, makes it look most
upright. The reader therefore reads an image that is turned exactly as it reads the image itself, turned: its errors on
turned images follow from those on unturned ones, and no image has to be turned to learn them. Where anatomy is
symmetric the two positions look the same to it, and it says so by its errors.

References:
    D. McFadden, "Conditional logit analysis of qualitative choice behavior", in: Frontiers in Econometrics (1974)
        105-142: one vector of weights for all alternatives.
    T. Karras et al., "Training generative adversarial networks with limited data" (2020), arXiv 2006.06676: turns and
        flips of training images that a generator takes over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from medgan_qa.metrics._alignment import INVERSE, ORIENTATIONS, image_stack, orientations, oriented, resampled

Float = NDArray[np.float64]

CELLS = 16
"""Cells along the shorter side that the reader sees."""
BLUR = 1 / 64
"""Standard deviation, as a share of the shorter side, of the Gaussian applied first."""
PENALTY = 0.01
"""Weight of half the squared weights beside the mean log loss."""
STEPS = 300
FLAT = 1e-6
"""Standard deviation in unit range below which an image shows nothing."""


@dataclass(frozen=True, eq=False)
class OrientationReader:
    """A fitted reader."""

    shape: tuple[int, int]
    """Of the images that it reads."""
    codes: tuple[int, ...]
    """Positions it knows, codes of `ORIENTATIONS`: all eight for square images, the first four for others."""
    weights: Float
    """(D,) of the cells."""
    typical: Float
    """(D,) mean of the real images, less its mean, of length 1."""

    def scores(self, images: Any) -> Float:
        """(N, K) logarithm of the likelihood of every position for images (N, H, W), up to a constant an image.

        Raises:
            ValueError: another shape, or an image that is not finite.
        """
        return _undone(image_stack(images, "images", self.shape), self.codes) @ self.weights

    def likeness(self, images: Any) -> Float:
        """(N, K) correlation of the mean real image with images (N, H, W) as they are with each position undone.

        An image that is no turned one, such as a negative, may score highest in some position; it is not like a real
        one there.
        """
        undone = _undone(image_stack(images, "images", self.shape), self.codes)
        return np.asarray(undone @ self.typical / np.sqrt(undone.shape[2]), np.float64)

    def turned(self, scores: Float, code: int) -> Float:
        """What scores or likeness would be were the images in position `code`: the same ones in another order."""
        order = [self.codes.index(composed(INVERSE[code], other)) for other in self.codes]
        return np.asarray(scores[:, order])


def orientation_reader(images: Any, penalty: float = PENALTY) -> OrientationReader:
    """Learn from real images (N, H, W), all of them upright, what upright is.

    Maximises the mean log probability of position 0, where the probabilities are proportional to exp(w . x) over the
    positions undone, less `penalty` / 2 times the squared weights; the problem is convex. Images are seen less their
    mean, in units of their standard deviation, on a grid of 16 cells along the shorter side.

    Raises:
        ValueError: another shape, no image, one that is not finite, or a penalty that is not above 0.
    """
    stack = image_stack(images, "images")
    if len(stack) == 0 or not penalty > 0:
        raise ValueError(f"images and a penalty above 0 are needed, got {len(stack)} images and {penalty!r}")
    shape = (stack.shape[1], stack.shape[2])
    codes = orientations(shape, "dihedral")
    seen = _undone(stack, codes)

    def loss(weights: Float) -> tuple[float, Float]:
        log_p = special.log_softmax(seen @ weights, axis=1)
        expected = np.einsum("nk,nkd->d", np.exp(log_p), seen) / len(seen)
        slope = expected - seen[:, 0].mean(axis=0) + penalty * weights
        return -float(log_p[:, 0].mean()) + penalty / 2 * float(weights @ weights), slope

    start = np.zeros(seen.shape[2])
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "gtol": 1e-6})
    mean = seen[:, 0].mean(axis=0)
    typical = mean / max(float(np.linalg.norm(mean)), FLAT)
    return OrientationReader(shape, codes, np.asarray(found.x, np.float64), typical)


@cache
def composed(outer: int, inner: int) -> int:
    """Code of the position that an image in position `inner` has when it is then put into position `outer`."""
    grid = np.arange(9, dtype=np.float32).reshape(3, 3)
    both = oriented(oriented(grid, inner), outer)
    return next(code for code in range(len(ORIENTATIONS)) if np.array_equal(oriented(grid, code), both))


def generated_group(codes: Any) -> frozenset[int]:
    """All positions that come about by putting an image into some of `codes` one after the other, with 0."""
    group = frozenset({0, *codes})
    while True:
        larger = group | {composed(a, b) for a in group for b in group}
        if larger == group:
            return group
        group = larger


def _undone(stack: NDArray[np.float32], codes: tuple[int, ...]) -> Float:
    """(N, K, D) images on the reader's grid with each position undone."""
    short = min(stack.shape[1:])
    scale = max(1.0, short / CELLS)
    grid = (round(stack.shape[1] / scale), round(stack.shape[2] / scale))
    small = resampled(stack, grid, BLUR * short)
    small -= small.mean(axis=(1, 2), keepdims=True)
    small /= np.maximum(small.std(axis=(1, 2), keepdims=True), np.float32(FLAT))
    undone = [oriented(small, INVERSE[code]).reshape(len(small), -1) for code in codes]
    return np.stack(undone, axis=1).astype(np.float64)
