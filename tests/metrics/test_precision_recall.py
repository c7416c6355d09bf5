"""Precision and recall against brute force, by hand, and in halves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medgan_qa.metrics import neighbourhood, precision_recall, precision_recall_of
from medgan_qa.rng import child


def brute(real, generated, k):
    def radii(values):
        squares = cdist(values, values, "sqeuclidean")
        np.fill_diagonal(squares, np.inf)
        return np.sort(squares, axis=1)[:, k - 1]

    squares = cdist(real, generated, "sqeuclidean")
    precision = (squares <= radii(real)[:, None]).any(axis=0).mean()
    return precision, (squares <= radii(generated)).any(axis=1).mean()


def sets(kind, seed=0):
    rng = child(seed, "precision", kind)
    real, generated = rng.standard_normal((80, 4)), rng.standard_normal((70, 4)) * 1.3 + 0.4
    if kind == "copies":
        generated = np.repeat(real[:7], 10, axis=0)
        real = np.repeat(real[:16], 5, axis=0)
    if kind == "lattice":
        real, generated = np.round(real), np.round(generated)
    return real, generated


def test_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [10.0]])
    generated = np.array([[1.5], [4.0], [30.0]])
    # radii of the real ones: 1, 1, 1, 8; of the generated ones: 2.5, 2.5, 26
    assert precision_recall(real, generated, k=1) == (2 / 3, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["spread", "copies", "lattice"])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_values_are_those_of_brute_force(kind, k, dtype):
    real, generated = (values.astype(dtype) for values in sets(kind))
    assert precision_recall(real, generated, k) == brute(real.astype(float), generated.astype(float), k)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(["spread", "copies", "lattice"]), st.sampled_from([4, 32]))
def test_halves_are_computed_as_if_alone(seed, kind, keep):
    real, generated = sets(kind)
    rng = child(seed, "halves")
    halves = [np.stack([rng.permutation(n) < n // 2 for _ in range(3)]) for n in (80, 70)]
    values = precision_recall_of(neighbourhood(real, generated, keep=keep), *halves)
    expected = [brute(real[a], generated[b], 3) for a, b in zip(*halves, strict=True)]
    assert np.array_equal(np.stack(values, axis=1), expected)


def test_a_set_against_itself_scores_one_even_where_every_sample_has_duplicates():
    real = np.repeat(child(0, "self").standard_normal((12, 3)), 6, axis=0)
    assert precision_recall(real, real) == (1.0, 1.0)


def test_far_sets_score_zero_and_a_collapsed_one_has_no_recall():
    real = child(0, "far").standard_normal((50, 3))
    assert precision_recall(real, real + 100) == (0.0, 0.0)
    collapsed = precision_recall(real, np.repeat(real[:1], 20, axis=0))
    assert collapsed == (1.0, 1 / 50)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="real must hold at least 4 samples for k = 3, got 3"):
        precision_recall(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="generated must hold at least 4 samples"):
        precision_recall(np.eye(5), np.eye(5)[:3])
    with pytest.raises(ValueError, match="generated holds NaN"):
        precision_recall(np.eye(5), np.full((5, 5), np.nan))
    near = neighbourhood(np.eye(8), np.eye(8))
    with pytest.raises(ValueError, match="at least 4 samples for k = 3"):
        precision_recall_of(near, np.arange(8) < 3)
