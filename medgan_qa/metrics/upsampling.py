"""Upsampling without learning: what a super-resolver has to be better than.

References:
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29 (1981) 1153-1160.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
SHARPNESS = -0.5
"""Keys' parameter a: third-order accurate."""


def repeated(image: Any, scale: tuple[int, int]) -> Float:
    """Each pixel of an image (..., h, w) as scale[0] x scale[1] pixels alike: the nearest neighbour."""
    rows, columns = scale
    return np.repeat(np.repeat(np.asarray(image, np.float32), rows, axis=-2), columns, axis=-1)


def bicubic(image: Any, scale: tuple[int, int]) -> Float:
    """Cubic convolution (Keys 1981) of an image (..., h, w) onto a grid finer by `scale`; the border is repeated.

    Pixel centres are aligned: a pixel of the input lies in the middle of the block of pixels that it becomes, so that
    nothing is shifted. A scale of (1, 1) returns the image.
    """
    array = np.asarray(image, np.float64)
    rows, columns = (_weights(n, s) for n, s in zip(array.shape[-2:], scale, strict=True))
    return (rows @ array @ columns.T).astype(np.float32)


def _weights(n: int, scale: int) -> NDArray[np.float64]:
    """(n * scale, n) cubic convolution weights of `n` input pixels."""
    place = (np.arange(n * scale) + 0.5) / scale - 0.5
    first = np.floor(place).astype(int)
    weights = np.zeros((n * scale, n))
    for tap in range(-1, 3):
        source = np.clip(first + tap, 0, n - 1)
        np.add.at(weights, (np.arange(n * scale), source), _kernel(place - (first + tap)))
    return weights


def _kernel(t: NDArray[np.float64]) -> NDArray[np.float64]:
    a, t = SHARPNESS, np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t**2 + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))
