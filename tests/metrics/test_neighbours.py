"""Neighbours of queries, and of points in subsets of a sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medgan_qa.metrics import nearest_neighbors, neighbourhood
from medgan_qa.metrics.subsets import batches
from medgan_qa.rng import child


def test_nearest_neighbors_by_hand():
    found = nearest_neighbors([[0.0, 0.0], [3.0, 4.0]], [[0.0, 1.0], [3.0, 0.0], [3.0, 4.0]], k=2)
    assert found.index.tolist() == [[0, 1], [2, 1]]
    assert found.distance.tolist() == [[1.0, 3.0], [0.0, 4.0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_neighbors_are_those_of_brute_force(dtype):
    rng = child(0, "nearest")
    queries, references = rng.standard_normal((70, 9)).astype(dtype), rng.standard_normal((2100, 9)).astype(dtype)
    found = nearest_neighbors(queries, references, k=4)
    distances = cdist(queries.astype(float), references.astype(float))
    assert (found.index == np.argsort(distances, axis=1)[:, :4]).all()
    assert found.distance == pytest.approx(np.sort(distances, axis=1)[:, :4], rel=1e-12)


def test_a_copy_is_at_distance_zero_far_from_the_origin():
    values = (child(0, "copy").standard_normal((40, 300)) + 1e4).astype(np.float32)
    found = nearest_neighbors(values[::2], values)
    assert found.index[:, 0].tolist() == list(range(0, 40, 2))
    assert not found.distance.any()


@pytest.mark.parametrize(
    ("queries", "references", "k", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), 3, "references must hold at least 3 samples for k = 3, got 2"),
        (np.ones((2, 3)), np.ones((2, 3)), 0, "k must be at least 1"),
        (np.ones((2, 3)), np.ones((2, 4)), 1, "same number of features, got 3 and 4"),
        (np.ones(3), np.ones((2, 3)), 1, "queries must be features"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), 1, "references holds NaN"),
    ],
)
def test_what_cannot_be_asked_is_refused(queries, references, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(queries, references, k)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**20), st.integers(8, 40), st.integers(1, 5), st.sampled_from([1, 2, 5, 60]),
    st.sampled_from(["normal", "lattice", "copies"]),
)  # fmt: skip
def test_radii_in_a_subset_are_those_of_the_subset_alone(seed, count, k, keep, kind):
    rng = child(seed, "subset")
    real = rng.standard_normal((count, 3))
    if kind == "lattice":
        real = np.round(real)
    if kind == "copies":
        real = real[rng.integers(0, 4, count)]
    mask = rng.permutation(count) < max(k + 1, count // 2)
    near = neighbourhood(real, real[:2] + 0.1, keep=keep, side=9)
    radii = near.real.squared_radii(near.real.weights(mask, "real"), k)[0][near.real.same.group]
    squares = cdist(real[mask], real[mask], "sqeuclidean")
    np.fill_diagonal(squares, np.inf)
    assert radii[mask] == pytest.approx(np.sort(squares, axis=1)[:, k - 1], rel=1e-12)
    inside = near.real.weights(mask, "real")[0] > 0
    assert (near.real.squared_radii(near.real.weights(mask, "real"), k)[0][~inside] == -1).all()


def test_lists_grow_until_a_far_subset_is_reached():
    real = np.arange(50.0)[:, None] ** 1.1
    near = neighbourhood(real, real[:3] + 0.01, keep=2)
    mask = np.arange(50) >= 45
    index, square = near.to_real.kth(near.real.weights(mask, "real")[0], 1)
    assert index.tolist() == [45, 45, 45]
    assert square == pytest.approx((real[45, 0] - near.generated.points.values[:, 0]) ** 2)


def test_subsets_that_do_not_fit_are_refused():
    near = neighbourhood(np.eye(8), np.eye(8)[:5])
    with pytest.raises(ValueError, match=r"masks of real must be bool \(R, 8\)"):
        near.real.weights(np.ones((2, 7), bool), "real")
    with pytest.raises(ValueError, match="must be bool"):
        near.real.weights(np.ones((2, 8)), "real")
    with pytest.raises(ValueError, match="at least 4 samples for k = 3"):
        near.real.squared_radii(near.real.weights(np.arange(8) < 3, "real"), 3)
    with pytest.raises(ValueError, match="got 3 and 2"):
        list(batches(np.ones((3, 8), int), np.ones((2, 5), int)))


def test_batches_pair_subsets_and_repeat_a_single_one():
    pairs = list(batches(np.arange(40)[:, None], np.array([[7]])))
    assert np.concatenate([first[:, 0] for first, _ in pairs]).tolist() == list(range(40))
    assert {len(first) for first, _ in pairs} == {32, 8}
    assert all((second == 7).all() and len(second) == len(first) for first, second in pairs)


def test_one_sample_has_no_neighbours_and_still_serves_as_the_other_set():
    near = neighbourhood(np.zeros((1, 2)), np.ones((4, 2)))
    assert near.to_real.squares.ravel().tolist() == [2.0]
    with pytest.raises(ValueError, match="at least 2 samples for k = 1"):
        near.real.squared_radii(near.real.weights(None, "real"), 1)
