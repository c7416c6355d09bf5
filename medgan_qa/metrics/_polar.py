"""Signatures that rotation, reflection, gain and offset leave alone, and rough poses read from them.

An image is read on rings about a centre. A turn of the image is then a shift along the rings: it changes the phases of
their Fourier coefficients and not the magnitudes. Two views are taken: about the centre of the foreground in units of
its size, which undoes shift and scale, and about the middle of the frame, which holds where the foreground is cut off
by the border or fills the frame.

References:
    M.-K. Hu, "Visual pattern recognition by moment invariants", IRE Trans. Inf. Theory 8 (1962) 179-187: normalising
        position and size by moments.
    G. H. Granlund, "Fourier preprocessing for hand print character recognition", IEEE Trans. Comput. 21 (1972) 195-201:
        magnitudes of Fourier coefficients as invariants.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics.points import spread

RINGS = 10
ANGLES = 40
"""Samples along a ring."""
ORDERS = 10
"""Fourier coefficients kept of a ring: 0 to 9 periods a turn."""
REACH = 1.05
"""Radius of the outermost ring over that of a disc as large as the foreground."""
IN_FRAME = 0.9
"""Radius of the outermost ring of the view about the middle of the frame, over half the shorter side."""
FINE = 80
"""Angles, 4.5 degrees apart, at which two images are correlated."""
AIR, TISSUE = 0.12, 0.30
"""Levels between the 2nd and the 95th percentile at which a pixel begins to be foreground and is wholly so."""
BLOCK = 256
"""Images that a thread reads at once."""
FLAT = 1e-6
"""Spread (unit range) below which an image has no structure."""

Complex = NDArray[np.complex64]
Index = NDArray[np.intp]


class Rings(NamedTuple):
    """Images on rings about their own centre."""

    spectra: Complex
    """(N, RINGS, ORDERS) Fourier coefficients along the rings; all 0 for an image without structure."""
    centre: Float
    """(N, 2) (y, x) about the middle of the image, in units of half the shorter side."""
    radius: Float
    """(N,) unit of the rings' radii, in the same units."""

    @property
    def signatures(self) -> Float:
        """(N, RINGS * ORDERS) magnitudes."""
        magnitudes: Float = np.abs(self.spectra).reshape(len(self.spectra), -1)
        return magnitudes


class Poses(NamedTuple):
    """How the reference of each pair has to be turned to look like its query, all (P,)."""

    correlation: Float
    """At the best angle; larger is more alike."""
    angle: Float
    """Radians: the query at polar angle t is like the reference at t + angle, clockwise as y points down."""
    mirrored: NDArray[np.bool_]
    """The reference is flipped left-right first."""


def soft_foreground(smooth: Float) -> Float:
    """(N, h, w) in [0, 1]: 1 in tissue, 0 in air, of images smoothed enough that noise in air does not count."""
    flat = np.sort(smooth.reshape(len(smooth), smooth.shape[1] * smooth.shape[2])[:, ::2], axis=1)
    low, high = (flat[:, round(q * (flat.shape[1] - 1)), None, None] for q in (0.02, 0.95))
    level = (smooth - low) / np.maximum(high - low, np.float32(FLAT))
    soft: Float = np.clip((level - np.float32(AIR)) / np.float32(TISSUE - AIR), 0, 1)
    return soft


def foreground_rings(smooth: Float, weight: Float) -> Rings:
    """Images (N, h, w) about the centre of their foreground `weight`, in units of its size."""
    total = np.maximum(weight.sum(axis=(1, 2)), 1.0)
    half = np.float32(min(smooth.shape[1:]) / 2)
    y, x = ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / half for side in weight.shape[1:])
    centre = np.stack([weight.sum(axis=2) @ y, weight.sum(axis=1) @ x], axis=1) / total[:, None]
    radius = REACH * np.sqrt(total / np.float32(np.pi)) / half
    return _read(smooth, weight, centre.astype(np.float32), radius.astype(np.float32))


