"""Power of windowed images at every frequency: what the measures of `medgan_qa.metrics.spectrum` are read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

FLOOR = 1e-12
"""Smallest power, relative to the mean over all frequencies, that a logarithm is taken of."""
SMALLEST_SIDE = 32
"""Pixels; below it the lobes of the window and the neighbourhoods of the peaks run into each other."""
BLOCK = 256
"""Images transformed at a time; bounds memory and changes no number."""


def image_stack(images: Any) -> NDArray[Any]:
    """Images (N, H, W) that spectra can be taken of.

    Raises:
        ValueError: wrong shape, too small, or not finite (naming the images).
    """
    array = np.asarray(images)
    if array.ndim != 3 or min(array.shape[1:]) < SMALLEST_SIDE:
        raise ValueError(
            f"images must have shape (N, H, W) with sides of at least {SMALLEST_SIDE} pixels, got {array.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))
    if bad.size:
        raise ValueError(f"images must be finite; NaN or infinity in images {bad[:10].tolist()} ({bad.size} in all)")
    return array


def power_blocks(stack: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Power of the images, `BLOCK` at a time; one empty block where there are none."""
    yield from (_power(stack[i : i + BLOCK]) for i in range(0, max(len(stack), 1), BLOCK))


def relative(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power over its mean; 0 where there is none."""
    return divided(power, power.mean(axis=(1, 2), keepdims=True))


def divided(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """A / b; 0 where b is 0."""
    quotient: NDArray[np.float64] = np.divide(a, b, out=np.zeros_like(a), where=b > 0)
    return quotient


def frequencies(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies (rows, columns) of every coefficient in cycles per pixel, each (H, W)."""
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    return fy, fx


def flat(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, H * W), also where n is 0."""
    return power.reshape(power.shape[0], power.shape[1] * power.shape[2])


def _power(stack: NDArray[Any]) -> NDArray[np.float64]:
    """(n, H, W) power of the windowed images; exactly 0 at the zero frequency and for a constant image."""
    height, width = stack.shape[1:]
    # Sampled half-way between pixels: mirrors onto itself and still has three coefficients only.
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in (height, width)))
    pixels = stack.astype(np.float64)
    if len(stack) == 0:
        return pixels
    varies = np.ptp(pixels, axis=(1, 2)) > 0
    mean = np.tensordot(pixels, window, axes=2) / window.sum()
    coefficients = fft.fft2((pixels - mean[:, None, None]) * window)
    power: NDArray[np.float64] = np.square(coefficients.real) + np.square(coefficients.imag)
    power[:, 0, 0] = 0.0
    power[~varies] = 0.0
    return power
