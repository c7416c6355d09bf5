"""Power spectra of images, and the periodic traces that upsampling layers leave in them.

A transposed convolution whose kernel is no multiple of its stride writes a checkerboard over the image; upsampling in
general changes the high frequencies. Both are seen in the spectrum at amplitudes that the eye does not find. Every
number here is one of an image; what is normal is for the same numbers of real images to say, as real anatomy and real
acquisition (interpolation, zero filling) leave traces too.

References:
    R. Durall, M. Keuper, J. Keuper, "Watch your up-convolution: CNN based generative deep neural networks are failing
        to reproduce spectral distributions", CVPR (2020) 7890-7899.
    A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", Distill (2016).
    S.-Y. Wang, O. Wang, R. Zhang, A. Owens, A. A. Efros, "CNN-generated images are surprisingly easy to spot... for
        now", CVPR (2020) 8695-8704.
    F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", Proc. IEEE 66
        (1978) 51-83.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._arrays import Spacing, spacing2d
from medgan_qa.metrics._power import (
    FLOOR,
    divided,
    flat,
    frequencies,
    image_stack,
    power_blocks,
    relative,
)

PEAK_RADIUS = 1.5
"""Frequency bins around a peak: the main lobe of the Hann window."""
GUARD_RADIUS = 3.5
"""Frequency bins around a peak that are left out of the neighbourhood of any peak."""
NEIGHBOURS = 48
"""Coefficients of about the same radial frequency that a peak is compared with."""
LINE_BINS = 2
"""Frequency bins on each side of a Nyquist line that the window spreads the line over."""

PERIOD_2 = ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5))
PERIOD_4 = ((0.25, 0.0), (0.0, 0.25), (0.25, 0.25), (-0.25, 0.25), (0.25, 0.5), (0.5, 0.25))
"""Frequencies (rows, columns), in cycles per pixel, of grids that repeat every 2 and every 4 pixels."""


class RadialSpectrum(NamedTuple):
    """Power by radial frequency."""

    frequency: NDArray[np.float64]
    """(F,) centres of the rings in cycles per pixel, ascending, without the zero frequency."""
    log_power: NDArray[np.float64]
    """(N, F) log10 of the mean power in a ring over the mean power of all frequencies; white noise is 0 everywhere."""


class _Point(NamedTuple):
    """Flat indices of the coefficients at a grid frequency, and of those it is compared with."""

    peak: NDArray[np.intp]
    neighbours: NDArray[np.intp]


def radial_power_spectrum(images: Any, spacing: Spacing = (1.0, 1.0)) -> RadialSpectrum:
    """Azimuthally averaged power spectrum of each image (Durall et al. 2020), windowed and normalised.

    The mean of an image is taken out and a Hann window applied before the transform, so that neither the zero frequency
    nor the step between opposite borders reaches the other frequencies. Rings are one bin of the shorter physical side
    wide and run to the corner of the frequency plane, sqrt(1/2) cycles per pixel on a square grid. Dividing by the mean
    power makes the spectrum independent of size, brightness and contrast; what is left is its shape.

    Args:
        images: (N, H, W) finite, each side at least 32 pixels.
        spacing: pixel spacing (rows, columns) in any unit. Where it is anisotropic, frequencies are physical ones in
            cycles per finer pixel.

    Returns:
        Frequencies and per-image log power. A constant image has no power and stands at log10(1e-12) = -12 throughout.

    Raises:
        ValueError: wrong shape, too small, not finite (naming the images), or a spacing that is not positive.
    """
    stack = image_stack(images)
    ring, frequency = _rings(stack.shape[1], stack.shape[2], spacing2d(spacing))
    counts = np.bincount(ring)[1:]
    planes = (plane for power in power_blocks(stack) for plane in relative(power))
    means = [np.bincount(ring, weights=plane.ravel())[1:] / counts for plane in planes]
    log_power = np.log10(np.maximum(np.reshape(means, (len(stack), counts.size)), FLOOR))
    return RadialSpectrum(frequency, log_power)


def high_band_energy(images: Any, cutoff: float = 0.35) -> NDArray[np.float64]:
    """Share of an image's power at radial frequencies of at least `cutoff`.

    Low for a generator that blurs, high for one that adds noise or a grid. Window and mean as `radial_power_spectrum`.

    Args:
        images: (N, H, W) finite, each side at least 32 pixels.
        cutoff: cycles per pixel, in (0, 0.5].

    Returns:
        (N,) in [0, 1]; 0 for a constant image. Noise alone gives 0.62 at the default cutoff.

    Raises:
        ValueError: as `radial_power_spectrum`, or a cutoff outside its range.
    """
    if not 0.0 < cutoff <= 0.5:
        raise ValueError(f"cutoff must lie in (0, 0.5] cycles per pixel, got {cutoff!r}")
    stack = image_stack(images)
    fy, fx = frequencies(stack.shape[1], stack.shape[2])
    high = np.hypot(fy, fx) >= cutoff
    shares = [divided(power[:, high].sum(axis=1), power.sum(axis=(1, 2))) for power in power_blocks(stack)]
    return np.concatenate(shares)


def spectral_peaks(images: Any) -> dict[str, NDArray[np.float64]]:
    """How far the power at the frequencies of pixel grids exceeds what surrounds it, for each image.

    A grid of period p that modulates an image (Odena et al. 2016) sets copies of its spectrum around multiples of 1/p.
    The power within 1.5 bins of such a frequency is compared with the 48 coefficients nearest to it in radial frequency
    that are clear of every grid frequency: an excess is an anisotropy that the radial spectrum does not show. The
    background is their median over ln 2, which is the mean where coefficients are exponentially distributed (noise) and
    does not follow single strong ones.

    Args:
        images: (N, H, W) finite, each side at least 32 pixels.

    Returns:
        `period_2`: log10 of the excess at (1/2, 0), (0, 1/2) or (1/2, 1/2) cycles per pixel, the largest of the three;
        `period_4`: the same at the frequencies that hold 1/4, the largest of six; `nyquist_lines`: log10 of the power
        along the lines |f| = 1/2, within 2 bins, over that of the 4 bins inside them, the larger of rows and columns.
        Each (N,), about 0 for noise (a little above, as a largest of several), 0 for a constant image.

    Raises:
        ValueError: wrong shape, too small, or not finite (naming the images).
    """
    stack = image_stack(images)
    grids = {"period_2": PERIOD_2, "period_4": PERIOD_4}
    points = {name: _points(stack.shape[1:], grid) for name, grid in grids.items()}
    rows = [
        {**{name: _excess(power, group) for name, group in points.items()}, "nyquist_lines": _line_excess(power)}
        for power in power_blocks(stack)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def mean_power_spectrum(images: Any) -> NDArray[np.float64]:
    """Mean over the images of the normalised power at each frequency (Wang et al. 2020), to show faint grids.

    Averaging over a set brings out a grid that no single image shows.

    Args:
        images: (N, H, W) finite, each side at least 32 pixels, N >= 1.

    Returns:
        (H, W) log10 of power over its mean, zero frequency in the middle (at row H // 2, column W // 2).

    Raises:
        ValueError: no image, wrong shape, too small, or not finite (naming the images).
    """
    stack = image_stack(images)
    if len(stack) == 0:
        raise ValueError("images must hold at least one image, got none")
    sums = [relative(power).sum(axis=0) for power in power_blocks(stack)]
    mean = np.sum(sums, axis=0) / len(stack)
    return np.fft.fftshift(np.log10(np.maximum(mean, FLOOR)))


def _rings(height: int, width: int, spacing: Spacing) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Ring of each coefficient (0: the zero frequency, then 1, 2, ... without gaps) and the rings' frequencies."""
    finer = min(spacing)
    fy, fx = frequencies(height, width)
    radius = np.hypot(fy * finer / spacing[0], fx * finer / spacing[1])
    step = finer / min(height * spacing[0], width * spacing[1])
    number = np.maximum(np.rint(radius / step).astype(np.intp), 1)
    number[0, 0] = 0
    kept, ring = np.unique(number, return_inverse=True)
    return ring.ravel(), kept[1:] * step


def _distance(shape: tuple[int, ...], point: tuple[float, float]) -> NDArray[np.float64]:
    """(H * W,) distance of every coefficient from a frequency or its conjugate, in bins, across the borders."""
    axes = list(zip(shape, frequencies(shape[0], shape[1]), point, strict=True))
    from_point = np.hypot(*(n * _wrapped(f - p) for n, f, p in axes))
    from_conjugate = np.hypot(*(n * _wrapped(f + p) for n, f, p in axes))
    return np.minimum(from_point, from_conjugate).ravel()


def _wrapped(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """In [-1/2, 1/2)."""
    return np.mod(frequency + 0.5, 1.0) - 0.5


def _points(shape: tuple[int, ...], grid: tuple[tuple[float, float], ...]) -> list[_Point]:
    fy, fx = frequencies(shape[0], shape[1])
    radius = np.hypot(fy, fx).ravel()
    clear = np.all([_distance(shape, point) > GUARD_RADIUS for point in PERIOD_2 + PERIOD_4], axis=0)
    clear[0] = False
    candidates = np.flatnonzero(clear)
    points = []
    for point in grid:
        # Rounded, so that equal distances tie whatever the last bit, and the order of the coefficients decides.
        off = np.round(np.abs(radius[candidates] - np.hypot(*point)), 9)
        nearest = candidates[np.argsort(off, kind="stable")[:NEIGHBOURS]]
        points.append(_Point(np.flatnonzero(_distance(shape, point) <= PEAK_RADIUS), nearest))
    return points


def _excess(power: NDArray[np.float64], points: list[_Point]) -> NDArray[np.float64]:
    every = flat(power)
    peaks = np.stack([every[:, p.peak].mean(axis=1) for p in points], axis=1)
    around = np.stack([np.median(every[:, p.neighbours], axis=1) for p in points], axis=1) / np.log(2.0)
    excess: NDArray[np.float64] = _log_ratio(peaks, around, power).max(axis=1)
    return excess


def _line_excess(power: NDArray[np.float64]) -> NDArray[np.float64]:
    ratios = []
    for axis in (1, 2):
        side = power.shape[axis]
        bins = side * np.abs(np.abs(np.fft.fftfreq(side)) - 0.5)
        along = power.mean(axis=3 - axis)
        line, inside = along[:, bins < LINE_BINS], along[:, (bins >= LINE_BINS) & (bins < LINE_BINS + 4)]
        ratios.append(_log_ratio(line.mean(axis=1)[:, None], inside.mean(axis=1)[:, None], power)[:, 0])
    return np.maximum(*ratios)


def _log_ratio(a: NDArray[np.float64], b: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """log10(a / b), (n, k), both lifted by a trace of the image's mean power; 0 where an image has none."""
    trace = FLOOR * power.mean(axis=(1, 2))[:, None]
    some = np.where(trace > 0, trace, 1.0)
    ratio: NDArray[np.float64] = np.log10((a + some) / (b + some))
    return ratio
