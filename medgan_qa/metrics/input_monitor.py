"""A monitor of inputs: tells images that are unlike those of a domain from further images of it.

Images are (H, W), in unit range.

References:
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

from medgan_qa.metrics._arrays import image2d
from medgan_qa.metrics.reference_range import reference_limits

Vector = NDArray[np.float64]

FEWEST_PATIENTS = 4
"""A monitor is calibrated on images of as many patients at least."""
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
LEAST_DISTANCE = 1e-6
"""What a typical distance is at least, so that images that are all alike can be divided by it."""


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
    if len(names) < FEWEST_PATIENTS:
        raise ValueError(f"a monitor needs images of at least four patients, got {len(names)}")
    fold = np.array([names[p] for p in patients]) % min(FOLDS, len(names))
    ends = np.array([np.quantile(image2d(image, "image"), (0.01, 0.99)) for image in images])
    levels = np.linspace(ends.min(), ends.max(), LEVELS + 1)[1:]
    groups = [np.stack(column) for column in zip(*(_features(image, levels) for image in images), strict=True)]
    away = np.empty((len(images), len(groups)))
    for part in np.unique(fold):
        left, taken = fold != part, fold == part
        away[taken] = np.stack([_fitted(g[left]).distance(g[taken]) for g in groups], axis=1)
    typical = np.maximum(np.median(away, axis=0), LEAST_DISTANCE)
    limits = reference_limits((away / typical).max(axis=1), max(false_alarm, 1 / (len(images) + 1)), "high")
    assert limits.high is not None
    assert limits.expected_rate is not None
    fits = tuple(_fitted(g) for g in groups)
    return Monitor(levels, fits, typical, limits.high, limits.expected_rate, len(images))


def alarms_across_halves(
    images: Sequence[Any], patients: Sequence[str], false_alarm: float, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Alarms on images of a domain, each half of the patients shown to a monitor that was calibrated on the other.

    Args:
        images: N images (H, W), finite; sizes may differ.
        patients: (N,) of at least twice `FEWEST_PATIENTS` patients.
        false_alarm: that the monitors are calibrated at, in (0, 1).
        generator: deals the patients into halves.

    Returns:
        (N,) whether there was an alarm.

    Raises:
        ValueError: too few patients, or an image that is not finite.
    """
    names = sorted(set(patients))
    half = {names[k]: place % 2 for place, k in enumerate(generator.permutation(len(names)))}
    side = np.array([half[name] for name in patients])
    alarms = np.zeros(len(images), dtype=bool)
    for part in (0, 1):
        left = np.flatnonzero(side != part).tolist()
        monitor = calibrated_monitor([images[k] for k in left], [patients[k] for k in left], false_alarm)
        for k in np.flatnonzero(side == part).tolist():
            alarms[k] = monitor.alarm(images[k])
    return alarms


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
