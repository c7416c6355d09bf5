"""Images changed a little, images that belong to no domain, and a monitor that tells a domain's images from others.

Arrays are in unit range, (H, W) or (C, H, W); the last two axes are the image. Nothing is clipped unless said.

References:
    H. Gudbjartsson, S. Patz, "The Rician distribution of noisy MRI data", Magn. Reson. Med. 34 (1995) 910-914.
    J. G. Sled, A. P. Zijdenbos, A. C. Evans, "A nonparametric method for automatic correction of intensity
        nonuniformity in MRI data", IEEE Trans. Med. Imaging 17 (1998) 87-97: a smooth, multiplicative field.
    V. Antun et al., "On instabilities of deep learning in image reconstruction and the potential costs of AI", PNAS 117
        (2020) 30088-30095: change of the output against change of the input.
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", Springer (2005): a threshold from order
        statistics of calibration scores.
    P. C. Mahalanobis, "On the generalized distance in statistics", Proc. Natl. Inst. Sci. India 2 (1936) 49-55.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import BoolMask, dilated, image2d, region
from medgan_qa.metrics.reference_range import reference_limits

Float = NDArray[np.float32]
Vector = NDArray[np.float64]

SMOOTH_PX = 3.0
"""Scale in pixels at which structure is looked for: noise from pixel to pixel has none."""
NEAR_PX = 3.0
"""Pixels this near to an edge belong to the structure that it bounds."""
GRID = 8
"""Fields along each side of the thumbnail that the monitor compares."""
LEVELS = 24
"""Intensities below which the monitor counts pixels."""
EDGE_SCALES_PX = (0.7, 1.5, 3.0)
"""Scales in pixels at which the monitor measures edges."""
SHRINKAGE = 0.5
"""Share of the identity in the correlations of the monitor's features."""
FOLDS = 10
"""Groups of patients that the monitor is calibrated in."""
RESOLUTION = 0.005
"""Difference that means something to the monitor: about an 8-bit step of intensity, half a percent of the pixels."""
LEAST_SPREAD = 1e-6
"""What counts as rounding, in unit range."""


def gaussian_noise(image: Float, sigma: float, g: np.random.Generator) -> Float:
    """`image` plus independent normal noise of standard deviation `sigma`, in unit range."""
    return (image + sigma * g.standard_normal(image.shape)).astype(np.float32)


def rician_noise(image: Float, sigma: float, g: np.random.Generator) -> Float:
    """Magnitude of `image` with normal noise of `sigma` in both channels of the receiver (Gudbjartsson & Patz 1995)."""
    real, imaginary = image + sigma * g.standard_normal(image.shape), sigma * g.standard_normal(image.shape)
    return np.hypot(real, imaginary).astype(np.float32)


def bias_field(shape: tuple[int, int], g: np.random.Generator, order: int = 2) -> Vector:
    """A smooth field (H, W) whose largest absolute value is 1: random half waves up to `order` along each axis."""
    y, x = (np.cos(np.pi * np.outer(np.arange(order + 1), (np.arange(n) + 0.5) / n)) for n in shape)
    weights = g.standard_normal((order + 1, order + 1))
    # A constant is a scale, not a bias.
    weights[0, 0] = 0.0
    field: Vector = y.T @ weights @ x
    field /= np.abs(field).max()
    return field


def biased(image: Float, amplitude: float, g: np.random.Generator) -> Float:
    """`image` times 1 + `amplitude` times a field from `bias_field`; all channels share the field."""
    return (image * (1 + amplitude * bias_field(image.shape[-2:], g))).astype(np.float32)


def shifted(image: NDArray[Any], dy: int, dx: int) -> NDArray[Any]:
    """The image moved by whole pixels, down and to the right; the border is repeated into what becomes free."""
    rows, columns = (np.clip(np.arange(n) - d, 0, n - 1) for n, d in zip(image.shape[-2:], (dy, dx), strict=True))
    moved: NDArray[Any] = image[..., rows[:, None], columns]
    return moved


def gamma_changed(image: Float, gamma: float) -> Float:
    """|image| to the power of `gamma` with its sign, so that values below 0 stay what they are."""
    return (np.sign(image) * np.abs(image) ** gamma).astype(np.float32)


def root_mean_square(change: Any, mask: BoolMask) -> float:
    """Root mean square of `change` (H, W) or (C, H, W) over the mask and all channels, in unit range.

    Raises:
        ValueError: the mask is empty.
    """
    values = np.asarray(change, dtype=np.float64)[..., region(mask, "mask")]
    return float(np.sqrt(np.mean(np.square(values))))


