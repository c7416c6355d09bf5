"""Cycle honesty: closed forms, and codes that were hidden on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.metrics.hidden_signal import (
    PATCH_PX,
    SIGMAS,
    body_error,
    error_ratio,
    low_pass,
    perturbed,
    returned_detail,
    swap_transfer,
    swapped,
)

BODY = np.ones((32, 32), bool)


def image(seed=0, blur=2.0):
    noise = np.random.default_rng(seed).standard_normal((1, 32, 32))
    smooth = ndimage.gaussian_filter(noise, (0, blur, blur), mode="wrap")
    return (0.5 + 0.15 * smooth / smooth.std()).astype(np.float32)


def test_noise_has_the_size_that_its_name_says_and_rounding_is_at_most_half_a_grey_level():
    noise = np.random.default_rng(1).standard_normal((1, 32, 32))
    changed = perturbed(image(), noise)

    for s in SIGMAS:
        assert np.allclose(changed[f"noise {s}/255"] - image(), s / 255 * noise, atol=1e-6)
    assert np.abs(changed["8 bit"] - image()).max() <= 0.5 / 255 + 1e-6
    assert np.allclose(changed["8 bit"] * 255, np.rint(changed["8 bit"] * 255), atol=1e-4)


def test_the_low_pass_leaves_the_amplitude_that_a_gaussian_leaves():
    x = np.arange(128)
    for cycles in (0.125, 0.25):
        wave = np.tile(np.cos(2 * np.pi * cycles * x), (64, 1))[None]
        left = np.abs(low_pass(wave)[0, 32, 16:-16]).max()
        assert left == pytest.approx(np.exp(-2 * (np.pi * cycles) ** 2), abs=0.01)


def test_rounding_is_not_clipping():
    far = np.full((1, 4, 4), 1.5, np.float32)

    assert np.abs(perturbed(far, np.zeros_like(far))["8 bit"] - far).max() < 0.5 / 255


def test_the_error_is_the_mean_over_body_and_channels():
    a, b, body = np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), np.zeros((4, 4), bool)
    body[1, 1:3] = True
    a[0, 1, 1], a[1, 1, 2], a[0, 3, 3] = 1.0, -0.5, 9.0

    assert body_error(a, b, body) == pytest.approx(1.5 / 4)


@given(
    gain=st.floats(0.0, 1.0),
    size=st.floats(1e-4, 0.1),
    offset=st.floats(-0.2, 0.2),
    seed=st.integers(0, 99),
)
def test_property_an_inverse_that_does_not_amplify_stays_at_one_or_below(gain, size, offset, seed):
    """F(y) = gain y + offset is no good inverse, but an honest one."""
    x = image(seed)
    change = size * np.random.default_rng(seed).standard_normal(x.shape)
    back, after = gain * x + offset, gain * (x + change) + offset
    sizes = (body_error(after, x, BODY), body_error(back, x, BODY), body_error(x + change, x, BODY))

    assert error_ratio(*sizes) <= 1 + 1e-6


def test_the_ratio_in_closed_form():
    assert error_ratio(0.3, 0.1, 0.05) == pytest.approx(2.0)
    assert error_ratio(0.0, 0.0, 0.0) == 1.0
    with pytest.raises(ValueError, match="not negative"):
        error_ratio(-0.1, 0.1, 0.1)


def test_swapping_with_itself_changes_nothing_and_the_low_band_stays_where_it_was():
    own, other = image(1), image(2, blur=0.5)

    assert np.allclose(swapped(own, own), own, atol=1e-6)
    far = ndimage.gaussian_filter(swapped(own, other) - own, (0, 4, 4))
    assert np.abs(far).max() < 0.1 * np.abs(swapped(own, other) - own).max()


def test_the_swap_is_0_for_an_inverse_that_reads_the_image_and_1_for_one_that_reads_the_other_source():
    x, other = image(1), image(2)
    mixed = swapped(x, other)

    assert swap_transfer(x, other, x, mixed, BODY) == pytest.approx(0.0, abs=0.05)
    assert swap_transfer(x, other, x, other, BODY) == pytest.approx(1.0)
    assert swap_transfer(x, other, x, (x + other) / 2, BODY) == pytest.approx(0.5, abs=1e-3)
    assert swap_transfer(x, x, x, other, BODY) is None


def test_detail_that_the_output_does_not_show_is_found_where_it_returns():
    x = image(3)
    output = x.copy()
    output[0, 8:24, 8:24] = 0.5
    # The low band of the flat square is flat in its inner patches only.
    wide = np.zeros_like(x)
    wide[0] = 0.5

    honest = returned_detail(x[0], output[0], output[0], BODY)
    cheat = returned_detail(x[0], wide[0], x[0], BODY)
    assert not honest.returned.any()
    assert cheat.returned.all()
    assert len(cheat.returned) > 4
    assert (cheat.corners % PATCH_PX == 0).all()
    assert len(returned_detail(x[0], x[0], x[0], BODY).returned) == 0


@given(gain=st.floats(-2.4, 2.4), seed=st.integers(0, 30))
def test_property_what_the_output_still_shows_is_not_called_hidden(gain, seed):
    """An output with a faint copy, and an inverse that amplifies it, up to the gain that the docstring names."""
    x = image(seed)
    faint = 0.5 + 0.2 * (x - 0.5)
    found = returned_detail(x[0], faint[0], 0.5 + gain * (faint[0] - 0.5), BODY)

    assert not found.returned.any()


def test_patches_outside_the_body_are_not_looked_at():
    x, flat = image(4), np.full((32, 32), 0.5, np.float32)

    assert len(returned_detail(x[0], flat, x[0], np.zeros((32, 32), bool)).returned) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: perturbed(np.zeros((1, 4, 4)), np.zeros((1, 5, 4))), "output's shape"),
        (lambda: swapped(np.zeros((1, 4, 4)), np.zeros((1, 5, 4))), "one shape"),
        (lambda: body_error(np.zeros((4, 4)), np.zeros((4, 4)), BODY[:4, :4]), r"\(C, H, W\)"),
        (lambda: body_error(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), ~BODY[:4, :4]), "empty"),
        (lambda: returned_detail(np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4)), BODY), "body's shape"),
    ],
)
def test_refuses_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
