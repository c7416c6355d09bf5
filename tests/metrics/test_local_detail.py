"""Local strength of fine detail: closed forms for waves and noise, and what it is blind to by design."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.local_detail import detail_distance, local_detail

INSIDE = np.zeros((96, 96), bool)
INSIDE[16:-16, 16:-16] = True


def noise(seed=0):
    return np.random.default_rng(seed).standard_normal((96, 96))


def test_a_wave_has_the_strength_that_the_filter_leaves_of_it():
    frequency, smoothing = 0.25, 1.0
    wave = np.cos(2 * np.pi * frequency * np.arange(96))[None, :] * np.ones((96, 1))
    left = 1 - np.exp(-2 * (np.pi * frequency * smoothing) ** 2)

    # root mean square of a wave of amplitude A is A / sqrt(2); the sampled filter is a Gaussian to about a per cent
    assert local_detail(wave, (2, 2))[INSIDE].mean() == pytest.approx(left / np.sqrt(2), rel=0.02)


def test_only_refined_axes_are_looked_at():
    along = np.cos(2 * np.pi * 0.4 * np.arange(96))[:, None] * np.ones((1, 96))
    assert local_detail(along, (3, 1))[INSIDE].mean() > 0.5
    assert local_detail(along, (1, 3))[INSIDE].max() < 1e-9
    assert local_detail(along, (1, 1))[INSIDE].mean() > 0.5


def test_texture_at_the_right_strength_is_no_distance_worth_speaking_of():
    other = detail_distance(noise(1), noise(0), INSIDE, (2, 2))
    blurred = detail_distance(0.2 * noise(0), noise(0), INSIDE, (2, 2))

    assert other.ratio == pytest.approx(1.0, abs=0.03)
    assert other.distance < 0.2
    assert blurred == pytest.approx((0.2, 0.8))


def test_detail_in_the_wrong_place_is_a_distance():
    left, right = noise(0), noise(1)
    left[:, 48:] = right[:, :48] = 0.0

    assert detail_distance(left, right, INSIDE, (2, 2)).distance > 1.5


def test_none_where_there_is_nothing_to_compare_with():
    assert detail_distance(noise(), np.full((96, 96), 0.5), INSIDE, (2, 2)) is None
    assert detail_distance(np.zeros((96, 96)), noise(), INSIDE, (2, 2)) == (0.0, 1.0)
    assert detail_distance(noise(), noise(), INSIDE, (4, 1)) == (1.0, 0.0)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 30), st.floats(0.01, 100), st.floats(-5, 5), st.sampled_from([(2, 2), (3, 1)]))
def test_property_level_and_scale_change_nothing(seed, size, level, scale):
    x, t = noise(seed)[:48, :48], noise(seed + 50)[:48, :48]
    mask = INSIDE[8:56, 8:56]

    assert detail_distance(size * x + level, size * t + level, mask, scale) == pytest.approx(
        detail_distance(x, t, mask, scale), rel=1e-6
    )


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="scale"):
        local_detail(noise(), (0, 2))
    with pytest.raises(ValueError, match="NaN"):
        detail_distance(np.full((96, 96), np.nan), noise(), INSIDE, (2, 2))
    with pytest.raises(ValueError, match="empty"):
        detail_distance(noise(), noise(), np.zeros((96, 96), bool), (2, 2))
