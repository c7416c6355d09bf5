"""Bootstrap by patient and the exact median."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from medgan_qa.rng import child
from medgan_qa.stats import BootstrapInterval, MedianInterval, cluster_bootstrap, cluster_median

finite = st.floats(-1e6, 1e6)


class TestClusterBootstrap:
    def test_one_patient_has_no_interval(self):
        result = cluster_bootstrap(np.arange(20.0), ["P1"] * 20, np.mean, 0.05, child(0, "b"))
        assert result == BootstrapInterval(None, None, 1, 0)

    def test_nothing_measured_has_no_interval(self):
        assert cluster_bootstrap([], [], np.mean, 0.05, child(0, "b")) == BootstrapInterval(None, None, 0, 0)

    def test_two_patients_give_the_distribution_of_their_draws(self):
        # the mean of two draws from {0, 1} is 0, 1/2, 1 with 1/4, 1/2, 1/4
        wide = cluster_bootstrap([0.0, 1.0], ["a", "b"], np.mean, 0.2, child(0, "b"))
        narrow = cluster_bootstrap([0.0, 1.0], ["a", "b"], np.mean, 0.4, child(0, "b"))
        assert (wide.low, wide.high) == (0.0, 1.0)
        assert (narrow.low, narrow.high) == (0.5, 0.5)

    def test_patients_are_drawn_whole(self):
        # the statistic sees each patient's two values together or not at all
        values, labels = [1.0, -1.0, 2.0, -2.0, 3.0, -3.0], ["a", "a", "b", "b", "c", "c"]
        result = cluster_bootstrap(values, labels, np.sum, 0.05, child(0, "b"), 500)
        assert (result.low, result.high) == (0.0, 0.0)

    def test_ends_are_replicates_taken_outwards(self):
        seen = []

        def recorded_mean(values):
            seen.append(values.mean())
            return seen[-1]

        # with 30 replicates 5 % lies between the second and the third of either side
        result = cluster_bootstrap(np.arange(50.0), np.arange(50), recorded_mean, 0.05, child(6, "b"), 30)
        assert (result.low, result.high) == (sorted(seen)[1], sorted(seen)[-2])

    def test_matches_normal_theory_for_the_mean(self):
        values = child(1, "values").normal(10.0, 2.0, 400)
        result = cluster_bootstrap(values, np.arange(400), np.mean, 0.05, child(1, "b"), 4000, sided=2)
        half = 1.96 * values.std() / 20
        assert (result.low, result.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)

    def test_copies_within_patients_do_not_narrow_it(self):
        values = child(2, "values").normal(size=40)
        once = cluster_bootstrap(values, np.arange(40), np.mean, 0.05, child(2, "b"))
        tenfold = cluster_bootstrap(np.repeat(values, 10), np.repeat(np.arange(40), 10), np.mean, 0.05, child(2, "b"))
        assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))

    def test_same_generator_same_interval(self):
        values, labels = np.arange(30.0) ** 2, np.arange(30) // 3
        first, again, other = (
            cluster_bootstrap(values, labels, np.mean, 0.05, child(seed, "b"), 200) for seed in (3, 3, 4)
        )
        assert first == again
        assert first != other

    def test_a_replicate_without_value_leaves_no_interval(self):
        def mean_if_any(values):
            return values.mean() if values.any() else math.nan

        result = cluster_bootstrap([0.0, 1.0], ["a", "b"], mean_if_any, 0.05, child(0, "b"))
        assert result == BootstrapInterval(None, None, 2, 0)

    def test_is_fast_enough_for_an_audit(self):
        values, labels = child(5, "values").random(200), np.arange(200) // 2
        start = time.process_time()
        result = cluster_bootstrap(values, labels, np.median, 0.05, child(5, "b"))
        assert time.process_time() - start < 1.0
        assert result.resamples == 2000

    @pytest.mark.parametrize(
        ("values", "labels", "alpha", "resamples", "message"),
        [
            ([1.0, math.nan], ["a", "b"], 0.05, 2000, "finite"),
            ([1.0, 2.0], ["a"], 0.05, 2000, "one label per unit"),
            ([[1.0, 2.0]], ["a"], 0.05, 2000, "one-dimensional"),
            ([1.0, 2.0], ["a", "b"], 0.001, 500, "n_resamples must be at least 1000"),
            ([1.0, 2.0], ["a", "b"], 0.7, 2000, "alpha"),
        ],
    )
    def test_refuses_bad_input(self, values, labels, alpha, resamples, message):
        with pytest.raises(ValueError, match=message):
            cluster_bootstrap(values, labels, np.mean, alpha, child(0, "b"), resamples)

    @given(st.lists(st.tuples(finite, st.integers(0, 5)), min_size=2, max_size=25), st.integers(0, 99))
    def test_prop_ends_are_ordered_and_within_the_values(self, pairs, seed):
        values, labels = zip(*pairs, strict=True)
        result = cluster_bootstrap(values, labels, np.median, 0.1, child(seed, "b"), 50)
        if len(set(labels)) < 2:
            assert (result.low, result.high) == (None, None)
        else:
            assert min(values) <= result.low <= result.high <= max(values)


class TestClusterMedian:
    @pytest.mark.parametrize("patients", [1, 3, 4])
    def test_too_few_patients_have_no_ends(self, patients):
        result = cluster_median(np.arange(float(patients)), np.arange(patients), 0.05)
        assert result == MedianInterval((patients - 1) / 2, None, None, patients)

    def test_five_patients_are_the_fewest_at_five_percent(self):
        result = cluster_median([5.0, 1.0, 4.0, 2.0, 3.0], "abcde", 0.05)
        assert (result.low, result.value, result.high) == (1.0, 3.0, 5.0)
        assert cluster_median([5.0, 1.0, 4.0, 2.0, 3.0], "abcde", 0.05, sided=2).low is None
        assert cluster_median(np.arange(6.0), np.arange(6), 0.05, sided=2).low == 0.0

    @pytest.mark.parametrize("n", [8, 17, 30, 101])
    def test_ranks_equal_inverted_sign_tests(self, n):
        # the lower end is the least value that a one-sided sign test does not reject as the median
        result = cluster_median(np.arange(1.0, n + 1), np.arange(n), 0.05)
        above = [sum(x >= m for x in range(1, n + 1)) for m in range(1, n + 1)]
        p = [scipy_stats.binomtest(count, n, alternative="greater").pvalue for count in above]
        assert result.low == next(m for m, p_value in enumerate(p, start=1) if p_value > 0.05) - 1
        assert result.high == n + 1 - result.low

    def test_a_patient_with_many_values_weighs_as_one(self):
        values = [*range(10), *[100.0] * 500]
        labels = [*range(10), *["many"] * 500]
        assert cluster_median(values, labels, 0.05).value == 5.0

    def test_nothing_measured_has_no_value(self):
        assert cluster_median([], [], 0.05) == MedianInterval(None, None, None, 0)

    def test_covers_a_skewed_median_within_dependent_patients(self):
        rng = child(11, "median coverage")
        truth, hits, replicates = 1.0, 0, 400
        for _ in range(replicates):
            patient = np.repeat(np.exp(rng.normal(size=15)), 4)
            result = cluster_median(patient * np.exp(0.1 * rng.normal(size=60)), np.repeat(np.arange(15), 4), 0.05)
            hits += result.high >= truth
        assert hits / replicates >= 0.93

    @given(st.lists(finite, min_size=1, max_size=40), st.floats(0.01, 0.5))
    def test_prop_ends_bracket_the_median_and_mirror(self, values, alpha):
        labels = range(len(values))
        result, mirrored = cluster_median(values, labels, alpha), cluster_median([-v for v in values], labels, alpha)
        assert mirrored.value == pytest.approx(-result.value)
        if result.low is None:
            assert result.high is None
            assert mirrored.low is None
        else:
            assert result.low <= result.value <= result.high
            assert (mirrored.low, mirrored.high) == (-result.high, -result.low)

    @given(st.lists(finite, min_size=5, max_size=30), finite)
    def test_prop_moves_with_the_values(self, values, shift):
        labels = range(len(values))
        result, moved = cluster_median(values, labels, 0.05), cluster_median(np.add(values, shift), labels, 0.05)
        assert moved.low == pytest.approx(result.low + shift, abs=1e-6)
        assert moved.high == pytest.approx(result.high + shift, abs=1e-6)
