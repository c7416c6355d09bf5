"""Fourier ring correlation of patches: up to which detail two images of the same place agree.

References:
    W. O. Saxton, W. Baumeister, "The correlation averaging of a regularly arranged bacterial cell envelope protein",
        Journal of Microscopy 127 (1982) 127-138.
    P. KC, R. Zeng, N. Soni, A. Badano, "sFRC for assessing hallucinations in medical image restoration",
        arXiv:2603.04673 (2026), with the program DIDSR/sfrc.
    F. J. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", Proc. IEEE 66
        (1978) 51-83.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float = NDArray[np.float64]
WindowName = Literal["hann", "upstream-0"]

SMALLEST_SIDE = 8
"""Pixels; fewer leave no ring that holds more than a handful of frequencies."""
BLOCK = 2048
"""Patches transformed at a time; bounds memory and changes no number."""
ROUNDING = 1e-12
"""Range of a constant patch, relative to its largest value."""
NO_POWER = 1e-20
"""Share of a patch's power below which a ring holds rounding and nothing else."""


class RingCorrelation(NamedTuple):
    """Agreement by detail."""

    frequency: Float
    """(R,) in shares of the Nyquist frequency, from 0, in steps of 2 / P."""
    correlation: Float
    """(N, R) in [-1, 1], or (R,) for a pair of single patches."""


def windowed(patches: Any, window: WindowName = "hann") -> Float:
    """Patches made ready for the transform.

    `hann`: the mean is taken out and the patch multiplied by the outer product of two Hann windows (Harris 1978), so
    that neither the patch's level nor its border reaches the rings. `upstream-0`: what the published program computes
    under the name of a Hann window: each patch is scaled to run from 0 to 1, its rows are weighted by a Hann window,
    and the result is multiplied pixel by pixel with its own transpose. It is not linear in the image, and is there to
    reproduce published numbers.

    Args:
        patches: (N, P, P) finite.
        window: the name.

    Returns:
        (N, P, P). A constant patch becomes 0 throughout.

    Raises:
        ValueError: wrong shape, too small, not finite, or no such window.
    """
    x = _patches(patches, "patches")
    if window not in get_args(WindowName):
        raise ValueError(f"window must be one of {', '.join(get_args(WindowName))}, got {window!r}")
    weights = np.hanning(x.shape[-1])
    if window == "hann":
        return _levelled(x) * np.outer(weights, weights)
    weighted = _unit_range(x) * weights[:, None]
    product: Float = weighted * weighted.transpose(0, 2, 1)
    return product


def frc(a: Any, b: Any, window: WindowName = "hann") -> RingCorrelation:
    """Fourier ring correlation of patch pairs (Saxton & Baumeister 1982).

    In each ring of the frequency plane, the real part of sum(A conj(B)) over sqrt(sum |A|^2 sum |B|^2): the correlation
    of the two patches filtered to that ring. It does not change when one patch is scaled or shifted in level, as a
    whole or, for scaling, ring by ring: only shape counts. Two patches of independent noise have a mean of 0 with a
    standard deviation of about 1 / sqrt(frequencies in the ring), more under a window, which correlates neighbours.
    Rings are one frequency bin wide and run to the Nyquist frequency; corners are left out. Under `upstream-0` a ring
    sums frequencies by their radius rounded down and rounded up, half each, and the sign of the correlation is lost, as
    in the published program.

    Args:
        a: (N, P, P) or (P, P) finite, P at least 8.
        b: the same shape, of the same places.
        window: see `windowed`.

    Returns:
        Frequencies and correlations. A ring without power in both patches counts as agreement (1), one without power in
        one of them as none (0).

    Raises:
        ValueError: shapes differ, or as `windowed`.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"both sides must have one shape, got {first.shape} and {second.shape}")
    single = first.ndim == 2
    if single:
        first, second = first[None], second[None]
    rings = _rings(_patches(first, "patches").shape[-1], window)
    blocks = [
        _correlated(windowed(first[k : k + BLOCK], window), windowed(second[k : k + BLOCK], window), rings)
        for k in range(0, max(len(first), 1), BLOCK)
    ]
    correlation = np.concatenate(blocks)
    if window == "upstream-0":
        correlation = np.abs(correlation)
    size = first.shape[-1]
    return RingCorrelation(np.arange(size // 2) * (2 / size), correlation[0] if single else correlation)


def crossing(found: RingCorrelation, threshold: float) -> Float:
    """The frequency at which each correlation first falls below a threshold, interpolated between rings.

    Args:
        found: with correlations (N, R). The ring at frequency 0 is not looked at: it holds the patch's level, not its
            detail.
        threshold: in (0, 1).

    Returns:
        (N,) in shares of the Nyquist frequency; 1 where it never falls below.

    Raises:
        ValueError: the threshold is out of range, or correlations are not (N, R).
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold!r}")
    if found.correlation.ndim != 2:
        raise ValueError(f"correlation must have shape (N, R), got {found.correlation.shape}")
    frequency, correlation = found.frequency[1:], found.correlation[:, 1:]
    below = correlation < threshold
    first = below.argmax(axis=1)
    each = np.arange(len(correlation))
    # Below from the first ring on: agreement is taken to have been whole at frequency 0.
    before = np.where(first > 0, correlation[each, np.maximum(first - 1, 0)], 1.0)
    start = np.where(first > 0, frequency[np.maximum(first - 1, 0)], 0.0)
    drop = np.where(below.any(axis=1), before - correlation[each, first], 1.0)
    at = start + (frequency[first] - start) * (before - threshold) / drop
    reached: Float = np.where(below.any(axis=1), at, 1.0)
    return reached


