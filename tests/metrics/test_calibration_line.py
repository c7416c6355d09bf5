"""The calibration line against a direct computation, and with noise on both sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.calibration_line import calibration_line, smoothed_samples


def noisy(slope, offset, sigma, n=250, seed=0):
    g = np.random.default_rng(seed)
    truth = g.choice([0.1, 0.35, 0.45, 0.8], n) + 0.02 * g.standard_normal(n)
    return truth + sigma * g.standard_normal(n), offset + slope * (truth + sigma * g.standard_normal(n))


def direct(x, y):
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    rows = sorted(
        (abs((y[i] - y[j]) / (x[i] - x[j])), np.hypot((x[i] - x[j]) / np.std(x), (y[i] - y[j]) / np.std(y)))
        for i, j in pairs
    )
    total, run = sum(w for _, w in rows), 0.0
    for slope, weight in rows:
        run += weight
        if run >= total / 2:
            return slope
    raise AssertionError


def test_equals_a_direct_computation():
    x, y = noisy(0.8, 0.1, 0.03, n=40)

    line = calibration_line(x, y)

    assert line.slope == pytest.approx(direct(x, y))
    assert line.offset == pytest.approx(np.median(y - line.slope * x))
    assert line.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_noise_on_both_sides_does_not_attenuate_the_slope_as_it_does_least_squares():
    lines, squares = [], []
    for seed in range(20):
        x, y = noisy(1.0, 0.0, 0.08, seed=seed)
        lines.append(calibration_line(x, y).slope)
        squares.append(np.polyfit(x, y, 1)[0])

    assert np.mean(squares) < 0.92
    assert np.mean(lines) == pytest.approx(1.0, abs=0.015)


def test_a_sixth_of_outliers_does_not_move_it_far():
    x, y = noisy(1.0, 0.0, 0.01, n=300)
    y[:50] = 0.2

    assert calibration_line(x, y).slope == pytest.approx(1.0, abs=0.06)
    assert abs(np.polyfit(x, y, 1)[0] - 1.0) > 0.1


@settings(deadline=None, max_examples=25)
@given(st.floats(0.2, 4.0), st.floats(-2.0, 2.0), st.integers(0, 1000))
def test_property_it_follows_a_change_of_scale_and_turns_round_with_the_sides(scale, shift, seed):
    x, y = noisy(0.9, 0.05, 0.03, n=61, seed=seed)
    line, scaled, turned = calibration_line(x, y), calibration_line(x, scale * y + shift), calibration_line(y, x)

    assert scaled.slope == pytest.approx(scale * line.slope, rel=1e-6)
    assert scaled.offset == pytest.approx(scale * line.offset + shift, abs=1e-6)
    # the weighted median of an even set lies between two neighbours; either is one
    assert turned.slope * line.slope == pytest.approx(1.0, rel=0.02)


def test_an_inverted_relation_has_a_negative_slope():
    x, y = noisy(-0.7, 0.9, 0.01)

    assert calibration_line(x, y).slope == pytest.approx(-0.7, abs=0.02)


def test_edges_of_what_can_be_fitted():
    x = np.linspace(0, 1, 20)

    assert calibration_line(x[:9], x[:9]) is None
    assert calibration_line(np.full(20, 0.3), x) is None
    assert calibration_line(x, np.full(20, 0.3))[:3] == (0.0, 0.3, 0.0)
    with pytest.raises(ValueError, match="one length"):
        calibration_line(x, x[:-1])
    with pytest.raises(ValueError, match="finite"):
        calibration_line(x, np.where(x > 0.9, np.nan, x))


def test_many_points_are_thinned_without_moving_the_line():
    x, y = noisy(0.9, 0.05, 0.02, n=5000)

    line = calibration_line(x, y)

    assert line.points == 300
    assert line.slope == pytest.approx(0.9, abs=0.01)


def test_samples_come_from_the_region_alone_and_keep_a_straight_relation():
    g = np.random.default_rng(3)
    image, region = g.random((30, 41)), np.zeros((30, 41), bool)
    region[4:21, 5:30] = True
    spoiled = np.where(region, image, 1e6)

    values = smoothed_samples(image, region)

    assert values.size == region[::2, ::2].sum()
    np.testing.assert_allclose(smoothed_samples(spoiled, region), values)
    np.testing.assert_allclose(smoothed_samples(0.9 * image + 3, region), 0.9 * values + 3)
    assert smoothed_samples(image, np.zeros_like(region)).size == 0
