"""Authenticity by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medgan_qa.metrics import authenticity, authenticity_of, neighbourhood
from medgan_qa.rng import child


def brute(train, generated):
    among, between = cdist(train, train, "sqeuclidean"), cdist(train, generated, "sqeuclidean")
    np.fill_diagonal(among, np.inf)
    spacing, nearest = among.min(axis=1), between.min(axis=0)
    return nearest > np.where(between == nearest, spacing[:, None], -1).max(axis=0)


def sets(kind):
    rng = child(0, "authenticity", kind)
    train, generated = rng.standard_normal((70, 4)), rng.standard_normal((90, 4))
    if kind == "lattice":
        train, generated = np.round(train), np.round(generated)
    if kind == "copies":
        train, generated = np.repeat(train[:35], 2, axis=0), np.concatenate([train[:40], generated[:50]])
    return train, generated


def test_by_hand():
    train = np.array([[0.0], [1.0], [5.0]])
    found = authenticity(train, np.array([[0.4], [-1.0], [-1.5], [8.0], [10.0]]))
    assert found.nearest.tolist() == [0, 0, 0, 2, 2]
    assert found.distance.tolist() == pytest.approx([0.4, 1.0, 1.5, 3.0, 5.0])
    assert found.spacing.tolist() == [1.0, 1.0, 1.0, 4.0, 4.0]
    assert found.authentic.tolist() == [False, False, True, False, True]
    assert found.share == 0.4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["spread", "lattice", "copies"])
def test_verdicts_are_those_of_brute_force(kind, dtype):
    train, generated = (values.astype(dtype) for values in sets(kind))
    found = authenticity(train, generated)
    expected = brute(train.astype(float), generated.astype(float))
    assert (found.authentic == expected).all()
    assert found.share == expected.mean()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(["spread", "lattice", "copies"]), st.sampled_from([2, 32]))
def test_halves_are_computed_as_if_alone(seed, kind, keep):
    train, generated = sets(kind)
    rng = child(seed, "halves")
    halves = [np.stack([rng.permutation(n) < n // 2 for _ in range(3)]) for n in (70, 90)]
    shares = authenticity_of(neighbourhood(train, generated, keep=keep), *halves)
    assert shares.tolist() == [brute(train[a], generated[b]).mean() for a, b in zip(*halves, strict=True)]


def test_copies_of_a_tenth_of_the_training_set_are_not_authentic():
    train = child(0, "tenth").standard_normal((100, 20)).astype(np.float32)
    assert authenticity(train, np.repeat(train[:10], 30, axis=0)).share == 0.0


def test_a_copy_of_a_duplicated_training_sample_is_not_authentic_but_anything_near_it_is():
    train = np.array([[0.0], [0.0], [7.0]])
    assert authenticity(train, np.array([[0.0], [0.1]])).authentic.tolist() == [False, True]


@pytest.mark.parametrize(("width", "low", "high"), [(1, 0.31, 0.36), (10, 0.5, 0.75)])
def test_fresh_samples_do_not_score_one(width, low, high):
    rng = child(0, "fresh", width)
    assert low < authenticity(rng.random((3000, width)), rng.random((3000, width))).share < high


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="train must hold at least 2 samples"):
        authenticity(np.ones((1, 2)), np.ones((3, 2)))
    near = neighbourhood(np.eye(4), np.eye(4))
    with pytest.raises(ValueError, match="at least 2 samples for k = 1"):
        authenticity_of(near, np.arange(4) < 1)
    with pytest.raises(ValueError, match="holds no sample"):
        authenticity_of(near, None, np.zeros((1, 4), bool))
