"""By how much an image is turned against real ones, in degrees, where that is less than a quarter.

A linear reading is fitted on real images that are turned on purpose. What it reads of real images as they are says how
much people differ in how they lie; an angle beyond that is no patient's.

References:
    A. E. Hoerl, R. W. Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 12
        (1970) 55-67.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._alignment import image_stack, resampled

WORKING_PX = 32
"""Pixels along the shorter side of images that are turned for the fit."""
CELLS = 16
"""Cells along the shorter side that the reader sees."""
BLUR = 1 / 48
"""Standard deviation, as a share of the shorter side, of the Gaussian applied first."""
ANGLES = (-36.0, -24.0, -12.0, 12.0, 24.0, 36.0)
"""Degrees that images are turned by for the fit."""
MOST = 150
"""Images that the reader is fitted on at most, evenly spread over those given."""
PENALTY = 0.03
"""Ridge penalty as a share of the number of images, on cells in units of the image's spread."""
FLAT = 1e-6

Float = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TiltReader:
    """A fitted reader."""

    shape: tuple[int, int]
    weights: Vector
    """(D,) degrees a unit of each cell."""
    offset: float

    def degrees(self, images: Any) -> Vector:
        """(N,) angle of images (N, H, W), positive counterclockwise as displayed; 0 is how real images lie.

        Raises:
            ValueError: another shape, or an image that is not finite.
        """
        return _seen(image_stack(images, "images", self.shape)) @ self.weights - self.offset


def tilt_reader(images: Any) -> TiltReader:
    """Fit a reader on real images (N, H, W), N >= 1, as they are and turned by up to 36 degrees either way.

    Raises:
        ValueError: another shape, no image, or one that is not finite.
    """
    stack = image_stack(images, "images")
    if len(stack) == 0:
        raise ValueError("images are needed to learn from")
    shape = (stack.shape[1], stack.shape[2])
    chosen = stack[np.linspace(0, len(stack) - 1, min(MOST, len(stack))).round().astype(int)]
    chosen = resampled(chosen, _grid(shape, WORKING_PX), 0.0)
    seen = [_seen(chosen), *(_seen(rotated(chosen, angle)) for angle in ANGLES)]
    x = np.concatenate(seen)
    target = np.repeat([0.0, *ANGLES], len(chosen))
    gram = x.T @ x + PENALTY * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (target - target.mean()))
    return TiltReader(shape, weights, float(np.median(_seen(stack) @ weights)))


def rotated(images: Float, degrees: float) -> Float:
    """Images (N, H, W) turned counterclockwise about their middle, by linear interpolation, mirrored at the border."""
    angle, middle = np.deg2rad(degrees), (np.array(images.shape[1:]) - 1) / 2
    # The output's place is turned back to where the input has it; rows count downwards.
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    offset = middle - matrix @ middle
    return np.stack([ndimage.affine_transform(i, matrix, offset, order=1, mode="reflect") for i in images])


def _seen(stack: Float) -> Vector:
    shape = (stack.shape[1], stack.shape[2])
    small = resampled(stack, _grid(shape, CELLS), BLUR * min(shape)).astype(np.float64)
    small -= small.mean(axis=(1, 2), keepdims=True)
    small /= np.maximum(small.std(axis=(1, 2), keepdims=True), FLAT)
    return small.reshape(len(small), -1)


def _grid(shape: tuple[int, int], side: int) -> tuple[int, int]:
    scale = max(1.0, min(shape) / side)
    return round(shape[0] / scale), round(shape[1] / scale)
