"""The body mask on made-up slices of known outline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics import body_mask
from medgan_qa.rng import child

Y, X = np.mgrid[:96, :96]


def disc(radius: float, cy: float = 48, cx: float = 48) -> np.ndarray:
    return (Y - cy) ** 2 + (X - cx) ** 2 <= radius**2


def head(noise: float = 0.02) -> np.ndarray:
    """A bright rim, grey tissue, dark fluid in the middle (as in FLAIR), and air."""
    image = np.where(disc(40), 0.55, 0.0)
    image[disc(40) & ~disc(37)] = 0.9
    image[disc(9)] = 0.08
    return np.clip(image + child(0, "head").normal(0, noise, image.shape), 0, 1)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_finds_the_outline_and_keeps_dark_fluid_inside():
    mask = body_mask(head())
    assert dice(mask, disc(40)) > 0.98
    assert mask[disc(9)].all()


def test_keeps_dark_tissue_at_the_outline():
    # half of Otsu's threshold: tissue at a third of the brightest stays inside
    image = np.where(disc(40), 0.9, 0.0)
    image[disc(40) & (X > 60)] = 0.3
    assert dice(body_mask(image), disc(40)) > 0.98


def test_leaves_a_separate_bright_object_out():
    image = head(0.0)
    image[90:94, 5:25] = 0.9
    assert not body_mask(image)[90:94, 5:25].any()


def test_fills_an_enclosed_hole():
    image = np.where(disc(40) & ~disc(15), 0.7, 0.0)
    assert np.array_equal(body_mask(image), body_mask(np.where(disc(40), 0.7, 0.0)))


def test_closes_a_crack_in_the_outline():
    image = np.where(disc(40), 0.7, 0.0)
    image[47:50, 48:] = 0.0
    assert body_mask(image)[48, 60]


def test_does_not_grow_into_the_border():
    image = np.zeros((40, 40))
    image[2:38, 2:38] = 0.8
    assert np.array_equal(body_mask(image), image > 0)


def test_a_body_cut_by_the_border_reaches_it():
    image = np.where(disc(40, cy=0), 0.8, 0.0)
    mask = body_mask(image)
    assert mask[0, 10:86].all()
    assert dice(mask, disc(40, cy=0)) > 0.99


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_constant_image_is_all_body(value):
    assert body_mask(np.full((16, 12), value)).all()


def test_rounding_is_no_outline():
    image = np.full((20, 20), 0.5)
    image[5:15, 5:15] = np.nextafter(0.5, 1.0)
    assert body_mask(image).all()


def test_a_single_pixel_image_is_body():
    assert body_mask(np.array([[0.3]])).tolist() == [[True]]


def test_two_values_are_told_apart():
    assert body_mask(np.array([[0.0, 1.0]])).any()


def test_the_first_of_two_equal_parts_is_kept():
    image = np.zeros((40, 60))
    image[10:20, 5:15] = image[20:30, 40:50] = 0.8
    assert np.array_equal(np.argwhere(body_mask(image))[0], (10, 5))
    assert body_mask(image).sum() == 100


@pytest.mark.parametrize("image", [np.zeros((3, 4, 5)), np.zeros((0, 4)), np.full((4, 4), np.nan)])
def test_refuses_what_is_no_slice(image):
    with pytest.raises(ValueError, match="image"):
        body_mask(image)


@given(st.sampled_from([np.flipud, np.fliplr, np.transpose]))
def test_prop_mirrors_with_the_image(flip):
    assert np.array_equal(body_mask(flip(head())), flip(body_mask(head())))


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_prop_ignores_scale_and_offset(factor, offset):
    assert dice(body_mask(factor * head() + offset), body_mask(head())) > 0.999
