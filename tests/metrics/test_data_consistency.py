"""The difference of an output from its input: noise, level, gain and place, each told from the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.metrics.data_consistency import residual

SHAPE = (40, 40)
ALL = np.ones(SHAPE, bool)
FLOOR = 0.01


def scene() -> NDArray[np.float64]:
    """A smooth image in [0, 1]."""
    field = ndimage.gaussian_filter(rng.child(0, "scene").standard_normal(SHAPE), 4)
    return (field - field.min()) / np.ptp(field)


def test_noise_alone_is_its_root_mean_square() -> None:
    clean = scene()
    r = residual(clean, clean + FLOOR * rng.child(1, "noise").standard_normal(SHAPE), ALL, FLOOR)
    assert r.ratio == pytest.approx(1.0, abs=0.06)
    assert r.decibel == pytest.approx(40, abs=0.5)
    assert r.gain == pytest.approx(1.0, abs=0.005)
    assert abs(r.bias) < 1e-3
    assert r.local < 1.0


def test_an_output_that_says_the_same_differs_by_nothing() -> None:
    r = residual(scene(), scene(), ALL, FLOOR)
    assert (r.rms, r.ratio, r.bias, r.local, r.decibel) == (0, 0, 0, 0, math.inf)
    assert r.gain == pytest.approx(1.0)


@given(gain=st.floats(0.5, 2), offset=st.floats(-0.2, 0.2))
def test_prop_gain_and_level_are_recovered(gain: float, offset: float) -> None:
    y = scene()
    r = residual(gain * y + offset, y, ALL, FLOOR)
    assert r.gain == pytest.approx(gain)
    assert r.bias == pytest.approx((gain - 1) * y.mean() + offset, abs=1e-9)
    assert r.rms == pytest.approx(np.sqrt(np.mean(np.square((gain - 1) * y + offset))), abs=1e-9)


def test_noise_in_the_input_does_not_bend_the_gain() -> None:
    y = scene()
    noisy = [residual(1.02 * y, y + 0.05 * rng.child(k, "noise").standard_normal(SHAPE), ALL, 0.05) for k in range(30)]
    gains = [r.gain for r in noisy if r.gain is not None]
    assert np.mean(gains) == pytest.approx(1.02, abs=0.004)
    assert np.std(gains) == pytest.approx(np.mean([r.gain_error for r in noisy]), rel=0.4)


def test_lost_sharpness_is_no_gain() -> None:
    y = scene() + 0.1 * (np.indices(SHAPE).sum(0) % 2)
    r = residual(ndimage.gaussian_filter(y, 0.7), y, ALL, FLOOR)
    assert r.ratio > 3
    assert r.gain == pytest.approx(1.0, abs=0.02)


def test_what_is_wrong_in_one_place_is_seen_there() -> None:
    wrong = scene()
    wrong[10:16, 20:26] += 0.1
    r = residual(wrong, scene(), ALL, FLOOR)
    assert r.local > 5
    assert np.unravel_index(np.abs(r.map).argmax(), SHAPE) in [(y, x) for y in range(11, 15) for x in range(21, 25)]


def test_only_measured_pixels_count() -> None:
    there = np.ones(SHAPE, bool)
    there[10:16, 20:26] = False
    wrong = scene()
    wrong[~there] = 7.0
    r = residual(wrong, scene(), ALL, FLOOR, there)
    assert (r.rms, r.local) == (0, 0)


def test_a_constant_has_no_gain() -> None:
    assert residual(np.full(SHAPE, 0.5), scene(), ALL, FLOOR).gain is None
    assert residual(np.full(SHAPE, 0.5), scene(), ALL, FLOOR).gain_error == 0
    assert residual(scene(), np.full(SHAPE, 0.5), ALL, FLOOR).gain is None


def test_refuses_what_cannot_be_compared() -> None:
    y = scene()
    with pytest.raises(ValueError, match="floor must be above 0"):
        residual(y, y, ALL, 0.0)
    with pytest.raises(ValueError, match="NaN"):
        residual(np.where(ALL, np.nan, y), y, ALL, FLOOR)
    with pytest.raises(ValueError, match="shape"):
        residual(y[1:], y, ALL, FLOOR)
    with pytest.raises(ValueError, match="inside and measured is empty"):
        residual(y, y, np.eye(40) > 0, FLOOR, np.eye(40) == 0)
    with pytest.raises(TypeError, match="bool"):
        residual(y, y, np.ones(SHAPE), FLOOR)
