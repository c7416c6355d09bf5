"""Who reads what an image shows: a learner of the real training images, and a detector of lesions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.augmentation import AugmentationRun, Labelled, Sides
from medgan_qa.audits.run import NotFiniteError, for_detector
from medgan_qa.cohorts.cohort import LESION, LESION_FREE
from medgan_qa.metrics import components
from medgan_qa.metrics.softmax_regression import softmax_regression
from medgan_qa.stats.misread_labels import Counted

BATCH = 16

Float = NDArray[np.float64]
Index = NDArray[np.intp]


class Reading(NamedTuple):
    """What one reader says of real test images, which it has not seen before, and of samples."""

    name: str
    real: Labelled
    said_of_real: Index
    """(n,) class numbers."""
    synthetic: Labelled
    said_of_samples: Index
    """(m,) class numbers."""
    doubt: Float
    """(m,) how far the reader is from a sample's label: larger is worse."""

    def contradicted(self, code: int) -> Counted:
        """Samples of a label; event: the reader says something else."""
        return self._not_read_as(self.synthetic, self.said_of_samples, code)

    def missed(self, code: int) -> Counted:
        """Real images of a class; event: the reader says something else."""
        return self._not_read_as(self.real, self.said_of_real, code)

    def taken(self, code: int, other: int) -> Counted:
        """Real images of another class; event: the reader takes them for this one."""
        there = self.real.of(other)
        patients = self.real.patients
        return Counted((self.said_of_real[there] == code).tolist(), [patients[k] for k in there])

    @staticmethod
    def _not_read_as(side: Labelled, said: Index, code: int) -> Counted:
        there, patients = side.of(code), side.patients
        return Counted((said[there] != code).tolist(), [patients[k] for k in there])


def by_learner(sides: Sides) -> Reading:
    """The fixed learner, trained once on all real training images."""
    learner = softmax_regression(sides.train.features, sides.train.codes, len(sides.classes))
    of_real, of_samples = (learner.log_odds(side.features) for side in (sides.test, sides.synthetic))
    doubt = -of_samples[np.arange(len(sides.synthetic)), sides.synthetic.codes]
    return Reading("learner", sides.test, of_real.argmax(axis=1), sides.synthetic, of_samples.argmax(axis=1), doubt)


def by_detector(run: AugmentationRun, sides: Sides, min_pixels: int) -> Reading | None:
    """The detector, where classes are lesion and lesion-free: an image shows a lesion if a mark of some size is in it.

    None without a detector or with other classes.
    """
    if run.detector is None or set(sides.classes) != {LESION, LESION_FREE}:
        return None
    areas = {side: _largest_mark(run, images) for side, images in (("real", sides.test), ("samples", sides.synthetic))}
    code = {True: sides.classes.index(LESION), False: sides.classes.index(LESION_FREE)}
    real, samples = (np.array([code[bool(a >= min_pixels)] for a in areas[side]], np.intp) for side in areas)
    # A large mark speaks against a label without lesion, and a small one or none against the other.
    sign = np.where(sides.synthetic.codes == code[True], -1.0, 1.0)
    return Reading("detector", sides.test, real, sides.synthetic, samples, sign * areas["samples"])


def _largest_mark(run: AugmentationRun, side: Labelled) -> Float:
    """(n,) pixels of the largest mark in each image; 0 without a mark."""
    detector = run.detector
    assert detector is not None

    def read(first: int) -> list[int]:
        images = [side.pictures.images[k] for k in side.index[first : first + BATCH]]
        logits = detector.read(np.stack([for_detector(image, detector) for image in images]))
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                "The detector returned NaN or infinity.",
                expected="finite lesion logits",
                found=f"among the images from {side.names[first]} on",
                where=detector.path,
                todo="Repair the detector, or give another with --detector.",
            )
        return [max((int(mark.sum()) for mark in components(marks)), default=0) for marks in logits > 0]

    parts = run.engine.map(read, range(0, len(side), BATCH), label="Reading lesions")
    return np.array([area for part in parts for area in part], dtype=np.float64)
