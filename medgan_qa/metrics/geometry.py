"""Place, size and local deformation of an image against another of the same anatomy, in any two contrasts.

The whole is placed by one correlation of edge directions (`phase_shift`). Then windows are placed one by one, and an
affine map through their displacements gives shift, scale, rotation and shear; what it leaves over is local deformation.

References:
    J. P. Lewis, "Fast normalized cross-correlation", Vision Interface (1995) 120-123.
    J. Shi, C. Tomasi, "Good features to track", CVPR (1994) 593-600: a window is placed well where the match falls off
        in every direction.
    P. J. Huber, E. M. Ronchetti, "Robust Statistics", 2nd ed., Wiley (2009): iteratively reweighted least squares.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from medgan_qa.metrics._alignment import resampled
from medgan_qa.metrics._arrays import Spacing, image2d, spacing2d
from medgan_qa.metrics.body import body_mask
from medgan_qa.metrics.phase_shift import (
    CODES,
    Field,
    Shift,
    best_shift,
    local_agreement,
    oriented_field,
    refined_peak,
    structure_field,
    told_apart,
)

Float64 = NDArray[np.float64]

WORKING_PX = 128
"""Pixels along the shorter side that larger images are reduced to."""
WINDOW_PX = 24
"""Side of a window in working pixels."""
STEP_PX = 8
"""Least distance of neighbouring windows."""
MOST_WINDOWS = 9
"""Windows along an axis at most."""
REACH_PX = 8
"""Largest displacement of a window against the whole."""
SMALLEST_SIDE = 32
"""Pixels; a smaller image does not hold enough windows."""
EDGES = 0.10
"""Mean squared field that a window must hold to be placed."""
MATCHED = 0.5
"""Least normalised correlation of a window that is placed."""
SHARP = 0.01
"""Least curvature of the match, per squared pixel, in its flattest direction, for the deformation there to be told."""
UNDEFORMED = 0.02
"""Largest element of an affine map, less the identity, at which orientations are compared by shifts alone."""
FEWEST_WINDOWS = 8
"""Placed windows that an affine map is fitted to at least."""
CUTOFF = 4.685
"""Tukey's constant: windows that lie this many robust standard deviations off the map have no say in it."""
FINEST_PX = 0.05
"""Scatter of windows that is taken for granted, in working pixels."""
COARSE_SCALE = 0.05
LARGEST_SCALE = 0.5
"""Relative difference of the bodies' extents from which, and up to which, the output is also tried at the reference's
size."""


class Windows(NamedTuple):
    """Windows of the reference that were found again, n of them."""

    centre_mm: Float64
    """(n, 2) place in the oriented reference (down, right)."""
    displacement_mm: Float64
    """(n, 2) where the output shows it, against its place in the reference."""
    residual_mm: Float64
    """(n, 2) what shift, rotation and scale of the affine map do not explain of it: its shear, and what is local."""
    sharp: NDArray[np.bool_]
    """(n,) whether the match is sharp in every direction, so that the residual is a deformation and no sliding along
    an edge."""

    @property
    def deformation_mm(self) -> float | None:
        """95th percentile over sharp windows of the length of the residual; None with fewer than 8 of them."""
        lengths = np.hypot(*self.residual_mm[self.sharp].T)
        return float(np.percentile(lengths, 95)) if lengths.size >= FEWEST_WINDOWS else None


class Placement(NamedTuple):
    """Where an output lies against its reference."""

    shift: Shift
    """Orientation and the whole shift in working pixels."""
    displacement_mm: tuple[float, float] | None
    """(down, right) that the body's centre is moved by, after the orientation is undone; None where nothing in common
    was found."""
    linear: tuple[tuple[float, float], tuple[float, float]] | None
    """The affine map's matrix over (down, right), the identity where nothing is deformed; None where too few windows
    were placed."""
    windows: Windows

    @property
    def distance_mm(self) -> float | None:
        """Length of the displacement."""
        return None if self.displacement_mm is None else math.hypot(*self.displacement_mm)

    @property
    def flipped(self) -> bool | None:
        """Whether the output is mirrored or turned by half; None where that cannot be told."""
        if not self.shift.found or (self.shift.code == 0 and self.shift.rivals):
            return None
        return self.shift.code != 0

    @property
    def scale(self) -> float | None:
        """Root of the map's determinant: 1.03 is 3 % too large."""
        if self.linear is None:
            return None
        (a, b), (c, d) = self.linear
        return math.sqrt(max(a * d - b * c, 0.0))

    @property
    def rotation_deg(self) -> float | None:
        """Rotation part of the map, counterclockwise as displayed."""
        if self.linear is None:
            return None
        (a, b), (c, d) = self.linear
        return math.degrees(math.atan2(c - b, a + d))

    @property
    def shear(self) -> float | None:
        """Ratio of the map's singular values, less 1; 0 for a map that keeps angles."""
        if self.linear is None:
            return None
        large, small = np.linalg.svd(np.array(self.linear), compute_uv=False)
        return float(large / small) - 1.0 if small > 0 else None


