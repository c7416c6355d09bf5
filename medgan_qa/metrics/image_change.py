"""What gives one image from another that should be the same: flips, turns, shifts, crops, another contrast, noise.

For two readings of one image, so nothing is searched among others. Each change is looked for alone, a shift or a crop
also after a flip or a quarter turn; rotations by other angles, scales and combinations are for
`medgan_qa.metrics.near_copies`.

References:
    D. Padfield, "Masked object registration in the Fourier domain", IEEE Trans. Image Process. 21 (2012) 2706-2718:
        normalised cross-correlation at every shift.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.optimize import isotonic_regression

from medgan_qa.metrics._alignment import ORIENTATIONS, oriented
from medgan_qa.metrics._arrays import image2d

SAME = 1e-4
"""Share of the variance left over up to which two images are one: what storing in 8 bits leaves, and a little more."""
RESIZED = 0.05
"""The same for images of another size: what different ways of resampling leave."""
ROUNDING = 2e-6
"""Largest difference, as a share of the range, that is rounding."""
LEAST_OVERLAP = 0.25
"""Share of the smaller image that a shift leaves to be compared."""

Image = NDArray[np.float64]


class ImageChange(NamedTuple):
    """What was done to an image."""

    words: str
    """`unchanged`, or what gives the second from the first; numbers are of pixels down and right."""
    kind: str
    """The same without numbers: `unchanged`, an orientation, `brightness or contrast`, `gamma or clipping`, `shift`,
    `crop`, `padding`, `resized`, `noise or smoothing`, `another image`; several joined by `, `."""
    residual: float
    """Share of the variance of the second image that the first leaves over after that change, in [0, 1]."""
    place: tuple[int, int, int] | None = None
    """Of a shift, crop or padding: the orientation, and where in the first image the corner of the second lies."""

    @property
    def in_place(self) -> bool:
        """No pixel was moved, added or lost, and grey levels of one image keep their order."""
        return self.kind in ("unchanged", "brightness or contrast", "gamma or clipping")


def image_change(before: Any, after: Any, *, like: ImageChange | None = None, search: bool = True) -> ImageChange:
    """What gives `after` (h, w) from `before` (H, W), both finite.

    Images that differ by a gain and an offset alone are told as brightness or contrast, by any rising map of grey
    levels as gamma or clipping. The residual is one minus the squared correlation; that of a constant image is 0 with
    another constant one and 1 with any other.

    Args:
        before: the first image.
        after: the second.
        like: a change of another pair of images whose place is tried first.
        search: look for shifts, crops and paddings, which takes most of the time.

    Raises:
        ValueError: not two-dimensional, empty, or not finite.
    """
    first, second = image2d(before, "before"), image2d(after, "after")
    if first.shape == second.shape and np.abs(first - second).max() <= ROUNDING * max(np.ptp(first), 1e-30):
        return ImageChange("unchanged", "unchanged", 0.0)
    ways = [(code, turned) for code in range(8) if (turned := oriented_as(first, code)).shape == second.shape]
    found = _same_size(ways, second) if ways else None
    if found is not None and found.residual <= SAME:
        return found
    known = [like.place] if like is not None and like.place is not None else []
    moved = _at_places(first, second, known) or (_searched(first, second) if search else None)
    if moved is not None:
        return moved
    if found is None:
        return _resized(first, second)
    kind = "noise or smoothing" if found.residual < 0.5 else "another image"
    return _named(found.kind if found.kind in ORIENTATIONS else "", "", kind, found.residual)


def oriented_as(image: Image, code: int) -> Image:
    """An image in one of the eight orientations of the square."""
    turned: Image = oriented(image, code)  # type: ignore[arg-type,assignment]  # views of any kind of array
    return turned


def _named(orientation: str, detail: str, kind: str, residual: float) -> ImageChange:
    turned = [orientation] if orientation not in ("", ORIENTATIONS[0]) else []
    return ImageChange(", ".join([*turned, detail or kind]), ", ".join([*turned, kind]), residual)


def _same_size(ways: list[tuple[int, Image]], second: Image) -> ImageChange:
    """The best orientation, and the map of grey levels where there is one."""
    in_place = _unexplained(ways[0][1], second) if ways[0][0] == 0 else 1.0
    if in_place <= SAME:
        return _linear(0, ways[0][1], second, in_place)
    left = [_unexplained(turned, second) for _, turned in ways]
    best = int(np.argmin(left))
    (code, turned), residual = ways[best], left[best]
    if residual <= SAME:
        return _linear(code, turned, second, residual)
    # A steep map of grey levels can make another orientation the more alike one.
    rising = [_unexplained_by_order(turned, second) for _, turned in ways]
    k = int(np.argmin(rising))
    if rising[k] <= SAME:
        return _named(ORIENTATIONS[ways[k][0]], "", "gamma or clipping", rising[k])
    return ImageChange(ORIENTATIONS[code], ORIENTATIONS[code], residual)


def _linear(code: int, first: Image, second: Image, residual: float) -> ImageChange:
    spread = float(first.var())
    gain = 1.0 if spread == 0 else float(((first - first.mean()) * (second - second.mean())).mean() / spread)
    offset = float(second.mean() - gain * first.mean())
    plain = abs(gain - 1) <= 0.01 and abs(offset) <= 0.01 * max(float(np.ptp(first)), 1e-30)
    orientation = ORIENTATIONS[code]
    if plain and code:
        return ImageChange(orientation, orientation, residual)
    detail = f"brightness or contrast (x {gain:.3g} {'+' if offset >= 0 else '-'} {abs(offset):.3g})"
    return _named(orientation, detail, "brightness or contrast", residual)


def _unexplained(first: Image, second: Image) -> float:
    """Share of the variance of the second that gain (positive) and offset of the first leave over."""
    a, b = first - first.mean(), second - second.mean()
    aa, bb, ab = float((a * a).sum()), float((b * b).sum()), float((a * b).sum())
    if aa == 0 or bb == 0:
        return 0.0 if aa == bb else 1.0
    return 1.0 if ab <= 0 else max(0.0, 1 - ab * ab / (aa * bb))


def _unexplained_by_order(first: Image, second: Image) -> float:
    """The same of the best rising map of grey levels; pixels that were alike get one value."""
    values, place = np.unique(first, return_inverse=True)
    counts = np.bincount(place.ravel())
    means = np.bincount(place.ravel(), second.ravel()) / counts
    variance = float(second.var())
    if variance == 0 or len(values) < 2:
        return 1.0
    fitted = isotonic_regression(means, weights=counts).x[place.ravel()]
    return float(np.square(second.ravel() - fitted).mean()) / variance


def _searched(first: Image, second: Image) -> ImageChange | None:
    """A shift, a crop or a padding by whole pixels, after an orientation; None where none fits."""
    laid, places = dict[tuple[int, ...], _Laid](), []
    for code in range(8):
        turned = oriented_as(first, code)
        if turned.shape not in laid:
            laid[turned.shape] = _Laid(second, turned.shape)
        places.append((code, *_best_place(turned, laid[turned.shape])))
    return _at_places(first, second, places)


def _at_places(first: Image, second: Image, places: list[tuple[int, int, int]]) -> ImageChange | None:
    """The best of these places, where it explains the image."""
    left = [_at(oriented_as(first, code), second, row, column) for code, row, column in places]
    if not left or min(left) > SAME:
        return None
    code, row, column = place = places[int(np.argmin(left))]
    same = first.shape == second.shape
    kind = "shift" if same else "crop" if row >= 0 and column >= 0 else "padding"
    detail = f"shift ({-row:+d}, {-column:+d})" if same else f"{kind} at ({abs(row)}, {abs(column)})"
    return _named(ORIENTATIONS[code], detail, kind, min(left))._replace(place=place)


class _Laid:
    """The second image, ready to be laid over the first in any orientation."""

    def __init__(self, second: Image, shape: tuple[int, ...]) -> None:
        self.shape, self.size = second.shape, second.size
        self.grid = tuple(fft.next_fast_len(a + b - 1, real=True) for a, b in zip(shape, second.shape, strict=True))
        self._second = second - second.mean()
        self.floor = float(self._second.var())
        self._sums = [np.conj(fft.rfft2(x, self.grid)) for x in (np.ones(second.shape), self._second, self._second**2)]

    def sums(self, first: Image) -> list[Image]:
        """Sums over the overlap at every place.

        Of one, the second, its square, the first, its square, and the product of both.
        """
        f_ones, f_first, f_square = (fft.rfft2(x, self.grid) for x in (np.ones(first.shape), first, first**2))
        ones, second, square = self._sums
        products = (f_ones * ones, f_ones * second, f_ones * square, f_first * ones, f_square * ones, f_first * second)
        return [fft.irfft2(product, self.grid) for product in products]


def _best_place(first: Image, second: _Laid) -> tuple[int, int]:
    """Where in `first` the upper left corner of `second` lies best."""
    a = first - first.mean()
    overlap, of_b, of_bb, of_a, of_aa, of_ab = second.sums(a)
    n = np.maximum(overlap, 1.0)
    mean_a, mean_b = of_a / n, of_b / n
    aa, bb, ab = of_aa / n - mean_a**2, of_bb / n - mean_b**2, of_ab / n - mean_a * mean_b
    floor = 1e-3 * min(float(a.var()), second.floor) + 1e-30
    known = (overlap >= LEAST_OVERLAP * min(a.size, second.size)) & (aa > floor) & (bb > floor) & (ab > 0)
    left = np.where(known, 1 - ab**2 / np.where(known, aa * bb, 1.0), np.inf)
    row, column = (int(k) for k in np.unravel_index(int(np.argmin(left)), left.shape))
    row, column = (
        k if k < size else k - whole for k, size, whole in zip((row, column), first.shape, second.grid, strict=True)
    )
    return row, column


def _at(first: Image, second: Image, row: int, column: int) -> float:
    """What is left over where they overlap, from the pixels as the transform rounds; 1 where they hardly do."""
    top, left = max(row, 0), max(column, 0)
    bottom = min(row + second.shape[0], first.shape[0])
    right = min(column + second.shape[1], first.shape[1])
    if bottom - top < 2 or right - left < 2:
        return 1.0
    if (bottom - top) * (right - left) < LEAST_OVERLAP * min(first.size, second.size):
        return 1.0
    return _unexplained(first[top:bottom, left:right], second[top - row : bottom - row, left - column : right - column])


def _resized(first: Image, second: Image) -> ImageChange:
    """Another size: the whole image resampled, or nothing that was found."""
    detail = f"resized to {second.shape[0]} x {second.shape[1]}"
    left = {}
    for code in range(8):
        turned = oriented_as(first, code)
        left[code] = _unexplained(_sampled(turned, second.shape), _sampled(second, second.shape))
    code = min(left, key=lambda k: left[k])
    if left[code] <= RESIZED:
        return _named(ORIENTATIONS[code], detail, "resized", left[code])
    return ImageChange("another image", "another image", left[code])


def _sampled(image: Image, shape: tuple[int, ...]) -> Image:
    """An image on a grid of `shape`, smoothed so that ways of resampling differ little."""
    factors = [max(a / b, 1.0) for a, b in zip(image.shape, shape, strict=True)]
    smooth = ndimage.gaussian_filter(image, [0.5 * f for f in factors])
    axes = [(np.arange(b) + 0.5) * a / b - 0.5 for a, b in zip(image.shape, shape, strict=True)]
    laid: Image = ndimage.map_coordinates(smooth, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
    return laid
