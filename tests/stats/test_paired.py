"""Paired differences: closed forms, symmetry, refusals, and coverage at small n, with clusters and rare events."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from medgan_qa.rng import child
from medgan_qa.stats import (
    Ends,
    clopper_pearson,
    cluster_median,
    independent_difference,
    paired_mean,
    paired_median,
    paired_share,
    required_pairs,
)

ALPHA = 0.05


@st.composite
def paired_flags(draw):
    rows = draw(
        st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcdefghijkl")), min_size=1, max_size=40)
    )
    return tuple(np.array(column) for column in zip(*rows, strict=True))


class TestPairedShare:
    def test_closed_form_with_a_unit_a_patient(self):
        after, before = np.zeros(100, bool), np.zeros(100, bool)
        after[:7] = before[7:10] = True
        d = paired_share(after, before, range(100), alpha=ALPHA)
        worse, better = clopper_pearson(7, 100, ALPHA / 2), clopper_pearson(3, 100, ALPHA / 2)
        assert d.difference == pytest.approx(0.04)
        assert (d.low, d.high) == (worse[0] - better[1], worse[1] - better[0])
        assert (d.worsened, d.improved, d.n, d.clusters) == (7, 3, 100, 100)

    def test_nothing_changed_is_no_proof_at_small_n(self):
        d = paired_share(np.zeros(5), np.zeros(5), "abcde")
        assert d.difference == 0.0
        assert d.high == pytest.approx(1 - (ALPHA / 2) ** (1 / 5))
        assert d.low == -d.high

    def test_units_of_one_patient_count_once(self):
        assert paired_share(np.zeros(20), np.zeros(20), ["a"] * 20).high == pytest.approx(1 - ALPHA / 2)

    def test_two_sided_ends_are_one_sided_ends_at_half_alpha(self):
        after, before = np.arange(30) % 7 == 0, np.arange(30) % 5 == 0
        one = paired_share(after, before, range(30), alpha=0.025, sided=1)
        assert one == paired_share(after, before, range(30), alpha=0.05, sided=2)

    def test_no_pair_says_nothing(self):
        d = paired_share([], [], [])
        assert (d.difference, d.low, d.high, d.n) == (None, -1.0, 1.0, 0)

    @given(paired_flags())
    def test_swapping_the_models_turns_the_interval_round(self, drawn):
        after, before, patients = drawn
        one, other = paired_share(after, before, patients), paired_share(before, after, patients)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert (one.worsened, one.improved) == (other.improved, other.worsened)
        assert -1 <= one.low <= one.difference <= one.high <= 1

    @given(paired_flags())
    def test_the_difference_is_that_of_the_shares(self, drawn):
        after, before, patients = drawn
        assert paired_share(after, before, patients).difference == pytest.approx(after.mean() - before.mean())

    @pytest.mark.parametrize(
        ("after", "before", "patients", "alpha", "message"),
        [
            ([0, 1], [0], "ab", 0.05, "one length"),
            ([[0], [1]], [[0], [1]], "ab", 0.05, "one length"),
            ([0, 2], [0, 1], "ab", 0.05, "false or true"),
            ([0, 1], [0, 0.5], "ab", 0.05, "false or true"),
            ([0, 1], [0, 1], "a", 0.05, "one label per unit"),
            ([0, 1], [0, 1], ["a", None], 0.05, "missing label"),
            ([0, 1], [0, 1], "ab", 0.7, "alpha"),
        ],
    )
    def test_refuses(self, after, before, patients, alpha, message):
        with pytest.raises(ValueError, match=message):
            paired_share(after, before, patients, alpha=alpha)


def simulated_changes(generator, repetitions, patients, size, p_worse, p_better, correlation):
    """Units (R, patients * size): a patient's units share one draw with probability sqrt(correlation)."""
    shape = (repetitions, patients, size)
    shared = generator.random((repetitions, patients, 1))
    uniform = np.where(generator.random(shape) < math.sqrt(correlation), shared, generator.random(shape))
    worse, better = uniform < p_worse, uniform > 1 - p_better
    # What did not change is an event under both or under neither; it must not matter which.
    both = generator.random(shape) < 0.3
    after, before = np.where(worse | better, worse, both), np.where(worse | better, better, both)
    return after.reshape(repetitions, -1), before.reshape(repetitions, -1)


