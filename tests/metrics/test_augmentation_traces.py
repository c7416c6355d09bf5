"""Traces of moving and turning: counted exactly where they are planted, absent where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.controls.contaminated import moved
from medgan_qa.metrics.augmentation_traces import LINES, SPECK, augmentation_traces

SIDE = 48


def noise(n: int = 3, seed: int = 0) -> np.ndarray:
    return rng.child(seed, "noise images").random((n, SIDE, SIDE)).astype(np.float32)


def test_noise_has_no_trace() -> None:
    found = augmentation_traces(noise())
    assert (found.filled == 0).all()
    assert (found.repeated == 0).all()


@given(st.integers(1, LINES), st.sampled_from(["edge", "symmetric", "reflect"]), st.integers(0, 3))
def test_prop_repeated_lines_are_counted(count: int, mode: str, side: int) -> None:
    image = noise(1)[0]
    padded = np.pad(image, ((count, 0), (0, 0)), mode=mode)[:SIDE]  # type: ignore[call-overload]
    found = augmentation_traces(np.rot90(padded, side).copy()[None])
    assert found.repeated[0] == count


@given(st.integers(2, 10))
def test_prop_a_filled_corner_is_measured(side: int) -> None:
    image = noise(1)
    image[0, :side, -side:] = 0.25
    expected = side**2 / SIDE**2 if side**2 >= SPECK else 0.0
    assert augmentation_traces(image).filled[0] == pytest.approx(expected)


def test_one_value_inside_is_no_filling() -> None:
    image = noise(1)
    image[0, 10:20, 10:20] = 0.25
    assert augmentation_traces(image).filled[0] == 0


def test_a_constant_image_is_filled_and_repeats_nothing() -> None:
    found = augmentation_traces(np.full((1, SIDE, SIDE), 0.5))
    assert found.filled[0] == 1
    assert found.repeated[0] == 0
    assert found.sharpness[0] == pytest.approx(1)


def test_interpolation_lowers_sharpness() -> None:
    images = noise(5)
    turned = np.stack([moved(image, 10.0, 1.0) for image in images])
    assert (augmentation_traces(turned).sharpness < 0.8 * augmentation_traces(images).sharpness).all()
    assert (augmentation_traces(turned).filled > 0.01).all()


def test_white_noise_has_sharpness_one() -> None:
    assert np.allclose(augmentation_traces(noise(20)).sharpness, 1, atol=0.2)


def test_nothing_gives_nothing() -> None:
    assert all(part.shape == (0,) for part in augmentation_traces(np.empty((0, SIDE, SIDE))))


def test_refuses_small_images_and_nan() -> None:
    with pytest.raises(ValueError, match="at least 24"):
        augmentation_traces(np.zeros((1, 20, 48)))
    with pytest.raises(ValueError, match="NaN"):
        augmentation_traces(np.full((1, 48, 48), np.nan))
