"""Gross faults of single images, as numbers.

`image_faults` measures, it does not judge: real images have saturated pixels, quantised values and bodies that reach
the border as well. `medgan_qa.metrics.reference_range` compares with the same measures of real images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._contour import (
    ANGLES,
    CONSTANT_RANGE,
    SMALLEST_SIDE,
    SPECK_PX,
    foreground,
    holes,
    longest_run,
    outline,
    parts,
)
from medgan_qa.metrics.body import body_mask
from medgan_qa.metrics.reference_range import Quantity, Table

RANGE_SLACK = 1e-3
"""Excess over the unit range that is none: a quarter of a grey level of 8 bits."""
HISTOGRAM_BINS = 64
"""Bins over an image's own range in which a spike at an end is looked for."""
FRAME_PX = 3
"""Width in pixels of the border strip whose edges are compared with those inside."""
SMOOTH_HARMONICS = 8
"""Angular harmonics of an outline that count as its shape; what is left counts as roughness."""
NOTCH = 0.88
"""Share of the expected radius below which the outline has a gap."""

FAULTS: dict[str, Quantity] = {
    "non_finite": Quantity(
        "1", "high", 1e-6, "share of pixels that are NaN or infinite; the rest is measured with 0 there"
    ),
    "out_of_range": Quantity("1", "high", 1e-3, "share of pixels outside [0, 1] by more than 0.001"),
    "contrast": Quantity("1", "low", 1e-2, "99.5th minus 0.5th percentile of the values: 0 for a constant image"),
    "mean": Quantity("1", "both", 1e-2, "mean value: low for an empty image, high for a washed-out one"),
    "at_minimum": Quantity("1", "high", 5e-3, "share of pixels at exactly the smallest value"),
    "at_maximum": Quantity("1", "high", 1e-3, "share of pixels at exactly the largest value"),
    "spike_low": Quantity("log2", "high", 0.5, "pixels in the lowest 1/64 of the range over those in the next"),
    "spike_high": Quantity("log2", "high", 0.5, "pixels in the highest 1/64 of the range over those in the next"),
    "levels": Quantity("log2", "low", 0.25, "number of distinct values: low where values were quantised"),
    "frame_level": Quantity("1", "high", 1e-2, "mean of the outermost pixels on the brightest of the four sides"),
    "frame_step": Quantity("1", "high", 1e-2, "largest step between a side's outermost pixels and the third ones"),
    "border_edges": Quantity(
        "log2", "high", 0.25, "mean gradient in a strip of 3 pixels at the border over that inside"
    ),
    "body_at_border": Quantity("1", "high", 1e-2, "share of the outermost pixels that are body: content cut off"),
    "no_body": Quantity("1", "high", 0.1, "1 where the values span less than 0.001, so that there is no body"),
    "body_share": Quantity("1", "both", 1e-2, "share of the image inside the body's outline"),
    "body_components": Quantity("1", "high", 0.25, "connected parts of the foreground of at least 4 pixels"),
    "largest_component": Quantity("1", "low", 1e-2, "share of the foreground in its largest part"),
    "holes": Quantity("1", "high", 0.25, "background enclosed by foreground, at least 4 pixels each"),
    "contour_gap": Quantity("degree", "high", 2.0, "longest run of the outline more than 12 % inside its convex hull"),
    "contour_roughness": Quantity("1", "high", 2e-3, "rms of the outline's radius about 8 harmonics, over its mean"),
}
"""The measures of `image_faults`."""

NO_BODY = {
    "no_body": 1.0,
    "body_share": 0.0,
    "body_components": 0.0,
    "largest_component": 0.0,
    "holes": 0.0,
    "contour_gap": 360.0,
    "contour_roughness": 1.0,
}
"""What the body measures are where there is no body."""


def image_faults(images: Any) -> Table:
    """Measures of gross faults, one value an image; see `FAULTS` for what each is.

    Foreground is what lies above half of Otsu's threshold (as `body_mask`), before closing and filling. The outline is
    the outermost foreground on rays 2 degrees apart from the centroid of its convex hull; a gap is a run of rays on
    which it lies more than 12 % inside the hull. Gaps wider than about 60 degrees take the hull with them and are
    measured short; they show in the roughness. Bodies far from convex (a hand, two legs) have gaps by nature: the
    measure then says whether they are other than the reference's.

    Args:
        images: (N, H, W), each side at least 16 pixels; NaN and infinity are allowed and measured.

    Returns:
        By name (N,) float64, always finite. Without a body the body measures stand at `NO_BODY`.

    Raises:
        ValueError: wrong shape or too small.
    """
    array = np.asarray(images)
    if array.ndim != 3 or min(array.shape[1:]) < SMALLEST_SIDE:
        raise ValueError(
            f"images must have shape (N, H, W) with sides of at least {SMALLEST_SIDE} pixels, got {array.shape}"
        )
    rows = [_faults(image) for image in array]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in FAULTS}


