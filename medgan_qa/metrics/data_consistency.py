"""Whether an output says of the input what the input says: the output degraded again, held against it.

References:
    A. Lugmayr, M. Danelljan, R. Timofte, "NTIRE 2021 learning the super-resolution space challenge", CVPR Workshops
        (2021) 596-612: an output is consistent from 45 dB on (a difference of 0.6 % of the range).
    S. Bhadra, V. A. Kelkar, F. J. Brooks, M. A. Anastasio, "On hallucinations in tomographic image reconstruction",
        IEEE Trans. Med. Imaging 40 (2021) 3249-3260: the measurement-space part of an error.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import image2d, region

Float = NDArray[np.float64]

SMOOTHING_PX = 1.5
"""Of the map, in pixels of the input: what is wrong in one place is wrong in several pixels, and noise is not."""


class Residual(NamedTuple):
    """The difference of an output degraded again from the input, in unit range unless said."""

    rms: float
    """Root mean square."""
    ratio: float
    """Root mean square over what noise and rounding explain."""
    bias: float
    """Mean; positive where the output is too bright."""
    gain: float | None
    """Slope of the output on the input, both smoothed, so that noise and lost sharpness do not bend it; None where one
    of them is constant."""
    gain_error: float
    """Standard error of the gain; 0 without one."""
    local: float
    """Largest absolute value of `map`, over what noise and rounding explain in one pixel."""
    map: Float
    """(h, w) the difference, smoothed."""

    @property
    def decibel(self) -> float:
        """Peak signal to noise ratio of the output degraded again, in dB; infinite for no difference."""
        return -20 * math.log10(self.rms) if self.rms > 0 else math.inf


def residual(degraded: Any, given: Any, inside: Any, floor: float, measured: Any | None = None) -> Residual:
    """Hold a degraded output against the input.

    Args:
        degraded: (h, w), the operator applied to the output.
        given: (h, w), the input.
        inside: (h, w) bool with a pixel at least: the body; all but `local` and `map` is of it.
        floor: root mean square that noise and rounding explain, above 0.
        measured: (h, w) bool, where the input was measured; everywhere if None.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, no pixel inside was measured, something is not finite, or `floor` is not above 0.
    """
    y = image2d(given, "given")
    again = image2d(degraded, "degraded", y.shape)
    there = np.ones(y.shape, bool) if measured is None else region(measured, "measured", y.shape)
    where = region(region(inside, "inside", y.shape) & there, "what is inside and measured")
    if not floor > 0:
        raise ValueError(f"floor must be above 0, got {floor!r}")
    difference = (again - y) * there
    smooth = ndimage.gaussian_filter(difference, SMOOTHING_PX, mode="nearest")
    rms = float(np.sqrt(np.mean(np.square(difference[where]))))
    gain, error = _slope(y, y + difference, where)
    return Residual(
        rms=rms,
        ratio=rms / floor,
        bias=float(difference[where].mean()),
        gain=gain,
        gain_error=error,
        local=float(np.abs(smooth).max()) / floor,
        map=smooth,
    )


def _slope(y: Float, again: Float, where: NDArray[np.bool_]) -> tuple[float | None, float]:
    """1 over the slope of y on `again`, and its error: the noise is in y, and a regressor without noise is unbiased."""
    low, high = (ndimage.gaussian_filter(x, SMOOTHING_PX, mode="nearest")[where] for x in (y, again))
    low, high = low - low.mean(), high - high.mean()
    spread, shared = float(np.mean(high * high)), float(np.mean(high * low))
    if spread < 1e-12 or abs(shared) < 1e-12:
        return None, 0.0
    gain = spread / shared
    # Smoothing leaves one independent value in so many pixels.
    independent = max(low.size / (4 * math.pi * SMOOTHING_PX**2), 1.0)
    return gain, float(np.std(high - gain * low) / np.std(low) / math.sqrt(independent))
