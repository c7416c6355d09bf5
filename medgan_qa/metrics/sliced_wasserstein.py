"""Sliced Wasserstein distance between the patches of two image sets, scale by scale.

References:
    T. Karras, T. Aila, S. Laine, J. Lehtinen, "Progressive growing of GANs for improved quality, stability, and
        variation", ICLR (2018): section 5, patches of a Laplacian pyramid.
    J. Rabin, G. Peyre, J. Delon, M. Bernot, "Wasserstein barycenter and its application to texture mixing", SSVM (2011)
        435-446: the distance over random directions.
    P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE Trans. Commun. 31 (1983) 532-540.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._features import Float, Masks, mask_pair

Single = NDArray[np.float32]
Images = NDArray[Any]
Standardise = Literal["each", "real"]

PATCH = 7
"""Side of a patch in pixels, at every level."""
SMALLEST = 16
"""No level has a shorter side below this many pixels; the smallest level keeps the low frequencies."""
_BINOMIAL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
_FLAT = 1e-7
_CHUNK = 32


@dataclass(frozen=True, slots=True)
class SlicedWasserstein:
    """Distances at each level of the pyramid, times 1000."""

    value: float
    """Mean over the levels, >= 0; lower is better."""
    directions_se: float
    """Standard error of the value from the draw of directions alone. Replicates share their directions and do not show
    it: it is to be added to theirs in quadrature."""
    sides: tuple[int, ...]
    """Shorter side of each level in pixels, full size first."""
    levels: tuple[float, ...]
    """Distance at each level."""
    standardise: Standardise
    """Whose mean and standard deviation the patches were divided by."""
    patches: int
    """Patches an image and level."""
    directions: int
    """Random directions a level."""


@dataclass(frozen=True, slots=True)
class _Settings:
    patches: int
    directions: int
    standardise: Standardise

    def __post_init__(self) -> None:
        """Refuse settings that nothing can be computed with."""
        for name, value, least in (("patches", self.patches, 1), ("directions", self.directions, 2)):
            if value < least or int(value) != value:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        if self.standardise not in get_args(Standardise):
            raise ValueError(f"standardise must be one of {', '.join(get_args(Standardise))}, got {self.standardise!r}")


def sliced_wasserstein(
    real: Any,
    generated: Any,
    generator: np.random.Generator,
    *,
    patches: int = 128,
    directions: int = 512,
    standardise: Standardise = "each",
) -> SlicedWasserstein:
    """Sliced Wasserstein distance of Karras et al. (2018): how differently two sets look, patch by patch.

    Each image is taken apart into a Laplacian pyramid (binomial filter 1 4 6 4 1, reflected at the border without
    repeating it), halved while the shorter side stays at 16 pixels or more; the last level is the low-pass image. At
    each level `patches` patches of 7 x 7 pixels with all channels are cut at random places of every image, each channel
    is centred and divided by its standard deviation (ddof 0), and the patches of the two sets are projected onto random
    unit vectors. The distance is the mean over directions of the 1-D Wasserstein-1 distance, times 1000. Published
    settings are the defaults, with 512 directions for the 4 x 128 of the paper and any number of channels.

    Sets of different size are compared by the exact 1-D distance of their empirical distributions (the area between the
    two quantile functions); for equal sizes this is the mean absolute difference of the sorted projections.

    `standardise="each"` is the published way: each set is standardised by its own mean and standard deviation. It makes
    the distance blind to brightness and contrast: a generated set whose intensities are all off by one factor and
    offset scores as if they were right. `"real"` standardises both by the real set and sees such errors; its values are
    not comparable with published ones. A channel that is flat over a level (standard deviation below 1e-7 of the
    largest intensity) is centred and not divided.

    Bias: above 0 for two samples of one distribution, falling about as one over the root of the number of images;
    compare at equal numbers of images and with the value of two real sets. A random draw of places and directions
    enters; the same generator state gives the same value. float32 projections, float64 sums.

    Args:
        real: (N, H, W) or (N, C, H, W) finite, N at least 2, shorter side at least 16 pixels.
        generated: (M, ...) of the same size and channels, M at least 2.
        generator: source of places and directions.
        patches: patches an image and level, at least 1.
        directions: directions a level, at least 2.
        standardise: `each` or `real`.

    Raises:
        ValueError: shapes do not fit, an image is too small, a value is not finite, or a setting is out of range.
    """
    real, generated = _pair(real, generated)
    whole = (np.ones((1, len(real)), bool), np.ones((1, len(generated)), bool))
    settings = _Settings(patches, directions, standardise)
    along = np.concatenate(list(_levels(real, generated, whole, settings, generator)))
    error = math.sqrt(along.var(axis=1, ddof=1).sum() / directions) / len(along)
    levels = tuple(along.mean(axis=1).tolist())
    sides = tuple(min(shape) for shape in _level_shapes(*real.shape[-2:]))
    return SlicedWasserstein(float(np.mean(levels)), error, sides, levels, standardise, patches, directions)


def sliced_wasserstein_replicates(
    real: Any,
    generated: Any,
    halves_real: Any,
    halves_generated: Any,
    generator: np.random.Generator,
    *,
    patches: int = 16,
    directions: int = 32,
    standardise: Standardise = "each",
) -> Float:
    """Mean distance over the levels for parts of the two sets, for half-sample intervals.

    Places and directions are drawn once and projections made once; a replicate standardises, sorts and compares the
    patches of the images it keeps. With fewer patches than the value itself was computed from, each replicate carries
    more of the noise of drawing places, which makes the interval conservative. The directions are common to all
    replicates; their noise is in `SlicedWasserstein.directions_se` and is to be added in quadrature. Only the spread of
    the replicates is used: their level is that of smaller samples.

    Args:
        real: (N, ...) as in `sliced_wasserstein`.
        generated: (M, ...).
        halves_real: (B, N) bool, the images that each replicate keeps; at least one in each.
        halves_generated: (B, M) bool.
        generator: source of places and directions.
        patches: patches an image and level.
        directions: directions a level.
        standardise: as in `sliced_wasserstein`; a replicate uses the mean and standard deviation of its own halves.

    Returns:
        (B,) distances, times 1000.

    Raises:
        TypeError: masks that are not bool.
        ValueError: as `sliced_wasserstein`; masks that do not fit, differ in B, or keep nothing.
    """
    real, generated = _pair(real, generated)
    masks = mask_pair(halves_real, halves_generated, len(real), len(generated), fewest=1)
    settings = _Settings(patches, directions, standardise)
    mean: Float = np.mean(list(_levels(real, generated, masks, settings, generator)), axis=(0, 2))
    return mean


def laplacian_pyramid(images: Images) -> Iterator[Float]:
    """Levels of the Laplacian pyramid of images (N, C, H, W), full size first, the low-pass image last.

    Each level is the image less the expanded next smaller one, so that expanding and adding up gives the image back.
    Sides are halved to ceil(side / 2) while the shorter one stays at 16 pixels or more.
    """
    images = images.astype(np.float64)
    for _ in _level_shapes(*images.shape[-2:])[1:]:
        smaller = _smoothed(images)[..., ::2, ::2]
        expanded = np.zeros_like(images)
        expanded[..., ::2, ::2] = 4 * smaller
        yield images - _smoothed(expanded)
        images = smaller
    yield images


def _smoothed(images: Float) -> Float:
    rows = ndimage.correlate1d(images, _BINOMIAL, axis=-2, mode="mirror")
    smooth: Float = ndimage.correlate1d(rows, _BINOMIAL, axis=-1, mode="mirror")
    return smooth


def _levels(
    real: Images, generated: Images, masks: tuple[Masks, Masks], settings: _Settings, generator: np.random.Generator
) -> Iterator[Float]:
    """Distances of the kept images along each direction, (B, directions) for each level, times 1000."""
    flat = _FLAT * max(float(np.abs(real).max()), float(np.abs(generated).max()))
    first, second = (_cut(images, settings.patches, generator) for images in (real, generated))
    for cuts in zip(first, second, strict=True):
        vectors = generator.standard_normal((len(cuts[0]), settings.directions, PATCH * PATCH))
        units = (vectors / np.linalg.norm(vectors, axis=(0, 2), keepdims=True)).astype(np.float32)
        moments = [_moments(cut, mask) for cut, mask in zip(cuts, masks, strict=True)]
        if settings.standardise == "real":
            moments[1] = moments[0]
        blocks = []
        for start in range(0, settings.directions, _CHUNK):
            chunk = units[:, start : start + _CHUNK]
            sides = (_sorted(*side, chunk, flat) for side in zip(cuts, masks, moments, strict=True))
            blocks.append([_wasserstein(a, b) for a, b in zip(*sides, strict=True)])
        yield 1000 * np.concatenate(blocks, axis=1)


def _cut(images: Images, patches: int, generator: np.random.Generator) -> list[Single]:
    """Patches at random places, (C, N, patches, 49) for each level; the pyramid is made for a few images at a time."""
    n, channels = images.shape[:2]
    shapes = _level_shapes(*images.shape[-2:])
    corners = [generator.integers(0, np.subtract(s, PATCH - 1)[:, None, None], (2, n, patches)) for s in shapes]
    cuts = [np.empty((channels, n, patches, PATCH * PATCH), np.float32) for _ in shapes]
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        for level, (top, left), cut in zip(laplacian_pyramid(images[part]), corners, cuts, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(2, 3))
            chosen = windows[np.arange(len(level))[:, None], :, top[part], left[part]]
            cut[:, part] = np.moveaxis(chosen, 2, 0).reshape(cut[:, part].shape)
    return cuts


def _moments(cut: Single, masks: Masks) -> tuple[Float, Float]:
    """Mean and standard deviation (ddof 0) by channel of the patches that each mask keeps, both (B, C)."""
    # about a value near the mean, so that the low-pass level does not cancel
    origin = cut.mean(axis=(1, 2, 3), dtype=np.float64)
    centred = cut - origin.astype(np.float32)[:, None, None, None]
    count = masks.sum(axis=1, keepdims=True) * (cut.shape[2] * cut.shape[3])
    mean = masks @ centred.sum(axis=(2, 3), dtype=np.float64).T / count
    square = masks @ np.square(centred).sum(axis=(2, 3), dtype=np.float64).T / count
    return origin.astype(np.float32) + mean, np.sqrt(np.maximum(square - mean * mean, 0.0))


def _sorted(cut: Single, masks: Masks, moments: tuple[Float, Float], units: Single, flat: float) -> Iterator[Single]:
    """For each mask, the standardised patches that it keeps along each direction, sorted: (directions, n)."""
    # standardising is affine in each channel, so that it can follow the projection
    channels, images, patches, size = cut.shape
    along = units @ cut.reshape(channels, -1, size).swapaxes(1, 2)
    along = along.reshape(channels, -1, images, patches)
    offsets = units.sum(axis=2, dtype=np.float64)
    for mask, mean, deviation in zip(masks, *moments, strict=True):
        factor = 1.0 / np.where(deviation > flat, deviation, 1.0)
        kept = np.zeros((units.shape[1], int(mask.sum()) * patches), np.float32)
        for weight, channel in zip(factor.astype(np.float32), along, strict=True):
            kept += (weight * channel[:, mask]).reshape(kept.shape)
        kept -= ((factor * mean) @ offsets).astype(np.float32)[:, None]
        kept.sort(axis=1)
        yield kept


def _wasserstein(a: Single, b: Single) -> Float:
    """1-D Wasserstein-1 distance of the rows of sorted samples (D, n) and (D, m), (D,)."""
    n, m = a.shape[1], b.shape[1]
    if n == m:
        equal: Float = np.abs(a - b).mean(axis=1, dtype=np.float64)
        return equal
    # both quantile functions are constant between neighbouring multiples of 1/n and 1/m, here counted in 1/(n m)
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    widths = np.diff(ends, prepend=0) / (n * m)
    area: Float = np.abs(a[:, (ends - 1) // m] - b[:, (ends - 1) // n]) @ widths
    return area


def _level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    shapes = [(height, width)]
    while -(-min(shapes[-1]) // 2) >= SMALLEST:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


def _pair(real: Any, generated: Any) -> tuple[Images, Images]:
    first, second = _images(real, "real"), _images(generated, "generated")
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"images of both sets must have one shape, got {first.shape[1:]} and {second.shape[1:]}")
    return first, second


def _images(images: Any, name: str) -> Images:
    """`images` as (N, C, H, W)."""
    array = np.asarray(images)
    array = array[:, None] if array.ndim == 3 else array
    if array.ndim != 4 or array.size == 0 or len(array) < 2:
        raise ValueError(f"{name} must be (N, H, W) or (N, C, H, W) with N at least 2, got shape {np.shape(images)}")
    if min(array.shape[-2:]) < SMALLEST:
        raise ValueError(f"{name} needs sides of at least {SMALLEST} pixels, got {array.shape[-2:]}")
    if not (finite := np.isfinite(array).all(axis=(1, 2, 3))).all():
        raise ValueError(f"{name} holds NaN or infinity in images {np.flatnonzero(~finite)[:10].tolist()}")
    return array
