"""Pose and tone of an image, and how unusual they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics._alignment import oriented
from medgan_qa.metrics.appearance import bodies, centred, pose, reduced, tone, usual


def ellipse(down: int = 0, right: int = 0, high: float = 20, wide: float = 12, size: int = 64) -> np.ndarray:
    y, x = np.indices((size, size)) - (size - 1) / 2
    return ((y - down) / high) ** 2 + ((x - right) / wide) ** 2 < 1


@given(st.integers(-8, 8), st.integers(-8, 8))
def test_prop_place_and_size_are_those_of_the_body(down, right):
    found = pose(ellipse(down, right)[None])[0]
    assert found[:2] * 64 == pytest.approx([down, right], abs=0.3)
    assert found[2] * 64 == pytest.approx(np.sqrt(np.pi * 20 * 12), rel=0.02)
    assert found[3] > 0.3
    assert found[4] == pytest.approx(0, abs=0.02)


def test_an_empty_mask_is_a_point_in_the_middle():
    assert pose(np.zeros((1, 9, 9)))[0, [0, 1, 3, 4]].tolist() == [0, 0, 0, 0]


@given(st.integers(-8, 8), st.integers(-8, 8))
def test_prop_a_moved_body_is_moved_back(down, right):
    image, still = ellipse(down, right).astype(np.float32), ellipse().astype(np.float32)
    np.testing.assert_array_equal(centred(image[None], image[None] > 0)[0], still)


@given(st.integers(0, 7))
def test_prop_the_body_of_a_turned_image_is_the_body_turned(code):
    g = np.random.default_rng(0)
    images = (ellipse(3, -4)[None] * 0.6 + 0.05 * g.standard_normal((3, 64, 64))).astype(np.float32)
    np.testing.assert_array_equal(bodies(oriented(images, code)), oriented(bodies(images), code))


def test_the_body_is_found_at_any_size():
    large = np.kron(ellipse(2, 5), np.ones((4, 4))).astype(np.float32)
    assert reduced(large[None]).shape == (1, 64, 64)
    assert (bodies(large[None])[0] == ellipse(2, 5)).mean() > 0.94


def test_tone_follows_brightness_contrast_and_inversion():
    g = np.random.default_rng(0)
    mask = ellipse()[None]
    image = np.where(mask, 0.5 + 0.1 * g.standard_normal(mask.shape), 0.02)[:, None]
    plain, bright, strong, negative = (
        tone(np.clip(x, 0, 1), mask)[0] for x in (image, image + 0.2, 0.5 + 2 * (image - 0.5), 1 - image)
    )
    assert bright[0] - plain[0] == pytest.approx(0.2, abs=0.01)
    assert strong[1] / plain[1] == pytest.approx(2, abs=0.1)
    assert negative[7] == pytest.approx(0.98, abs=0.01)
    assert plain.shape == (9,)


def test_colours_are_told_where_there_are_three_channels():
    mask = ellipse()[None]
    red = np.zeros((1, 3, 64, 64))
    red[:, 0] = 0.8
    grey, coloured, turned = (
        tone(np.full_like(red, 0.27), mask)[0],
        tone(red, mask)[0],
        tone(red[:, [2, 0, 1]], mask)[0],
    )
    assert grey[9:].tolist() == pytest.approx([0, 0, 0, 0])
    assert coloured[9] == turned[9] == pytest.approx(0.8)
    assert np.hypot(*coloured[10:12]) == pytest.approx(np.hypot(*turned[10:12]))
    assert coloured[10] > 0.7 > turned[10]


def test_usual_features_are_near_and_others_far():
    g = np.random.default_rng(0)
    x = g.standard_normal((300, 3)) @ np.array([[1, 0.9, 0], [0, 0.2, 0], [0, 0, 1.0]])
    known = usual(x[:200])
    assert np.median(known.distance(x[200:])) < 1.2
    # Against the correlation: no feature is far for itself.
    odd = np.array([[1.5, -1.5, 0.0]])
    assert known.distance(odd)[0] > np.quantile(known.distance(x[200:]), 0.99)
    assert known.apart(odd).max() < 2


@pytest.mark.parametrize("features", [np.zeros((1, 2)), np.zeros(3), np.full((4, 2), np.nan)])
def test_too_little_to_know_what_is_usual_is_refused(features):
    with pytest.raises(ValueError, match="rows of finite features"):
        usual(features)
