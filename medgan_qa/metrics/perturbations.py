"""Images changed a little, images that belong to no domain, and what tissue looks like in those that do.

Arrays are in unit range, (H, W) or (C, H, W); the last two axes are the image. Nothing is clipped unless said.

References:
    H. Gudbjartsson, S. Patz, "The Rician distribution of noisy MRI data", Magn. Reson. Med. 34 (1995) 910-914.
    J. G. Sled, A. P. Zijdenbos, A. C. Evans, "A nonparametric method for automatic correction of intensity
        nonuniformity in MRI data", IEEE Trans. Med. Imaging 17 (1998) 87-97: a smooth, multiplicative field.
    V. Antun et al., "On instabilities of deep learning in image reconstruction and the potential costs of AI", PNAS 117
        (2020) 30088-30095: change of the output against change of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import BoolMask, dilated, image2d, region

Float = NDArray[np.float32]
Vector = NDArray[np.float64]

SMOOTH_PX = 3.0
"""Scale in pixels at which structure is looked for: noise from pixel to pixel has none."""
NEAR_PX = 3.0
"""Pixels this near to an edge belong to the structure that it bounds."""
LEAST_SPREAD = 1e-6
"""What counts as rounding, in unit range."""


def gaussian_noise(image: Float, sigma: float, g: np.random.Generator) -> Float:
    """`image` plus independent normal noise of standard deviation `sigma`, in unit range."""
    return (image + sigma * g.standard_normal(image.shape)).astype(np.float32)


def rician_noise(image: Float, sigma: float, g: np.random.Generator) -> Float:
    """Magnitude of `image` with normal noise of `sigma` in both channels of the receiver (Gudbjartsson & Patz 1995)."""
    real, imaginary = image + sigma * g.standard_normal(image.shape), sigma * g.standard_normal(image.shape)
    return np.hypot(real, imaginary).astype(np.float32)


def bias_field(shape: tuple[int, int], g: np.random.Generator, order: int = 2) -> Vector:
    """A smooth field (H, W) whose largest absolute value is 1: random half waves up to `order` along each axis."""
    y, x = (np.cos(np.pi * np.outer(np.arange(order + 1), (np.arange(n) + 0.5) / n)) for n in shape)
    weights = g.standard_normal((order + 1, order + 1))
    # A constant is a scale, not a bias.
    weights[0, 0] = 0.0
    field: Vector = y.T @ weights @ x
    field /= np.abs(field).max()
    return field


def biased(image: Float, amplitude: float, g: np.random.Generator) -> Float:
    """`image` times 1 + `amplitude` times a field from `bias_field`; all channels share the field."""
    return (image * (1 + amplitude * bias_field(image.shape[-2:], g))).astype(np.float32)


def shifted(image: NDArray[Any], dy: int, dx: int) -> NDArray[Any]:
    """The image moved by whole pixels, down and to the right; the border is repeated into what becomes free."""
    rows, columns = (np.clip(np.arange(n) - d, 0, n - 1) for n, d in zip(image.shape[-2:], (dy, dx), strict=True))
    moved: NDArray[Any] = image[..., rows[:, None], columns]
    return moved


def gamma_changed(image: Float, gamma: float) -> Float:
    """|image| to the power of `gamma` with its sign, so that values below 0 stay what they are."""
    return (np.sign(image) * np.abs(image) ** gamma).astype(np.float32)


def root_mean_square(change: Any, mask: BoolMask) -> float:
    """Root mean square of `change` (H, W) or (C, H, W) over the mask and all channels, in unit range.

    Raises:
        ValueError: the mask is empty.
    """
    values = np.asarray(change, dtype=np.float64)[..., region(mask, "mask")]
    return float(np.sqrt(np.mean(np.square(values))))


def gain(output_change: Any, input_change: Any, mask: BoolMask) -> float | None:
    """Root mean square of the output's change over that of the input's, both over the mask; lower is better.

    1 for a model that hands changes on as they are, 0 for one that does not see them. None where the input did not
    change over the mask.

    Args:
        output_change: (H, W) or (C, H, W), unit range.
        input_change: the same of the input; another number of channels is allowed.
        mask: (H, W) bool with at least one pixel.
    """
    denominator = root_mean_square(input_change, mask)
    return None if denominator == 0.0 else root_mean_square(output_change, mask) / denominator


def inverted(image: Float) -> Float:
    """Bright and dark exchanged within the range that the image spans."""
    out: Float = (image.max() + image.min() - image).astype(np.float32)
    return out


def rotated(image: Float) -> Float:
    """A quarter turn, on the grid that the image has: cut or filled with its darkest value where the sides differ."""
    height, width = image.shape[-2:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    edges = [(0, 0)] * (image.ndim - 2) + [(top, side - height - top), (left, side - width - left)]
    square: Float = np.pad(image, edges, constant_values=image.min())
    turned: Float = np.rot90(square, axes=(-2, -1))[..., top : top + height, left : left + width]
    return turned.copy()


def block_shuffled(image: Float, blocks: int, g: np.random.Generator) -> Float:
    """The image cut into `blocks` x `blocks` equal fields, exchanged at random; a rest at the border stays in place."""
    height, width = (n // blocks for n in image.shape[-2:])
    if min(height, width) < 1:
        raise ValueError(f"{blocks} x {blocks} blocks need that many pixels, got shape {image.shape}")
    out = image.copy()
    for place, taken in enumerate(g.permutation(blocks * blocks)):
        (row, column), (y, x) = divmod(place, blocks), divmod(int(taken), blocks)
        field = image[..., y * height : (y + 1) * height, x * width : (x + 1) * width]
        out[..., row * height : (row + 1) * height, column * width : (column + 1) * width] = field
    return out


def checkerboard(shape: tuple[int, ...], square: int, low: float, high: float) -> Float:
    """Squares of `square` pixels at two levels."""
    rows, columns = np.indices(shape[-2:])
    board = np.where((rows // square + columns // square) % 2, high, low).astype(np.float32)
    return np.broadcast_to(board, shape).copy()


class TissueLook(NamedTuple):
    """What tissue looks like in the images of a domain, at a scale of `SMOOTH_PX`."""

    low: float
    high: float
    """Intensities that tissue has, in unit range."""
    edge: float
    """Gradient from which on a pixel lies on an edge, in unit range a pixel."""


def tissue_look(images: Sequence[Any], bodies: Sequence[BoolMask]) -> TissueLook:
    """Range of intensities (5 % to 95 %) and median gradient inside the bodies of normal images, all smoothed.

    Args:
        images: (H, W) each, finite, at least one.
        bodies: (H, W) bool each, at least one pixel.
    """
    smooth = np.concatenate([_smoothed(i)[b] for i, b in zip(images, bodies, strict=True)])
    steep = np.concatenate([_gradient(i)[b] for i, b in zip(images, bodies, strict=True)])
    low, high = np.quantile(smooth, (0.05, 0.95))
    return TissueLook(float(low), float(high), float(np.median(steep)))


def tissue_structure(image: Any, look: TissueLook, given: Any | None = None) -> BoolMask:
    """Where an image (H, W) shows what looks like tissue: its intensity, near an edge of its steepness.

    An even grey has the intensity and no edge; noise has edges from pixel to pixel and none at this scale.

    Args:
        image: (H, W) finite.
        look: from normal images of the same domain.
        given: (H, W), the input; structure near an edge of its own is not counted, as the model was given it.

    Returns:
        (H, W) bool; empty for an image without structure.
    """
    smooth = _smoothed(image)
    found = (smooth >= look.low) & (smooth <= look.high) & _near_edges(image, look.edge)
    return found if given is None else found & ~_near_edges(given, look.edge)


def _near_edges(image: Any, edge: float) -> BoolMask:
    # An edge of exactly 0 would make an even grey all edge.
    return dilated(_gradient(image) >= max(edge, LEAST_SPREAD), NEAR_PX)


def _smoothed(image: Any) -> Vector:
    smooth: Vector = ndimage.gaussian_filter(image2d(image, "image"), SMOOTH_PX, mode="nearest")
    return smooth


def _gradient(image: Any) -> Vector:
    steep: Vector = ndimage.gaussian_gradient_magnitude(image2d(image, "image"), SMOOTH_PX, mode="nearest")
    return steep
