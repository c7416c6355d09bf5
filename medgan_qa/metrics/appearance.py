"""Where the body lies in an image and what intensities and colours it has, in a few numbers; and how usual they are.

References:
    P. C. Mahalanobis, "On the generalized distance in statistics", Proc. Natl. Inst. Sci. India 2 (1936) 49-55.
    M.-K. Hu, "Visual pattern recognition by moment invariants", IRE Trans. Inf. Theory 8 (1962) 179-187: place, size
        and direction from moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import image_stack, resampled

WORKING_PX = 64
"""Pixels along the shorter side that images are reduced to."""
SILHOUETTE = 1 / 26
"""Standard deviation, as a share of the shorter side, of the Gaussian applied before the body is read."""
TISSUE = 0.2
"""Height between the darkest and the brightest values at which air ends."""
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the intensities in the body."""
SHRINKAGE = 0.1
"""Share of the identity in the correlations of the features."""
LEAST_SPREAD = 0.005
"""Spread of a feature that is taken for granted: about an 8-bit step, or half a per cent of the image's side."""
GREY = 1e-3
"""Saturation below which a pixel has no hue."""

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


def reduced(images: Any) -> Float:
    """(N, h, w) area means of images (N, H, W), at most 64 pixels along the shorter side.

    Raises:
        ValueError: another shape, or an image that is not finite.
    """
    stack = image_stack(images, "images")
    return resampled(stack, _grid((stack.shape[1], stack.shape[2])), 0.0)


def bodies(images: Any) -> Bool:
    """(N, h, w) where tissue is, on the grid of `reduced`."""
    stack = image_stack(images, "images")
    shape = (stack.shape[1], stack.shape[2])
    smooth = resampled(stack, _grid(shape), SILHOUETTE * min(shape))
    # Sorted, the values of an image are the same in every position, and so are its quantiles.
    ordered = np.sort(smooth.reshape(len(smooth), -1), axis=1)
    low, high = (ordered[:, round(q * (ordered.shape[1] - 1)), None, None] for q in (0.02, 0.95))
    return np.asarray(smooth > low + np.float32(TISSUE) * (high - low))


def centred(images: Any, masks: Any) -> Float:
    """Images (N, h, w) moved by whole pixels, round the border, so that the body's centre lies in the middle."""
    moved = np.array(images, np.float32)
    y, x = ((np.arange(length) - (length - 1) / 2) for length in moved.shape[1:])
    weight = np.asarray(masks, np.float64)
    area = np.maximum(weight.sum(axis=(1, 2)), 1.0)
    offsets = np.stack([weight.sum(axis=2) @ y, weight.sum(axis=1) @ x], axis=1) / area[:, None]
    for k, (down, right) in enumerate(np.rint(offsets).astype(int).tolist()):
        moved[k] = np.roll(moved[k], (-down, -right), axis=(0, 1))
    return moved


def pose(masks: Any) -> Vector:
    """(N, 5) place (down, right), size, and lengthening along the axes and the diagonals, of bodies (N, H, W).

    Place is the centre of gravity against the middle of the image, size the root of the area, both in units of the
    shorter side. Lengthening is the difference of the second moments, and twice their product, over their sum: the two
    turn by twice the angle that the body turns by. An empty mask is a point in the middle.
    """
    weight = np.asarray(masks, np.float64)
    side = min(weight.shape[1:])
    y, x = ((np.arange(length) - (length - 1) / 2) / side for length in weight.shape[1:])
    area = np.maximum(weight.sum(axis=(1, 2)), 1.0)
    down, right = weight.sum(axis=2) @ y / area, weight.sum(axis=1) @ x / area
    yy = weight.sum(axis=2) @ (y * y) / area - down**2
    xx = weight.sum(axis=1) @ (x * x) / area - right**2
    yx = np.einsum("nij,i,j->n", weight, y, x) / area - down * right
    total = np.maximum(yy + xx, 1e-9)
    return np.stack([down, right, np.sqrt(area) / side, (yy - xx) / total, 2 * yx / total], axis=1)


def tone(images: Any, masks: Any) -> Vector:
    """(N, 9) or, of images with three channels, (N, 13) intensities and colours.

    Mean, standard deviation and five quantiles of the grey value in the body, mean outside, and skewness in units of a
    tenth. Of three channels also the mean saturation in the body, and saturation times the cosine and sine of the hue
    and the spread of the channels' means.

    Args:
        images: (N, C, h, w) finite, in unit range; grey is the mean over channels.
        masks: (N, h, w) bodies; where one is empty or full, the whole image stands for both parts.
    """
    stack, inside = np.asarray(images, np.float64), np.asarray(masks, bool)
    rows = [_tones(image, mask) for image, mask in zip(stack, inside, strict=True)]
    return np.array(rows, np.float64).reshape(len(stack), -1)


def _tones(image: Vector, mask: Bool) -> list[float]:
    if mask.all() or not mask.any():
        mask, air = np.ones_like(mask), np.ones_like(mask)
    else:
        air = ~mask
    grey = image.mean(axis=0)
    held = np.sort(grey[mask])
    mean, spread = float(held.mean()), float(held.std())
    skewness = float(((held - mean) ** 3).mean()) / max(spread, LEAST_SPREAD) ** 3
    found = [
        mean,
        spread,
        *(float(held[round(q * (held.size - 1))]) for q in QUANTILES),
        float(grey[air].mean()),
        skewness / 10,
    ]
    return found if len(image) != 3 else found + _colours(image[:, mask])


def _colours(pixels: Vector) -> list[float]:
    """Of (3, n) pixels, on the plane perpendicular to grey."""
    red, green, blue = pixels
    cosine, sine = red - (green + blue) / 2, (green - blue) * np.sqrt(3) / 2
    saturation = np.hypot(cosine, sine)
    means = pixels.mean(axis=1)
    coloured = saturation > GREY
    direction = [float(np.where(coloured, part, 0.0).mean()) for part in (cosine, sine)]
    return [float(saturation.mean()), *direction, float(means.max() - means.min())]


@dataclass(frozen=True, eq=False)
class Usual:
    """What some features usually are."""

    centre: Vector
    """(D,) medians."""
    spread: Vector
    """(D,) standard deviations, not below `LEAST_SPREAD`."""
    inverse: Vector
    """(D, D) of the shrunken correlations."""

    def distance(self, features: Any) -> Vector:
        """(N,) Mahalanobis distances of features (N, D), over the root of D."""
        z = (np.asarray(features, np.float64) - self.centre) / self.spread
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", z, self.inverse, z) / z.shape[1]))

    def apart(self, features: Any) -> Vector:
        """(N, D) differences of features (N, D) from their medians, in standard deviations, without their sign."""
        return np.abs((np.asarray(features, np.float64) - self.centre) / self.spread)


def usual(features: Any) -> Usual:
    """What features (N, D) of real images usually are, N >= 2.

    Raises:
        ValueError: another shape, too few, or values that are not finite.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"at least two rows of finite features are needed, got shape {x.shape}")
    centre, spread = np.median(x, axis=0), np.maximum(x.std(axis=0), LEAST_SPREAD)
    z = (x - x.mean(axis=0)) / spread
    correlation = (1 - SHRINKAGE) * (z.T @ z) / len(x) + SHRINKAGE * np.eye(x.shape[1])
    return Usual(centre, spread, np.linalg.inv(correlation))


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    scale = max(1.0, min(shape) / WORKING_PX)
    return round(shape[0] / scale), round(shape[1] / scale)
