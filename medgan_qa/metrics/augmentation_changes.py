"""What augmentation does to training images, at set strengths: changes that a reader of augmented images must see.

Images are (C, H, W) in unit range. Strengths are those at which the augmentation of Karras et al. (2020, arXiv
2006.06676, appendix B) and its like plainly change an image; each is drawn up or down, left or right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]
Generator = np.random.Generator
Part = Literal["moved", "altered", "cut"]

DEGREES, SHIFT, SCALE = 30.0, 1 / 8, 1.25
"""Rotation, shift as a share of the side, and scale."""
BRIGHTNESS, CONTRAST, GAMMA = 0.2, 1.6, 1.8
"""Added, and factor and exponent (or one over them)."""
HUE, SATURATION = 90.0, 2.0
"""Degrees, and factor (or one over it)."""
CUT = (1 / 6, 1 / 3)
"""Sides of a cut-out rectangle, as shares of the image's side."""
FILLINGS = (0.0, 0.5)
"""Values that cut-out leaves: black, and the middle of the range."""


class Change(NamedTuple):
    """One kind of augmentation."""

    name: str
    part: Part
    """What of an image it changes: where it lies, its intensities, or a piece of it."""
    apply: Callable[[Float, Generator], Float]


def rotated(image: Float, g: Generator) -> Float:
    """Turned by 30 degrees about the middle."""
    angle = np.deg2rad(DEGREES * g.choice([-1, 1]))
    return _affine(image, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))


def scaled(image: Float, g: Generator) -> Float:
    """A quarter larger, or as much smaller."""
    return _affine(image, np.eye(2) * SCALE ** float(g.choice([-1, 1])))


def shifted(image: Float, g: Generator) -> Float:
    """Moved by an eighth of the side along one axis; what was outside is filled with the darkest value."""
    moved = np.zeros(3)
    moved[int(g.integers(1, 3))] = g.choice([-1, 1]) * round(SHIFT * min(image.shape[1:]))
    laid = ndimage.shift(image, moved, order=0, mode="constant", cval=float(image.min()))
    return np.asarray(laid, np.float32)


def brightened(image: Float, g: Generator) -> Float:
    """Brighter or darker everywhere."""
    return _unit(image + BRIGHTNESS * g.choice([-1, 1]))


def contrasted(image: Float, g: Generator) -> Float:
    """More or less contrast about the mean."""
    mean = float(image.mean())
    return _unit(mean + (image - mean) * CONTRAST ** g.choice([-1.0, 1.0]))


def gamma_changed(image: Float, g: Generator) -> Float:
    """Another gamma."""
    return _unit(np.clip(image, 0, 1) ** GAMMA ** g.choice([-1.0, 1.0]))


def inverted(image: Float, g: Generator) -> Float:
    """Dark for bright."""
    return _unit(1 - image)


def hue_turned(image: Float, g: Generator) -> Float:
    """Other colours of the same brightness; grey stays grey."""
    angle = np.deg2rad(HUE * g.choice([-1, 1]))
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * axis + np.sin(angle) * cross
    return _unit(np.einsum("ij,jhw->ihw", turn, image))


def saturated(image: Float, g: Generator) -> Float:
    """Stronger or weaker colours."""
    grey = image.mean(axis=0, keepdims=True)
    return _unit(grey + (image - grey) * SATURATION ** g.choice([-1.0, 1.0]))


def cut_out(image: Float, g: Generator) -> Float:
    """A rectangle of one value in the middle half of the image."""
    size = np.array(image.shape[1:])
    height, width = np.maximum(np.rint(g.uniform(*CUT, size=2) * size), 3).astype(int)
    top, left = (np.rint(g.uniform(0.25, 0.75, size=2) * size).astype(int) - (height // 2, width // 2)).tolist()
    cut = image.copy()
    cut[:, max(top, 0) : top + height, max(left, 0) : left + width] = g.choice(FILLINGS)
    return cut


CHANGES: tuple[Change, ...] = (
    Change("rotation by 30 degrees", "moved", rotated),
    Change("shift by an eighth", "moved", shifted),
    Change("scale by 1.25", "moved", scaled),
    Change("brightness by 0.2", "altered", brightened),
    Change("contrast by 1.6", "altered", contrasted),
    Change("gamma 1.8", "altered", gamma_changed),
    Change("inversion", "altered", inverted),
    Change("cut-out", "cut", cut_out),
)
"""Of every image."""
COLOUR_CHANGES: tuple[Change, ...] = (
    Change("hue by 90 degrees", "altered", hue_turned),
    Change("saturation by 2", "altered", saturated),
)
"""Of images with three channels, beside these."""


def changes(channels: int) -> tuple[Change, ...]:
    """The changes that images with so many channels can show."""
    return CHANGES + (COLOUR_CHANGES if channels == 3 else ())


def _affine(image: Float, matrix: NDArray[np.float64]) -> Float:
    """Each channel turned and scaled about its middle by linear interpolation, mirrored at the border."""
    back, middle = np.linalg.inv(matrix), (np.array(image.shape[1:]) - 1) / 2
    laid = [ndimage.affine_transform(c, back, middle - back @ middle, order=1, mode="reflect") for c in image]
    return np.stack(laid).astype(np.float32)


def _unit(image: NDArray[np.floating]) -> Float:
    return np.asarray(np.clip(image, 0, 1), np.float32)