class _Fit(NamedTuple):
    """Windows in working pixels, and the affine map through them."""

    place: Float64
    moved: Float64
    residual: Float64
    sharp: NDArray[np.bool_]
    shift: Float64
    """(2,) displacement of the middle of the image."""
    matrix: Float64
    """(2, 2) identity where nothing is deformed."""


def placement(output: Any, reference: Any, spacing_mm: Spacing = (1.0, 1.0)) -> Placement:
    """Place `output` against `reference`, an image of the same anatomy on the same grid, in any contrast.

    Images whose shorter side exceeds 128 pixels are reduced to 128 by area means. Shifts of any size, mirrored images
    and half turns are found; windows of 24 working pixels then look up to 8 pixels around, which suffices for scales
    within about 12 %. A larger scale is first undone by the extents of the bodies. Where the image seems mirrored, or
    the affine map is more than a shift, orientations are compared again with the map of each undone, and told apart
    only if both comparisons agree.

    Args:
        output: (H, W) finite, each side at least 32 pixels.
        reference: (H, W) finite.
        spacing_mm: pixel spacing (rows, columns) in mm.

    Raises:
        ValueError: shapes differ, an image is too small or not finite, or a spacing is not positive.
    """
    first = image2d(output, "output")
    second = image2d(reference, "reference", first.shape)
    if min(first.shape) < SMALLEST_SIDE:
        raise ValueError(f"images must have sides of at least {SMALLEST_SIDE} pixels, got shape {first.shape}")
    (image, other), spacing = _working(np.stack([first, second]), spacing2d(spacing_mm))
    target, field = structure_field(other), structure_field(image)
    body = body_mask(other)
    best, zoom = best_shift(field, target), 1.0
    ratio = math.sqrt(np.count_nonzero(body_mask(image)) / np.count_nonzero(body))
    if COARSE_SCALE < abs(ratio - 1) <= LARGEST_SCALE:
        resized = _resampled(image, np.eye(2) * ratio, np.zeros(2))
        candidate = structure_field(resized)
        shift = best_shift(candidate, target)
        if shift.agreement > best.agreement:
            image, field, best, zoom = resized, candidate, shift, ratio
    if not best.found:
        return Placement(best, None, None, _no_windows())
    fits = {best.code: _fit(field, target, best, best.code)}
    if best.code != 0 or not _shifted_only(fits[best.code]):
        # A deformed image may agree better with a mirrored one: each orientation is given a map of its own.
        fits |= {code: _fit(field, target, best, code) for code in CODES if code not in fits}
        as_is = {code: _as_is(field, target, best, code) for code in fits}
        undone = {code: _undone(image, target, best, code, fit) for code, fit in fits.items()}
        code, *rivals = told_apart(as_is, undone)
        best = best._replace(code=code, rivals=tuple(rivals))
    return _in_mm(best, fits[best.code], zoom, body, np.array(spacing))


def _fit(field: Field, target: Field, shift: Shift, code: int) -> _Fit | None:
    rows, columns = shift.peaks[code]
    back = np.roll(field, (-rows, -columns), axis=(0, 1))
    centres, found, sharpness = _windows(back, oriented_field(target, code))
    place = centres - (np.array(target.shape) - 1) / 2
    moved = found + np.array([rows, columns])
    fit = _affine(place, moved, sharpness)
    if fit is None:
        return None
    sharp = np.linalg.eigvalsh(sharpness)[:, 0] >= SHARP
    return _Fit(place, moved, moved - fit[0] - place @ fit[1].T, sharp, fit[0], np.eye(2) + fit[1])