def frame_rings(smooth: Float, weight: Float, reach: Float, shift: tuple[float, float], scale: float = 1.0) -> Rings:
    """Images about a place of their frame.

    Args:
        smooth: (N, h, w).
        weight: (N, h, w).
        reach: (N, 2) how far each image reaches from its middle, in units of half the shorter side of the grid.
        shift: (y, x) of that place from the middle, in units of half the shorter side of each image.
        scale: of the rings.
    """
    short = reach.min(axis=1)
    return _read(smooth, weight, short[:, None] * np.array(shift, np.float32), np.float32(IN_FRAME * scale) * short)


def _read(smooth: Float, weight: Float, centre: Float, radius: Float) -> Rings:
    total = np.maximum(weight.sum(axis=(1, 2)), 1.0)
    mean = np.einsum("nij,nij->n", smooth, weight) / total
    out, turn = (np.arange(RINGS) + 0.7) / RINGS, 2 * np.pi * np.arange(ANGLES) / ANGLES
    to_y, to_x = (np.outer(out, wave(turn)).ravel().astype(np.float32) for wave in (np.sin, np.cos))
    half = np.float32(min(smooth.shape[1:]) / 2)
    middle = (np.array(smooth.shape[1:], np.float32) - 1) / 2

    found = np.empty((len(smooth), RINGS, ORDERS), np.complex64)

    def spectra(part: slice) -> None:
        pixels = (smooth[part] - mean[part, None, None]) * weight[part]
        y = middle[0] + half * (centre[part, :1] + radius[part, None] * to_y)
        x = middle[1] + half * (centre[part, 1:] + radius[part, None] * to_x)
        read = sampled(pixels, np.arange(part.stop - part.start), y, x).reshape(-1, RINGS, ANGLES)
        # A ring stands for an area that grows with its radius.
        read = read * np.sqrt(out).astype(np.float32)[:, None]
        norm = np.sqrt((read**2).sum(axis=(1, 2), keepdims=True))
        read = np.where(norm > FLAT * RINGS * ANGLES, read / np.maximum(norm, FLAT), 0)
        found[part] = np.fft.rfft(read, axis=2)[:, :, :ORDERS]

    def blocks(part: slice) -> None:
        # A few at a time, so that little is held beside the result.
        for start in range(part.start, part.stop, BLOCK):
            spectra(slice(start, min(start + BLOCK, part.stop)))

    spread(blocks, len(smooth), RINGS * ANGLES)
    return Rings(found, centre, radius)


def sampled(stack: Float, index: Index, y: Float, x: Float) -> Float:
    """Bilinear samples (P, K) of the images `index` (P,) of a stack at (P, K) places; beyond the border it repeats."""
    height, width = stack.shape[1:]
    y, x = np.clip(y, 0, np.float32(height - 1)), np.clip(x, 0, np.float32(width - 1))
    top, left = np.minimum(y.astype(np.int32), height - 2), np.minimum(x.astype(np.int32), width - 2)
    y, x = y - top.astype(np.float32), x - left.astype(np.float32)
    place = (top * width + left) + (index * (height * width)).astype(np.int64)[:, None]
    flat = stack.reshape(-1)
    upper, right = flat[place], flat[place + 1]
    upper += (right - upper) * x
    place += width
    lower, right = flat[place], flat[place + 1]
    lower += (right - lower) * x
    lower -= upper
    lower *= y
    lower += upper
    read: Float = lower
    return read


def poses(queries: Complex, references: Complex) -> Poses:
    """The best turn of each pair of spectra (P, RINGS, ORDERS)."""
    signs = np.where(np.arange(ORDERS) % 2, -1, 1).astype(np.float32)
    plain, mirror = (_best_turn(queries, seen) for seen in (references, signs * references.conj()))
    mirrored = mirror[0] > plain[0]
    return Poses(np.maximum(plain[0], mirror[0]), np.where(mirrored, mirror[1], plain[1]), mirrored)


def _best_turn(queries: Complex, references: Complex) -> tuple[Float, Float]:
    cross = np.zeros((len(queries), FINE // 2 + 1), np.complex64)
    cross[:, :ORDERS] = (queries.conj() * references).sum(axis=1)
    along = np.fft.irfft(cross, FINE, axis=1)
    turn = along.argmax(axis=1) * (2 * np.pi / FINE)
    return along.max(axis=1).astype(np.float32), turn.astype(np.float32)