def gain(output_change: Any, input_change: Any, mask: BoolMask) -> float | None:
    """Root mean square of the output's change over that of the input's, both over the mask; lower is better.

    1 for a model that hands changes on as they are, 0 for one that does not see them. None where the input did not
    change over the mask.

    Args:
        output_change: (H, W) or (C, H, W), unit range.
        input_change: the same of the input; another number of channels is allowed.
        mask: (H, W) bool with at least one pixel.
    """
    denominator = root_mean_square(input_change, mask)
    return None if denominator == 0.0 else root_mean_square(output_change, mask) / denominator


def inverted(image: Float) -> Float:
    """Bright and dark exchanged within the range that the image spans."""
    out: Float = (image.max() + image.min() - image).astype(np.float32)
    return out


def rotated(image: Float) -> Float:
    """A quarter turn, on the grid that the image has: cut or filled with its darkest value where the sides differ."""
    height, width = image.shape[-2:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    edges = [(0, 0)] * (image.ndim - 2) + [(top, side - height - top), (left, side - width - left)]
    square: Float = np.pad(image, edges, constant_values=image.min())
    turned: Float = np.rot90(square, axes=(-2, -1))[..., top : top + height, left : left + width]
    return turned.copy()


def block_shuffled(image: Float, blocks: int, g: np.random.Generator) -> Float:
    """The image cut into `blocks` x `blocks` equal fields, exchanged at random; a rest at the border stays in place."""
    height, width = (n // blocks for n in image.shape[-2:])
    if min(height, width) < 1:
        raise ValueError(f"{blocks} x {blocks} blocks need that many pixels, got shape {image.shape}")
    out = image.copy()
    for place, taken in enumerate(g.permutation(blocks * blocks)):
        (row, column), (y, x) = divmod(place, blocks), divmod(int(taken), blocks)
        field = image[..., y * height : (y + 1) * height, x * width : (x + 1) * width]
        out[..., row * height : (row + 1) * height, column * width : (column + 1) * width] = field
    return out


def checkerboard(shape: tuple[int, ...], square: int, low: float, high: float) -> Float:
    """Squares of `square` pixels at two levels."""
    rows, columns = np.indices(shape[-2:])
    board = np.where((rows // square + columns // square) % 2, high, low).astype(np.float32)
    return np.broadcast_to(board, shape).copy()


class TissueLook(NamedTuple):
    """What tissue looks like in the images of a domain, at a scale of `SMOOTH_PX`."""

    low: float
    high: float
    """Intensities that tissue has, in unit range."""
    edge: float
    """Gradient from which on a pixel lies on an edge, in unit range a pixel."""


def tissue_look(images: Sequence[Any], bodies: Sequence[BoolMask]) -> TissueLook:
    """Range of intensities (5 % to 95 %) and median gradient inside the bodies of normal images, all smoothed.

    Args:
        images: (H, W) each, finite, at least one.
        bodies: (H, W) bool each, at least one pixel.
    """
    smooth = np.concatenate([_smoothed(i)[b] for i, b in zip(images, bodies, strict=True)])
    steep = np.concatenate([_gradient(i)[b] for i, b in zip(images, bodies, strict=True)])
    low, high = np.quantile(smooth, (0.05, 0.95))
    return TissueLook(float(low), float(high), float(np.median(steep)))


def tissue_structure(image: Any, look: TissueLook, given: Any | None = None) -> BoolMask:
    """Where an image (H, W) shows what looks like tissue: its intensity, near an edge of its steepness.

    An even grey has the intensity and no edge; noise has edges from pixel to pixel and none at this scale.

    Args:
        image: (H, W) finite.
        look: from normal images of the same domain.
        given: (H, W), the input; structure near an edge of its own is not counted, as the model was given it.

    Returns:
        (H, W) bool; empty for an image without structure.
    """
    smooth = _smoothed(image)
    found = (smooth >= look.low) & (smooth <= look.high) & _near_edges(image, look.edge)
    return found if given is None else found & ~_near_edges(given, look.edge)


def _near_edges(image: Any, edge: float) -> BoolMask:
    # An edge of exactly 0 would make an even grey all edge.
    return dilated(_gradient(image) >= max(edge, LEAST_SPREAD), NEAR_PX)


def _smoothed(image: Any) -> Vector:
    smooth: Vector = ndimage.gaussian_filter(image2d(image, "image"), SMOOTH_PX, mode="nearest")
    return smooth


def _gradient(image: Any) -> Vector:
    steep: Vector = ndimage.gaussian_gradient_magnitude(image2d(image, "image"), SMOOTH_PX, mode="nearest")
    return steep


class _Fit(NamedTuple):
    """Mean, spread and inverse correlation of one group of features, (D,), (D,) and (D, D)."""

    mean: Vector
    spread: Vector
    inverse: Vector

    def distance(self, features: Vector) -> Vector:
        """Mahalanobis distances (N,) of features (N, D), over the root of D."""
        z = (features - self.mean) / self.spread
        squared: Vector = np.einsum("ij,jk,ik->i", z, self.inverse, z) / z.shape[1]
        return np.sqrt(squared)


@dataclass(frozen=True, eq=False)
class Monitor:
    """Says whether an image is unlike the ones it was calibrated on; knows intensities, layout and edges only."""

    levels: Vector
    """(LEVELS,), intensities below which pixels are counted."""
    fits: tuple[_Fit, ...]
    typical: Vector
    """(3,): median distance of calibration images, by group of features."""
    limit: float
    """Scores above are an alarm."""
    rate: float
    """Probability of an alarm on a further image of the domain, if it is exchangeable with the calibration images."""
    n: int
    """Calibration images."""

    def score(self, image: Any) -> float:
        """The largest of the three distances of an image (H, W), each over the calibration images' median."""
        groups = _features(image, self.levels)
        away = [fit.distance(f[None])[0] for fit, f in zip(self.fits, groups, strict=True)]
        return float((np.array(away) / self.typical).max())

    def alarm(self, image: Any) -> bool:
        """Whether the image (H, W) is unlike the calibration images."""
        return self.score(image) > self.limit


def calibrated_monitor(images: Sequence[Any], patients: Sequence[Hashable], false_alarm: float = 0.01) -> Monitor:
    """A monitor whose threshold is an order statistic of scores of images that their own patient had no part in.

    An image is described by its cumulative histogram, a thumbnail of `GRID` x `GRID` means, and the strength of
    its edges at three scales. Each group is held against the calibration images by a Mahalanobis distance whose
    correlations are shrunk by `SHRINKAGE`. Patients are dealt into `FOLDS` groups and each group's images are scored by
    the others; the threshold is the order statistic that a further image exceeds with probability `false_alarm`, or
    1 / (N + 1) where so few images support no smaller one. Images of one patient are not exchangeable with those of a
    further one; the rate then holds only nearly.

    Args:
        images: N images (H, W), finite; sizes may differ.
        patients: (N,) of at least four patients.
        false_alarm: in (0, 1).

    Raises:
        ValueError: fewer than four patients, or an image that is not finite.
    """
    names = {name: k for k, name in enumerate(dict.fromkeys(patients))}
    if len(names) < 4:
        raise ValueError(f"a monitor needs images of at least four patients, got {len(names)}")
    fold = np.array([names[p] for p in patients]) % min(FOLDS, len(names))
    ends = np.array([np.quantile(image2d(image, "image"), (0.01, 0.99)) for image in images])
    levels = np.linspace(ends.min(), ends.max(), LEVELS + 1)[1:]
    groups = [np.stack(column) for column in zip(*(_features(image, levels) for image in images), strict=True)]
    away = np.empty((len(images), len(groups)))
    for part in np.unique(fold):
        left, taken = fold != part, fold == part
        away[taken] = np.stack([_fitted(g[left]).distance(g[taken]) for g in groups], axis=1)
    typical = np.maximum(np.median(away, axis=0), LEAST_SPREAD)
    limits = reference_limits((away / typical).max(axis=1), max(false_alarm, 1 / (len(images) + 1)), "high")
    assert limits.high is not None
    assert limits.expected_rate is not None
    fits = tuple(_fitted(g) for g in groups)
    return Monitor(levels, fits, typical, limits.high, limits.expected_rate, len(images))


def _fitted(features: Vector) -> _Fit:
    spread: Vector = features.std(axis=0, ddof=1) + RESOLUTION
    z = (features - features.mean(axis=0)) / spread
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    # Images that are all alike have no covariance; any unit then serves.
    scale = np.trace(covariance) / len(covariance) or 1.0
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * scale * np.eye(len(covariance))
    inverse: Vector = np.linalg.inv(shrunk).astype(np.float64)
    return _Fit(features.mean(axis=0), spread, inverse)


def _features(image: Any, levels: Vector) -> tuple[Vector, Vector, Vector]:
    """Shares below the levels, thumbnail, and the logarithm of the mean and spread of the gradient at each scale."""
    array = image2d(image, "image")
    below = np.searchsorted(np.sort(array, axis=None), levels) / array.size
    limits = [np.linspace(0, n, GRID + 1).astype(int) for n in array.shape]
    # A field of an image with fewer pixels than fields is its nearest pixel.
    rows, columns = ([slice(a, max(a + 1, b)) for a, b in pairwise(e)] for e in limits)
    layout = np.array([array[r, c].mean() for r in rows for c in columns])
    steep = [ndimage.gaussian_gradient_magnitude(array, s, mode="nearest") for s in EDGE_SCALES_PX]
    return below, layout, np.log([f(g) + RESOLUTION for g in steep for f in (np.mean, np.std)])
