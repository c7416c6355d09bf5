"""C_T, its cells and its blind spot; and which of two sets the samples are nearer to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, mannwhitneyu, norm

from medgan_qa.metrics.cells import k_means, leading_dimensions, nearest_centre
from medgan_qa.metrics.data_copying import (
    data_copying,
    data_copying_of,
    equal_size,
    training_share,
    training_share_of,
)
from medgan_qa.metrics.neighbours import neighbourhood
from medgan_qa.metrics.rank_sum import rank_sum_z
from medgan_qa.rng import child


def normal(name, count, width=6):
    return child(0, "data copying", name).standard_normal((count, width)).astype(np.float32)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_rank_sums_are_those_of_scipy(first, second):
    z = rank_sum_z(np.array(first, float), np.array(second, float))
    if len({*first, *second}) == 1:
        assert z == 0.0
        return
    test = mannwhitneyu(first, second, alternative="greater", method="asymptotic", use_continuity=False)
    assert norm.sf(z) == pytest.approx(test.pvalue)


def test_a_rank_sum_needs_values():
    with pytest.raises(ValueError, match="both samples"):
        rank_sum_z(np.zeros(0), np.zeros(3))


def test_one_cell_compares_distances_to_the_nearest_training_sample():
    train, test, generated = normal("a", 60), normal("b", 50), 1.3 * normal("c", 40)
    found = data_copying(train, test, generated, cells=1)
    distances = [cdist(train, values).min(axis=0) for values in (generated, test)]
    assert found.statistic == rank_sum_z(*distances) > 0
    assert found.cells == ((60, 50, 40, found.statistic),)
    assert found.left_out == 0.0


def test_cells_are_weighted_by_held_out_samples():
    shift = np.array([50, 0, 0, 0, 0, 0], np.float32)
    train = np.concatenate([normal("d", 80), normal("e", 40) + shift])
    test = np.concatenate([normal("f", 60), normal("g", 30) + shift])
    generated = np.concatenate([1.5 * normal("h", 30), train[80:] + 1e-3])
    found = data_copying(train, test, generated, cells=2)
    by_size = sorted(found.cells, key=lambda cell: cell.train)
    assert [cell[:3] for cell in by_size] == [(40, 30, 40), (80, 60, 30)]
    assert by_size[0].z < -5
    assert by_size[1].z > 2
    assert found.statistic == pytest.approx((30 * by_size[0].z + 60 * by_size[1].z) / 90)


def test_cells_without_enough_samples_are_left_out_and_reported():
    shift = np.float32(50)
    train = np.concatenate([normal("i", 60), normal("j", 60) + shift])
    found = data_copying(train, normal("k", 50), np.concatenate([normal("l", 30), normal("m", 10) + shift]), cells=2)
    assert sorted((cell.test, cell.generated, cell.z is None) for cell in found.cells) == [
        (0, 10, True),
        (50, 30, False),
    ]
    assert found.left_out == 0.25
    with pytest.raises(ValueError, match="no cell holds 20 held-out"):
        data_copying(train, normal("k", 50), normal("m", 30) + shift, cells=2)
    with pytest.raises(ValueError, match="300 cells need as many"):
        data_copying(train, normal("k", 50), normal("l", 30), cells=300)


def test_it_is_standard_normal_or_narrower_without_copying_and_far_below_with_it():
    values = []
    for trial in range(60):
        rng = child(trial, "null")
        values.append(data_copying(*rng.standard_normal((3, 120, 4)), least=5).statistic)
    assert abs(np.mean(values)) < 4 / math.sqrt(60)
    assert np.std(values) < 1.25
    train, test = normal("n", 300), normal("o", 300)
    assert data_copying(train, test, train + np.float32(1e-4)).statistic < -10


def test_copies_and_over_dispersion_cancel():
    train, test, fresh = normal("p", 1000, 16), normal("q", 1000, 16), normal("r", 1000, 16)
    mixed = np.concatenate([train[:300], 1.3 * fresh[300:]])
    assert data_copying(train, test, mixed).statistic > 0


def test_one_pass_over_train_and_test_gives_the_same_as_three_sets():
    train, test, generated = normal("s", 150), normal("t", 90), normal("u", 100)
    mixed = np.concatenate([test, train])
    near = neighbourhood(mixed, generated, keep=2)
    is_train = np.arange(240) >= 90
    assert data_copying_of(near, is_train, cells=1).statistic == data_copying(train, test, generated, cells=1).statistic


def test_samples_are_counted_by_the_set_they_are_nearer_to():
    train, held_out = np.array([[0.0], [10.0]]), np.array([[4.0], [20.0]])
    found = training_share(train, held_out, np.array([[-1.0], [1.0], [2.0], [9.0], [12.0], [15.0], [19.0]]))
    assert found[:4] == (4, 1, 2, 2)
    # 2 samples are nearest to each of 0 and 10, 1 to 20, none to 4; which two of the four are for training is chance
    splits = [2 + 2, 2 + 1, 2 + 0, 2 + 1, 2 + 0, 1 + 0]
    assert found.exchange_sd == pytest.approx(np.std(splits))


def test_the_share_is_one_half_without_copying_and_its_spread_is_known():
    counts, spreads = [], []
    for trial in range(200):
        train, held_out, generated = child(trial, "share").standard_normal((3, 60, 3))
        found = training_share(train, held_out, generated)
        counts.append(found.train)
        spreads.append(found.exchange_sd)
    assert np.mean(counts) == pytest.approx(30, abs=4 * np.std(counts) / math.sqrt(200))
    assert np.std(counts) == pytest.approx(np.mean(spreads), rel=0.15)
    assert np.mean(spreads) > math.sqrt(60) / 2


def test_copies_show_in_the_share():
    train, held_out = normal("v", 200), normal("w", 500)
    found = training_share(train, held_out, train[:100] + np.float32(0.01))
    assert found.references == 200
    assert binomtest(found.train, found.train + found.held_out).pvalue < 1e-20
    same = training_share(train, train, held_out)
    assert same[:3] == (0, 0, 500)


def test_one_pass_gives_the_same_share():
    real, generated = normal("x", 120), normal("y", 40)
    train = np.arange(120) % 3 == 0
    clusters = [f"p{i // 4}" for i in range(120)]
    found = training_share_of(neighbourhood(real, generated), train, clusters, seed=4)
    chosen = equal_size(train, clusters, 4)
    expected = cdist(real[chosen & train], generated).min(axis=0) < cdist(real[chosen & ~train], generated).min(axis=0)
    assert found.train == expected.sum()
    assert found.references == chosen[train].sum() == chosen[~train].sum() == 40


@given(st.integers(0, 2**20), st.integers(1, 30), st.integers(1, 30), st.integers(1, 6))
def test_equal_size_keeps_the_smaller_side_whole_and_cuts_the_larger_by_clusters(seed, a, b, size):
    first = child(seed, "order").permutation(a + b) < a
    clusters = [f"{i // size}" for i in range(a + b)]
    chosen = equal_size(first, clusters, seed)
    assert chosen[first].sum() == chosen[~first].sum() == min(a, b)
    larger = first if a > b else ~first
    cut = 0
    for name in set(clusters):
        members = (np.array(clusters) == name) & larger
        cut += 0 < chosen[members].sum() < members.sum()
    assert cut <= 1
    assert (chosen == equal_size(first, clusters, seed)).all()


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="two sides"):
        equal_size(np.ones(3, bool), "abc", 0)
    with pytest.raises(ValueError, match="clusters must be 3 and 3 names, got 2 and 3"):
        training_share(np.eye(3), np.eye(3), np.eye(3), train_clusters=["a", "b"])
    with pytest.raises(ValueError, match="train and test must have the same number of features"):
        data_copying(np.eye(3), np.eye(4), np.eye(3))


def test_k_means_finds_clusters_that_are_apart():
    at = np.repeat(np.array([[0, 0], [9, 0], [0, 9]], np.float32), 20, axis=0) + normal("z", 60, 2)
    centres = k_means(at, np.ones(60, int), 3, seed=1)
    cell = nearest_centre(at, centres)
    assert [len(set(cell[at_:at_ + 20])) for at_ in (0, 20, 40)] == [1, 1, 1]  # fmt: skip
    assert len(set(cell)) == 3
    assert centres[cell[0]] == pytest.approx(at[:20].mean(axis=0), abs=1e-5)


def test_k_means_counts_weights_and_survives_fewer_points_than_cells():
    at = np.array([[0.0], [1.0], [10.0]], np.float32)
    assert sorted(k_means(at, np.array([3, 1, 1]), 2, seed=0)[:, 0]) == pytest.approx([0.25, 10.0])
    assert k_means(np.ones((4, 2), np.float32), np.ones(4, int), 3, seed=0).tolist() == [[1.0, 1.0]] * 3


def test_leading_dimensions_hold_the_variance():
    scale = np.where(np.arange(80) < 10, 10, 0.1).astype(np.float32)
    points = normal("basis", 200, 80) * scale + 5
    basis = leading_dimensions(points, 0)
    assert basis.T @ basis == pytest.approx(np.eye(32), abs=1e-4)
    centred = points - points.mean(axis=0)
    assert np.square(centred @ basis).sum() > 0.99 * np.square(centred).sum()
    assert leading_dimensions(points[:20], 0) is None
