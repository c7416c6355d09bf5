"""Noise, sharpness and brightness of images that are known, and correlation within classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from medgan_qa.metrics.image_quality import brightness, noise_level, sharpness, within_class_correlation

EVERYWHERE = np.ones((64, 64), bool)


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_noise_is_measured_on_structure(sigma):
    y, x = np.indices((128, 128)) / 128
    image = 0.5 + 0.3 * np.sin(9 * x) * np.cos(7 * y) + 0.2 * (x > 0.5)
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    assert noise_level(noisy) == pytest.approx(sigma, rel=0.06)
    assert noise_level(image) < 0.0005


def test_a_blurred_image_is_less_sharp_and_a_scaled_one_as_sharp():
    y, x = np.indices((64, 64))
    image = ((y < 32) ^ (x < 32)).astype(float)
    blurred = ndimage.gaussian_filter(image, 2.0)
    assert sharpness(blurred, EVERYWHERE) < 0.75 * sharpness(image, EVERYWHERE)
    assert sharpness(5 * image + 1, EVERYWHERE) == pytest.approx(sharpness(image, EVERYWHERE))
    assert sharpness(np.full((64, 64), 0.3), EVERYWHERE) == 0


def test_brightness_is_that_of_the_body():
    body = np.zeros((64, 64), bool)
    body[10:20] = True
    assert brightness(np.where(body, 0.7, 0.1), body) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="empty"):
        brightness(np.zeros((64, 64)), ~EVERYWHERE)


@pytest.mark.parametrize("shape", [(1, 5), (4,), (0, 0)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"2 x 2|two-dimensional"):
        noise_level(np.zeros(shape))
    with pytest.raises(ValueError, match="NaN"):
        noise_level(np.full((4, 4), math.nan))


def test_one_class_gives_spearmans_correlation():
    g = np.random.default_rng(2)
    a = g.integers(0, 9, 80)
    b = a + 4 * g.standard_normal(80)
    assert within_class_correlation(a, b, np.zeros(80)) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_what_goes_together_by_class_alone_does_not_count():
    g = np.random.default_rng(3)
    classes = np.arange(4000) % 2
    a, b = (5 * classes + g.standard_normal(4000) for _ in range(2))
    assert stats.spearmanr(a, b).statistic > 0.7
    assert abs(within_class_correlation(a, b, classes)) < 0.05


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans()), max_size=30))
def test_prop_it_is_symmetric_bounded_and_keeps_its_sign(rows):
    a, b, kinds = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.array([]),) * 3
    value = within_class_correlation(a, b, kinds)
    if value is None:
        return
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert within_class_correlation(b, a, kinds) == pytest.approx(value)
    assert within_class_correlation(-a, b, kinds) == pytest.approx(-value)


def test_nothing_that_varies_has_no_correlation():
    assert within_class_correlation([], [], []) is None
    assert within_class_correlation([1.0], [2.0], [0]) is None
    assert within_class_correlation([1.0, 1.0], [2.0, 3.0], [0, 0]) is None
    assert within_class_correlation([1.0, 2.0], [2.0, 3.0], [0, 1]) is None
    with pytest.raises(ValueError, match="finite"):
        within_class_correlation([1.0, math.nan], [2.0, 3.0], [0, 0])
    with pytest.raises(ValueError, match="length"):
        within_class_correlation([1.0, 2.0], [2.0], [0, 0])
