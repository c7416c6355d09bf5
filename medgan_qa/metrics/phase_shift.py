"""Where one image lies in another, told from the directions of edges and not from grey values.

Each pixel is described by the axis of its gradient (its angle doubled, so that bright-to-dark and dark-to-bright are
the same) and by how far the gradient stands above the image's mean one. Two contrasts of one anatomy agree in this
field wherever they share a boundary, whatever is bright in either. One product of spectra gives the agreement at all
cyclic shifts, a mirrored image costs one more, and nothing is optimised step by step.

References:
    E. Haber, J. Modersitzki, "Intensity gradient based registration and fusion of multi-modal images", MICCAI (2006)
        726-733: normalised gradient fields.
    C. D. Kuglin, D. C. Hines, "The phase correlation image alignment method", Proc. IEEE Int. Conf. Cybernetics and
        Society (1975) 163-165: a shift read off the spectra.
    G. H. Granlund, "In search of a general picture processing operator", Comput. Graph. Image Process. 8 (1978)
        155-173: double-angle representation of orientation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from medgan_qa.metrics._alignment import ORIENTATIONS, oriented
from medgan_qa.metrics._arrays import image2d

Field = NDArray[np.complex64]
Float64 = NDArray[np.float64]

SMOOTHING_PX = 1.0
"""Standard deviation in pixels of the Gaussian whose derivative the gradient is taken with."""
FLAT_GRADIENT = 1e-4
"""Mean gradient (per pixel, of an image's largest absolute value) below which an image has no edges."""
CODES = (0, 1, 2, 3)
"""Orientations that keep height and width: upright, left-right, up-down, half a turn."""
TILE_PX = 4
"""Side of the tiles whose agreement counts as one observation: edges smoothed by a pixel are alike about so far."""
TOLD_APART = 4.0
"""Standard errors by which one orientation has to agree better than another."""
SAME_SIDE = 1.0
"""Standard errors by which further evidence has to point the same way."""
FOUND = 6.0
"""Standard errors by which the best agreement has to exceed none."""
COMMON = 0.25
"""Least agreement of images with something in common; noise, however smooth, reaches less at the best of all shifts."""
STRIP_SHARE = 0.01
"""Share of the reference's edges that must lie in the strip that left the image, for its return to be seen."""
RETURNED = 0.5
"""Agreement in that strip, relative to that of the rest, from which it counts as returned at the opposite border."""
RETURN_EVIDENCE = 3.0
"""Standard errors of the agreement in the strip."""


class Shift(NamedTuple):
    """The best cyclic shift of a reference towards an image, orientation included."""

    code: int
    """Index of `ORIENTATIONS` of the orientation that agrees best; upright where it cannot be told from that."""
    rivals: tuple[int, ...]
    """Other orientations that cannot be told from it: the anatomy is too symmetric, or too little is seen."""
    peaks: tuple[tuple[int, int], ...]
    """For each orientation, (rows down, columns right) that the reference is best moved by once it is turned, each in
    [-size / 2, size / 2)."""
    agreement: float
    """Normalised correlation of the two fields there, in [-1, 1]."""
    evidence: float
    """The agreement in standard errors, over tiles."""
    wrapped: bool
    """What left at one border came in at the opposite one."""

    @property
    def pixels(self) -> tuple[int, int]:
        """The shift at the best orientation."""
        return self.peaks[self.code]

    @property
    def found(self) -> bool:
        """Whether the two images have enough in common to say where one lies in the other."""
        return self.evidence >= FOUND and self.agreement >= COMMON

    @property
    def orientations(self) -> tuple[int, ...]:
        """Every orientation that it may be."""
        return tuple(sorted((self.code, *self.rivals)))

    @property
    def name(self) -> str:
        """`identity`, `flip left-right`, ..., or those that cannot be told apart, joined by `or`."""
        return " or ".join(ORIENTATIONS[k] for k in self.orientations)


def structure_field(image: Any, smoothing_px: float = SMOOTHING_PX) -> Field:
    """Axis and prominence of the gradient at each pixel, as w exp(2 i angle) with w = m^2 / (m^2 + mean(m)^2).

    m is the gradient's magnitude. The field does not change when the image is scaled, shifted or inverted.

    Args:
        image: (H, W) finite.
        smoothing_px: standard deviation of the Gaussian derivative in pixels, > 0.

    Returns:
        (H, W) complex64 with magnitudes in [0, 1); zero everywhere for an image without edges.

    Raises:
        ValueError: not two-dimensional, without pixels, or not finite.
    """
    pixels = image2d(image, "image").astype(np.float32)
    g = ndimage.gaussian_filter1d(pixels, smoothing_px, axis=0, mode="nearest")
    dx = ndimage.gaussian_filter1d(g, smoothing_px, axis=1, order=1, mode="nearest")
    g = ndimage.gaussian_filter1d(pixels, smoothing_px, axis=1, mode="nearest")
    dy = ndimage.gaussian_filter1d(g, smoothing_px, axis=0, order=1, mode="nearest")
    squared = dx * dx + dy * dy
    mean = float(np.sqrt(squared).mean())
    if mean <= FLAT_GRADIENT * float(np.abs(pixels).max()):
        return np.zeros(pixels.shape, np.complex64)
    # (dx + i dy)^2 = m^2 exp(2 i angle)
    field: Field = ((dx + 1j * dy) ** 2 / (squared + np.float32(mean * mean))).astype(np.complex64)
    return field


def oriented_field(field: Field, code: int) -> Field:
    """The field of the image turned into orientation `code` (0 to 3); a single mirror turns angles the other way."""
    turned: Field = oriented(field, code)  # type: ignore[arg-type, assignment]  # views of any kind of array
    return turned.conj() if code in (1, 2) else turned


def best_shift(image: Field, reference: Field) -> Shift:
    """Orientation and cyclic shift of `reference` that agree best with `image`.

    An orientation is told from another by the difference of their agreements in tiles of 4 x 4 pixels, each orientation
    at its own best shift: the sum over tiles has to reach 4 times the root of the sum of squares. Where the anatomy is
    symmetric the differences are noise of either sign and do not.

    Args:
        image: (H, W) from `structure_field`.
        reference: (H, W) likewise.

    Raises:
        ValueError: the shapes differ.
    """
    if image.shape != reference.shape:
        raise ValueError(f"image and reference must have one shape, got {image.shape} and {reference.shape}")
    scale = float(np.linalg.norm(image) * np.linalg.norm(reference))
    if scale == 0.0:
        return Shift(0, CODES[1:], ((0, 0),) * len(CODES), 0.0, 0.0, False)
    spectrum = fft.fft2(image)
    turned = [oriented_field(reference, code) for code in CODES]
    surfaces = [fft.ifft2(spectrum * fft.fft2(field).conj()).real for field in turned]
    peaks = tuple(_signed(int(surface.argmax()), image.shape) for surface in surfaces)
    moved = [np.roll(field, peak, axis=(0, 1)) for field, peak in zip(turned, peaks, strict=True)]
    local = {code: local_agreement(image, field) for code, field in enumerate(moved)}
    code, *rivals = told_apart(local)
    return Shift(
        code=code,
        rivals=tuple(rivals),
        peaks=peaks,
        agreement=float(local[code].sum()) / scale,
        evidence=_standard_errors(local[code]),
        wrapped=_wrapped(image, moved[code], peaks[code]),
    )


def local_agreement(image: Field, reference: Field) -> Float64:
    """(T,) agreement of two fields summed over tiles of 4 x 4 pixels, narrower ones at the far borders."""
    values = (image * reference.conj()).real.astype(np.float64)
    starts = [np.arange(0, n, TILE_PX) for n in values.shape]
    sums: Float64 = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1).ravel()
    return sums


