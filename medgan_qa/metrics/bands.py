"""How much of the truth's detail an image holds, by spatial frequency, and how much that the truth does not hold.

Detail that is there and agrees with the truth is right, detail that is not there is blur, and detail that is there and
does not agree is invented. The power spectrum alone cannot tell the first from the last; the cross spectrum can.

References:
    W. O. Saxton, W. Baumeister, "The correlation averaging of a regularly arranged bacterial cell envelope protein",
        Journal of Microscopy 127 (1982) 127-138: Fourier ring correlation.
    J. S. Bendat, A. G. Piersol, "Random Data", 4th ed., Wiley (2010), chapter 6: power of an output that is linearly
        related to an input, and the rest.
    F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", Proc. IEEE 66
        (1978) 51-83.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from medgan_qa.metrics._arrays import ROUNDING, BoolMask, Spacing, image2d, spacing2d

Float = NDArray[np.float64]
Scale = tuple[int, int]

SMALLEST_SIDE = 16
"""Pixels; fewer leave no frequencies beyond the guard."""
GUARD_BINS = 2.0
"""Frequency bins on each side of the input's Nyquist frequency that belong to no region: the window's main lobe."""
CELL_BINS = 3
"""Side of the cells of the frequency plane over which a gain is taken as one number."""
BANDS_PER_FACTOR, FEWEST_BANDS = 5, 10
NO_POWER = 1e-20
"""Share of an image's power below which a band holds rounding and nothing else."""
EQUAL_SPACING = 1e-3


class BandAgreement(NamedTuple):
    """Output against truth in one set of frequencies. Powers are in units of the truth's power there."""

    power_ratio: float
    """Power of the output; 1 is the right amount of detail, right or wrong."""
    correlation: float
    """In [-1, 1]; 1 where the output is the truth up to a factor, 0 where it holds nothing of it or nothing at all."""
    error_power: float
    """Power of the difference; 0 is perfect, 1 is what an image without anything there has."""
    invented_power: float
    """The part of the error that is not the truth times any gain that is smooth in frequency."""
    lost_power: float
    """The rest of the error: right detail that is too weak (blur) or too strong."""


class Direction(NamedTuple):
    """Bands of equal width along one direction of the frequency plane."""

    name: str
    """`all directions`, `rows` (frequency along the first axis) or `columns`."""
    band: NDArray[np.intp]
    """(H, W) band of each coefficient; -1 for the zero frequency and what belongs to no band."""
    frequency: Float
    """(B,) middles of the bands in cycles per mm."""
    nyquist: float
    """Nyquist frequency of the input in cycles per mm."""


def spectrum(image: Any) -> NDArray[np.complex128]:
    """Coefficients (H, W) of an image freed of its mean and under a Hann window (Harris 1978).

    The mean is the window's own, so the zero frequency is exactly 0 and the image's level is not looked at.

    Args:
        image: (H, W) finite, each side at least 16 pixels.

    Raises:
        ValueError: wrong shape, too small, or not finite.
    """
    pixels = image2d(image, "image")
    if min(pixels.shape) < SMALLEST_SIDE:
        raise ValueError(f"image must have sides of at least {SMALLEST_SIDE} pixels, got shape {pixels.shape}")
    if np.ptp(pixels) <= ROUNDING * np.abs(pixels).max():
        return np.zeros(pixels.shape, np.complex128)
    # sampled half-way between pixels, so that it mirrors onto itself
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in pixels.shape))
    coefficients: NDArray[np.complex128] = fft.fft2((pixels - (pixels * window).sum() / window.sum()) * window)
    coefficients[0, 0] = 0.0
    return coefficients


def regions(shape: tuple[int, int], scale: Scale) -> dict[str, BoolMask]:
    """Where in the frequency plane of the output the input's grid could carry detail, and where it could not.

    Args:
        shape: (H, W) of output and truth.
        scale: how many times the rows and columns of the input they have, each >= 1.

    Returns:
        By name (H, W) bool: `acquired`, up to the input's Nyquist frequency along both axes; `beyond`, above it along
        one at least, where there is a factor above 1; and, where the two factors differ and both are above 1, `beyond
        in rows` and `beyond in columns` apart. Coefficients within 2 bins of a Nyquist frequency of the input belong to
        none of them, as the window spreads each over its neighbours, nor does the zero frequency.

    Raises:
        ValueError: a factor below 1.
    """
    if min(scale) < 1:
        raise ValueError(f"scale must be two factors of at least 1, got {scale!r}")
    bins = np.meshgrid(*(np.abs(fft.fftfreq(n, 1 / n)) for n in shape), indexing="ij")
    edges = [n / (2 * factor) for n, factor in zip(shape, scale, strict=True)]
    over = [k > e + GUARD_BINS if f > 1 else np.zeros(shape, bool) for k, e, f in zip(bins, edges, scale, strict=True)]
    under = [k < e - GUARD_BINS if f > 1 else np.ones(shape, bool) for k, e, f in zip(bins, edges, scale, strict=True)]
    acquired = under[0] & under[1]
    acquired[0, 0] = False
    found = {"acquired": acquired}
    if max(scale) > 1:
        found["beyond"] = over[0] | over[1]
    if min(scale) > 1 and scale[0] != scale[1]:
        found |= {"beyond in rows": over[0], "beyond in columns": over[1]}
    return found