def _faults(image: NDArray[Any]) -> dict[str, float]:
    pixels = image.astype(np.float64)
    finite = np.isfinite(pixels)
    pixels = np.where(finite, pixels, 0.0)
    row = {"non_finite": 1.0 - finite.mean(), **_values(pixels), **_border(pixels)}
    if np.ptp(pixels) < CONSTANT_RANGE:
        return {**row, **NO_BODY, "body_at_border": 0.0}
    body = body_mask(pixels)
    edge = np.concatenate([body[0], body[-1], body[1:-1, 0], body[1:-1, -1]])
    return {**row, "body_at_border": float(edge.mean()), "body_share": float(body.mean()), **_shape(pixels)}


def _values(pixels: NDArray[np.float64]) -> dict[str, float]:
    low, high = float(pixels.min()), float(pixels.max())
    outside = (pixels < -RANGE_SLACK) | (pixels > 1.0 + RANGE_SLACK)
    percentiles = np.percentile(pixels, (0.5, 99.5))
    return {
        "out_of_range": float(outside.mean()),
        "contrast": float(percentiles[1] - percentiles[0]),
        "mean": float(pixels.mean()),
        "at_minimum": float((pixels == low).mean()),
        "at_maximum": float((pixels == high).mean()),
        "spike_low": 0.0 if high == low else _spike(pixels - low, high - low),
        "spike_high": 0.0 if high == low else _spike(high - pixels, high - low),
        "levels": math.log2(np.unique(pixels).size),
    }


def _spike(above: NDArray[np.float64], spread: float) -> float:
    """log2 of the pixels in the first bin over those in the second; `above` counts from the end that is looked at."""
    first = np.count_nonzero(above <= spread / HISTOGRAM_BINS)
    second = np.count_nonzero(above <= 2 * spread / HISTOGRAM_BINS) - first
    return math.log2((first + 1) / (second + 1))


def _border(pixels: NDArray[np.float64]) -> dict[str, float]:
    sides = [
        (pixels[0], pixels[2]),
        (pixels[-1], pixels[-3]),
        (pixels[:, 0], pixels[:, 2]),
        (pixels[:, -1], pixels[:, -3]),
    ]
    gradient = np.hypot(*np.gradient(pixels))
    inside = gradient[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX]
    strip = (gradient.sum() - inside.sum()) / (gradient.size - inside.size)
    trace = 1e-4
    return {
        "frame_level": max(float(outer.mean()) for outer, _ in sides),
        "frame_step": max(abs(float(outer.mean() - inner.mean())) for outer, inner in sides),
        "border_edges": math.log2((strip + trace) / (float(inside.mean()) + trace)),
    }


def _shape(pixels: NDArray[np.float64]) -> dict[str, float]:
    mask = foreground(pixels)
    sizes = parts(mask, SPECK_PX)
    contour = outline(mask)
    row = {
        "no_body": 0.0,
        "body_components": float(sizes.size),
        "largest_component": float(sizes[0] / mask.sum()) if sizes.size else 0.0,
        "holes": float(holes(mask, SPECK_PX)),
    }
    if contour is None:
        return {**row, "contour_gap": NO_BODY["contour_gap"], "contour_roughness": NO_BODY["contour_roughness"]}
    gap = longest_run(contour.radius < NOTCH * contour.expected) * 360.0 / ANGLES
    return {**row, "contour_gap": gap, "contour_roughness": _roughness(contour.radius)}


def _roughness(radius: NDArray[np.float64]) -> float:
    coefficients = np.fft.rfft(radius)
    coefficients[: SMOOTH_HARMONICS + 1] = 0.0
    rms = float(np.sqrt(np.mean(np.square(np.fft.irfft(coefficients, radius.size)))))
    return rms / float(radius.mean()) if radius.any() else 1.0
