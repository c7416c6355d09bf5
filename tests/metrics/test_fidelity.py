"""Pixel fidelity: closed forms, scikit-image as the oracle, and what a mask leaves out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medgan_qa.metrics import mean_absolute_error, psnr, ssim, ssim_map
from medgan_qa.rng import child

EVERYWHERE = np.ones((24, 20), bool)
LEFT = np.arange(20)[None, :].repeat(24, 0) < 10
images = hnp.arrays(np.float64, (24, 20), elements=st.floats(0, 1))


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = child(0, "fidelity")
    a = rng.random((24, 20))
    return a, np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)


def test_mean_absolute_error_by_hand():
    a, b = np.array([[0.0, 1.0, 5.0]]), np.array([[0.5, 0.0, -90.0]])
    assert mean_absolute_error(a, b, np.array([[True, True, False]])) == 0.75


def test_psnr_by_hand_and_against_skimage(pair):
    a, b = pair
    assert psnr(np.zeros((2, 2)), np.full((2, 2), 0.1), np.ones((2, 2), bool), 1.0) == pytest.approx(20.0)
    assert psnr(a, b, EVERYWHERE, 1.0) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0), rel=1e-12)


def test_psnr_of_identical_images_is_none(pair):
    a, b = pair
    assert psnr(a, a, EVERYWHERE, 1.0) is None
    assert psnr(a, np.where(LEFT, a, b), LEFT, 1.0) is None
    assert psnr(a, np.where(LEFT, a, b), EVERYWHERE, 1.0) is not None


def test_psnr_grows_with_the_range_and_falls_with_the_error(pair):
    a, b = pair
    value = psnr(a, b, EVERYWHERE, 1.0)
    assert psnr(a, b, EVERYWHERE, 10.0) == pytest.approx(value + 20.0)
    assert psnr(a, a + 10 * (b - a), EVERYWHERE, 1.0) == pytest.approx(value - 20.0)


def test_ssim_equals_skimage_and_its_map(pair):
    a, b = pair
    mean, expected = structural_similarity(
        a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    similarity = ssim_map(a, b, 1.0)
    assert np.array_equal(similarity, expected)
    # skimage's own mean leaves a border of half a window out
    assert similarity[5:-5, 5:-5].mean() == pytest.approx(mean, rel=1e-12)
    assert ssim(a, b, LEFT, 1.0) == pytest.approx(expected[LEFT].mean())


def test_ssim_by_its_formula_for_constant_images():
    # no variance, no covariance: only the luminance term is left
    a, b, c1 = 0.2, 0.6, 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    value = ssim(np.full((24, 20), a), np.full((24, 20), b), EVERYWHERE, 1.0)
    assert value == pytest.approx(expected, rel=1e-6)


def test_ssim_computes_float32_in_float64(pair):
    a, b = (image.astype(np.float32) for image in pair)
    assert ssim_map(a, b, 1.0).dtype == np.float64
    assert np.array_equal(ssim_map(a, b, 1.0), ssim_map(a.astype(np.float64), b.astype(np.float64), 1.0))


def test_ssim_sees_only_the_mask_and_its_window(pair):
    a, b = pair
    far = np.where(np.arange(20)[None, :] < 15, b, 0.0)  # changed from column 15; windows of column 9 end at 14
    assert ssim(a, far, LEFT, 1.0) == pytest.approx(ssim(a, b, LEFT, 1.0))
    assert ssim(a, far, ~LEFT, 1.0) != pytest.approx(ssim(a, b, ~LEFT, 1.0))


def test_air_lifts_ssim_and_hides_a_difference(pair):
    a, b = np.where(LEFT, pair[0], 0.0), np.where(LEFT, pair[1], 0.0)
    assert ssim(a, b, EVERYWHERE, 1.0) > ssim(a, b, LEFT, 1.0)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1)])
def test_ssim_refuses_images_smaller_than_the_window(shape):
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim_map(np.zeros(shape), np.zeros(shape), 1.0)


def test_ssim_takes_an_image_of_the_window():
    assert ssim_map(np.zeros((11, 11)), np.zeros((11, 11)), 1.0).shape == (11, 11)


@pytest.mark.parametrize(
    "measure", [mean_absolute_error, lambda a, b, m: psnr(a, b, m, 1.0), lambda a, b, m: ssim(a, b, m, 1.0)]
)
def test_refuses_what_cannot_be_compared(measure, pair):
    a, b = pair
    with pytest.raises(ValueError, match="mask is empty"):
        measure(a, b, np.zeros_like(EVERYWHERE))
    with pytest.raises(TypeError, match="mask must be a bool mask"):
        measure(a, b, EVERYWHERE.astype(float))
    with pytest.raises(ValueError, match="b must have shape"):
        measure(a, b.T, EVERYWHERE)
    with pytest.raises(ValueError, match="a holds NaN"):
        measure(np.full_like(a, np.nan), b, EVERYWHERE)
    with pytest.raises(ValueError, match="a must be two-dimensional"):
        measure(a[None], b[None], EVERYWHERE[None])


@pytest.mark.parametrize("data_range", [0.0, -1.0, math.nan, math.inf])
def test_refuses_a_range_that_is_none(pair, data_range):
    with pytest.raises(ValueError, match="data_range"):
        psnr(*pair, EVERYWHERE, data_range)
    with pytest.raises(ValueError, match="data_range"):
        ssim(*pair, EVERYWHERE, data_range)


@given(images, images)
def test_prop_measures_are_symmetric_and_in_range(a, b):
    assert mean_absolute_error(a, b, LEFT) == mean_absolute_error(b, a, LEFT) >= 0
    assert psnr(a, b, LEFT, 1.0) == psnr(b, a, LEFT, 1.0)
    similarity = ssim(a, b, LEFT, 1.0)
    assert similarity == pytest.approx(ssim(b, a, LEFT, 1.0))
    assert -1 - 1e-9 <= similarity <= 1 + 1e-9


@given(images, st.sampled_from([np.flipud, np.fliplr]))
def test_prop_an_image_equals_itself_and_mirrors(a, flip):
    b = a[::-1, ::-1]
    assert mean_absolute_error(a, a, LEFT) == 0.0
    assert ssim(a, a, LEFT, 1.0) == pytest.approx(1.0)
    assert ssim(flip(a), flip(b), flip(LEFT), 1.0) == pytest.approx(ssim(a, b, LEFT, 1.0), abs=1e-9)
