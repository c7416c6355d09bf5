"""How large a share of unlabelled images shows an attribute, read from features that labelled images calibrate.

A generator's samples carry no labels. A linear reading of the attribute is fitted on one set of real images, and its
mean score on a second set, where the labels are known, says what a score is worth; the share of the attribute among
the samples is then the one mixture of the two means that gives their mean score (quantification by adjusted means).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


class Prevalence(NamedTuple):
    """Share of an attribute among unlabelled images."""

    value: float
    """The estimate; it is unbiased and may leave [0, 1] by chance."""
    reference: float
    """Share among the labelled real images."""
    separation: float
    """Mean score with the attribute less the mean without it, in standard deviations of the score within the groups."""


def attribute_score(fit: Any, labels: Any, *others: Any, penalty: float = 0.1) -> tuple[Float, ...]:
    """Linear score of an attribute, fitted by ridge regression of the label on the features.

    Args:
        fit: (N, D) features of labelled images.
        labels: (N,) bool, whether each shows the attribute.
        others: (M, D) feature sets to score.
        penalty: ridge penalty as a share of N, on features in units of their spread in `fit`.

    Returns:
        (M,) scores of each of `others`.

    Raises:
        ValueError: shapes that do not fit, or labels that are all alike.
    """
    x, y = np.asarray(fit, dtype=np.float64), np.asarray(labels, dtype=bool)
    if x.ndim != 2 or y.shape != (len(x),):
        raise ValueError(f"features (N, D) and labels (N,) are needed, got {x.shape} and {y.shape}")
    if y.all() or not y.any():
        raise ValueError("labels must hold both values: a score of nothing means nothing")
    centre, spread = x.mean(axis=0), x.std(axis=0)
    # A feature that is constant says nothing of the label and gets no weight of its own.
    scale = np.where(spread > 1e-9 * (1 + np.abs(centre)), spread, np.inf)
    x = (x - centre) / scale
    target = y - y.mean()
    if x.shape[1] <= len(x):
        weights = np.linalg.solve(x.T @ x + penalty * len(x) * np.eye(x.shape[1]), x.T @ target)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * len(x) * np.eye(len(x)), target)
    return tuple((np.asarray(other, dtype=np.float64) - centre) / scale @ weights for other in others)


def prevalence(score: Any, labels: Any, unlabelled: Any) -> Prevalence:
    """Share of an attribute among unlabelled images.

    With mean scores s1 and s0 of the labelled images with and without the attribute, and s of the unlabelled ones, the
    share is (s - s0) / (s1 - s0) (Forman 2008, Data Min. Knowl. Discov. 17:164, adjusted count with scores in place of
    counts). It assumes that images with the attribute look alike in both sets; what else differs between the sets is
    read as the attribute as far as the score responds to it.

    Args:
        score: (N,) scores of labelled images, none of which the score was fitted on.
        labels: (N,) bool.
        unlabelled: (M,) scores.

    Raises:
        ValueError: labels all alike, or no images.
    """
    s, y, u = np.asarray(score, np.float64), np.asarray(labels, bool), np.asarray(unlabelled, np.float64)
    if y.all() or not y.any() or u.size == 0:
        raise ValueError("labelled images of both kinds and unlabelled images are needed")
    with_it, without = s[y], s[~y]
    gap = with_it.mean() - without.mean()
    within = np.sqrt((np.square(with_it - with_it.mean()).sum() + np.square(without - without.mean()).sum()) / len(s))
    value = (u.mean() - without.mean()) / gap if gap else float("nan")
    return Prevalence(
        float(value), float(y.mean()), float(gap / within) if within > 0 else float(np.sign(gap) * np.inf)
    )


def prevalence_replicates(score: Any, labels: Any, unlabelled: Any, halves: Bool, unlabelled_halves: Bool) -> Float:
    """(B, 2) estimate and reference share on half samples of both sets; NaN where a half lacks a kind of label.

    Args:
        score: (N,) scores of labelled images.
        labels: (N,) bool.
        unlabelled: (M,) scores.
        halves: (B, N) which labelled images a half holds.
        unlabelled_halves: (B, M) which unlabelled ones.
    """
    s, y, u = np.asarray(score, np.float64), np.asarray(labels, bool), np.asarray(unlabelled, np.float64)
    held = halves.astype(np.float64)

    def mean(of: Bool) -> Float:
        counts = held @ of
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(held @ (s * of) / counts)

    with_it, without = mean(y), mean(~y)
    other = unlabelled_halves.astype(np.float64)
    drawn = other @ u / other.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (drawn - without) / (with_it - without)
    return np.stack([value, held @ y / held.sum(axis=1)], axis=1)
