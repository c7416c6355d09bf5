"""How the intensities of an output follow those of its reference: a straight line, fitted with noise on both sides.

References:
    H. Passing, W. Bablok, "A new biometrical procedure for testing the equality of measurements from two different
        analytical methods", J. Clin. Chem. Clin. Biochem. 21 (1983) 709-720.
    W. Bablok, H. Passing, R. Bender, B. Schneider, "A general regression procedure for method transformation",
        J. Clin. Chem. Clin. Biochem. 26 (1988) 783-790.
    G. L. Sievers, "Weighted rank statistics for simple linear regression", J. Am. Stat. Assoc. 73 (1978) 628-631.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import image2d, mask2d
from medgan_qa.stats._arguments import finite_vector

Float = NDArray[np.float64]

MOST_POINTS = 300
"""Points that the line is fitted to; all pairs are formed, so work grows with the square."""
FEWEST_POINTS = 10
SIGMA_PX = 3.5
FLAT = 1e-9
"""A spread below this share of the largest value is rounding."""


class CalibrationLine(NamedTuple):
    """output = offset + slope * reference."""

    slope: float
    offset: float
    """Output where the reference is 0, in the unit of the values."""
    correlation: float
    """Pearson's, of the points; 0 where the output does not vary. Without correlation a slope says nothing."""
    points: int
    """Points that the line was fitted to."""


def smoothed_samples(image: Any, region: Any, sigma_px: float = SIGMA_PX) -> Float:
    """Values of an image at every second pixel of a region, averaged over what lies around them within the region.

    Averaging lowers the noise of both images alike, hides a blur or a shift that is small against it, and leaves a
    straight relation between two images what it is.

    Args:
        image: (H, W) finite.
        region: (H, W) bool; nothing outside it has a part in the values.
        sigma_px: of the Gaussian, in pixels, > 0.

    Returns:
        (K,) in raster order; K may be 0.

    Raises:
        TypeError: the region is not bool.
        ValueError: shapes differ, values are not finite, or `sigma_px` is not above 0.
    """
    pixels = image2d(image, "image")
    inside = mask2d(region, "region", pixels.shape)
    if not sigma_px > 0:
        raise ValueError(f"sigma_px must be above 0, got {sigma_px!r}")
    weight = ndimage.gaussian_filter(inside.astype(np.float64), sigma_px, mode="constant")
    mean = ndimage.gaussian_filter(np.where(inside, pixels, 0.0), sigma_px, mode="constant")
    here = inside[::2, ::2]
    sampled: Float = mean[::2, ::2][here] / weight[::2, ::2][here]
    return sampled


def calibration_line(reference: Any, output: Any, *, most: int = MOST_POINTS) -> CalibrationLine | None:
    """The line that output values follow on reference values, robust and without attenuation.

    Both sides carry noise. Least squares, and the median of pairwise slopes (Theil-Sen), take the reference as exact:
    its noise makes their slope too small. Deming's line allows for it and is moved by a single structure that differs.
    Here the slope is the median of the absolute slopes of all pairs of points (equivariant Passing-Bablok), the
    same line whichever image is called the reference, so noise of equal size relative to the spread of either side
    does not attenuate it, and up to about a quarter of the points may be anything. Pairs weigh by their distance apart,
    each side in units of its spread (as Sievers weights Theil-Sen): most pairs lie within one tissue and hold little
    but noise. The sign is that of the weighted majority of pairs; the offset is the median of output - slope *
    reference.

    Args:
        reference: (N,) finite.
        output: (N,) finite.
        most: beyond so many points, that many are taken, evenly by rank of the mean of both sides.

    Returns:
        The line; None with fewer than 10 points, or where the reference does not vary. A constant output has slope 0.

    Raises:
        ValueError: wrong shapes, lengths differ, values that are not finite, or `most` below 10.
    """
    x, y = finite_vector(reference, "reference"), finite_vector(output, "output")
    if x.size != y.size:
        raise ValueError(f"reference and output must have one length, got {x.size} and {y.size}")
    if most < FEWEST_POINTS:
        raise ValueError(f"most must be at least {FEWEST_POINTS}, got {most!r}")
    if x.size < FEWEST_POINTS or _spread(x) == 0.0:
        return None
    spreads = _spread(x), _spread(y)
    if spreads[1] == 0.0:
        return CalibrationLine(0.0, float(np.median(y)), 0.0, min(x.size, most))
    keep = _even(x / spreads[0] + y / spreads[1], most)
    x, y = x[keep], y[keep]
    slope = _slope(x, y, *spreads)
    return CalibrationLine(slope, float(np.median(y - slope * x)), float(np.corrcoef(x, y)[0, 1]), x.size)


def _spread(values: Float) -> float:
    """Standard deviation; 0 where values differ by rounding only."""
    return float(values.std()) if np.ptp(values) > FLAT * max(float(np.abs(values).max()), FLAT) else 0.0


def _even(order_by: Float, most: int) -> NDArray[np.intp]:
    """Indices of at most `most` elements, evenly spaced in sorted order, extremes included."""
    order = np.argsort(order_by, kind="stable")
    return order if order.size <= most else order[np.linspace(0, order.size - 1, most).round().astype(np.intp)]


def _slope(x: Float, y: Float, spread_x: float, spread_y: float) -> float:
    first, second = np.triu_indices(x.size, 1)
    dx, dy = x[first] - x[second], y[first] - y[second]
    weight = np.hypot(dx / spread_x, dy / spread_y)
    apart = weight > 0
    dx, dy, weight = dx[apart], dy[apart], weight[apart]
    # An upright pair has an infinite slope, which is a legitimate rank.
    steepness = np.divide(np.abs(dy), np.abs(dx), out=np.full(dx.size, np.inf), where=dx != 0)
    sign = 1.0 if float((np.sign(dx) * np.sign(dy) * weight).sum()) >= 0 else -1.0
    order = np.argsort(steepness, kind="stable")
    below = np.cumsum(weight[order])
    middle = float(steepness[order[int(np.searchsorted(below, below[-1] / 2))]])
    return sign * (middle if np.isfinite(middle) else spread_y / spread_x)