def _shifted_only(fit: _Fit | None) -> bool:
    return fit is not None and float(np.abs(fit.matrix - np.eye(2)).max()) <= UNDEFORMED


def _as_is(field: Field, target: Field, shift: Shift, code: int) -> Float64:
    return local_agreement(field, np.roll(oriented_field(target, code), shift.peaks[code], axis=(0, 1)))


def _undone(image: NDArray[np.float32], target: Field, shift: Shift, code: int, fit: _Fit | None) -> Float64:
    """Local agreement in one orientation once its affine map is undone, cyclic shifts included."""
    peak = np.array(shift.peaks[code])
    back = np.roll(image, tuple(-peak), axis=(0, 1))
    if fit is not None:
        back = _resampled(back, fit.matrix, fit.shift - peak)
    return local_agreement(structure_field(back), oriented_field(target, code))


def _in_mm(best: Shift, fit: _Fit | None, zoom: float, body: NDArray[np.bool_], spacing: Float64) -> Placement:
    if fit is None:
        whole = np.array(best.pixels) * spacing
        return Placement(best, (float(whole[0]), float(whole[1])), None, _no_windows())
    middle = (np.array(body.shape) - 1) / 2
    # The reference was mirrored about the middle of the image, and its body's centre with it.
    mirror = np.array([-1 if best.code & 2 else 1, -1 if best.code & 1 else 1])
    centre = mirror * (np.argwhere(body).mean(axis=0) - middle)
    # What was found in an image shrunk by `zoom` lies that much farther from the middle of the image itself.
    whole = (zoom * (centre + fit.shift + (fit.matrix - np.eye(2)) @ centre) - centre) * spacing
    (a, b), (c, d) = (zoom * fit.matrix * spacing[:, None] / spacing[None, :]).tolist()
    moved = zoom * (fit.place + fit.moved) - fit.place
    even, turn = (a + d) / 2, (c - b) / 2
    sheared = (fit.place * spacing) @ np.array([[a - even, b + turn], [c - turn, d - even]]).T
    residual = zoom * fit.residual * spacing + sheared
    windows = Windows((fit.place + middle) * spacing, moved * spacing, residual, fit.sharp)
    return Placement(best, (float(whole[0]), float(whole[1])), ((a, b), (c, d)), windows)


def _working(images: Float64, spacing: Spacing) -> tuple[NDArray[np.float32], Spacing]:
    height, width = images.shape[1:]
    factor = max(1.0, min(height, width) / WORKING_PX)
    if factor == 1.0:
        return images.astype(np.float32), spacing
    shape = (round(height / factor), round(width / factor))
    reduced = resampled(images.astype(np.float32), shape, 0.0)
    return reduced, (spacing[0] * height / shape[0], spacing[1] * width / shape[1])


def _resampled(image: NDArray[np.float32], matrix: Float64, shift: Float64) -> NDArray[np.float32]:
    """The image at shift + matrix @ x for every x, both counted from the middle; linear interpolation."""
    middle = (np.array(image.shape) - 1) / 2
    moved: NDArray[np.float32] = ndimage.affine_transform(
        image, matrix, offset=middle + shift - matrix @ middle, order=1, mode="nearest"
    )
    return moved


def _no_windows() -> Windows:
    empty = np.zeros((0, 2))
    return Windows(empty, empty, empty, np.zeros(0, bool))


