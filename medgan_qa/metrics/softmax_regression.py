"""A small learner: multinomial logistic regression with a fixed quadratic penalty, fitted to convergence.

Its objective is convex, so the same images give the same learner whatever the order, the seed or the start.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Float = NDArray[np.float64]

PENALTY = 0.1
"""Weight of half the squared coefficients beside the mean log loss, on features in units of their own spread."""
STEPS = 300
FARTHEST = 20.0
"""Spreads from the mean at which a feature is cut: what lies farther is known to be far, and no more."""


class SoftmaxRegression(NamedTuple):
    """A fitted learner."""

    centre: Float
    """(D,) where features are measured from."""
    scale: Float
    """(D,) what they are measured in; infinite for features that do not vary."""
    weights: Float
    """(D + 1, K), the last row is the intercept."""

    def log_odds(self, features: Any) -> Float:
        """Log odds (M, K) of every class against all others, of features (M, D). They order as probabilities do.

        Raises:
            ValueError: another number of features.
        """
        z = _logits(self._standard(features), self.weights)
        others = [special.logsumexp(np.delete(z, k, axis=1), axis=1) for k in range(z.shape[1])]
        return np.asarray(z - np.stack(others, axis=1))

    def _standard(self, features: Any) -> Float:
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.centre):
            raise ValueError(f"features must be (M, {len(self.centre)}), got {x.shape}")
        return np.clip((x - self.centre) / self.scale, -FARTHEST, FARTHEST)


def softmax_regression(
    features: Any, labels: Any, classes: int, *, units_of: Any = None, penalty: float = PENALTY
) -> SoftmaxRegression:
    """Fit a learner.

    Minimises mean(-log p(label)) + penalty / 2 * sum of squared weights (not of the intercepts) by L-BFGS, on features
    less their mean in units of their standard deviation (ddof 0).

    Args:
        features: (N, D) finite.
        labels: (N,) class numbers from 0.
        classes: K >= 2; each must be among the labels.
        units_of: (M, D) features whose means and standard deviations are taken; None: those that it is fitted on.
            Learners that are compared need the same ones: odd images would otherwise change how much of all the others
            the penalty lets through.
        penalty: > 0.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, a class without an image, or a penalty of 0.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != (len(x),) or not np.isfinite(x).all():
        raise ValueError(f"finite features (N, D) and labels (N,) are needed, got {x.shape} and {y.shape}")
    if classes < 2 or set(y.tolist()) != set(range(classes)):
        raise ValueError(f"every one of {classes} classes must be among the labels, got {sorted(set(y.tolist()))}")
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty!r}")
    known = x if units_of is None else np.asarray(units_of, dtype=np.float64)
    centre, spread = known.mean(axis=0), known.std(axis=0)
    # A feature that is constant says nothing of the label and gets no weight of its own.
    scale = np.where(spread > 1e-9 * (1 + np.abs(centre)), spread, np.inf)
    start = SoftmaxRegression(centre, scale, np.zeros((x.shape[1] + 1, classes)))
    return start._replace(weights=_fitted(start._standard(x), np.eye(classes)[y], penalty))


def _fitted(x: Float, target: Float, penalty: float) -> Float:
    n, (features, classes) = len(x), (x.shape[1], target.shape[1])

    def loss(flat: Float) -> tuple[float, Float]:
        weights = flat.reshape(features + 1, classes)
        z = _logits(x, weights)
        log_p = special.log_softmax(z, axis=1)
        apart = (np.exp(log_p) - target) / n
        slope = np.vstack([x.T @ apart + penalty * weights[:-1], apart.sum(axis=0)])
        value = -float((log_p * target).sum()) / n + penalty / 2 * float((weights[:-1] ** 2).sum())
        return value, slope.ravel()

    start = np.zeros((features + 1) * classes)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "gtol": 1e-6})
    weights: Float = found.x.reshape(features + 1, classes)
    return weights


def _logits(x: Float, weights: Float) -> Float:
    z: Float = x @ weights[:-1] + weights[-1]
    return z
