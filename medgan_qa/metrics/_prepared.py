"""Images made ready for a search of copies: reduced, smoothed, less their local contrast, and read on rings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float, image_stack, resampled
from medgan_qa.metrics._polar import Rings, foreground_rings, frame_rings, soft_foreground
from medgan_qa.metrics.points import spread

FINE_PX, COARSE_PX = 64, 32
"""Pixels along the shorter side on which residuals are taken, and on which layouts are found."""
SMOOTHING = 1 / 50
"""Standard deviation, as a share of the shorter side, of the Gaussian applied before residuals are taken: noise of two
per cent hardly counts."""
SILHOUETTE = 1 / 26
"""The same before the foreground is read."""
ON_RINGS = 1 / 42
"""The same before an image is read on rings."""
LOCAL, FLOOR = 1 / 21, 0.15
"""Reach of a local mean (standard deviation, share of the shorter side), and share of the contrast on the whole that is
added to the local one."""

BLOCK = 256
"""Images that a thread works on at once."""
ALL = slice(None)

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Images ready to be searched: reduced, smoothed and read on rings."""

    shape: tuple[int, int]
    """Of the images as they were given."""
    raw: Float
    """(N, h, w) not smoothed."""
    fine: Float
    """(N, h, w) smoothed a little."""
    fine_detail: Float
    """(N, h, w) the same without local mean and contrast."""
    foreground: Bool
    """(N, h, w)"""
    coarse: Float
    """(N, h', w') smoothed more."""
    coarse_detail: Float
    weight: Float
    """(N, h', w') soft foreground on the coarse grid."""
    reach: Float
    """(N, 2) how far down and across the image reaches from the middle of the grid, in units of half the shorter side
    of the grid."""
    about_foreground: Rings

    def __len__(self) -> int:
        return len(self.fine)

    @property
    def grain(self) -> float:
        """Standard deviation, in pixels of the fine grid, of the smoothing of `fine`."""
        return SMOOTHING * float(min(self.fine.shape[1:]))

    def window(self, shift: tuple[float, float], scale: float, chosen: Index | slice = ALL) -> Rings:
        """Images read about a place of their own: the rings that a crop of `scale` of the side would have there.

        Args:
            shift: (y, x) of the middle of the window, in units of half the shorter side.
            scale: side of the window over that of the image.
            chosen: which images.
        """
        return frame_rings(self.coarse[chosen], self.weight[chosen], self.reach[chosen], shift, scale)


def prepared(images: Any, extent: Any = None) -> Prepared:
    """Images (N, H, W), finite and in unit range, ready to be searched.

    Args:
        images: all on one grid.
        extent: (N, 2) rows and columns in the middle of the grid that hold each image, see
            `medgan_qa.metrics._working`; None: all of it.

    Raises:
        ValueError: another shape, or an image that is not finite.
    """
    stack = image_stack(images, "images")
    shape = (stack.shape[1], stack.shape[2])
    held = np.tile(np.array(shape, np.float32), (len(stack), 1)) if extent is None else np.asarray(extent, np.float32)
    fine, coarse = (_grid(shape, side) for side in (FINE_PX, COARSE_PX))
    short, reach = min(shape), held / min(shape)
    raw = stack if fine == shape else _resampled(stack, fine, 0.0)
    smooth = _resampled(stack, fine, SMOOTHING * short)
    foreground = _over(stack, lambda part: soft_foreground(resampled(part, fine, SILHOUETTE * short)))
    foreground *= _inside(reach, fine)
    on_rings, weight = _resampled(stack, coarse, ON_RINGS * short), _resampled(foreground, coarse, 0.0)
    about = foreground_rings(on_rings, weight)
    detail, rough = (_over(x, normalised_detail) for x in (smooth, on_rings))
    return Prepared(shape, raw, smooth, detail, foreground > 0.5, on_rings, rough, weight, reach, about)


def _inside(reach: Float, shape: tuple[int, int]) -> Float:
    """(N, h, w) 1 where the grid holds an image, or (1, 1, 1) where all of it does."""
    half = min(shape) / 2
    if (reach * half >= np.array(shape) / 2 - 0.01).all():
        return np.ones((1, 1, 1), np.float32)
    y, x = (np.abs(np.arange(side) - (side - 1) / 2) / half for side in shape)
    inside: Bool = (y[None, :, None] < reach[:, 0, None, None]) & (x[None, None, :] < reach[:, 1, None, None])
    return inside.astype(np.float32)


def cut_off(weight: Float, reach: Float) -> Bool:
    """(N,) whether the foreground (N, h, w) reaches the border of the image, of whose extent `reach` is the half."""
    half = min(weight.shape[1:]) / 2
    middle = (np.array(weight.shape[1:]) - 1) / 2
    first = np.maximum(np.ceil(middle - reach * half), 0).astype(np.intp)
    last = np.array(weight.shape[1:]) - 1 - first
    every = np.arange(len(weight))
    rows = [weight[every, side[:, 0]].max(axis=1) for side in (first, last)]
    columns = [weight[every, :, side[:, 1]].max(axis=1) for side in (first, last)]
    cut: Bool = np.max([*rows, *columns], axis=0) > 0.5
    return cut


def normalised_detail(images: Float) -> Float:
    """Images (N, h, w) less their local mean, over their local contrast: shading, gamma and bright bone count little.

    Where an image is flat, its contrast on the whole keeps noise from being blown up.
    """
    shape = (images.shape[1], images.shape[2])
    rest = images - resampled(images, shape, LOCAL * min(shape))
    detail: Float = rest / _contrast(rest)
    return detail


def local_contrast(images: Float) -> Float:
    """(N, h, w) what `normalised_detail` divides by."""
    return _contrast(images - resampled(images, (images.shape[1], images.shape[2]), LOCAL * min(images.shape[1:])))


def _contrast(rest: Float) -> Float:
    energy = resampled(rest * rest, (rest.shape[1], rest.shape[2]), LOCAL * min(rest.shape[1:]))
    floor = FLOOR * np.sqrt(energy.mean(axis=(1, 2), keepdims=True))
    contrast: Float = np.sqrt(np.maximum(energy, 0)) + floor + np.float32(1e-6)
    return contrast


def noise_left(shape: tuple[int, int], grain: float) -> float:
    """Share of the variance of white noise that is left after smoothing by `grain` pixels and less the local mean."""
    impulse = np.zeros((1, *shape), np.float32)
    impulse[0, shape[0] // 2, shape[1] // 2] = 1
    smooth = resampled(impulse, shape, grain)
    left = smooth - resampled(smooth, shape, LOCAL * min(shape))
    return float(np.square(left, dtype=np.float64).sum())


def _over(images: Float, work: Callable[[Float], Float]) -> Float:
    """A function of images over all of them, in threads, a few at a time so that little is held beside the result."""
    cost = images.shape[1] * images.shape[2]
    made = work(images[:1])
    out = np.empty((len(images), *made.shape[1:]), np.float32)

    def fill(part: slice) -> None:
        for start in range(part.start, part.stop, BLOCK):
            block = slice(start, min(start + BLOCK, part.stop))
            out[block] = work(images[block])

    spread(fill, len(images), cost)
    return out


def _grid(shape: tuple[int, int], side: int) -> tuple[int, int]:
    scale = max(1.0, min(shape) / side)
    return round(shape[0] / scale), round(shape[1] / scale)


def _resampled(images: Float, shape: tuple[int, int], blur: float) -> Float:
    return _over(images, lambda part: resampled(part, shape, blur))
