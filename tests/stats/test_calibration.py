"""Thresholds from order statistics and the exact test: against scipy, enumeration and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from medgan_qa.rng import child
from medgan_qa.stats.calibration import (
    calibrated_threshold,
    excess_test,
    required_held_out,
)


class TestThreshold:
    def test_is_an_order_statistic_with_its_exact_rate(self):
        found = calibrated_threshold(np.arange(99.0)[::-1], 0.02)
        assert (found.rank, found.n, found.threshold) == (2, 99, 1.0)
        assert found.expected == pytest.approx(0.02)

    @pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.5, 1), (0.1, 9), (0.3, 3)])
    def test_asks_for_as_many_units_as_it_takes(self, rate, needed):
        assert required_held_out(rate) == needed
        assert calibrated_threshold(np.arange(needed), rate).rank == 1
        with pytest.raises(ValueError, match=f"takes {needed} held-out units, got {needed - 1}"):
            calibrated_threshold(np.arange(needed - 1), rate)

    @given(n=st.integers(1, 300), rate=st.floats(0.005, 0.95))
    def test_is_the_largest_that_keeps_the_rate(self, n, rate):
        if n < required_held_out(rate):
            return
        found = calibrated_threshold(np.arange(n), rate)
        assert found.expected <= rate * (1 + 1e-9)
        assert found.rank == n or (found.rank + 1) / (n + 1) > rate

    def test_interval_is_that_of_the_beta_distribution(self):
        found = calibrated_threshold(np.arange(199.0), 0.02, alpha=0.1, sided=2)
        beta = scipy_stats.beta(found.rank, found.n - found.rank + 1)
        assert (found.low, found.high) == pytest.approx((beta.ppf(0.05), beta.ppf(0.95)))

    def test_rates_are_what_is_promised(self):
        g = child(0, "rates")
        rates, covered = [], []
        for _ in range(800):
            found = calibrated_threshold(g.random(60), 0.05, alpha=0.1, sided=2)
            rates.append(found.threshold)  # uniform scores: the threshold is its own false-alarm rate
            covered.append(found.low <= found.threshold <= found.high)
        assert np.mean(rates) == pytest.approx(3 / 61, abs=0.003)
        assert 0.87 <= np.mean(covered) <= 0.93

    def test_ties_are_not_flagged(self):
        found = calibrated_threshold([0.0] * 10 + [1.0] * 89, 0.05)
        assert found.threshold == 0.0

    @pytest.mark.parametrize("scores", [[np.nan, 1.0], [[1.0, 2.0]]])
    def test_refuses_scores_that_are_none(self, scores):
        with pytest.raises(ValueError, match="held_out"):
            calibrated_threshold(scores, 0.5)

    @pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
    def test_refuses_rates_outside_the_open_interval(self, rate):
        with pytest.raises(ValueError, match="false_alarm"):
            required_held_out(rate)


class TestExcess:
    @given(m=st.integers(1, 40), n=st.integers(1, 40), data=st.data())
    def test_is_fishers_exact_test(self, m, n, data):
        k, h = data.draw(st.integers(0, m)), data.draw(st.integers(0, n))
        expected = scipy_stats.hypergeom.sf(k - 1, m + n, m, k + h)
        assert excess_test(k, m, h, n) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize(("m", "n", "rank"), [(50, 30, 1), (50, 30, 3), (7, 90, 2), (20, 20, 20)])
    def test_is_the_beta_binomial_tail_for_an_order_statistic(self, m, n, rank):
        law = scipy_stats.betabinom(m, rank, n - rank + 1)
        for k in (0, 1, m // 2, m):
            assert excess_test(k, m, rank - 1, n) == pytest.approx(law.sf(k - 1), rel=1e-8)

    def test_is_the_share_of_arrangements(self):
        m, n, rank = 4, 5, 2
        counts = []
        for new in itertools.combinations(range(m + n), m):
            held = [place for place in range(m + n) if place not in new]
            counts.append(sum(place < held[rank - 1] for place in new))
        for k in range(m + 1):
            assert excess_test(k, m, rank - 1, n) == pytest.approx(np.mean(np.array(counts) >= k))

    def test_few_held_out_units_limit_what_can_be_shown(self):
        # 20 copies among 1,000 samples: 100 held-out patients do not suffice, 200 do
        assert excess_test(20, 1000, 0, 100) > 0.1
        assert excess_test(20, 1000, 0, 200) < 0.05
        assert excess_test(20, 1000, 0, 200) == pytest.approx((1000 / 1200) ** 20, rel=0.05)

    def test_large_counts_stay_exact(self):
        expected = scipy_stats.hypergeom.sf(299, 60_000, 50_000, 330)
        assert excess_test(300, 50_000, 30, 10_000) == pytest.approx(expected, rel=1e-6)

    def test_nothing_flagged_is_no_excess(self):
        assert excess_test(0, 10, 0, 10) == 1.0
        assert excess_test(0, 0, 0, 0) == 1.0

    @pytest.mark.parametrize("counts", [(3, 2, 0, 5), (-1, 2, 0, 5), (0, 2, 6, 5), (0.5, 2, 0, 5)])
    def test_refuses_impossible_counts(self, counts):
        with pytest.raises(ValueError, match="must be an integer between"):
            excess_test(*counts)