def scan_corners(shape: tuple[int, int], patch: int, stride: int) -> NDArray[np.intp]:
    """(K, 2) first row and column of patches that scan an image, the last of a line flush with the border.

    Args:
        shape: (H, W).
        patch: side in pixels.
        stride: step in pixels, >= 1; below `patch` patches overlap, so that a lesion on the border of one is whole in
            another.

    Raises:
        ValueError: the patch is larger than the image, or a number is below 1.
    """
    if not (1 <= patch <= min(shape) and stride >= 1):
        raise ValueError(f"patch must fit into {shape} and stride be at least 1, got {patch!r} and {stride!r}")
    lines = [np.unique(np.append(np.arange(0, side - patch, stride), side - patch)) for side in shape]
    corners: NDArray[np.intp] = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
    return corners


def cut(image: NDArray[Any], corners: NDArray[np.intp], patch: int) -> NDArray[Any]:
    """(K, P, P) patches of an image (H, W) at the corners (K, 2)."""
    views = np.lib.stride_tricks.sliding_window_view(image, (patch, patch))
    patches: NDArray[Any] = views[corners[:, 0], corners[:, 1]]
    return patches


def _patches(patches: Any, name: str) -> Float:
    array = np.asarray(patches, np.float64)
    if array.ndim != 3 or array.shape[1] != array.shape[2] or array.shape[1] < SMALLEST_SIDE:
        raise ValueError(f"{name} must be square with sides of at least {SMALLEST_SIDE} pixels, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold NaN or infinity; no estimate is made from them")
    return array


def _levelled(x: Float) -> Float:
    """Patches less their mean; exactly 0 where they are constant, for rounding has a spectrum of its own."""
    left = x - x.mean(axis=(1, 2), keepdims=True)
    largest = np.abs(x).max(axis=(1, 2), keepdims=True, initial=0.0)
    levelled: Float = np.where(np.ptp(x, axis=(1, 2), keepdims=True) > ROUNDING * largest, left, 0.0)
    return levelled


def _unit_range(x: Float) -> Float:
    low, reach = x.min(axis=(1, 2), keepdims=True), np.ptp(x, axis=(1, 2), keepdims=True)
    scaled: Float = np.divide(x - low, reach, out=np.zeros_like(x), where=reach > 0)
    return scaled


def _rings(size: int, window: WindowName) -> Float:
    """(R, P * P) weight of every frequency in every ring."""
    index = fft.fftfreq(size, 1 / size)
    radius = np.hypot(index[:, None], index[None, :]).ravel()
    ring = np.arange(size // 2)[:, None]
    ways = (np.rint,) if window == "hann" else (np.floor, np.ceil)
    weights: Float = np.mean([way(radius) == ring for way in ways], axis=0)
    return weights


def _correlated(a: Float, b: Float, rings: Float) -> Float:
    """(N, R) correlation in each ring."""
    spectra = [fft.fft2(x).reshape(len(x), -1) for x in (a, b)]
    across = (spectra[0] * spectra[1].conj()).real @ rings.T
    powers = [np.square(np.abs(s)) for s in spectra]
    held = [_power(p, p @ rings.T) for p in powers]
    scale = np.sqrt(held[0] * held[1])
    correlation = np.divide(across, scale, out=np.zeros_like(across), where=scale > 0)
    correlation[(held[0] == 0) & (held[1] == 0)] = 1.0
    bounded: Float = correlation.clip(-1.0, 1.0)
    return bounded


def _power(power: Float, in_ring: Float) -> Float:
    """Power in rings, 0 where it is rounding."""
    return np.where(in_ring > NO_POWER * power.sum(axis=1, keepdims=True), in_ring, 0.0)
