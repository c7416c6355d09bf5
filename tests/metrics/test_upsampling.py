"""Upsampling without learning, against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgan_qa import rng
from medgan_qa.metrics.degradation import declared
from medgan_qa.metrics.upsampling import bicubic, repeated


@pytest.mark.parametrize("scale", [(2, 2), (4, 3), (3, 1)])
def test_is_the_cubic_convolution_of_pillow_away_from_the_border(scale: tuple[int, int]) -> None:
    x = rng.child(0, "image").random((12, 14)).astype(np.float32)
    rows, columns = scale
    size = (14 * columns, 12 * rows)
    expected = np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BICUBIC))
    inner = (slice(2 * rows, -2 * rows), slice(2 * columns, -2 * columns))
    np.testing.assert_allclose(bicubic(x, scale)[inner], expected[inner], atol=1e-5)


def test_nothing_is_shifted() -> None:
    x = rng.child(0, "image").random((9, 7)).astype(np.float32)
    for scale in ((2, 3), (5, 4)):
        np.testing.assert_allclose(bicubic(x[::-1, ::-1], scale), bicubic(x, scale)[::-1, ::-1], atol=1e-6)


@given(level=st.floats(-2, 2), rows=st.integers(1, 4), columns=st.integers(1, 4), n=st.integers(1, 5))
def test_prop_a_constant_stays_what_it_is(level: float, rows: int, columns: int, n: int) -> None:
    for way in (bicubic, repeated):
        y = way(np.full((2, n, n), level, np.float32), (rows, columns))
        assert y.shape == (2, n * rows, n * columns)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, level, atol=1e-5)


def test_repeated_pixels_average_to_the_pixel() -> None:
    x = rng.child(0, "image").random((3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(declared({}, (2, 3)).apply(repeated(x, (2, 3))), x, atol=1e-6)


def test_on_one_grid_nothing_changes() -> None:
    x = rng.child(0, "image").random((4, 5)).astype(np.float32)
    np.testing.assert_array_equal(repeated(x, (1, 1)), x)
    np.testing.assert_allclose(bicubic(x, (1, 1)), x, atol=1e-7)
