"""Perturbations, foreign images and the look of tissue against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics.perturbations import (
    TissueLook,
    biased,
    block_shuffled,
    checkerboard,
    gain,
    gamma_changed,
    gaussian_noise,
    inverted,
    rician_noise,
    root_mean_square,
    rotated,
    shifted,
    tissue_look,
    tissue_structure,
)
from medgan_qa.rng import child


def test_rician_noise_in_air_has_the_mean_of_a_rayleigh_distribution():
    noisy = rician_noise(np.zeros((200, 200), np.float32), 0.02, child(0, "air"))

    assert noisy.mean() == pytest.approx(0.02 * np.sqrt(np.pi / 2), rel=0.01)
    assert noisy.min() >= 0


def test_rician_noise_in_tissue_is_nearly_gaussian():
    image = np.full((200, 200), 0.5, np.float32)
    noisy = rician_noise(image, 0.02, child(0, "tissue"))

    # E = A + sigma^2 / (2 A) for A much larger than sigma (Gudbjartsson & Patz 1995).
    assert noisy.mean() == pytest.approx(0.5 + 0.02**2 / (2 * 0.5), abs=3e-4)
    assert noisy.std() == pytest.approx(0.02, rel=0.02)
    assert gaussian_noise(image, 0.02, child(0, "x")).std() == pytest.approx(0.02, rel=0.02)


def test_a_bias_field_is_smooth_has_the_declared_size_and_is_shared_by_channels():
    out = biased(np.ones((2, 64, 64), np.float32), 0.1, child(3, "bias"))

    assert np.abs(out - 1).max() == pytest.approx(0.1, rel=1e-5)
    assert np.abs(np.diff(out, axis=1)).max() < 0.02
    np.testing.assert_array_equal(out[0], out[1])


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_property_a_shift_and_its_opposite_leave_the_interior_as_it_was(dy, dx):
    image = child(0, "image").random((12, 14))
    back = shifted(shifted(image, dy, dx), -dy, -dx)

    np.testing.assert_array_equal(back[3:-3, 3:-3], image[3:-3, 3:-3])


def test_a_shift_moves_down_and_right():
    image = np.zeros((8, 8))
    image[3, 4] = 1

    assert shifted(image, 1, 2)[4, 6] == 1
    assert shifted(image, 1, 2).sum() == 1


def test_gamma_keeps_the_sign():
    np.testing.assert_allclose(gamma_changed(np.array([[-0.25, 0.25]], np.float32), 0.5), [[-0.5, 0.5]])


@given(st.floats(0.01, 100), st.integers(0, 100))
def test_property_the_gain_of_a_linear_model_is_its_factor(factor, seed):
    change = child(seed, "change").standard_normal((9, 9))
    mask = child(seed, "mask").random((9, 9)) > 0.3

    assert gain(-factor * change, change, mask) == pytest.approx(factor)


def test_gain_by_hand_and_without_a_change():
    mask = np.array([[True, True, False]])

    assert root_mean_square(np.array([[3.0, 4.0, 99.0]]), mask) == pytest.approx(np.sqrt(12.5))
    assert gain(np.ones((1, 3)), np.zeros((1, 3)), mask) is None
    with pytest.raises(ValueError, match="empty"):
        root_mean_square(np.ones((1, 3)), np.zeros((1, 3), bool))


def test_foreign_images_keep_what_they_should(head):
    image = head()[None]

    np.testing.assert_allclose(inverted(inverted(image)), image, atol=1e-6)
    np.testing.assert_array_equal(rotated(rotated(rotated(rotated(image)))), image)
    shuffled = block_shuffled(image, 4, child(0, "shuffle"))
    np.testing.assert_array_equal(np.sort(shuffled.ravel()), np.sort(image.ravel()))
    assert not np.array_equal(shuffled, image)
    np.testing.assert_array_equal(checkerboard((1, 4, 4), 2, 0.0, 1.0)[0, 0], [0, 0, 1, 1])


def test_a_quarter_turn_keeps_the_grid_of_an_oblong_image():
    image = np.zeros((1, 6, 10), np.float32)
    image[0, 2, 5] = 1

    assert rotated(image).shape == image.shape
    assert rotated(image).sum() == 1


def test_a_shuffle_into_more_blocks_than_pixels_is_refused():
    with pytest.raises(ValueError, match="blocks"):
        block_shuffled(np.zeros((1, 3, 3), np.float32), 4, child(0, "x"))


@pytest.fixture(scope="module")
def look(head) -> TissueLook:
    images = [head(k) for k in range(12)]
    return tissue_look(images, [i > 0.1 for i in images])


def test_a_painted_body_is_structure_and_noise_grey_and_air_are_none(head, look):
    g = child(0, "noise")
    air = np.zeros((64, 64))

    assert tissue_structure(head(50), look, air).mean() > 0.1
    assert not tissue_structure(air, look).any()
    assert not tissue_structure(np.full((64, 64), 0.5), look).any()
    noise = g.random((64, 64))
    assert tissue_structure(noise, look).mean() < 0.05
    assert tissue_structure(noise**1.5, look, noise).mean() < 0.01


def test_structure_that_the_input_has_is_not_charged_to_the_output(head, look):
    assert not tissue_structure(head(50), look, head(50)).any()
