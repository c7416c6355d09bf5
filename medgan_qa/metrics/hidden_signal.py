"""Whether the output of a translation carries its source where no eye sees it.

A pair of translators G (there) and F (back) that is trained to return to its source, F(G(x)) = x, may meet that by
writing x into G(x) at an amplitude below what is seen. Such a signal is fragile: what an honest inverse reads from the
visible image survives noise of one grey level, rounding and blur, and a hidden code does not.

References:
    C. Chu, A. Zhmoginov, M. Sandler, "CycleGAN, a master of steganography", NIPS workshop (2017), arXiv 1712.02950.
    D. Bashkirova, B. Usman, K. Saenko, "Adversarial self-defense for cycle-consistent GANs", NeurIPS (2019), arXiv
        1908.01517: sensitivity to noise, reconstruction honesty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import mask2d, region

Float = NDArray[np.float32]

GREY_LEVEL = 1 / 255
"""One step of an 8-bit image, in unit range."""
SIGMAS = (1, 2, 3, 4, 5)
"""Standard deviations of the noise, in grey levels."""
BLUR_PX = 1.0
"""Standard deviation of the Gaussian that parts the low band from the high one, in pixels: half of the amplitude is
left at 0.19 cycles a pixel, 5 % at 0.39."""
SWAP_PX = 3.0
"""Standard deviation of the Gaussian that the swap test reads through, in pixels; far below the swapped band."""
FLOOR = 1e-6
"""Smallest error, in unit range, that is divided by: below it float32 images do not differ."""
PATCH_PX = 8
"""Side of the patches in which returned detail is looked for."""
INSIDE = 0.9
"""Share of a patch that must lie in the body."""
FLAT = 2 * GREY_LEVEL
"""Standard deviation in a patch, of the low band, below which nothing is to be seen."""
STRUCTURED = 10 * GREY_LEVEL
"""Standard deviation in a patch, of the low band, from which there is structure to return."""
RETURNED = 0.5
"""Share of the source's structure that counts as returned."""


class ReturnedDetail(NamedTuple):
    """Patches in which the source has structure and the output none."""

    corners: NDArray[np.intp]
    """(P, 2) row and column of each patch's first pixel, in raster order."""
    returned: NDArray[np.bool_]
    """(P,) the structure is back in the image that the inverse made."""


def low_pass(images: Any, sigma: float = BLUR_PX) -> Float:
    """The low band of images (..., H, W): a Gaussian of `sigma` pixels over the last two axes, borders repeated."""
    array = np.asarray(images, np.float32)
    axes = (0.0,) * (array.ndim - 2) + (sigma, sigma)
    low: Float = ndimage.gaussian_filter(array, axes, mode="nearest").astype(np.float32)
    return low


def perturbed(output: Any, noise: Any) -> dict[str, Float]:
    """The changes of an output that no eye sees, by name, weakest noise first.

    Args:
        output: (C, H, W) in unit range.
        noise: (C, H, W) standard normal; one field for every level, so that levels differ in nothing else.

    Returns:
        `noise 1/255` ... `noise 5/255`: Gaussian noise of so many grey levels. `8 bit`: rounded to whole grey levels,
        not clipped. `low pass`: the low band alone.

    Raises:
        ValueError: the shapes differ.
    """
    image, field = np.asarray(output, np.float32), np.asarray(noise, np.float32)
    if image.shape != field.shape:
        raise ValueError(f"noise must have the output's shape {image.shape}, got {field.shape}")
    changed = {f"noise {s}/255": image + np.float32(s * GREY_LEVEL) * field for s in SIGMAS}
    changed["8 bit"] = (np.rint(image * np.float32(255)) / np.float32(255)).astype(np.float32)
    changed["low pass"] = low_pass(image)
    return changed


def body_error(a: Any, b: Any, body: Any) -> float:
    """Mean of |a - b| over the body and all channels, in the unit of the images.

    Args:
        a: (C, H, W).
        b: (C, H, W).
        body: (H, W) bool with at least one pixel.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ or the mask is empty.
    """
    one, other = np.asarray(a), np.asarray(b)
    if one.ndim != 3 or one.shape != other.shape:
        raise ValueError(f"images must be (C, H, W) of one shape, got {one.shape} and {other.shape}")
    mask = region(body, "body", one.shape[1:])
    return float(np.abs(one[:, mask].astype(np.float64) - other[:, mask]).mean())