@pytest.mark.parametrize(
    ("patients", "size", "p_worse", "p_better", "correlation"),
    [
        (8, 1, 0.05, 0.05, 0.0),
        (12, 1, 0.3, 0.0, 0.0),
        (20, 1, 0.01, 0.0, 0.0),
        (30, 1, 0.5, 0.45, 0.0),
        (59, 1, 0.05, 0.1, 0.0),
        (15, 4, 0.1, 0.05, 0.5),
        (15, 6, 0.03, 0.03, 1.0),
        (40, 3, 0.02, 0.0, 0.7),
    ],
)
def test_share_bounds_cover(patients, size, p_worse, p_better, correlation):
    repetitions = 400
    generator = child(7, "paired share", patients, size)
    after, before = simulated_changes(generator, repetitions, patients, size, p_worse, p_better, correlation)
    labels = np.repeat(np.arange(patients), size).tolist()
    found = [paired_share(a, b, labels, alpha=ALPHA) for a, b in zip(after, before, strict=True)]
    true = p_worse - p_better
    for misses in (sum(d.high < true for d in found), sum(d.low > true for d in found)):
        # At most 5 % of the ends may miss; 400 draws are allowed their 99.9 % binomial quantile.
        assert misses <= scipy_stats.binom.ppf(0.999, repetitions, ALPHA)


def test_a_wald_interval_would_not_cover_where_this_one_does():
    # The simulation can tell a good interval from a bad one: rare changes, few patients.
    generator = child(3, "wald")
    after, before = simulated_changes(generator, 400, 20, 1, 0.05, 0.0, 0.0)
    change = after.astype(float) - before
    wald = change.mean(axis=1) + 1.645 * change.std(axis=1, ddof=1) / math.sqrt(20)
    assert (wald < 0.05).mean() > 0.25
    labels = range(20)
    exact = [paired_share(a, b, labels).high for a, b in zip(after, before, strict=True)]
    assert (np.array(exact) < 0.05).mean() <= ALPHA


class TestRequiredPairs:
    @pytest.mark.parametrize(
        ("margin", "worsened", "improved"), [(0.03, 0, 0), (0.1, 0, 0), (0.05, 0.02, 0.01), (0.1, 0.05, 0.2)]
    )
    def test_is_the_fewest(self, margin, worsened, improved):
        n = required_pairs(margin, worsened, improved, ALPHA)

        def upper(k):
            return clopper_pearson(worsened * k, k, 0.025)[1] - clopper_pearson(improved * k, k, 0.025)[0]

        assert upper(n) <= margin < upper(n - 1)

    def test_agrees_with_the_interval(self):
        n = required_pairs(0.05, 0, 0, ALPHA)
        assert paired_share(np.zeros(n), np.zeros(n), range(n)).high <= 0.05
        assert paired_share(np.zeros(n - 1), np.zeros(n - 1), range(n - 1)).high > 0.05

    def test_no_number_helps_a_worse_model(self):
        assert required_pairs(0.03, 0.05, 0.02, ALPHA) is None
        assert required_pairs(1e-7, 0, 0, ALPHA) is None

    @pytest.mark.parametrize("arguments", [(0, 0, 0), (1, 0, 0), (0.1, -0.1, 0), (0.1, 0.6, 0.6), (0.1, math.nan, 0)])
    def test_refuses(self, arguments):
        with pytest.raises(ValueError, match="must lie"):
            required_pairs(*arguments, ALPHA)


