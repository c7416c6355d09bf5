"""Bland-Altman against tables, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medgan_qa.metrics import agreement
from medgan_qa.metrics.agreement import bland_altman


def drawn(n, bias=2.0, sd=3.0, seed=0):
    g = np.random.default_rng(seed)
    reference = g.uniform(50, 150, n)
    return reference + bias + sd * g.standard_normal(n), reference


@pytest.mark.parametrize(("n", "factor"), [(10, 2.911), (20, 2.396), (50, 2.065)])
def test_the_bound_of_a_limit_is_the_tolerance_factor_of_the_tables(n, factor, monkeypatch):
    """One-sided factors for 95 % of a normal population with 95 % confidence, which limits at 1.645 sd come to."""
    monkeypatch.setattr(agreement, "COVERED", 0.90)
    a = bland_altman(*drawn(n))

    assert (a.limit_interval("high", 0.05).high - a.bias) / a.sd == pytest.approx(factor, abs=1e-3)


def test_the_bound_of_a_limit_solves_its_equation():
    a = bland_altman(*drawn(20))
    k = (a.limit_interval("high", 0.05).high - a.bias) / a.sd

    z = stats.norm.ppf(0.975)
    assert stats.nct.cdf(k * np.sqrt(20), 19, z * np.sqrt(20)) == pytest.approx(0.95, abs=1e-6)


def test_limits_are_symmetric_about_the_bias():
    a = bland_altman(*drawn(30))
    low, high = a.limit_interval("low"), a.limit_interval("high")

    assert a.limit("high") - a.bias == pytest.approx(a.bias - a.limit("low")) == pytest.approx(1.959964 * a.sd)
    assert high.high - a.bias == pytest.approx(a.bias - low.low)
    assert high.low < a.limit("high") < high.high


def test_bias_interval_is_the_t_interval():
    output, reference = drawn(25)
    a = bland_altman(output, reference)
    known = stats.ttest_1samp(output - reference, 0).confidence_interval(0.90)

    assert a.bias_interval(0.05) == pytest.approx((known.low, known.high))
    assert a.bias_interval(0.10, sided=2) == pytest.approx((known.low, known.high))


def test_proportional_slope_is_that_of_a_regression():
    output, reference = drawn(25)
    a = bland_altman(1.1 * output, reference)
    known = stats.linregress(a.mean, a.difference)
    half = stats.t.ppf(0.95, 23) * known.stderr

    assert a.proportional_slope == pytest.approx(known.slope)
    assert a.slope_interval(0.05) == pytest.approx((known.slope - half, known.slope + half))


def test_intervals_cover_what_was_planted():
    truth = {"bias": 2.0, "low": 2.0 - 1.959964 * 3, "high": 2.0 + 1.959964 * 3}
    above = dict.fromkeys(truth, 0)
    for seed in range(600):
        a = bland_altman(*drawn(12, seed=seed))
        above["bias"] += a.bias_interval().high >= truth["bias"]
        for side in ("low", "high"):
            above[side] += a.limit_interval(side).high >= truth[side]

    # 95 % nominal; three standard errors of 600 draws are 2.7 points
    assert all(0.923 < count / 600 < 0.977 for count in above.values())


def test_relative_interval_covers():
    hits = 0
    for seed in range(400):
        output, reference = drawn(30, bias=0.0, sd=5.0, seed=seed)
        hits += bland_altman(output + 0.1 * reference, reference).relative_interval().high >= 0.1

    assert 0.91 < hits / 400 < 0.985


def test_few_patients_have_no_bounds():
    a = bland_altman(*drawn(7))

    assert a.bias_interval() == a.limit_interval("high") == a.slope_interval() == a.relative_interval() == (None, None)
    assert bland_altman([1.0], [2.0]).sd == 0.0
    with pytest.raises(ValueError, match="one length"):
        bland_altman([], [])


def test_what_cannot_be_divided_by_has_no_value():
    assert bland_altman([1.0] * 9, [0.0] * 9).relative() is None
    assert bland_altman([1.0] * 9, [0.0] * 9).proportional_slope is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=8, max_size=30), st.floats(0.01, 0.4))
def test_property_ends_enclose_and_sides_are_exchangeable(pairs, alpha):
    output, reference = np.array(pairs).T
    one, other = bland_altman(output, reference), bland_altman(reference, output)

    low, high = one.bias_interval(alpha)
    assert low <= one.bias <= high
    assert other.bias == pytest.approx(-one.bias)
    ends, mirrored = one.limit_interval("high", alpha), other.limit_interval("low", alpha)
    assert (ends.low, ends.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-6)