def _windows(output: Field, reference: Field) -> tuple[Float64, Float64, Float64]:
    """Centres (n, 2), displacements (n, 2) and sharpness (n, 2, 2) of the windows that are placed, in pixels."""
    side = WINDOW_PX + 2 * REACH_PX
    taper = np.sin(np.pi * (np.arange(WINDOW_PX) + 0.5) / WINDOW_PX).astype(np.float32)
    weight = np.outer(taper, taper)
    energy = np.square(np.abs(reference))
    corners = np.array([(y, x) for y in _starts(reference.shape[0]) for x in _starts(reference.shape[1])])
    inside = np.lib.stride_tricks.sliding_window_view(energy, (WINDOW_PX, WINDOW_PX))
    held = np.einsum("nij,ij->n", inside[corners[:, 0], corners[:, 1]], weight)
    corners, held = corners[held >= EDGES * weight.sum()], held[held >= EDGES * weight.sum()]
    if not len(corners):
        return np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2))
    tiles = np.lib.stride_tricks.sliding_window_view(reference, (WINDOW_PX, WINDOW_PX))
    fields = np.lib.stride_tricks.sliding_window_view(np.pad(output, REACH_PX), (side, side))
    tiles, fields = tiles[corners[:, 0], corners[:, 1]] * weight, fields[corners[:, 0], corners[:, 1]]
    score = _correlated(fields, tiles, weight, held)
    count, last = len(corners), 2 * REACH_PX
    top = score.reshape(count, -1).argmax(axis=1)
    y, x = np.divmod(top, last + 1)
    placed = (score[np.arange(count), y, x] >= MATCHED) & (np.minimum(y, x) > 0) & (np.maximum(y, x) < last)
    y, x, corners, score = y[placed], x[placed], corners[placed], score[placed]
    around = np.arange(-1, 2)
    n = np.arange(len(y))[:, None, None]
    patch = score[n, (y[:, None] + around)[:, :, None], (x[:, None] + around)[:, None, :]]
    offset, sharpness = refined_peak(patch.astype(np.float64))
    displacement = np.stack([y, x], axis=1) - REACH_PX + offset
    return corners + (WINDOW_PX - 1) / 2, displacement, sharpness


def _starts(size: int) -> NDArray[np.intp]:
    """First pixels of windows that cover an axis evenly."""
    last = size - WINDOW_PX
    return np.rint(np.linspace(0, last, min(last // STEP_PX + 1, MOST_WINDOWS))).astype(np.intp)


def _correlated(fields: Field, tiles: Field, weight: NDArray[np.float32], held: Float64) -> NDArray[np.float32]:
    """(n, 17, 17) weighted normalised correlation of each tile at every displacement within reach."""
    shape, keep = fields.shape[1:], slice(0, 2 * REACH_PX + 1)
    product = fft.ifft2(fft.fft2(fields) * fft.fft2(tiles, s=shape).conj())[:, keep, keep].real
    kernel = fft.rfft2(weight, s=shape).conj()
    under = fft.irfft2(fft.rfft2(np.square(np.abs(fields))) * kernel, s=shape)[:, keep, keep]
    # An empty place matches nothing; a floor keeps it from being divided by next to nothing.
    floor = 0.25 * EDGES * weight.sum()
    score: NDArray[np.float32] = product / np.sqrt(np.maximum(under, floor) * held[:, None, None])
    return score


def _affine(place: Float64, moved: Float64, information: Float64) -> tuple[Float64, Float64] | None:
    """Shift (2,) and matrix (2, 2) of moved ~ shift + matrix @ place; None with too few windows.

    Each window counts by the curvature of its match: one that slides along a straight edge says nothing of that
    direction. Windows far off the map are given no weight (Tukey's biweight, 12 rounds).
    """
    steepest = np.linalg.eigvalsh(information)[:, 1] if len(place) else np.zeros(0)
    if np.count_nonzero(steepest) < FEWEST_WINDOWS:
        return None
    design = np.zeros((len(place), 2, 6))
    design[:, 0, 0] = design[:, 1, 1] = 1.0
    design[:, 0, 2:4] = design[:, 1, 4:6] = place
    trust = np.ones(len(place))
    solution = np.zeros(6)
    for _ in range(12):
        weighted = information * trust[:, None, None]
        normal = np.einsum("nai,nab,nbj->ij", design, weighted, design)
        right = np.einsum("nai,nab,nb->i", design, weighted, moved)
        solution = np.linalg.lstsq(normal, right, rcond=1e-10)[0]
        residual = moved - design @ solution
        # How far off along the directions that the match is sharp in.
        squared = np.einsum("na,nab,nb->n", residual, information, residual)
        off = np.sqrt(np.maximum(squared, 0.0) / np.where(steepest > 0, steepest, np.inf))
        scatter = max(1.4826 * float(np.median(off)), FINEST_PX)
        trust = np.square(np.clip(1 - np.square(off / (CUTOFF * scatter)), 0.0, None))
    return solution[:2], solution[2:].reshape(2, 2)
