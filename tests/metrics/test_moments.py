"""Streaming moments: against numpy, from shards and batches of any size, and far from the origin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics import moments as module
from medgan_qa.metrics.moments import Moments
from medgan_qa.rng import child


def sample(n, d, purpose="sample"):
    return child(0, purpose, n, d).normal(size=(n, d)) @ child(1, purpose, d).normal(size=(d, d)) + 3.0


def agree(found, features, rel=1e-12):
    assert found.count == len(features)
    assert found.mean == pytest.approx(features.mean(axis=0), rel=rel)
    # atol: an entry near 0 is the sum of terms as large as the diagonal
    expected = np.cov(features, rowvar=False, ddof=1).reshape(found.scatter.shape)
    assert np.allclose(found.covariance, expected, rtol=rel, atol=rel * np.abs(expected).max())


class TestMoments:
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 4))
    def test_prop_batches_of_any_size_equal_the_whole(self, sizes, d):
        features = sample(sum(sizes) + 2, d)
        found = Moments(d)
        for batch in np.split(features, np.cumsum(sizes)):
            found.update(batch)
        agree(found, features)

    @given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 4), st.randoms(use_true_random=False))
    def test_prop_shards_merged_in_any_order_equal_the_whole(self, sizes, d, order):
        features = sample(sum(sizes) + 2, d)
        shards = []
        for batch in np.split(features, np.cumsum(sizes)):
            shard = Moments(d)
            shard.update(batch)
            shards.append(shard)
        order.shuffle(shards)
        merged = Moments(d)
        for shard in shards:
            merged.merge(shard)
        agree(merged, features)

    def test_more_rows_than_a_chunk(self, monkeypatch):
        monkeypatch.setattr(module, "CHUNK", 7)
        agree(Moments.of(sample(30, 3)), sample(30, 3))

    def test_a_mean_far_beyond_the_spread_costs_no_digits(self):
        # sums of squares would keep 1e18 + 1 and lose the variance altogether
        features = sample(200, 3)
        shifted = Moments(3)
        for batch in np.split(features + 1e6, 10):
            shifted.update(batch)
        assert shifted.covariance == pytest.approx(np.cov(features, rowvar=False), rel=1e-8)

    def test_float32_is_summed_in_float64(self):
        features = sample(5000, 2).astype(np.float32)
        agree(Moments.of(features), features.astype(np.float64))

    def test_merging_leaves_the_other_as_it_is(self):
        one, other = Moments.of(sample(5, 2)), Moments.of(sample(6, 2))
        before = other.mean.copy(), other.scatter.copy()
        one.merge(other)
        one.update(sample(3, 2))
        assert other.count == 6
        assert (other.mean == before[0]).all()
        assert (other.scatter == before[1]).all()

    def test_merged_into_empty_moments_it_is_a_copy(self):
        source, empty = Moments.of(sample(5, 2)), Moments(2)
        empty.merge(source)
        empty.update(sample(4, 2))
        agree(source, sample(5, 2))

    @pytest.mark.parametrize("n", [0, 1])
    def test_fewer_than_two_samples_have_no_covariance(self, n):
        found = Moments(3)
        found.update(sample(5, 3)[:n])
        with pytest.raises(ValueError, match="at least 2 samples"):
            _ = found.covariance

    @pytest.mark.parametrize(
        ("batch", "message"),
        [
            (np.zeros(3), r"shape \(N, D\)"),
            (np.zeros((2, 4)), "3 features"),
            (np.array([[0.0, 0.0, np.nan], [0.0, 1.0, 2.0], [np.inf, 0.0, -np.inf]]), "2 rows: 0, 2"),
        ],
    )
    def test_refuses_batches(self, batch, message):
        with pytest.raises(ValueError, match=message):
            Moments(3).update(batch)

    def test_a_row_of_huge_numbers_is_finite(self):
        found = Moments(2)
        found.update(np.array([[1.5e308, 1.5e308]]))
        assert found.mean == pytest.approx([1.5e308, 1.5e308])

    def test_refuses_other_things(self):
        with pytest.raises(ValueError, match="at least one feature"):
            Moments(0)
        with pytest.raises(ValueError, match="at least 1 samples"):
            Moments.of(np.zeros((0, 3)))
        with pytest.raises(TypeError, match="real numbers"):
            Moments.of(np.array([["a", "b"]]))
        with pytest.raises(ValueError, match="cannot be merged"):
            Moments(2).merge(Moments(3))
