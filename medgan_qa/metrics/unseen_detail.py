"""What an output adds to the truth where the degradation operator sees nothing, and what it leaves out.

u is the unseen part of the output, t that of the truth. u is split into a share of t, which was recovered, and the
rest, which was invented: over a whole image (`split_detail`) and in each neighbourhood (`invention_map`). What of t was
not recovered is missing, which is a loss of sharpness and no invention.

References:
    S. Bhadra, V. A. Kelkar, F. J. Brooks, M. A. Anastasio, "On hallucinations in tomographic image reconstruction",
        IEEE Trans. Med. Imaging 40 (2021) 3249-3260: null-space map, and the specific map of its connected objects.
    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996) 300-302.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import BoolMask, image2d, labelled, region

Float = NDArray[np.float64]

LAPLACIAN = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6.0
"""Blind to planes and to straight edges along the axes; white noise of standard deviation 1 leaves it at 1."""
MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
NOTHING = 1e-12
"""Energy a pixel below which there is nothing but rounding; unit range squared."""


class Detail(NamedTuple):
    """Unseen detail of an output against that of the truth; energies over the energy of the truth's."""

    energy: float
    """Of the output's unseen part; 0 for a model that adds nothing to what the input says."""
    correlation: float | None
    """Cosine of the two, in [-1, 1]; None where the output has no unseen part."""
    recovered: float
    """Share of the truth's amplitude that is in the output, in [0, 1]."""
    missing: float
    """(1 - recovered) squared."""
    invented: float
    """Of what is in the output and is no share of the truth's."""


def split_detail(unseen: Any, true: Any, inside: Any) -> Detail | None:
    """Split the output's unseen part into what it shares with the truth's and what it does not.

    The recovered share is that of the least squares, held between 0 and 1: what is stronger than in the truth, or has
    the opposite sign, is invented.

    Args:
        unseen: (H, W), the unseen part of the output.
        true: (H, W), that of the truth.
        inside: (H, W) bool with a pixel at least.

    Returns:
        None where the truth has no unseen detail.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ, no pixel is inside, or something is not finite.
    """
    t = image2d(true, "true")
    where = region(inside, "inside", t.shape)
    t, u = t[where], image2d(unseen, "unseen", where.shape)[where]
    whole, own, shared = (float(np.mean(a * b)) for a, b in ((t, t), (u, u), (u, t)))
    if whole < NOTHING:
        return None
    share = min(max(shared / whole, 0.0), 1.0)
    return Detail(
        energy=own / whole,
        correlation=shared / np.sqrt(own * whole) if own > NOTHING else None,
        recovered=share,
        missing=(1 - share) ** 2,
        invented=float(np.mean(np.square(u - share * t))) / whole,
    )


def noise_level(image: Any, inside: Any) -> float:
    """Standard deviation of white noise in an image: the median absolute second difference along both axes.

    Edges are in few pixels and hardly move a median; texture from pixel to pixel counts as noise.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ, no pixel is inside, or something is not finite.
    """
    array = image2d(image, "image")
    second = ndimage.convolve(array, LAPLACIAN, mode="mirror")
    return float(MAD * np.median(np.abs(second[region(inside, "inside", array.shape)])))


def invention_map(
    unseen: Any, true: Any, noise: Any, inside: Any, *, smoothing_px: tuple[float, float], tolerated: float
) -> Float:
    """How strongly each place shows detail that the truth does not have, over what can be expected there.

    In a Gaussian neighbourhood u is split as in `split_detail`. The root mean square of the invented part is divided by
    that of the noise of the truth, which a second acquisition would not repeat, with a share of the truth's own detail:
    beside a strong edge a fault of the edge's own kind must be stronger to stand out.

    Args:
        unseen: (H, W), the unseen part of the output.
        true: (H, W), that of the truth.
        noise: (H, W) standard deviation of the unseen part of the truth's noise; 0 where the operator sees everything.
        inside: (H, W) bool; the map is 0 elsewhere.
        smoothing_px: standard deviation of the neighbourhood along rows and columns, in pixels.
        tolerated: the share of the truth's own detail.

    Returns:
        (H, W), 0 for no invention; 1 is as strong as what is expected. What a second acquisition of the same truth
        shows has a median of about 1 and a largest value below 2.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ, or something is not finite.
    """
    t = image2d(true, "true")
    u, sd = image2d(unseen, "unseen", t.shape), image2d(noise, "noise", t.shape)

    def local(x: Float) -> Float:
        return np.asarray(ndimage.gaussian_filter(x, smoothing_px, mode="nearest"))

    whole, own, shared = local(t * t), local(u * u), local(u * t)
    share = np.clip(np.divide(shared, whole, out=np.zeros_like(whole), where=whole > NOTHING), 0.0, 1.0)
    invented = np.maximum(own - 2 * share * shared + share**2 * whole, 0.0)
    # A constant level, which a filled-in region has, is no detail to hide behind.
    detail = np.maximum(whole - local(t) ** 2, 0.0)
    expected = local(sd * sd) + tolerated**2 * detail
    there = region(inside, "inside", t.shape) & (expected > NOTHING)
    return np.sqrt(np.divide(invented, expected, out=np.zeros_like(invented), where=there))


def strength(index: Any, least_pixels: int) -> float:
    """The largest value of a map that an 8-connected object of `least_pixels` pixels reaches throughout.

    Any threshold below it leaves such an object, none above it does; 0 for a map without so many pixels above 0.

    Raises:
        ValueError: not two-dimensional or not finite.
    """
    array = image2d(index, "index")
    levels = np.unique(array[array > 0])
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _sizes(array >= levels[middle]).max() >= least_pixels else (low, middle)
    return float(levels[low - 1]) if low else 0.0


def objects(index: Any, threshold: float, least_pixels: int) -> list[BoolMask]:
    """The 8-connected objects (H, W) of a map above `threshold` with at least so many pixels, the strongest first.

    Raises:
        ValueError: not two-dimensional or not finite.
    """
    array = image2d(index, "index")
    labels = labelled(array > threshold)
    held = [labels == k for k in np.flatnonzero(_counts(labels) >= least_pixels)]
    return sorted(held, key=lambda mask: -float(array[mask].max()))


def _sizes(mask: BoolMask) -> NDArray[np.int64]:
    return _counts(labelled(mask))


def _counts(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pixels of each label; 0 for the background."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return counts


def energy_ratio(unseen: Any, true: Any, part: BoolMask, rest: BoolMask) -> float | None:
    """Mean square of u - t in one part of the image over that in the rest; None where either holds nothing."""
    error = np.square(image2d(unseen, "unseen") - image2d(true, "true"))
    if not (part.any() and rest.any()) or error[rest].mean() < NOTHING:
        return None
    return float(error[part].mean() / error[rest].mean())
