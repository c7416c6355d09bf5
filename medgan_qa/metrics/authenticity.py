"""Share of generated samples that are no nearer to a training sample than training samples are to each other.

Reference:
    A. M. Alaa, B. van Breugel, E. Saveliev, M. van der Schaar, "How faithful is your synthetic data? Sample-level
        metrics for evaluating and auditing generative models", ICML 2022, section 4.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.neighbours import Neighbourhood, at_least, neighbourhood
from medgan_qa.metrics.points import Floats, features
from medgan_qa.metrics.subsets import batches


class Authenticity(NamedTuple):
    """What authenticity says of a generated sample.

    Attributes:
        share: authentic share in [0, 1]. A fresh sample of the training distribution does not score 1 but from one
            third (in one dimension) to somewhat above one half (in many).
        authentic: (M,) bool.
        nearest: (M,) the nearest training sample, the first of equals.
        distance: (M,) its distance.
        spacing: (M,) the distance of that training sample to its nearest other; of equals, the largest.
    """

    share: float
    authentic: NDArray[np.bool_]
    nearest: NDArray[np.intp]
    distance: Floats
    spacing: Floats


def authenticity(train: Any, generated: Any) -> Authenticity:
    """Authentic samples by the definition of Alaa et al. (2022).

    Sample y with nearest training sample x* is authentic if d(y, x*) > min over training samples x other than x* of
    d(x*, x). A sample at exactly that distance is not authentic, and where several training samples are equally near,
    the largest of their distances has to be exceeded. A duplicate in the training set has spacing 0, so that anything
    but a further copy of it is authentic: look for copies by distance as well. Compare the share with that of held-out
    real samples, not with 1.

    Args:
        train: (N, D) finite features, N >= 2.
        generated: (M, D) finite features.

    Raises:
        ValueError: a set is not (N, D), not finite, `train` holds fewer than 2 samples, or the widths differ.
    """
    train, generated = features(train, "train"), features(generated, "generated")
    at_least(train, "train", 2, 1)
    near = neighbourhood(train, generated, keep=2)
    every = near.real.weights(None, "train")[0]
    nearest, square, spacing = _compare(near, every)
    of = near.generated.same.group
    share = float((square > spacing)[of].mean())
    first = near.real.same.first[nearest]
    return Authenticity(share, (square > spacing)[of], first[of], np.sqrt(square)[of], np.sqrt(spacing)[of])


def authenticity_of(
    near: Neighbourhood, train_halves: Any | None = None, generated_halves: Any | None = None
) -> Floats:
    """Authentic shares from neighbours already found, for subsets of both sets.

    Args:
        near: neighbours with the training set, or a set that contains it, as the real one.
        train_halves: (R, N) bool, the training samples of each subset; None for all of the real set.
        generated_halves: (R, M) bool; None for all.

    Returns:
        (R,) shares, each what `authenticity` gives for that pair of subsets.

    Raises:
        ValueError: the masks do not fit, or a subset holds too few samples.
    """
    shares = []
    weights = near.real.weights(train_halves, "train"), near.generated.weights(generated_halves, "generated")
    if weights[1].sum(axis=1).min() < 1:
        raise ValueError("generated, or a half of it, holds no sample")
    for batch in batches(*weights):
        for train, generated in zip(*batch, strict=True):
            _, square, spacing = _compare(near, train)
            shares.append((generated * (square > spacing)).sum() / generated.sum())
    return np.asarray(shares)


def _compare(near: Neighbourhood, train: NDArray[np.int64]) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Nearest training point of each generated point, squared distance to it, and its own squared spacing."""
    spacing = near.real.squared_radii(train[None], 1)[0]
    nearest, square = near.to_real.kth(train, 1)
    return nearest, square, near.to_real.largest_at(square, train, spacing)
