"""The filter bank: the same numbers in any batch, closed forms on simple images, nothing from what is no number."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa import rng
from medgan_qa.metrics import filter_bank as module
from medgan_qa.metrics.filter_bank import PARTS, QUANTILES, SCALES, filter_bank, reduced

A_MAP = 2 + len(QUANTILES) + 3 * PARTS**2


def images(n: int, side: int = 24, channels: int = 1) -> np.ndarray:
    return rng.child(0, "filter bank").random((n, channels, side, side)).astype(np.float32)


def test_there_are_as_many_features_as_said_and_each_channel_stands_by_itself():
    grey, colour = filter_bank(images(3)), filter_bank(images(3, channels=3))

    assert grey.shape == (3, 3 * len(SCALES) * A_MAP)
    assert colour.shape == (3, 3 * grey.shape[1])
    np.testing.assert_allclose(colour[:, : grey.shape[1]], filter_bank(images(3, channels=3)[:, :1]))


def test_an_image_has_the_same_features_in_any_company():
    many = images(module.BATCH + 3)
    together = filter_bank(many)

    np.testing.assert_array_equal(together[-1:], filter_bank(many[-1:]))
    assert filter_bank(many[:0]).shape == (0, together.shape[1])


def test_a_constant_image_has_its_level_and_no_gradient_and_no_curvature():
    features = filter_bank(np.full((1, 1, 16, 16), 0.3, np.float32))[0].reshape(len(SCALES), 3, A_MAP)

    np.testing.assert_allclose(features[:, 0, 0], 0.3, rtol=1e-5)
    np.testing.assert_allclose(features[:, 0, 2 : 2 + len(QUANTILES)], 0.3, rtol=1e-5)
    # A sampled Gaussian of 0.7 pixels lets half a per cent of the level through.
    np.testing.assert_allclose(features[:, 1:], 0, atol=2e-3)
    np.testing.assert_allclose(features[:, 0, 1], 0, atol=1e-5)


def test_the_gradient_of_a_ramp_is_its_slope_times_the_scale():
    ramp = np.broadcast_to(0.01 * np.arange(40, dtype=np.float32), (1, 1, 40, 40))
    features = filter_bank(ramp)[0].reshape(len(SCALES), 3, A_MAP)

    median = 2 + QUANTILES.index(0.5)
    np.testing.assert_allclose(features[:, 1, median], 0.01 * np.array(SCALES), rtol=3e-3)


def test_a_spot_is_found_in_the_part_that_it_is_in():
    image = np.zeros((1, 1, 32, 32), np.float32)
    image[0, 0, 20, 4] = 1.0
    features = filter_bank(image)[0].reshape(len(SCALES), 3, A_MAP)
    largest = features[0, 0, -PARTS * PARTS :].reshape(PARTS, PARTS)

    assert np.unravel_index(largest.argmax(), largest.shape) == (2, 0)


def test_large_images_are_averaged_down_and_small_ones_left_alone():
    assert reduced(images(2, 130)).shape == (2, 1, 43, 43)
    assert reduced(images(2, 64)).shape == (2, 1, 64, 64)
    assert reduced(np.zeros((1, 1, 9, 500), np.float32)).shape == (1, 1, 9, 500)
    np.testing.assert_allclose(reduced(images(1, 128)).mean(), images(1, 128).mean(), rtol=1e-5)
    assert filter_bank(images(2, 130)).shape == filter_bank(images(2)).shape


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 16, 16)), np.zeros((2, 0, 16, 16)), np.zeros((2, 1, 7, 16)), np.full((1, 1, 9, 9), np.nan)]
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ValueError, match="images"):
        filter_bank(bad)