def told_apart(*evidence: Mapping[int, Float64]) -> tuple[int, ...]:
    """The orientations that remain, of those whose `local_agreement` is given by code; the likeliest comes first.

    Upright comes first wherever it remains: nothing is called flipped that may as well be upright.

    Args:
        evidence: one mapping or several of the same codes. The one of largest agreement in the last is held against
            each other; that is ruled out by 4 standard errors in one mapping, with at least 1 to the same side in all.
    """
    last = evidence[-1]
    best = max(last, key=lambda code: float(last[code].sum()))

    def ruled_out(code: int) -> bool:
        errors = [_standard_errors(local[best] - local[code]) for local in evidence]
        return max(errors) >= TOLD_APART and min(errors) >= SAME_SIDE

    remaining = [code for code in last if code == best or not ruled_out(code)]
    return tuple(sorted(remaining, key=lambda code: (code != 0, code != best, code)))


def refined_peak(surfaces: Float64) -> tuple[Float64, Float64]:
    """Offsets and curvatures of the paraboloid through the 3 x 3 values around each peak (least squares).

    Args:
        surfaces: (N, 3, 3), the peak in the middle.

    Returns:
        (N, 2) offsets (rows, columns) of the top from the middle, each held to [-1, 1]; (N, 2, 2) negative second
        derivatives, the larger the sharper.
    """
    u = np.array([-1.0, 0.0, 1.0])
    gy, gx = (surfaces.sum(axis=2) @ u) / 6, (surfaces.sum(axis=1) @ u) / 6
    second = np.array([1.0, -2.0, 1.0])
    hyy, hxx = (surfaces.sum(axis=2) @ second) / 3, (surfaces.sum(axis=1) @ second) / 3
    hxy = np.einsum("nij,i,j->n", surfaces, u, u) / 4
    curvature = -np.stack([np.stack([hyy, hxy], -1), np.stack([hxy, hxx], -1)], -2)
    determinant = np.linalg.det(curvature)
    usable = (determinant > 1e-12) & (curvature[:, 0, 0] > 0)
    safe = np.where(usable[:, None, None], curvature, np.eye(2))
    offset = np.linalg.solve(safe, np.stack([gy, gx], -1)[..., None])[..., 0]
    return np.clip(np.where(usable[:, None], offset, 0.0), -1.0, 1.0), np.where(usable[:, None, None], curvature, 0.0)


