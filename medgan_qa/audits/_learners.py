"""The fixed learner, trained many times: on real images, on samples, on both, and on real images as many as both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.augmentation import AugmentationRun, Labelled, Sides
from medgan_qa.metrics.class_scores import area_over_pairs, balanced_accuracy
from medgan_qa.metrics.softmax_regression import SoftmaxRegression, softmax_regression

REAL, SYNTHETIC, BOTH, REPEATED = "real", "synthetic", "both", "real repeated"
SHARE = 0.8
"""Share of the units (patients, samples) of a side that one fit is given."""
DRAWS = 100
"""Draws of a training set until every class is in it."""

Float = NDArray[np.float64]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]


class Reached(NamedTuple):
    """One number of a learner: of every fit, and of half samples."""

    fits: Float
    """(S,) on all images."""
    halves: Float
    """(B,) the mean over fits on each half sample."""
    lower: float = 1.0
    """Of a difference: the lower of the two means over fits."""

    def less(self, other: Reached) -> Reached:
        """The difference, fit by fit and half by half."""
        lower = min(float(self.fits.mean()), float(other.fits.mean()))
        return Reached(self.fits - other.fits, self.halves - other.halves, lower)


@dataclass(frozen=True, eq=False)
class Learners:
    """What learners trained on each kind of set say of the real test images, and those of real images of samples."""

    said: dict[str, Float]
    """(S, n, K) log odds of the test images, by training set; absent where nothing can be trained."""
    of_samples: Float
    """(S, m, K) log odds of the samples, by learners trained on real images."""

    def area(self, arm: str, test: Labelled, halves: Bool) -> Reached:
        """Area under the curve on the real test images."""
        return _reached(area_over_pairs, self.said[arm], test.codes, halves)

    def accuracy(self, arm: str, test: Labelled, halves: Bool) -> Reached:
        """Balanced accuracy on the real test images."""
        return _reached(balanced_accuracy, self.said[arm], test.codes, halves)

    def accuracy_on_samples(self, synthetic: Labelled, halves: Bool) -> Reached:
        """Balanced accuracy of learners trained on real images, on the samples."""
        return _reached(balanced_accuracy, self.of_samples, synthetic.codes, halves)


def learners(run: AugmentationRun, sides: Sides, fits: int, most: int) -> Learners:
    """Train every learner `fits` times, each time on training sets drawn anew, and let it read.

    Each fit is given four in five of the training patients and of the samples, drawn without replacement (at most
    `most` images of either). Its four sets are the real images, the samples, both, and the real images again and again
    until they are as many as both; so its gain is what the samples add to these very images.
    """
    held = len(set(sides.synthetic.codes.tolist()))
    arms = [REAL, REPEATED, BOTH, *([SYNTHETIC] if held == len(sides.classes) else [])]

    def fit(number: int) -> tuple[dict[str, Float], Float]:
        sets = _training_sets(run, sides, number, most)
        fitted = {arm: _fitted(sides, *sets[arm]) for arm in arms}
        said = {arm: learner.log_odds(sides.test.features) for arm, learner in fitted.items()}
        return said, fitted[REAL].log_odds(sides.synthetic.features)

    every = run.engine.map(fit, range(fits), label="Training the learner")
    said = {arm: np.stack([one[arm] for one, _ in every]) for arm in arms}
    return Learners(said, np.stack([of_samples for _, of_samples in every]))


def _training_sets(run: AugmentationRun, sides: Sides, number: int, most: int) -> dict[str, tuple[Index, Index]]:
    """Places among the real training images and among the samples, by arm."""
    real, synthetic = (
        _drawn(side, most, rng.child(run.seed, "training set", name, number))
        for name, side in ((REAL, sides.train), (SYNTHETIC, sides.synthetic))
    )
    none = np.empty(0, dtype=np.intp)
    return {
        REAL: (real, none),
        REPEATED: (np.resize(real, len(real) + len(synthetic)), none),
        BOTH: (real, synthetic),
        SYNTHETIC: (none, synthetic),
    }


def _drawn(side: Labelled, most: int, g: np.random.Generator) -> Index:
    """Images of a share of the units, drawn without replacement, with every class that the side has."""
    units, codes = np.unique(np.array(side.patients), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    images = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    needed = set(side.codes.tolist())
    for _ in range(DRAWS):
        chosen = g.permutation(len(units))[: math.ceil(SHARE * len(units))]
        drawn = np.concatenate([images[k] for k in chosen])[:most]
        if set(side.codes[drawn].tolist()) == needed:
            return drawn.astype(np.intp)
    raise RuntimeError(f"none of {DRAWS} training sets of {most} images held every class")


def _fitted(sides: Sides, real: Index, synthetic: Index) -> SoftmaxRegression:
    features = np.concatenate([sides.train.features[real], sides.synthetic.features[synthetic]])
    labels = np.concatenate([sides.train.codes[real], sides.synthetic.codes[synthetic]])
    return softmax_regression(features, labels, len(sides.classes), units_of=sides.train.features)


def _reached(statistic: Callable[..., Float], said: Float, codes: Index, halves: Bool) -> Reached:
    whole = np.array([statistic(scores, codes)[0] for scores in said])
    return Reached(whole, np.mean([statistic(scores, codes, halves) for scores in said], axis=0))
