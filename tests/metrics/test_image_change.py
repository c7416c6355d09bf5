"""What gives one image from another: every named change is named, and nothing else is."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.metrics._alignment import ORIENTATIONS
from medgan_qa.metrics.image_change import image_change, oriented_as


@cache
def image(k: int = 0) -> Any:
    cohort = BrainSlices(people=2)
    return cohort.load(cohort.cases[k]).image[0].astype(np.float64)


def test_an_image_is_unchanged_against_itself_and_after_rounding() -> None:
    assert image_change(image(), image()).kind == "unchanged"
    assert image_change(image(), image().astype(np.float32) * (1 + 1e-7)).kind == "unchanged"


@pytest.mark.parametrize("code", range(1, 8))
def test_orientations_are_named(code: int) -> None:
    change = image_change(image(), oriented_as(image(), code))
    assert change.words == change.kind == ORIENTATIONS[code]
    assert not change.in_place


def test_a_linear_map_and_a_rising_one_are_told_apart_and_stay_in_place() -> None:
    linear = image_change(image(), 2000 * image() - 1000)
    assert linear.words == "brightness or contrast (x 2e+03 - 1e+03)"
    gamma = image_change(image(), np.clip(image(), 0, 1) ** 1.4)
    clipped = image_change(image(), np.clip(image(), 0.1, 0.6))
    assert gamma.kind == clipped.kind == "gamma or clipping"
    assert linear.in_place
    assert gamma.in_place
    assert clipped.in_place


def test_storing_in_eight_bits_is_no_change_of_grey_levels_beyond_gain() -> None:
    assert image_change(image(), np.rint(np.clip(image(), 0, 1) * 255)).kind == "brightness or contrast"


def test_shifts_are_named_with_their_pixels_also_after_a_flip() -> None:
    assert image_change(image(), np.roll(image(), (2, -3), (0, 1))).words == "shift (+2, -3)"
    flipped = np.roll(image()[:, ::-1], (0, 4), (0, 1))
    # A flipped image that is moved is a flip about another line.
    assert image_change(image(), flipped).words == "flip left-right, shift (+0, +4)"


def test_crops_paddings_and_sizes_are_named() -> None:
    assert image_change(image(), image()[5:53, 7:55]).words == "crop at (5, 7)"
    assert image_change(image(), np.pad(image(), ((3, 3), (2, 4)))).words == "padding at (3, 2)"
    halved = image().reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert image_change(image(), halved).words == "resized to 32 x 32"
    assert image_change(image(), ndimage.zoom(image(), 1.5, order=3)).kind == "resized"
    assert image_change(image(), ndimage.zoom(image(), 1.5, order=3)[::-1]).kind == "flip up-down, resized"


def test_noise_smoothing_and_another_image_are_named() -> None:
    g = np.random.default_rng(0)
    noisy = image_change(image(), image() + g.normal(0, 0.02, image().shape))
    assert noisy.kind == "noise or smoothing"
    assert image_change(image(), ndimage.gaussian_filter(image(), 0.8)).kind == "noise or smoothing"
    assert image_change(image(), g.normal(0, 1, image().shape)).kind == "another image"
    assert image_change(image(), 1 - image()).kind == "another image"
    assert not noisy.in_place


def test_constant_images_and_single_pixels_are_compared_without_a_warning() -> None:
    flat = np.zeros((8, 8))
    assert image_change(flat, flat).kind == "unchanged"
    assert image_change(flat, flat + 1).kind == "brightness or contrast"
    assert image_change(flat, image()[:8, 20:28]).kind == "another image"
    assert image_change(np.zeros((1, 1)), np.zeros((1, 1))).kind == "unchanged"
    assert image_change(np.zeros((1, 1)), np.zeros((3, 2))).residual == 0


@pytest.mark.parametrize("bad", [np.zeros(4), np.full((4, 4), np.nan)])
def test_what_is_no_image_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="after"):
        image_change(np.zeros((4, 4)), bad)


@given(st.integers(0, 7), st.integers(-9, 9), st.integers(-9, 9), st.floats(0.2, 5), st.floats(-1, 1))
def test_prop_a_moved_turned_and_scaled_image_is_never_taken_for_in_place(
    code: int, down: int, right: int, gain: float, offset: float
) -> None:
    after = gain * np.roll(oriented_as(image(), code), (down, right), (0, 1)) + offset
    change = image_change(image(), after)
    assert change.in_place == (code == 0 and down == right == 0)
    assert change.residual <= 1e-4
    assert code == 0 or ORIENTATIONS[code] in change.words


def test_a_known_place_is_tried_first_and_a_search_can_be_left_out() -> None:
    crop = image_change(image(), image()[5:53, 7:55])
    again = image_change(image(2), image(2)[5:53, 7:55], like=crop, search=False)
    assert again.words == crop.words
    assert image_change(image(2), image(2)[6:54, 7:55], like=crop, search=False).kind != "crop"
    assert image_change(image(), np.roll(image(), 3, 0), search=False).kind in ("noise or smoothing", "another image")
