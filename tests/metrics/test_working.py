"""Images of any size on one grid: centred, averaged, and held to what they showed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics._working import fitted, working


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_prop_the_image_fills_the_longer_side_and_keeps_its_mean(height: int, width: int) -> None:
    image = np.random.default_rng(height * 201 + width).random((height, width), np.float32)
    small = working(image, 64)
    rows, columns = small.extent[0].astype(int)
    assert max(rows, columns) == 64
    assert rows % 2 == columns % 2 == 0
    top, left = (64 - rows) // 2, (64 - columns) // 2
    held = small.pixels[0, top : top + rows, left : left + columns]
    assert held.min() >= image.min() - 1e-5
    assert held.max() <= image.max() + 1e-5
    outside = small.pixels.sum(dtype=np.float64) - held.sum(dtype=np.float64)
    assert abs(outside) < 1e-3
    if min(height, width) >= 64:
        assert held.mean() == pytest.approx(image.mean(), abs=1e-4)


def test_an_image_of_the_size_of_the_grid_is_kept() -> None:
    image = np.random.default_rng(0).random((64, 64), np.float32)
    assert np.allclose(working(image, 64).pixels[0], image, atol=1e-6)


def test_turning_before_and_after_is_the_same() -> None:
    image = np.random.default_rng(0).random((100, 70), np.float32)
    assert np.allclose(working(np.rot90(image).copy()).pixels[0], np.rot90(working(image).pixels[0]), atol=1e-5)


@pytest.mark.parametrize(("shape", "expected"), [((64, 64), (64, 64)), ((256, 128), (64, 32)), ((10, 1000), (2, 64))])
def test_the_longer_side_becomes_the_side_of_the_grid(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(shape, 64) == expected
