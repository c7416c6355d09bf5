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
SHIFTS = (-0.08, 0.0, 0.08)
"""Shifts of the query along each axis, of half the shorter side, that are tried about the middle of the frame."""
LOCAL, FLOOR = 1 / 21, 0.15
"""Reach of a local mean (standard deviation, share of the shorter side), and share of the contrast on the whole that is
added to the local one."""

Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Images ready to be searched: reduced, smoothed and read on rings."""

    shape: tuple[int, int]
    """Of the images as they were given."""
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
    about_foreground: Rings
    about_frame: tuple[Rings, ...]
    """Of every shift of `SHIFTS`, the unmoved one in the middle."""

    def __len__(self) -> int:
        return len(self.fine)

    @property
    def unmoved(self) -> Rings:
        """About the middle of the frame as it is."""
        return self.about_frame[len(self.about_frame) // 2]


def prepared(images: Any) -> Prepared:
    """Images (N, H, W), finite and in unit range, ready to be searched.

    Raises:
        ValueError: another shape, or an image that is not finite.
    """
    stack = image_stack(images, "images")
    shape = (stack.shape[1], stack.shape[2])
    fine, coarse = (_grid(shape, side) for side in (FINE_PX, COARSE_PX))
    short = min(shape)
    smooth = _resampled(stack, fine, SMOOTHING * short)
    foreground = soft_foreground(_resampled(stack, fine, SILHOUETTE * short))
    on_rings, weight = _resampled(stack, coarse, ON_RINGS * short), _resampled(foreground, coarse, 0.0)
    frame = tuple(frame_rings(on_rings, weight, (y, x)) for y in SHIFTS for x in SHIFTS)
    about = foreground_rings(on_rings, weight)
    detail, rough = (_over(x, normalised_detail) for x in (smooth, on_rings))
    return Prepared(shape, smooth, detail, foreground > 0.5, on_rings, rough, weight, about, frame)


def normalised_detail(images: Float) -> Float:
    """Images (N, h, w) less their local mean, over their local contrast: shading, gamma and bright bone count little.

    Where an image is flat, its contrast on the whole keeps noise from being blown up.
    """
    shape = (images.shape[1], images.shape[2])
    reach = LOCAL * min(shape)
    rest = images - resampled(images, shape, reach)
    energy = resampled(rest * rest, shape, reach)
    floor = FLOOR * np.sqrt(energy.mean(axis=(1, 2), keepdims=True))
    detail: Float = rest / (np.sqrt(np.maximum(energy, 0)) + floor + np.float32(1e-6))
    return detail


def _over(images: Float, work: Callable[[Float], Float]) -> Float:
    """A function of images over all of them, in threads."""
    return np.concatenate(spread(lambda part: work(images[part]), len(images), images.shape[1] * images.shape[2]))


def _grid(shape: tuple[int, int], side: int) -> tuple[int, int]:
    scale = max(1.0, min(shape) / side)
    return round(shape[0] / scale), round(shape[1] / scale)


def _resampled(images: Float, shape: tuple[int, int], blur: float) -> Float:
    return _over(images, lambda part: resampled(part, shape, blur))
