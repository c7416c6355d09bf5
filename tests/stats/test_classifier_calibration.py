"""Calibration line and error against closed forms, an independent optimiser, and simulation with clustered patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from medgan_qa.stats import half_sample_interval
from medgan_qa.stats.classifier_calibration import (
    CONSTANT,
    ONE_CLASS,
    SEPARATED,
    calibration_error,
    calibration_error_replicates,
    calibration_line,
)


def drawn(g, people, slope=1.0, shift=0.0, spread=2.0):
    """Two units a patient: logits that share a part, outcomes that share chance; P = expit(slope * logit + shift)."""
    logits = spread * (
        math.sqrt(0.6) * g.standard_normal((people, 1)) + math.sqrt(0.4) * g.standard_normal((people, 2))
    )
    shared = math.sqrt(0.5) * (g.standard_normal((people, 1)) + g.standard_normal((people, 2)))
    outcomes = stats.norm.cdf(shared) < special.expit(slope * logits + shift)
    return logits.ravel(), outcomes.ravel(), np.repeat(np.arange(people), 2)


def fitted(logits, outcomes, intercept_only=False):
    """The likelihood maximised by another method."""

    def loss(beta):
        eta = beta[0] + (logits if intercept_only else beta[1] * logits)
        return np.logaddexp(0, np.where(outcomes, -eta, eta)).mean()

    start = [0.0] if intercept_only else [0.0, 1.0]
    return optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-8}).x


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.4, 1.0), (2.0, -1.0), (-0.5, 0.0)])
def test_the_line_maximises_the_likelihood(slope, shift):
    logits, outcomes, patients = drawn(np.random.default_rng(2), 150, slope, shift)
    line = calibration_line(logits, outcomes, patients)

    assert line.slope.value == pytest.approx(fitted(logits, outcomes)[1], abs=1e-5)
    assert line.intercept.value == pytest.approx(fitted(logits, outcomes, intercept_only=True)[0], abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_prop_logits_times_a_factor_have_the_slope_divided_by_it(factor, seed):
    logits, outcomes, patients = drawn(np.random.default_rng(seed), 60)
    one, other = (calibration_line(x, outcomes, patients) for x in (logits, factor * logits))
    assert other.slope.value * factor == pytest.approx(one.slope.value, rel=1e-6)
    assert other.slope.se * factor == pytest.approx(one.slope.se, rel=1e-6)


def test_two_probabilities_have_a_slope_in_closed_form():
    # 3 of 4 against 1 of 4 at logits 1 and -1: the fitted logits are log 3 and -log 3.
    logits = np.repeat([1.0, -1.0], 40)
    outcomes = np.tile([1, 1, 1, 0, 0, 0, 0, 1], 10).reshape(20, 4)
    outcomes = np.concatenate([outcomes[::2].ravel(), outcomes[1::2].ravel()]).astype(bool)
    line = calibration_line(logits, outcomes, range(80))
    assert line.slope.value == pytest.approx(math.log(3))
    # independent units: the inverse of the information, sum of p (1 - p) x^2, but for the correction by C / (C - 1)
    assert line.slope.se == pytest.approx(math.sqrt(80 / 79 / (80 * 3 / 16)))


def test_units_of_one_patient_that_say_the_same_count_once():
    logits, outcomes, _ = drawn(np.random.default_rng(4), 60)
    once = calibration_line(logits, outcomes, range(120)).slope
    thrice = calibration_line(*(np.repeat(v, 3) for v in (logits, outcomes, np.arange(120)))).slope
    assert thrice == pytest.approx(once)


def test_where_there_is_no_slope_it_says_why():
    y = np.arange(20) < 10
    assert calibration_line(y * 4.0 - 2, y, range(20)).objection == SEPARATED
    assert calibration_line(np.where(y, 0.0, np.arange(20) / 20), y, range(20)).objection == SEPARATED
    assert calibration_line(np.ones(20), y, range(20)).objection == CONSTANT
    assert calibration_line(np.arange(20.0), np.ones(20), range(20)) == (None, None, ONE_CLASS)
    assert calibration_line([], [], []).objection == ONE_CLASS
    # calibration in the large needs no overlap
    assert calibration_line(np.ones(20), y, range(20)).intercept.value == pytest.approx(-1.0)


def test_few_patients_have_no_interval():
    logits, outcomes, patients = drawn(np.random.default_rng(6), 24)
    line = calibration_line(logits, outcomes, patients)
    assert line.slope.df + 1 >= 8
    assert line.slope.interval(0.05) is not None
    few = calibration_line([0.0, 1.0, 2.0, 1.5, 0.5], [0, 1, 1, 0, 1], range(5))
    assert few.slope.interval(0.05) is None


@pytest.mark.parametrize(("people", "slope"), [(40, 1.0), (120, 1.0), (120, 0.5)])
def test_the_slope_s_interval_covers_under_clustering(people, slope):
    g, found = np.random.default_rng(people), []
    for _ in range(300):
        line = calibration_line(*drawn(g, people, slope))
        low, high = line.slope.interval(0.05)
        found.append((low <= slope, high >= slope))
    assert (np.mean(found, axis=0) >= 0.92).all()


def test_the_error_of_bins_in_closed_form():
    p = np.repeat([0.2, 0.8], 100)
    y = np.concatenate([np.arange(100) < 40, np.arange(100) < 80])
    error = calibration_error(p, y, range(200), bins=2)

    assert error.bins.predicted.tolist() == pytest.approx([0.2, 0.8])
    assert error.bins.observed.tolist() == pytest.approx([0.4, 0.8])
    assert error.plain == pytest.approx(0.1)
    assert error.value < error.plain
    # what chance adds to a distance of 0 with s = 0.04 in the second bin; to the first, 4 s away, it adds nothing
    se = math.sqrt(100 / 99 * 100 * 0.8 * 0.2) / 100
    assert error.plain - error.value == pytest.approx(0.5 * se * math.sqrt(2 / math.pi), rel=0.01)


def test_equal_probabilities_share_a_bin():
    p = np.concatenate([np.full(90, 0.3), np.linspace(0.4, 0.9, 110)])
    error = calibration_error(p, p > 0.5, range(200), bins=10)
    assert len(set(error.bins.bin_of[:90].tolist())) == 1
    assert error.bins.units.sum() == 200
    assert np.all(np.diff(error.bins.predicted) > 0)


@pytest.mark.parametrize("n", [1, 2, 19, 45])
def test_few_units_have_few_bins(n):
    error = calibration_error(np.linspace(0.1, 0.9, n), np.arange(n) % 2, range(n))
    assert len(error.bins.units) == max(1, n // 20)
    assert 0 <= error.value <= error.plain


def test_what_is_no_probability_is_refused():
    assert calibration_error([], [], []) is None
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration_error([1.2, 0.1], [1, 0], [0, 1])
    with pytest.raises(ValueError, match="finite"):
        calibration_error([math.nan, 0.1], [1, 0], [0, 1])
    with pytest.raises(ValueError, match="bins"):
        calibration_error([0.2, 0.1], [1, 0], [0, 1], bins=0)


@pytest.mark.parametrize(("people", "slope"), [(80, 1.0), (80, 0.5), (200, 0.5)])
def test_the_error_s_interval_covers_under_clustering(people, slope):
    g, found = np.random.default_rng(people), []
    many = 2.0 * np.random.default_rng(0).standard_normal(200_000)
    truth = np.abs(special.expit(many) - special.expit(slope * many)).mean()
    for _ in range(150):
        logits, outcomes, patients = drawn(g, people, slope)
        p = special.expit(logits)
        error = calibration_error(p, outcomes, patients)
        halves = calibration_error_replicates(p, outcomes, patients, 100, g)
        interval = half_sample_interval(error.value, halves, clusters=people, bounds=(0.0, 1.0))
        found.append((max(0.0, interval.low - error.left) <= truth, interval.high >= truth, error.value, error.plain))
    low, high, value, plain = np.mean(found, axis=0)
    assert low >= 0.92
    assert high >= 0.90
    assert abs(value - truth) < abs(plain - truth)