def directions(shape: tuple[int, int], spacing: Spacing, scale: Scale) -> list[Direction]:
    """Bands up to the truth's Nyquist frequency, 5 to each Nyquist frequency of the input and at least 10.

    Where pixels are square and both factors equal, one direction: rings around the zero frequency, so that a rotated
    image has the same bands; the corners of the plane are left out. Otherwise rows and columns apart, each with the
    frequencies of the other axis up to the input's Nyquist frequency there, so that one axis says nothing of the other.

    Args:
        shape: (H, W) of output and truth.
        spacing: (dy, dx) of output and truth in mm.
        scale: how many times the rows and columns of the input they have.

    Raises:
        ValueError: a spacing that is not positive.
    """
    mm = spacing2d(spacing)
    plane = np.meshgrid(*(np.abs(fft.fftfreq(n, d)) for n, d in zip(shape, mm, strict=True)), indexing="ij")
    if scale[0] == scale[1] and abs(mm[0] - mm[1]) <= EQUAL_SPACING * mm[0]:
        return [_direction("all directions", np.hypot(*plane), mm[0], scale[0])]
    within = [f <= (1 + ROUNDING) / (2 * d * factor) for f, d, factor in zip(plane, mm, scale, strict=True)]
    named = zip(("rows", "columns"), plane, mm, scale, reversed(within), strict=True)
    found = [(_direction(name, frequency, d, factor), other) for name, frequency, d, factor, other in named]
    return [way._replace(band=np.where(other, way.band, -1)) for way, other in found]


def _direction(name: str, frequency: Float, spacing: float, factor: int) -> Direction:
    count = max(FEWEST_BANDS, BANDS_PER_FACTOR * factor)
    width = 1 / (2 * spacing * count)
    # a band holds its upper end, so that the last one holds the Nyquist frequency itself
    band = np.ceil(frequency / width - ROUNDING).astype(np.intp) - 1
    band[band >= count] = -1
    middles: Float = (np.arange(count, dtype=np.float64) + 0.5) * width
    return Direction(name, band, middles, 1 / (2 * spacing * factor))


def band_agreement(output: NDArray[Any], truth: NDArray[Any], region: BoolMask) -> BandAgreement | None:
    """Agreement of two spectra in a region of the frequency plane.

    With X the output's coefficients and T the truth's, C = sum Re(X conj T), and powers P = sum |.|^2,

        power_ratio = P_X / P_T,   correlation = C / sqrt(P_X P_T),   error_power = sum |X - T|^2 / P_T.

    Within a cell of 3 x 3 bins, together with its mirror images at the other signs of the two frequencies, the truth
    times the gain g = C / P_T is what of the output the truth explains, so that the cell's error splits exactly into
    P_X - C^2 / P_T, which no gain explains (invented), and P_T (1 - g)^2 (lost). Both are summed over the cells. A
    filter's gain may therefore vary from cell to cell without counting as invention; invented detail correlates with
    the truth by chance, which hides about a tenth of it.

    Args:
        output: (H, W) complex, from `spectrum`.
        truth: (H, W) complex, of the same shape.
        region: (H, W) bool.

    Returns:
        The agreement; None where the truth has no power in the region: nothing can be measured against nothing.

    Raises:
        ValueError: shapes differ.
    """
    if not output.shape == truth.shape == region.shape:
        raise ValueError(f"shapes differ: {output.shape}, {truth.shape} and region {region.shape}")
    x, t = output[region], truth[region]
    cell = _cells(region.shape)[region]
    px, pt, c = (np.bincount(cell, v) for v in (_power(x), _power(t), (x * t.conj()).real))
    total = float(pt.sum())
    if total <= NO_POWER * float(_power(truth).sum()):
        return None
    there = pt > 0
    gain = np.divide(c, pt, out=np.zeros_like(c), where=there)
    explained = np.minimum(gain * c, px)
    both = float(np.sqrt(px.sum() * total))
    return BandAgreement(
        power_ratio=float(px.sum()) / total,
        correlation=float(np.clip(c.sum() / both, -1, 1)) if both > 0 else 0.0,
        error_power=float(_power(x - t).sum()) / total,
        invented_power=float((px - explained).sum()) / total,
        lost_power=float((pt * (1 - gain) ** 2).sum()) / total,
    )


class BandCurves(NamedTuple):
    """Agreement by band; NaN where the truth has no power in a band."""

    correlation: Float
    """(B,) in [-1, 1]."""
    power_ratio: Float
    """(B,) power of the output over that of the truth."""


def band_curves(output: NDArray[Any], truth: NDArray[Any], direction: Direction) -> BandCurves:
    """Correlation and power ratio of two spectra in every band of a direction, as `band_agreement`.

    Raises:
        ValueError: shapes differ.
    """
    if not output.shape == truth.shape == direction.band.shape:
        raise ValueError(f"shapes differ: {output.shape}, {truth.shape} and bands {direction.band.shape}")
    inside = direction.band >= 0
    x, t, band = output[inside], truth[inside], direction.band[inside]
    sums = (_power(x), _power(t), (x * t.conj()).real)
    px, pt, c = (np.bincount(band, v, minlength=direction.frequency.size) for v in sums)
    there = pt > NO_POWER * float(_power(truth).sum())
    ratio = np.divide(px, pt, out=np.full(px.shape, np.nan), where=there)
    root = np.sqrt(px * pt)
    correlation = np.divide(c, root, out=np.zeros_like(c), where=root > 0)
    return BandCurves(np.where(there, correlation.clip(-1, 1), np.nan), ratio)


def _cells(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """(H, W) number of the cell of each coefficient; the four signs of a frequency share one."""
    rows, columns = (np.abs(np.rint(fft.fftfreq(n, 1 / n))).astype(np.intp) // CELL_BINS for n in shape)
    cells: NDArray[np.intp] = rows[:, None] * (columns.max() + 1) + columns[None, :]
    return cells


def _power(coefficients: NDArray[Any]) -> Float:
    power: Float = np.square(coefficients.real) + np.square(coefficients.imag)
    return power