class TestPairedMean:
    def test_is_students_t_with_a_unit_a_patient(self):
        values = child(1, "mean").normal(0.3, 1, 25)
        expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.90)
        d = paired_mean(values, range(25), alpha=ALPHA, sided=1)
        assert (d.low, d.high) == pytest.approx((expected.low, expected.high))
        assert d.difference == pytest.approx(values.mean())
        assert (d.worsened, d.improved) == ((values > 0).sum(), (values < 0).sum())

    def test_copies_of_a_patients_value_add_nothing(self):
        values = child(2, "mean").normal(0, 1, 12)
        one, many = paired_mean(values, range(12)), paired_mean(np.repeat(values, 5), np.repeat(np.arange(12), 5))
        assert (one.low, one.high) == pytest.approx((many.low, many.high))
        assert (one.n, many.n, many.clusters) == (12, 60, 12)

    def test_few_patients_have_no_bound(self):
        d = paired_mean(np.arange(70.0), np.arange(70) % 7)
        assert (d.low, d.high, d.clusters) == (None, None, 7)
        assert "fewer than 8" in d.method

    def test_equal_differences_have_no_width(self):
        d = paired_mean([0.1] * 30, range(30))
        assert (d.low, d.difference, d.high) == (0.1, 0.1, 0.1)

    def test_no_pair(self):
        assert paired_mean([], []).difference is None

    def test_covers_with_correlated_units(self):
        generator, repetitions, patients, size = child(5, "mean cover"), 400, 12, 5
        draws = generator.normal(0, 1, (repetitions, patients, 1)) + generator.normal(
            0, 0.5, (repetitions, patients, size)
        )
        labels = np.repeat(np.arange(patients), size)
        found = [paired_mean(row.ravel(), labels) for row in draws]
        limit = scipy_stats.binom.ppf(0.999, repetitions, ALPHA)
        assert sum(d.high < 0 for d in found) <= limit
        assert sum(d.low > 0 for d in found) <= limit
        assert sum(d.high < 0 for d in found) >= scipy_stats.binom.ppf(0.001, repetitions, ALPHA)

    def test_refuses_what_is_not_finite(self):
        with pytest.raises(ValueError, match="finite"):
            paired_mean([0.0, math.nan], "ab")


class TestPairedMedian:
    def test_is_the_cluster_median_of_the_differences(self):
        values = child(4, "median").normal(0, 1, 60)
        m, d = cluster_median(values, np.arange(60) % 20, alpha=ALPHA), paired_median(values, np.arange(60) % 20)
        assert (d.difference, d.low, d.high, d.clusters) == (m.value, m.low, m.high, 20)

    def test_four_patients_have_no_bound(self):
        d = paired_median(np.arange(4.0), "abcd")
        assert (d.difference, d.low, d.high) == (1.5, None, None)

    @given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
    def test_swapping_the_models_turns_the_interval_round(self, values):
        one, other = (paired_median(sign * np.array(values), range(len(values))) for sign in (1, -1))
        assert one.difference == -other.difference
        assert (one.low is None) == (other.high is None)
        assert one.low is None or (one.low, one.high) == (-other.high, -other.low)


class TestIndependentDifference:
    def test_normal_intervals_combine_as_variances_do(self):
        d = independent_difference(Ends(5, 2, 8), Ends(1, -3, 5))
        assert d == Ends(4, 4 - 5, 4 + 5)

    def test_each_end_takes_the_near_halves(self):
        # Zou and Donner 2008, eq. 5 and 6, with lopsided intervals
        d = independent_difference(Ends(0.2, 0.1, 0.5), Ends(0.1, 0.05, 0.3))
        assert d.low == pytest.approx(0.1 - math.hypot(0.1, 0.2))
        assert d.high == pytest.approx(0.1 + math.hypot(0.3, 0.05))

    def test_a_missing_end_is_missing_where_it_is_needed(self):
        assert independent_difference(Ends(1, None, 2), Ends(0, -1, 1)) == Ends(1, None, 1 + math.sqrt(2))
        assert independent_difference(Ends(1, 0, 2), Ends(0, None, 1)).high is None

    @pytest.mark.parametrize("ends", [Ends(1, 2, 3), Ends(1, 0, 0.5), Ends(math.nan, 0, 1), Ends(1, -math.inf, 2)])
    def test_refuses(self, ends):
        with pytest.raises(ValueError, match=r"finite|hold its estimate"):
            independent_difference(ends, Ends(0, -1, 1))

    def test_covers_the_difference_of_two_rare_shares(self):
        generator, repetitions, n = child(6, "mover"), 300, 60
        counts = generator.binomial(n, [[0.08], [0.03]], (2, repetitions))

        def ends(k):
            return Ends(k / n, *clopper_pearson(float(k), n, ALPHA))

        found = [independent_difference(ends(c), ends(b)) for c, b in counts.T]
        limit = scipy_stats.binom.ppf(0.999, repetitions, ALPHA)
        assert sum(d.high < 0.05 for d in found) <= limit
        assert sum(d.low > 0.05 for d in found) <= limit
