"""Ring correlation against closed forms, and the published program's windowing by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics.ring_correlation import RingCorrelation, crossing, cut, frc, scan_corners, windowed


def noise(n, side, seed=0):
    return np.random.default_rng(seed).standard_normal((n, side, side))


@pytest.mark.parametrize("window", ["hann", "upstream-0"])
def test_identical_patches_agree_in_every_ring(window):
    x = noise(20, 32)
    assert np.allclose(frc(x, x, window).correlation, 1.0)


def test_independent_noise_agrees_in_no_ring():
    found = frc(noise(2000, 32), noise(2000, 32, seed=1))

    # Standard error of the mean over 2,000 patches is at most 1 / sqrt(2000) in any ring.
    assert np.abs(found.correlation.mean(axis=0)).max() < 4 / np.sqrt(2000)
    # Rings with more frequencies scatter less.
    spread = found.correlation.std(axis=0)
    assert spread[1] > 2 * spread[8]


def test_white_noise_on_one_side_gives_the_closed_form():
    # FRC of s and s + n is 1 / sqrt(1 + N / S) for a white signal of power S and white noise of power N.
    x = noise(3000, 32)
    found = frc(x, x + 2.0 * noise(3000, 32, seed=1))
    assert np.allclose(found.correlation[:, 4:].mean(axis=0), 1 / np.sqrt(5), atol=0.02)


def test_agreement_ends_where_the_shared_band_ends():
    side, shared = 64, 12
    index = np.fft.fftfreq(side, 1 / side)
    low = np.hypot(index[:, None], index[None, :]) <= shared
    x, other = np.fft.fft2(noise(200, side)), np.fft.fft2(noise(200, side, seed=1))
    a = np.fft.ifft2(x).real
    b = np.fft.ifft2(np.where(low, x, other)).real

    found = frc(a, b)

    assert found.correlation[:, : shared - 2].mean(axis=0).min() > 0.97
    assert np.abs(found.correlation[:, shared + 3 :].mean(axis=0)).max() < 0.1
    assert np.median(crossing(found, 0.5)) == pytest.approx(shared * 2 / side, abs=2 * 2 / side)


@given(
    st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 20)
)  # fmt: skip
def test_property_scaling_and_level_change_nothing(scale, level, seed):
    x, y = noise(3, 16, seed), noise(3, 16, seed + 100)
    plain = frc(x, x + 0.5 * y).correlation
    # The ring at frequency 0 holds rounding where the level was taken out.
    assert np.allclose(frc(x, scale * (x + 0.5 * y) + level).correlation[:, 1:], plain[:, 1:], atol=1e-6)


def test_amplitudes_of_single_rings_change_nothing():
    # Both sides are the same waves at other amplitudes: rings do not know of each other.
    side = 64
    rows = np.arange(side)[:, None] / side * 2 * np.pi
    slow, fast = np.cos(6 * rows) * np.ones((1, side)), np.cos(24 * rows) * np.ones((1, side))
    found = frc(slow + fast, 3 * slow + 0.2 * fast)
    assert found.correlation[[6, 24]] == pytest.approx(1.0, abs=1e-6)


def test_a_negative_image_agrees_nowhere_and_the_published_program_cannot_tell():
    x = noise(5, 16)
    assert np.allclose(frc(x, -x).correlation[:, 1:], -1.0)
    assert (frc(x, -x, "upstream-0").correlation >= 0).all()


def test_the_window_is_the_outer_product_of_two_hann_windows():
    x = noise(1, 16)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(16) / 15)

    got = windowed(x)[0]

    assert np.allclose(got, (x[0] - x[0].mean()) * hann[:, None] * hann[None, :])
    for border in (got[0], got[-1], got[:, 0], got[:, -1]):
        assert np.allclose(border, 0.0)


def test_upstream_multiplies_the_patch_with_its_own_transpose_by_hand():
    # In an 8 x 8 patch two pixels differ from 0: 1 at (2, 3) and 0.5 at (3, 2); the range is 0 to 1 already.
    x = np.zeros((1, 8, 8))
    x[0, 2, 3], x[0, 3, 2] = 1.0, 0.5
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(8) / 7)

    got = windowed(x, "upstream-0")[0]

    # Each is the product of both, with the weights of rows 2 and 3; a true window would leave them apart.
    expected = np.zeros((8, 8))
    expected[2, 3] = expected[3, 2] = 1.0 * hann[2] * 0.5 * hann[3]
    assert np.allclose(got, expected)
    # A pixel without a partner across the diagonal vanishes altogether.
    x[0, 3, 2] = 0.0
    assert np.allclose(windowed(x, "upstream-0"), 0.0)
    assert not np.allclose(windowed(x), 0.0)


def test_upstream_rings_sum_frequencies_rounded_down_and_up():
    # A wave of 3 periods down and 4 across is at radius 5 exactly; one of 2 and 2 is at 2.83, in rings 2 and 3.
    x = noise(1, 16)[0]
    got = frc(x, noise(1, 16, seed=3)[0], "upstream-0")
    one, two = (np.fft.fft2(windowed(p[None], "upstream-0")[0]) for p in (x, noise(1, 16, seed=3)[0]))
    index = np.fft.fftfreq(16, 1 / 16)
    radius = np.hypot(index[:, None], index[None, :])

    def ring(values, k):
        return (values[np.floor(radius) == k].sum() + values[np.ceil(radius) == k].sum()) / 2

    expected = [
        abs(ring((one * two.conj()).real, k)) / np.sqrt(ring(np.abs(one) ** 2, k) * ring(np.abs(two) ** 2, k))
        for k in range(8)
    ]
    assert np.allclose(got.correlation, expected)
    assert np.allclose(got.frequency, np.arange(8) / 8)


def test_nothing_on_both_sides_agrees_and_nothing_on_one_does_not():
    flat = np.full((2, 16, 16), 0.3)
    assert (frc(flat, flat).correlation == 1.0).all()
    assert (frc(flat, noise(2, 16)).correlation[:, 1:] == 0.0).all()


def test_crossing_is_interpolated_between_rings():
    found = RingCorrelation(
        np.array([0.0, 0.25, 0.5, 0.75]), np.array([[1, 0.9, 0.5, 0.1], [1, 1, 1, 1], [1, 0, 0, 0]])
    )
    assert crossing(found, 0.7) == pytest.approx([0.375, 1.0, 0.25 * 0.3])


def test_patches_cover_the_image_and_overlap():
    corners = scan_corners((50, 40), 16, 8)
    covered = np.zeros((50, 40), int)
    for y, x in corners:
        covered[y : y + 16, x : x + 16] += 1
    assert covered.min() == 1
    assert covered.max() >= 4
    image = np.arange(2000.0).reshape(50, 40)
    assert np.array_equal(cut(image, corners, 16)[-1], image[34:, 24:])


@pytest.mark.parametrize(
    ("a", "b", "window", "words"),
    [
        (noise(2, 16), noise(2, 17), "hann", "one shape"),
        (noise(2, 4), noise(2, 4), "hann", "at least 8"),
        (noise(2, 16) * np.nan, noise(2, 16), "hann", "NaN"),
        (noise(2, 16), noise(2, 16), "hamming", "window must be one of"),
    ],
)
def test_what_cannot_be_correlated_is_refused(a, b, window, words):
    with pytest.raises(ValueError, match=words):
        frc(a, b, window)


def test_thresholds_and_scans_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="threshold"):
        crossing(frc(noise(1, 16), noise(1, 16)), 1.0)
    with pytest.raises(ValueError, match="N, R"):
        crossing(frc(noise(1, 16)[0], noise(1, 16)[0]), 0.5)
    with pytest.raises(ValueError, match="patch must fit"):
        scan_corners((10, 40), 16, 8)
