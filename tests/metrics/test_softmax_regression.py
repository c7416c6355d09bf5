"""The learner: at the minimum of its loss, the same whatever the order, and defined where features say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from medgan_qa import rng
from medgan_qa.metrics.softmax_regression import FARTHEST, softmax_regression


def drawn(n: int = 90, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    g = rng.child(seed, "softmax")
    labels = np.arange(n) % classes
    return g.normal(size=(n, 5)) + labels[:, None] * np.array([1.0, 0.5, 0, 0, 0]), labels


def loss(weights: np.ndarray, x: np.ndarray, labels: np.ndarray, penalty: float) -> float:
    """Written out image by image, apart from the code under test."""
    total = 0.0
    for row, label in zip(x, labels, strict=True):
        z = row @ weights[:-1] + weights[-1]
        total -= z[label] - np.log(np.exp(z).sum())
    return total / len(x) + penalty / 2 * float((weights[:-1] ** 2).sum())


def test_the_slope_of_the_loss_is_zero_at_the_fit():
    x, labels = drawn()
    fitted = softmax_regression(x, labels, 3, penalty=0.1)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    slope = optimize.approx_fprime(
        fitted.weights.ravel(), lambda w: loss(w.reshape(fitted.weights.shape), standard, labels, 0.1), 1e-6
    )

    assert np.abs(slope).max() < 2e-5


def test_two_classes_and_one_feature_are_solved_by_bisection():
    x, labels = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 1, 0, 1])
    standard, penalty = (x / x.std()).ravel(), 0.05
    # By symmetry the intercepts are equal and the weights opposite, +w / 2 and -w / 2.
    sign = 2 * labels - 1

    def slope(w: float) -> float:
        return float(np.mean(-sign * standard / (1 + np.exp(sign * w * standard)))) + penalty / 2 * w

    fitted = softmax_regression(x, labels, 2, penalty=penalty)
    expected = optimize.brentq(slope, 0, 50)
    assert fitted.weights[0, 1] - fitted.weights[0, 0] == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(fitted.log_odds(x)[:, 1], expected * standard, atol=1e-3)


@given(st.permutations(range(30)))
def test_prop_the_order_of_images_does_not_matter(order):
    x, labels = drawn(30)
    one, other = softmax_regression(x, labels, 3), softmax_regression(x[order], labels[order], 3)

    np.testing.assert_allclose(one.log_odds(x), other.log_odds(x), atol=1e-3)


def test_log_odds_are_those_of_the_probabilities():
    x, labels = drawn()
    odds = softmax_regression(x, labels, 3).log_odds(x)
    p = 1 / (1 + np.exp(-odds))

    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)
    assert (p.argmax(axis=1) == labels).mean() > 0.5


def test_a_constant_feature_changes_nothing_and_a_far_value_is_cut():
    x, labels = drawn()
    with_constant = np.hstack([x, np.full((len(x), 1), 7.0)])
    plain, wider = softmax_regression(x, labels, 3), softmax_regression(with_constant, labels, 3)

    np.testing.assert_allclose(plain.log_odds(x), wider.log_odds(with_constant), atol=1e-3)
    np.testing.assert_array_equal(plain.log_odds(x + 1e6), plain.log_odds(x + 2e6))
    assert np.isfinite(plain.log_odds(np.full((1, 5), 1e30))).all()
    assert FARTHEST < 1e3


def test_features_can_be_measured_in_units_of_others():
    x, labels = drawn()
    own, other = softmax_regression(x, labels, 3), softmax_regression(x, labels, 3, units_of=10 * x + 3)

    np.testing.assert_allclose(other.scale, 10 * own.scale)
    np.testing.assert_allclose(other.centre, 10 * own.centre + 3)
    # In larger units the same weights mean less, so the penalty lets less through.
    assert other.log_odds(x).std() < 0.5 * own.log_odds(x).std()


@pytest.mark.parametrize(
    ("x", "labels", "classes", "penalty"),
    [
        (np.zeros((4, 2)), [0, 0, 0, 0], 2, 0.1),
        (np.zeros((4, 2)), [0, 1, 2, 1], 2, 0.1),
        (np.zeros((4, 2)), [0, 1], 2, 0.1),
        (np.zeros(4), [0, 1, 0, 1], 2, 0.1),
        (np.full((2, 1), np.nan), [0, 1], 2, 0.1),
        (np.zeros((2, 1)), [0, 1], 2, 0.0),
        (np.zeros((1, 1)), [0], 1, 0.1),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused(x, labels, classes, penalty):
    with pytest.raises(ValueError, match=r"."):
        softmax_regression(x, np.array(labels), classes, penalty=penalty)


def test_features_of_another_length_are_refused():
    x, labels = drawn()
    with pytest.raises(ValueError, match="features must be"):
        softmax_regression(x, labels, 3).log_odds(x[:, :2])
