"""The Inception score: how sure a classifier is of each image, and how evenly it spreads over its classes.

References:
    T. Salimans, I. Goodfellow, W. Zaremba, V. Cheung, A. Radford, X. Chen, "Improved techniques for training GANs",
        NeurIPS (2016), section 4.
    S. Barratt, R. Sharma, "A note on the Inception score", ICML workshop (2018): what it does not say.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.metrics._features import Float, feature_array, half_masks

LIMITATION = (
    "The Inception score rewards images that spread over the classes of a classifier trained on everyday photographs. "
    "Images of one modality and body part fall into few of these classes, real ones included, so that the score has "
    "little room between a good and a bad generator; it sees neither a missing subgroup nor a copied training image. "
    "It is reported for comparison with publications and supports no claim."
)
"""What a report prints beside every Inception score."""
ROUNDING = 1e-3
"""How far the sum of a row of probabilities may be from 1; rows are then divided by their sum."""


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """The published mean over splits, and what is needed to read it."""

    value: float
    """Mean score of the splits, in [1, K]; higher is more varied and surer."""
    split_sd: float
    """Standard deviation of the scores of the splits (ddof 0), as published. Not a confidence interval and no standard
    error of `value`: it shrinks with the size of a split and says nothing of the bias that a split's size brings."""
    whole: float
    """Score of all images as one split, in [1, min(N, K)]: what replicates by half samples belong to."""
    splits: int
    """Splits that `value` is the mean of."""
    images: int
    """Images, N."""
    classes: int
    """Classes of the classifier, K."""
    limitation: str = LIMITATION
    """What a report prints beside the value."""


def inception_score(probabilities: Any, splits: int = 10) -> InceptionScore:
    """Inception score: exp of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016).

    The exponent is the mutual information of image and class under the classifier, taken in each of `splits` contiguous
    parts of the sample, i N // splits up to (i + 1) N // splits, in the order given, and averaged over them, as
    published. 0 log 0 is 0. The order matters to `value` and not to `whole`; a sample must not be sorted by class.

    Homogeneous sets: on radiographs of one view the score of real images themselves is low, as its classes are those of
    everyday photographs; a study of hand radiographs calls it "likely not a valuable metric" for that reason. Print it
    beside the score of as many real images, and `LIMITATION` beside both.

    Bias: rises with the size of a split, as the marginal of a small split is less even than that of the population;
    compare at equal N and splits only.

    Args:
        probabilities: (N, K) class probabilities, in [0, 1], each row summing to 1 within 1e-3; K at least 2.
        splits: parts, at least 1; each must hold at least 2 images.

    Raises:
        TypeError: no real numbers.
        ValueError: wrong shape, not finite, no probabilities, or fewer than 2 images a split.
    """
    rows = _rows(probabilities)
    if int(splits) != splits or splits < 1:
        raise ValueError(f"splits must be an integer of at least 1, got {splits!r}")
    n, classes = rows.shape
    if n < 2 * splits:
        raise ValueError(f"{splits} splits need at least {2 * splits} images, got {n}")
    ends = np.arange(splits + 1) * n // splits
    membership = np.zeros((splits, n), bool)
    for part, (start, end) in enumerate(pairwise(ends)):
        membership[part, start:end] = True
    scores = _scores(rows, membership)
    whole = float(_scores(rows, np.ones((1, n), bool))[0])
    return InceptionScore(float(scores.mean()), float(scores.std()), whole, int(splits), n, classes)


def inception_score_replicates(probabilities: Any, halves: Any) -> Float:
    """Score of each part of a sample as one split, for half-sample intervals about `InceptionScore.whole`.

    A half scores lower than the whole (see `inception_score`); only the spread of the replicates is used.

    Args:
        probabilities: (N, K) as in `inception_score`.
        halves: (B, N) bool, the images that each replicate keeps; at least one in each.

    Returns:
        (B,) scores.

    Raises:
        TypeError, ValueError: as `inception_score`, or `halves` is not bool of shape (B, N) or keeps nothing.
    """
    rows = _rows(probabilities)
    return _scores(rows, half_masks(halves, len(rows), "halves", fewest=1))


def _scores(rows: Float, masks: NDArray[np.bool_]) -> Float:
    """exp(H(mean of the kept rows) - mean of their H), (B,)."""
    share = masks / masks.sum(axis=1, keepdims=True)
    information = special.entr(share @ rows).sum(axis=1) - share @ special.entr(rows).sum(axis=1)
    # never negative in exact arithmetic: entropy is concave
    score: Float = np.exp(np.maximum(information, 0.0))
    return score


def _rows(probabilities: Any) -> Float:
    """`probabilities` as float64 (N, K), each row divided by its sum."""
    array = feature_array(probabilities, "probabilities").astype(np.float64)
    if array.shape[1] < 2:
        raise ValueError(f"probabilities must be of at least 2 classes, got shape {array.shape}")
    sums = array.sum(axis=1, keepdims=True)
    valid = ((array >= 0) & (array <= 1 + ROUNDING)).all(axis=1) & (np.abs(sums[:, 0] - 1) <= ROUNDING)
    if not valid.all():
        rows = np.flatnonzero(~valid)[:10].tolist()
        raise ValueError(f"rows {rows} are no probabilities: values in [0, 1] that sum to 1; apply softmax to logits")
    normalised: Float = array / sums
    return normalised
