"""Half samples: their structure, closed forms for linear statistics, and the coverage of both intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from medgan_qa.rng import child
from medgan_qa.stats import (
    ResampledInterval,
    clopper_pearson,
    clustered_proportion,
    draw_halves,
    half_sample_interval,
    half_sample_share,
)
from medgan_qa.stats.half_sampling import HALF_SAMPLING, SHARE_BY_CLUSTER, SHARE_HALF_SAMPLING

labels = st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=40).filter(lambda found: len(set(found)) > 1)


def means(masks, values):
    return masks @ np.asarray(values, dtype=float) / masks.sum(axis=1)


class TestDrawHalves:
    @given(labels, st.integers(1, 20), st.integers(0, 5))
    def test_pairs_split_the_patients_in_half_and_keep_each_whole(self, clusters, pairs, seed):
        masks = draw_halves(clusters, 2 * pairs, child(seed, "halves"))
        assert masks.shape == (2 * pairs, len(clusters))
        assert masks.dtype == np.bool_
        assert (masks[0::2] ^ masks[1::2]).all()
        count = len(set(clusters))
        for mask in masks[0::2]:
            inside, outside = ({c for c, m in zip(clusters, mask, strict=True) if m == keep} for keep in (True, False))
            assert not inside & outside
            assert len(inside) == count // 2

    def test_every_half_is_equally_likely(self):
        masks = draw_halves(["a", "b", "c", "d"], 6000, child(0, "halves"))
        counts = np.unique(masks, axis=0, return_counts=True)[1]
        assert len(counts) == math.comb(4, 2)
        assert scipy_stats.chisquare(counts).pvalue > 0.01

    def test_same_generator_same_halves(self):
        one, two = (draw_halves("abcabcdd", 10, child(3, "halves")) for _ in range(2))
        assert (one == two).all()
        assert (one != draw_halves("abcabcdd", 10, child(4, "halves"))).any()

    @pytest.mark.parametrize(
        ("clusters", "resamples", "message"),
        [
            ([], 2, "at least 2 clusters"),
            (["a", "a"], 2, "at least 2 clusters"),
            (["a", None], 2, "missing label"),
            (["a", math.nan], 2, "missing label"),
            (["a", "b"], 3, "even"),
            (["a", "b"], 0, "even"),
        ],
    )
    def test_refuses(self, clusters, resamples, message):
        with pytest.raises(ValueError, match=message):
            draw_halves(clusters, resamples, child(0, "halves"))


class TestStandardError:
    @pytest.mark.parametrize("count", [8, 9, 12, 13])
    def test_all_halves_of_a_mean_give_its_standard_error(self, count):
        # delete-d jackknife of a mean equals s / sqrt(n) when every half and complement is drawn once
        values = child(1, "values", count).normal(size=count)
        halves = [list(half) for half in itertools.combinations(range(count), count // 2)]
        masks = np.zeros((len(halves), count), dtype=bool)
        for row, half in enumerate(halves):
            masks[row, half] = True
        replicates = np.concatenate([means(masks, values), means(~masks, values)])
        found = half_sample_interval(values.mean(), replicates, clusters=count).se
        expected = values.std(ddof=1) / math.sqrt(count)
        # ddof=1 over the replicates is all that is left between the two
        assert found == pytest.approx(expected, rel=1.0 / len(replicates))

    @pytest.mark.parametrize("count", [20, 21])
    def test_drawn_halves_come_near_it(self, count):
        values = child(2, "values", count).exponential(size=count)
        replicates = means(draw_halves(range(count), 20000, child(2, "halves")), values)
        found = half_sample_interval(values.mean(), replicates, clusters=count).se
        assert found == pytest.approx(values.std(ddof=1) / math.sqrt(count), rel=0.02)

    def test_copies_within_patients_do_not_narrow_it(self):
        values = child(3, "values").normal(size=30)
        once, tenfold = (
            half_sample_interval(
                values.mean(),
                means(draw_halves(np.repeat(range(30), copies), 100, child(3, "halves")), np.repeat(values, copies)),
                clusters=30,
            )
            for copies in (1, 10)
        )
        assert tenfold.low == pytest.approx(once.low, rel=1e-12)
        assert tenfold.se == pytest.approx(once.se, rel=1e-12)


class TestHalfSampleInterval:
    def test_ends_are_student_t_round_the_value(self):
        replicates = child(4, "replicates").normal(5.0, 2.0, 400)
        found = half_sample_interval(3.0, replicates, clusters=10, alpha=0.05, sided=2)
        half = scipy_stats.t.ppf(0.975, 9) * replicates.std(ddof=1)
        assert (found.low, found.high) == pytest.approx((3.0 - half, 3.0 + half), rel=1e-12)
        assert found.method == HALF_SAMPLING
        assert (found.clusters, found.resamples) == (10, 400)

    def test_few_resamples_limit_the_degrees_of_freedom(self):
        replicates = child(5, "replicates").normal(size=20)
        found = half_sample_interval(0.0, replicates, clusters=1000)
        assert found.high == pytest.approx(scipy_stats.t.ppf(0.95, 10) * replicates.std(ddof=1), rel=1e-12)

    def test_one_sided_ends_are_those_of_two_sided_at_twice_alpha(self):
        replicates = child(6, "replicates").normal(size=100)
        one = half_sample_interval(0.0, replicates, clusters=30, alpha=0.05)
        two = half_sample_interval(0.0, replicates, clusters=30, alpha=0.10, sided=2)
        assert one == two

    def test_bounds_cut_the_ends(self):
        replicates = child(7, "replicates").normal(size=100)
        found = half_sample_interval(0.1, replicates, clusters=30, bounds=(0.0, 0.2))
        assert (found.low, found.high) == (0.0, 0.2)

    def test_a_shift_of_all_replicates_changes_nothing(self):
        replicates = child(8, "replicates").normal(size=100)
        plain, shifted = (half_sample_interval(1.0, replicates + by, clusters=30) for by in (0.0, 50.0))
        assert plain.high == pytest.approx(shifted.high, rel=1e-9)

    def test_no_spread_gives_no_width(self):
        found = half_sample_interval(0.3, [0.1] * 10, clusters=30)
        assert (found.low, found.high, found.se) == (0.3, 0.3, 0.0)

    @pytest.mark.parametrize("clusters", [1, 2, 7])
    def test_too_few_patients_have_no_ends(self, clusters):
        for found in (
            half_sample_interval(0.5, [0.4, 0.6], clusters=clusters),
            half_sample_share(0.5, [0.4, 0.6], clusters=clusters, units=100),
        ):
            assert (found.low, found.high) == (None, None)
            assert found.se > 0.0
            assert "fewer than 8" in found.method

    @pytest.mark.parametrize("missing", [math.nan, math.inf])
    def test_a_half_without_a_value_leaves_nothing(self, missing):
        expected = ResampledInterval(None, None, None, 20, 3, "none: a half sample has no value")
        assert half_sample_interval(0.5, [0.4, missing, 0.6], clusters=20) == expected
        assert half_sample_share(0.5, [0.4, missing, 0.6], clusters=20, units=50) == expected

    @pytest.mark.parametrize(
        ("value", "replicates", "options", "message"),
        [
            (math.nan, [1.0, 2.0], {}, "finite"),
            (-0.1, [1.0, 2.0], {"bounds": (0.0, None)}, "within its bounds"),
            (0.1, [1.0], {}, "at least 2 values"),
            (0.1, [[1.0], [2.0]], {}, "at least 2 values"),
            (0.1, [1.0, 2.0], {"clusters": 0}, "clusters"),
            (0.1, [1.0, 2.0], {"alpha": 0.6}, "alpha"),
            (0.1, [1.0, 2.0], {"sided": 3}, "sided"),
        ],
    )
    def test_refuses(self, value, replicates, options, message):
        with pytest.raises(ValueError, match=message):
            half_sample_interval(value, replicates, **{"clusters": 10, **options})


class TestHalfSampleShare:
    def test_independent_units_come_near_clopper_pearson(self):
        events = np.arange(400) < 100
        replicates = means(draw_halves(range(400), 2000, child(9, "halves")), events)
        found = half_sample_share(0.25, replicates, clusters=400, units=400, sided=2)
        assert (found.low, found.high) == pytest.approx(clopper_pearson(100, 400, 0.05, sided=2), abs=0.004)
        assert found.method == SHARE_HALF_SAMPLING

    def test_it_never_beats_independent_units(self):
        # nearly no spread between halves: the number of units is the limit
        found = half_sample_share(0.25, [0.25, 0.2500001] * 50, clusters=200, units=400)
        assert (found.low, found.high) == pytest.approx(clopper_pearson(100, 400, 0.05), rel=1e-12)

    def test_clustered_data_agrees_with_the_linearised_interval(self):
        rng = child(10, "share")
        rates = rng.beta(2, 4, 60)
        events, patients = rng.random((60, 10)) < rates[:, None], np.repeat(range(60), 10)
        replicates = means(draw_halves(patients, 2000, child(10, "halves")), events.ravel())
        found = half_sample_share(events.mean(), replicates, clusters=60, units=600)
        expected = clustered_proportion(events.ravel(), patients)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_at_the_border_each_patient_counts_once(self, value):
        for replicates in ([value] * 20, [value, 0.9] * 10):
            found = half_sample_share(value, replicates, clusters=40, units=4000)
            assert (found.low, found.high) == clopper_pearson(40 * value, 40, 0.05)
            assert found.method == SHARE_BY_CLUSTER

    def test_no_spread_counts_each_patient_once(self):
        found = half_sample_share(0.5, [0.5] * 20, clusters=40, units=4000)
        assert (found.low, found.high) == clopper_pearson(20, 40, 0.05)

    @given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(8, 50), st.integers(1, 500))
    def test_ends_stay_in_order_and_never_beat_an_empty_count(self, value, replicates, clusters, units):
        found = half_sample_share(value, replicates, clusters=clusters, units=units)
        assert 0.0 <= found.low <= value <= found.high <= 1.0
        assert found.high >= clopper_pearson(0, clusters, 0.05)[1]
        assert found.low <= clopper_pearson(clusters, clusters, 0.05)[0]

    @pytest.mark.parametrize(
        ("value", "options", "message"),
        [(1.1, {}, "share"), (math.nan, {}, "share"), (0.5, {"units": 0}, "units"), (0.5, {"clusters": 0}, "clusters")],
    )
    def test_refuses(self, value, options, message):
        with pytest.raises(ValueError, match=message):
            half_sample_share(value, [0.4, 0.6], **{"clusters": 10, "units": 20, **options})


REPETITIONS = 400


def covered(found, truth):
    return found.low <= truth <= found.high


class TestCoverage:
    """Shares of simulated studies whose two-sided 95 % interval holds the truth; 400 studies have a s.d. of 1.1 %."""

    @pytest.mark.parametrize("patients", [9, 15, 40])
    def test_mean_of_patients_of_different_size(self, patients):
        rng, hits = child(patients, "mean"), 0
        for _ in range(REPETITIONS):
            codes = np.repeat(range(patients), rng.integers(1, 6, patients))
            values = rng.normal(size=patients)[codes] + 0.5 * rng.normal(size=codes.size)
            replicates = means(draw_halves(codes, 100, rng), values)
            hits += covered(half_sample_interval(values.mean(), replicates, clusters=patients, sided=2), 0.0)
        assert 0.92 <= hits / REPETITIONS <= 0.985

    def test_one_sided_bound_of_a_mean(self):
        rng, hits = child(0, "one-sided"), 0
        for _ in range(REPETITIONS):
            values = rng.normal(size=30)
            replicates = means(draw_halves(range(30), 100, rng), values)
            hits += half_sample_interval(values.mean(), replicates, clusters=30).high >= 0.0
        assert 0.92 <= hits / REPETITIONS <= 0.98

    def test_median_which_deleting_one_at_a_time_gets_wrong(self):
        rng, hits = child(0, "median"), 0
        for _ in range(REPETITIONS):
            values = rng.exponential(size=60)
            halves = np.array([values[mask] for mask in draw_halves(range(60), 100, rng)])
            found = half_sample_interval(np.median(values), np.median(halves, axis=1), clusters=60, sided=2)
            hits += covered(found, math.log(2))
        assert 0.91 <= hits / REPETITIONS <= 0.985

    @pytest.mark.parametrize(("rate", "patients"), [(0.3, 12), (0.5, 30), (0.9, 30), (0.98, 30)])
    def test_share_of_clustered_units(self, rate, patients):
        rng, hits = child(patients, "share", str(rate)), 0
        codes = np.repeat(range(patients), 6)
        for _ in range(REPETITIONS):
            events = rng.random(codes.size) < rng.beta(4 * rate, 4 * (1 - rate), patients)[codes]
            replicates = means(draw_halves(codes, 100, rng), events)
            found = half_sample_share(events.mean(), replicates, clusters=patients, units=codes.size, sided=2)
            hits += covered(found, rate)
        assert hits / REPETITIONS >= 0.92