def _signed(peak: int, shape: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = ((k + n // 2) % n - n // 2 for k, n in zip(divmod(peak, shape[1]), shape, strict=True))
    return rows, columns


def _standard_errors(sums: Float64) -> float:
    """Sum over its standard error where signs are random; 0 where there is nothing."""
    spread = float(np.sqrt(np.square(sums).sum()))
    return float(sums.sum()) / spread if spread > 1e-9 else 0.0


def _wrapped(image: Field, moved: Field, shift: tuple[int, int]) -> bool:
    """Whether the strip that a plain shift would leave empty holds what a cyclic one brings there."""
    strip = np.zeros(image.shape, bool)
    for axis, amount in enumerate(shift):
        index: list[slice] = [slice(None), slice(None)]
        index[axis] = slice(0, amount) if amount > 0 else slice(image.shape[axis] + amount, None)
        if amount:
            strip[tuple(index)] = True
    expected = np.square(np.abs(moved))
    if not strip.any() or expected[strip].sum() < STRIP_SHARE * expected.sum():
        return False
    inside, outside = _correlation(image[strip], moved[strip]), _correlation(image[~strip], moved[~strip])
    came_back = _standard_errors(local_agreement(np.where(strip, image, 0), moved))
    return inside >= RETURNED * outside and came_back >= RETURN_EVIDENCE


def _correlation(a: Field, b: Field) -> float:
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b.conj()).real.sum()) / scale if scale > 0 else 0.0
