"""Means over areas, against block means and against pixels cut into equal parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import block_reduce

from medgan_qa.features import pixels
from medgan_qa.features.pixels import SIDE, PixelExtractor

SOURCE = PixelExtractor()


def images(*shape):
    return np.random.default_rng(sum(shape)).random(shape, dtype=np.float32)


def test_whole_blocks_are_block_means():
    given_ = images(3, 2, 64, 128)
    expected = block_reduce(given_.astype(float), (1, 1, 64 // SIDE, 128 // SIDE), np.mean)
    np.testing.assert_allclose(SOURCE.features(given_), expected.reshape(3, -1), rtol=1e-6)


def test_a_small_image_stays_as_it_is():
    given_ = images(2, 1, 7, SIDE)
    np.testing.assert_array_equal(SOURCE.features(given_), given_.reshape(2, -1))


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 2))
def test_any_size(height, width, channels):
    given_ = images(2, channels, height, width)
    rows, columns = min(height, SIDE), min(width, SIDE)
    # every pixel cut into rows x columns equal parts, so that areas are whole blocks of parts
    parts = given_.astype(float).repeat(rows, axis=2).repeat(columns, axis=3)
    expected = block_reduce(parts, (1, 1, height, width), np.mean)
    found = SOURCE.features(given_)
    assert found.shape == (2, channels * rows * columns)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.reshape(2, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.mean(axis=1), given_.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_batches_change_nothing(monkeypatch):
    given_ = images(5, 1, 40, 50)
    whole = SOURCE.features(given_)
    monkeypatch.setattr(pixels, "BATCH_PIXELS", 40 * 50 * 2)
    np.testing.assert_array_equal(SOURCE.features(given_), whole)


def test_values_outside_the_range_are_kept():
    np.testing.assert_array_equal(SOURCE.features(np.full((1, 1, 2, 2), -3, np.float32)), [[-3, -3, -3, -3]])


def test_what_are_no_images_is_refused():
    broken = images(3, 1, 4, 4)
    broken[1, 0, 2, 2] = np.inf
    with pytest.raises(ValueError, match="image 1 holds NaN or infinity"):
        SOURCE.features(broken)
    for shape in [(2, 4, 4), (2, 1, 0, 4)]:
        with pytest.raises(ValueError, match="hold pixels"):
            SOURCE.features(np.zeros(shape, np.float32))


def test_none_gives_none():
    assert SOURCE.features(np.zeros((0, 1, 64, 64), np.float32)).shape == (0, SIDE * SIDE)
