"""Proportions: against scipy, a published table, hand-made clusters, and a simulation of clustered data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from medgan_qa.rng import child
from medgan_qa.stats import clopper_pearson, clustered_proportion, required_n, wilson

ALPHA = 0.05


@st.composite
def counts(draw, max_n=300):
    n = draw(st.integers(1, max_n))
    return draw(st.integers(0, n)), n


@st.composite
def clustered_units(draw):
    """Events and labels of up to 12 patients with up to 8 units each, in shuffled order."""
    patients = draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=12))
    units = [(event, patient) for patient, events in enumerate(patients) for event in events]
    units = draw(st.permutations(units))
    return np.array([event for event, _ in units]), np.array([patient for _, patient in units])


class TestClopperPearson:
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 59), (59, 59), (3, 20), (123, 124), (250, 1000)])
    @pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
    def test_two_sided_equals_scipy(self, k, n, alpha):
        expected = scipy_stats.binomtest(k, n).proportion_ci(1 - alpha, method="exact")
        assert clopper_pearson(k, n, alpha, sided=2) == pytest.approx((expected.low, expected.high), rel=1e-10)

    @pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 30), (29, 30), (7, 7)])
    def test_one_sided_ends_equal_scipy_one_sided_tests(self, k, n):
        low, high = clopper_pearson(k, n, ALPHA)
        upper = scipy_stats.binomtest(k, n, alternative="less").proportion_ci(1 - ALPHA, method="exact")
        lower = scipy_stats.binomtest(k, n, alternative="greater").proportion_ci(1 - ALPHA, method="exact")
        assert (low, high) == pytest.approx((lower.low, upper.high), rel=1e-10)

    def test_published_oracles(self):
        # 123 of 124 reads: exact two-sided lower end .9559; 59 of 59: one-sided lower bound just above .95
        assert clopper_pearson(123, 124, 0.05, sided=2)[0] == pytest.approx(0.9559, abs=5e-5)
        assert 0.95 < clopper_pearson(59, 59, 0.05)[0] < 0.9506

    def test_no_events_has_its_closed_form(self):
        assert clopper_pearson(0, 12.5, ALPHA)[1] == pytest.approx(1 - ALPHA ** (1 / 12.5), rel=1e-12)

    def test_no_trials_say_nothing(self):
        assert clopper_pearson(0, 0, ALPHA) == (0.0, 1.0)

    def test_ends_are_exact_at_the_border(self):
        assert clopper_pearson(0, 7, ALPHA)[0] == 0.0
        assert clopper_pearson(7, 7, ALPHA)[1] == 1.0

    def test_effective_counts_lie_between_their_integer_neighbours(self):
        highs = [clopper_pearson(k, 40, ALPHA)[1] for k in (2, 2.5, 3)]
        assert highs == sorted(highs)
        assert highs[0] < highs[1] < highs[2]

    @pytest.mark.parametrize(
        ("k", "n", "alpha", "sided", "message"),
        [
            (-1, 5, 0.05, 1, "0 <= k <= n"),
            (6, 5, 0.05, 1, "0 <= k <= n"),
            (math.nan, 5, 0.05, 1, "finite"),
            (1, math.inf, 0.05, 1, "finite"),
            (1, 5, 0.0, 1, "alpha"),
            (1, 5, 0.6, 1, "alpha"),
            (1, 5, 1.0, 2, "alpha"),
            (1, 5, math.nan, 1, "alpha"),
            (1, 5, 0.05, 3, "sided"),
        ],
    )
    def test_refuses_bad_input(self, k, n, alpha, sided, message):
        with pytest.raises(ValueError, match=message):
            clopper_pearson(k, n, alpha, sided)

    @given(counts(), st.floats(0.001, 0.5))
    def test_prop_brackets_the_estimate(self, kn, alpha):
        k, n = kn
        low, high = clopper_pearson(k, n, alpha)
        assert 0.0 <= low <= k / n <= high <= 1.0

    @given(counts())
    def test_prop_rises_with_k_and_narrows_with_n(self, kn):
        k, n = kn
        low, high = clopper_pearson(k, n, ALPHA)
        more = clopper_pearson(k + 1, n + 1, ALPHA)
        larger = clopper_pearson(10 * k, 10 * n, ALPHA)
        assert more[0] > low
        assert more[1] >= high
        assert larger[0] >= low
        assert larger[1] <= high

    @given(counts(), st.sampled_from([1, 2]))
    def test_prop_mirrors_when_events_and_non_events_swap(self, kn, sided):
        k, n = kn
        low, high = clopper_pearson(k, n, ALPHA, sided)
        assert clopper_pearson(n - k, n, ALPHA, sided) == pytest.approx((1 - high, 1 - low), abs=1e-12)

    @given(counts())
    def test_prop_two_sided_is_one_sided_at_half_alpha(self, kn):
        assert clopper_pearson(*kn, 0.1, sided=2) == clopper_pearson(*kn, 0.05, sided=1)


class TestWilson:
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (30, 30), (3, 20), (123, 124)])
    def test_equals_scipy(self, k, n):
        expected = scipy_stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert wilson(k, n, 0.05) == pytest.approx((expected.low, expected.high), rel=1e-10, abs=1e-15)

    def test_no_trials_say_nothing(self):
        assert wilson(0, 0, ALPHA) == (0.0, 1.0)

    def test_refuses_more_events_than_trials(self):
        with pytest.raises(ValueError, match="0 <= k <= n"):
            wilson(3, 2, ALPHA)

    @given(counts())
    def test_prop_brackets_the_estimate(self, kn):
        low, high = wilson(*kn, ALPHA)
        assert 0.0 <= low <= kn[0] / kn[1] <= high <= 1.0


class TestRequiredN:
    TABLE = (
        (0, (29, 59, 149, 299)),
        (1, (46, 93, 236, 473)),
        (2, (61, 124, 313, 628)),
        (3, (76, 153, 386, 773)),
    )

    @pytest.mark.parametrize(("events", "expected"), TABLE)
    def test_equals_the_published_table(self, events, expected):
        assert tuple(required_n(limit, ALPHA, events) for limit in (0.10, 0.05, 0.02, 0.01)) == expected

    @given(st.floats(0.005, 0.95), st.floats(0.001, 0.3), st.integers(0, 10))
    def test_prop_is_enough_and_one_fewer_is_not(self, limit, alpha, events):
        n = required_n(limit, alpha, events)
        assert clopper_pearson(events, n, alpha)[1] <= limit
        assert n - 1 == events or clopper_pearson(events, n - 1, alpha)[1] > limit

    @pytest.mark.parametrize(("limit", "events"), [(0.0, 0), (1.0, 0), (math.nan, 0), (0.1, -1), (0.1, 1.5)])
    def test_refuses_bad_input(self, limit, events):
        with pytest.raises(ValueError, match=r"limit|events"):
            required_n(limit, ALPHA, events)


class TestClusteredProportion:
    def test_one_unit_per_patient_is_plain_clopper_pearson(self):
        events = np.arange(50) < 3
        result = clustered_proportion(events, [f"P{i}" for i in range(50)])
        assert (result.low, result.high) == clopper_pearson(3, 50, ALPHA)
        assert (result.value, result.n, result.k, result.clusters) == (0.06, 50, 3, 50)
        assert (result.design_effect, result.effective_n) == (1.0, 50.0)

    @pytest.mark.parametrize("event", [False, True])
    def test_twenty_slices_of_one_patient_prove_nothing(self, event):
        result = clustered_proportion([event] * 20, ["P1"] * 20)
        assert (result.low, result.high) == pytest.approx((0.05, 1.0) if event else (0.0, 0.95))
        assert (result.effective_n, result.clusters, result.n) == (1.0, 1, 20)

    def test_one_patient_with_mixed_slices_counts_once(self):
        result = clustered_proportion([True, False, False, False], ["P1"] * 4)
        assert result.effective_n == 1.0
        assert result.high >= 0.95

    def test_without_events_each_patient_counts_once(self):
        result = clustered_proportion(np.zeros(118, bool), np.repeat(np.arange(59), 2))
        assert (result.low, result.high) == (0.0, clopper_pearson(0, 59, ALPHA)[1])
        assert result.high <= 0.05
        assert result.design_effect == 2.0

    def test_units_that_all_agree_within_patients_count_as_patients(self):
        events = np.repeat(np.arange(40) < 8, 5)
        result = clustered_proportion(events, np.repeat(np.arange(40), 5))
        assert (result.low, result.high) == pytest.approx(clopper_pearson(8, 40, ALPHA))
        assert "most dependent" in result.method

    def test_effective_sample_by_hand(self):
        # 4 patients with 2, 2, 2, 4 units and 1, 1, 0, 3 events: p = 1/2, residuals k - p m = 0, 0, -1, 1
        events = [1, 0, 1, 0, 0, 0, 1, 1, 1, 0]
        patients = [1, 1, 2, 2, 3, 3, 4, 4, 4, 4]
        deff = (4 / 3 * 2 / 100) / (0.25 / 9)
        assert deff < 1
        # deff is not taken below 1; df = min(3 with, 4 without) - 1 = 2; the floor is 100 / 28
        scaled = 10 * (scipy_stats.t.ppf(0.95, 9) / scipy_stats.t.ppf(0.95, 2)) ** 2
        result = clustered_proportion(events, patients)
        assert result.design_effect == 1.0
        assert result.effective_n == pytest.approx(max(scaled, 100 / 28))
        assert (result.low, result.high) == pytest.approx(
            clopper_pearson(result.effective_n / 2, result.effective_n, ALPHA)
        )

    def test_design_effect_by_hand(self):
        # 20 patients of 4 units, 10 with 3 events and 10 with 1: p = 1/2, residuals +-1
        events = np.tile([1, 1, 1, 0, 1, 0, 0, 0], 10)
        result = clustered_proportion(events, np.repeat(np.arange(20), 4))
        deff = (20 / 19 * 20 / 80**2) / (0.25 / 79)
        ratio = scipy_stats.t.ppf(0.95, 79) / scipy_stats.t.ppf(0.95, 19)
        assert result.design_effect == pytest.approx(deff)
        assert deff > 1
        assert result.effective_n == pytest.approx(80 / deff * ratio**2)

    def test_two_sided_uses_the_quantiles_of_its_tail(self):
        events = np.tile([1, 1, 1, 0, 1, 0, 0, 0], 10)
        patients = np.repeat(np.arange(20), 4)
        two, one = (clustered_proportion(events, patients, a, s) for a, s in ((0.1, 2), (0.05, 1)))
        assert two == one

    def test_a_few_events_never_claim_more_than_none(self):
        patients = np.repeat(np.arange(100), 5)
        bounds = [clustered_proportion(np.isin(np.arange(500), 5 * np.arange(k)), patients).high for k in range(8)]
        assert min(bounds) == bounds[0]

    def test_nothing_measured_has_no_value(self):
        result = clustered_proportion(np.zeros(0, bool), [])
        assert result.value is None
        assert (result.low, result.high, result.n, result.clusters) == (0.0, 1.0, 0, 0)

    @pytest.mark.parametrize(
        ("events", "cluster", "message"),
        [
            ([True, False], ["a"], "one label per unit"),
            ([True, False], ["a", None], "missing label"),
            ([True, False], [1.0, math.nan], "missing label"),
            ([0.3, 1.0], ["a", "b"], "false or true"),
            ([math.nan, 1.0], ["a", "b"], "false or true"),
            ([[True]], ["a"], "one-dimensional"),
        ],
    )
    def test_refuses_bad_input(self, events, cluster, message):
        with pytest.raises(ValueError, match=message):
            clustered_proportion(events, cluster)

    @given(clustered_units(), st.floats(0.01, 0.5))
    def test_prop_brackets_the_value_and_never_narrows(self, units, alpha):
        result = clustered_proportion(*units, alpha)
        low, high = clopper_pearson(result.k, result.n, alpha)
        assert 0.0 <= result.low <= result.value <= result.high <= 1.0
        assert result.low <= low + 1e-12
        assert result.high >= high - 1e-12
        assert result.design_effect >= 1.0
        assert 1.0 - 1e-12 <= result.effective_n <= result.n

    @given(clustered_units())
    def test_prop_mirrors_when_events_and_non_events_swap(self, units):
        events, patients = units
        result, mirrored = clustered_proportion(events, patients), clustered_proportion(~events, patients)
        assert (mirrored.low, mirrored.high) == pytest.approx((1 - result.high, 1 - result.low), abs=1e-9)

    @given(clustered_units(), st.randoms(use_true_random=False))
    def test_prop_ignores_the_order_of_units_and_the_names_of_patients(self, units, random):
        events, patients = units
        order = random.sample(range(len(events)), len(events))
        renamed = [f"patient {patients[i]}" for i in order]
        result, shuffled = clustered_proportion(events, patients), clustered_proportion(events[order], renamed)
        assert (shuffled.low, shuffled.high) == pytest.approx((result.low, result.high))

    @pytest.mark.parametrize("unequal", [False, True])
    @pytest.mark.parametrize("p", [0.05, 0.1, 0.3])
    def test_covers_where_the_naive_interval_does_not(self, p, unequal):
        # beta-binomial patients with intraclass correlation 0.3 and 5 units, or 5 on average
        rng = child(7, "coverage", str(p), int(unequal))
        icc, patients, replicates = 0.3, 60, 400
        covered, naive = 0, 0
        for _ in range(replicates):
            sizes = rng.geometric(0.2, patients) if unequal else np.full(patients, 5)
            rates = rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), patients)
            labels = np.repeat(np.arange(patients), sizes)
            events = rng.random(labels.size) < rates[labels]
            covered += clustered_proportion(events, labels).high >= p
            naive += clopper_pearson(int(events.sum()), events.size, ALPHA)[1] >= p
        assert covered / replicates >= 0.93
        assert naive / replicates < 0.91
        assert naive < covered
