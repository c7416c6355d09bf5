"""The angle is read that an image was turned by."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.metrics.tilt import rotated, tilt_reader


def blocks(n: int, seed: int = 0) -> np.ndarray:
    """(n, 32, 32) an upright rectangle with a bright half, of varying size under noise."""
    g = np.random.default_rng(seed)
    images = np.zeros((n, 32, 32), np.float32)
    for image in images:
        half = g.integers(4, 7)
        image[5:27, 16 - half : 16 + half] = 0.5
        image[5:16, 16 - half : 16 + half] = 1
    return (images + 0.05 * g.standard_normal(images.shape)).astype(np.float32)


def test_a_quarter_turn_is_numpys():
    images = blocks(2)
    np.testing.assert_allclose(rotated(images, 90), np.rot90(images, axes=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("angle", [-30.0, -10.0, 0.0, 10.0, 30.0])
def test_the_angle_is_read(angle):
    read = tilt_reader(blocks(60)).degrees(rotated(blocks(20, 1), angle))
    assert np.abs(read - angle).max() < 6
    assert read.mean() == pytest.approx(angle, abs=3)


def test_how_real_images_lie_is_the_zero():
    leaning = rotated(blocks(60), 15)
    reader = tilt_reader(leaning)
    assert np.median(reader.degrees(leaning)) == pytest.approx(0, abs=1e-6)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="learn from"):
        tilt_reader(np.zeros((0, 16, 16)))