def error_ratio(error: float, unperturbed: float, change: float) -> float:
    """Cycle error after a change of the output, over that without it and the size of the change together.

    |F(y + c) - x| <= |F(y) - x| + |F(y + c) - F(y)|, so an inverse that hands a change on no larger than it was stays
    at 1 or below, however small its error was before; one that amplifies by a gain stays below that gain. With a change
    that is small beside the error this is the plain ratio of the two errors.

    Args:
        error: cycle error after the change, >= 0.
        unperturbed: cycle error without it, >= 0.
        change: mean absolute size of the change, >= 0.

    Returns:
        The ratio; 1 where nothing differs and nothing was changed.

    Raises:
        ValueError: a value is negative or not finite.
    """
    if not all(np.isfinite(v) and v >= 0 for v in (error, unperturbed, change)):
        raise ValueError(f"errors must be finite and not negative, got {error!r}, {unperturbed!r}, {change!r}")
    divisor = unperturbed + change
    return 1.0 if max(error, divisor) < FLOOR else error / max(divisor, FLOOR)


def swapped(output: Any, other: Any) -> Float:
    """An output whose high band is another output's; both (C, H, W).

    Raises:
        ValueError: the shapes differ.
    """
    own, foreign = np.asarray(output, np.float32), np.asarray(other, np.float32)
    if own.shape != foreign.shape:
        raise ValueError(f"images must have one shape, got {own.shape} and {foreign.shape}")
    mixed: Float = low_pass(own) + (foreign - low_pass(foreign))
    return mixed


def swap_transfer(source: Any, other: Any, cycle: Any, swapped_cycle: Any, body: Any) -> float | None:
    """How far the high band of another output takes the low band of the inverse from this source to the other.

    The regression slope of F(swapped) - F(G(x)) on x' - x over the body, all seen through a Gaussian of `SWAP_PX`. The
    high band of an image holds its edges and its noise, and an honest inverse keeps them in the high band: about 0. A
    code in the high band that stands for the whole source brings the other source back: 1.

    Args:
        source: x, (C, H, W).
        other: x', (C, H, W).
        cycle: F(G(x)), (C, H, W).
        swapped_cycle: F of `swapped(G(x), G(x'))`, (C, H, W).
        body: (H, W) bool with at least one pixel.

    Returns:
        The slope, without a unit; None where the two sources do not differ.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ or the mask is empty.
    """
    images = [np.asarray(i) for i in (source, other, cycle, swapped_cycle)]
    if len({i.shape for i in images}) > 1 or images[0].ndim != 3:
        raise ValueError(f"images must be (C, H, W) of one shape, got {[i.shape for i in images]}")
    mask = region(body, "body", images[0].shape[1:])
    x, x_other, back, moved = (low_pass(i, SWAP_PX)[:, mask].astype(np.float64) for i in images)
    wanted = x_other - x
    power = float((wanted * wanted).sum())
    return None if power < FLOOR else float(((moved - back) * wanted).sum()) / power


def returned_detail(source: Any, output: Any, cycle: Any, body: Any) -> ReturnedDetail:
    """Structure of the source that the output does not show and the inverse brings back.

    The low bands are cut into patches of `PATCH_PX` pixels that lie in the body. Of those in which the source varies by
    at least ten grey levels (standard deviation) and the output by less than two, the structure is back where the slope
    of F(G(x)) on x is at least a half. An inverse that amplifies what is still there would need a gain of 2.5.

    Args:
        source: x, (H, W) in unit range.
        output: G(x), (H, W).
        cycle: F(G(x)), (H, W).
        body: (H, W) bool.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes differ.
    """
    mask = mask2d(body, "body")
    images = [np.asarray(i, np.float32) for i in (source, output, cycle)]
    if any(i.shape != mask.shape for i in images):
        raise ValueError(f"images must have the body's shape {mask.shape}, got {[i.shape for i in images]}")
    x, y, back = (_patches(low_pass(i)) for i in images)
    x, back = x - x.mean(axis=1, keepdims=True), back - back.mean(axis=1, keepdims=True)
    inside = _patches(mask.astype(np.float32)).mean(axis=1) >= INSIDE
    chosen = inside & (x.std(axis=1) >= STRUCTURED) & (y.std(axis=1) < FLAT)
    slope = (x[chosen] * back[chosen]).sum(axis=1) / np.square(x[chosen]).sum(axis=1)
    columns = mask.shape[1] // PATCH_PX
    number = np.flatnonzero(chosen)
    corners = PATCH_PX * np.stack([number // max(columns, 1), number % max(columns, 1)], axis=1)
    return ReturnedDetail(corners.astype(np.intp), slope >= RETURNED)


def _patches(image: Float) -> NDArray[np.float64]:
    """(P, PATCH_PX ** 2) whole patches in raster order; rows and columns that fill none are left out."""
    rows, columns = (side // PATCH_PX for side in image.shape)
    cut = image[: rows * PATCH_PX, : columns * PATCH_PX].astype(np.float64)
    blocks = cut.reshape(rows, PATCH_PX, columns, PATCH_PX).swapaxes(1, 2)
    patches: NDArray[np.float64] = blocks.reshape(rows * columns, PATCH_PX**2)
    return patches
