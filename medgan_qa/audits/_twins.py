"""Twins: samples that are all but the same, by the distance that real images of different patients keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.features.pixels import PixelExtractor
from medgan_qa.metrics import nearest_neighbors

Float = NDArray[np.float64]
Index = NDArray[np.intp]


class Twins(NamedTuple):
    """The image of another patient, or the other sample, that comes nearest to each image of one set."""

    joint: Float
    """(N, D) what distances are taken in."""
    nearest: Index
    """(N,) the nearest other."""
    distance: Float
    """(N,) its distance; 1 is the median of real images."""


class Calibrated(NamedTuple):
    """Nearest others among samples and among real images, and up to which distance two are near-identical."""

    samples: Twins
    real: Twins
    threshold: float

    @property
    def has_twin(self) -> NDArray[np.bool_]:
        """(M,) whether each sample has a near-identical one."""
        return np.asarray(self.samples.distance <= self.threshold)


def calibrated(run: SynthesisRun, closeness: float, quantile: float) -> tuple[Calibrated, Calibrated]:
    """Twins in the features and the pixels together, and in the pixels alone.

    Args:
        run: the run.
        closeness: the threshold as a share of a quantile of the distances of real images to the nearest other patient.
        quantile: which quantile.
    """
    space, extractor = run.space(), PixelExtractor()
    features = _in_units(run, space.reference, space.generated)
    pixels = _in_units(run, *(extractor.features(images.images) for images in (run.reference, run.generated)))
    # Divided by the root of two, the squares of both add up to their mean.
    joint = [np.hstack(side) / np.sqrt(2) for side in zip(features, pixels, strict=True)]
    found = []
    for reference, generated in (joint, pixels):
        real, samples = _nearest(reference, run.reference.patients), _nearest(generated, run.generated.patients)
        threshold = closeness * float(np.quantile(real.distance, quantile, method="inverted_cdf"))
        found.append(Calibrated(samples, real, threshold))
    return found[0], found[1]


def _in_units(run: SynthesisRun, reference: NDArray[np.float32], generated: NDArray[np.float32]) -> list[Float]:
    """Both over the median distance of a real image to the nearest one of another patient."""
    unit = float(np.median(_nearest(reference.astype(np.float64), run.reference.patients).distance))
    # Where most real images are the same as another patient's there is no unit, and only exact twins are found.
    return [x.astype(np.float64) / (unit or 1.0) for x in (reference, generated)]


def _nearest(joint: Float, patients: Sequence[str]) -> Twins:
    """The nearest image of another patient."""
    codes = np.unique(list(patients), return_inverse=True)[1]
    # As many as a patient has images, and one more: at least one of them is another patient's.
    near = nearest_neighbors(joint, joint, int(np.bincount(codes).max()) + 1)
    at = (codes[near.index] != codes[:, None]).argmax(axis=1)[:, None]
    index, distance = np.take_along_axis(near.index, at, axis=1), np.take_along_axis(near.distance, at, axis=1)
    return Twins(joint, index[:, 0], distance[:, 0])


def in_pairs(has_twin: NDArray[np.bool_], patients: Sequence[str]) -> list[str]:
    """Units of the rate of twins: two patients (samples) each, those with a twin together.

    A sample has a twin because the twin has one. The number of samples with a twin is therefore no sum of independent
    events: among samples of equal chances its variance over its mean falls from 2, where twins are rare, to 1 where
    every image comes many times (to 2.1 between). Two samples as one unit stand for the 2.
    """
    twinned = set(np.array(patients)[has_twin].tolist())
    order = sorted(dict.fromkeys(patients), key=lambda patient: patient not in twinned)
    place = {patient: k // 2 for k, patient in enumerate(order)}
    return [f"pair {place[patient]}" for patient in patients]
