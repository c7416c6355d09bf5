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
    copy_rate_interval,
    excess_test,
    one_per_cluster,
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


class TestShare:
    @pytest.mark.parametrize("copies", [0.0, 0.02, 0.2, 1.0])
    @pytest.mark.parametrize("rank", [1, 5])
    def test_covers_the_share_of_copies(self, copies, rank):
        g = child(1, "share", rank)
        m, n, covered = 400, 300, []
        for _ in range(400):
            alarm = np.sort(g.random(n))[rank - 1]
            flagged = g.binomial(m, copies + (1 - copies) * alarm)
            found = copy_rate_interval(int(flagged), m, rank, n, alpha=0.05, sided=2)
            covered.append(found.low <= copies <= found.high)
        assert np.mean(covered) >= 0.95

    def test_false_alarms_alone_prove_no_copy(self):
        assert copy_rate_interval(10, 1000, 2, 199).low == 0.0
        assert copy_rate_interval(10, 1000, 2, 199).value == 0.0

    def test_copies_are_told_from_false_alarms(self):
        found = copy_rate_interval(210, 1000, 5, 499)
        assert 0.15 < found.low < found.value < found.high < 0.25
        assert found.value == pytest.approx((0.21 - 0.01) / 0.99)

    def test_generators_that_give_fewer_false_alarms_are_not_credited(self):
        # the upper end does not subtract false alarms that may not have been
        assert copy_rate_interval(0, 59, 1, 100).high == pytest.approx(1 - 0.05 ** (1 / 59))

    def test_a_threshold_above_all_held_out_units_says_little(self):
        found = copy_rate_interval(10, 10, 5, 5)
        assert (found.low, found.high) == (0.0, 1.0)

    @pytest.mark.parametrize("counts", [(1, 0, 1, 5), (1, 5, 0, 5), (1, 5, 6, 5), (6, 5, 1, 5)])
    def test_refuses_impossible_counts(self, counts):
        with pytest.raises(ValueError, match="must be"):
            copy_rate_interval(*counts)


class TestOnePerCluster:
    def test_draws_one_of_each_uniformly(self):
        labels = ["a", "b", "b", "c", "b", "a"]
        drawn = np.array([one_per_cluster(labels, child(seed, "draw")) for seed in range(600)])
        assert (np.array(labels)[drawn] == ["a", "b", "c"]).all()
        counts = np.bincount(drawn[:, 1], minlength=6)
        assert counts[[1, 2, 4]].min() > 150

    def test_nothing_in_nothing_out(self):
        assert one_per_cluster([], child(0, "draw")).tolist() == []

    def test_a_missing_label_is_refused(self):
        with pytest.raises(ValueError, match="missing label"):
            one_per_cluster(["a", None], child(0, "draw"))
