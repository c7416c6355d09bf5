"""Agreement by frequency against direct sums, closed forms and planted detail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.bands import band_agreement, band_curves, directions, regions, spectrum


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def filtered(image, keep):
    """Of an image the frequencies for which `keep(|rows|, |columns|)` in bins holds."""
    bins = [np.abs(np.fft.fftfreq(n, 1 / n)) for n in image.shape]
    return np.fft.ifft2(np.fft.fft2(image) * keep(bins[0][:, None], bins[1][None, :])).real


def agreement(output, truth, scale=(2, 2), name="beyond"):
    return band_agreement(spectrum(output), spectrum(truth), regions(truth.shape, scale)[name])


def test_the_truth_itself_agrees_wholly():
    x = noise((64, 48))
    for name in ("acquired", "beyond"):
        found = agreement(x, x, name=name)
        assert found.power_ratio == found.correlation == pytest.approx(1.0)
        assert [found.error_power, found.invented_power, found.lost_power] == pytest.approx([0, 0, 0], abs=1e-12)


def test_sums_are_those_of_the_definition_term_by_term():
    x, t = noise((20, 18), 1), noise((20, 18), 2)
    region = regions((20, 18), (2, 2))["beyond"]
    window = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (20, 18)))
    power = cross = truth = error = 0.0
    for k, m in zip(*np.nonzero(region), strict=True):
        wave = np.exp(-2j * np.pi * (k * np.arange(20)[:, None] / 20 + m * np.arange(18)[None, :] / 18))
        a, b = ((wave * window * (i - np.average(i, weights=window))).sum() for i in (x, t))
        power, truth, cross = power + abs(a) ** 2, truth + abs(b) ** 2, cross + (a * b.conjugate()).real
        error += abs(a - b) ** 2

    found = agreement(x, t)

    assert found.power_ratio == pytest.approx(power / truth)
    assert found.correlation == pytest.approx(cross / np.sqrt(power * truth))
    assert found.error_power == pytest.approx(error / truth)


def test_a_fainter_truth_is_lost_and_not_invented():
    found = agreement(0.3 * noise((64, 64)), noise((64, 64)))

    assert found.correlation == pytest.approx(1.0)
    assert found.power_ratio == pytest.approx(0.09)
    assert found.lost_power == found.error_power == pytest.approx(0.49)
    assert found.invented_power == pytest.approx(0.0, abs=1e-12)


def test_a_gain_that_falls_with_frequency_is_blur_and_not_invention():
    x = noise((96, 96))
    blurred = filtered(x, lambda rows, columns: np.exp(-((rows**2 + columns**2) / 40**2)))
    found = agreement(blurred, x)

    assert found.lost_power > 0.4
    assert found.invented_power < 0.02 * found.lost_power


def test_texture_of_the_right_power_is_invented():
    x = noise((96, 96))
    low = filtered(x, lambda rows, columns: (rows < 24) & (columns < 24))
    texture = filtered(noise((96, 96), 1), lambda rows, columns: (rows >= 24) | (columns >= 24))
    found = agreement(low + texture, x)

    assert found.power_ratio == pytest.approx(1.0, abs=0.1)
    assert abs(found.correlation) < 0.06
    assert found.error_power == pytest.approx(2.0, abs=0.15)
    # a cell of 3 x 3 bins with its mirror images holds some ten independent numbers under the window
    assert 0.85 < found.invented_power < 1.0
    acquired = agreement(low + texture, x, name="acquired")
    assert acquired.error_power < 0.01


def test_nothing_beyond_has_an_error_of_one_and_no_correlation():
    x = noise((64, 64))
    found = agreement(np.full((64, 64), 0.4), x)

    assert (found.power_ratio, found.correlation, found.invented_power) == (0, 0, 0)
    assert found.error_power == pytest.approx(1.0)
    assert found.lost_power == pytest.approx(1.0)


def test_a_truth_without_detail_cannot_be_measured_against():
    smooth = filtered(noise((64, 64)), lambda rows, columns: (rows < 3) & (columns < 3))
    plain = np.full((64, 64), 0.5)
    assert agreement(noise((64, 64)), plain) is None
    assert agreement(noise((64, 64)), smooth) is None
    assert agreement(noise((64, 64)), smooth, name="acquired") is not None


def test_a_level_and_the_zero_frequency_do_not_count():
    x = noise((64, 64))
    assert agreement(x + 3.0, x, name="acquired").error_power == pytest.approx(0.0, abs=1e-12)


def test_regions_of_anisotropic_scales():
    thick = regions((60, 64), (3, 1))
    assert set(thick) == {"acquired", "beyond"}
    rows = np.abs(np.fft.fftfreq(60, 1 / 60))
    # Nyquist of 20 thick rows is bin 10 of 60, with a guard of 2 bins on each side.
    np.testing.assert_array_equal(thick["beyond"], np.repeat(rows[:, None] > 12, 64, axis=1))
    assert thick["acquired"][7].all()
    assert not thick["acquired"][9].any()
    assert not thick["acquired"][0, 0]
    assert set(regions((60, 64), (3, 2))) == {"acquired", "beyond", "beyond in rows", "beyond in columns"}
    assert set(regions((60, 64), (1, 1))) == {"acquired"}
    for found in regions((60, 64), (3, 2)), thick:
        assert not (found["acquired"] & found["beyond"]).any()


def test_rings_for_square_pixels_and_axes_apart_for_others():
    [ring] = directions((64, 64), (0.5, 0.5), (2, 2))
    assert ring.name == "all directions"
    assert ring.nyquist == pytest.approx(0.5)
    assert ring.frequency[[0, -1]] == pytest.approx([0.05, 0.95])
    rows, columns = directions((63, 64), (1.0, 1.0), (3, 1))
    assert [rows.name, columns.name] == ["rows", "columns"]
    assert [rows.nyquist, columns.nyquist] == pytest.approx([1 / 6, 1 / 2])
    assert (rows.frequency.size, columns.frequency.size) == (15, 10)
    assert [d.name for d in directions((64, 64), (1.0, 2.0), (2, 2))] == ["rows", "columns"]


def test_no_frequency_is_lost_between_bands_but_the_corners_and_zero():
    [ring] = directions((40, 40), (1.0, 1.0), (2, 2))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(40), np.fft.fftfreq(40)))
    np.testing.assert_array_equal(ring.band >= 0, (radius > 0) & (radius <= 0.5 + 1e-12))
    assert np.bincount(ring.band[ring.band >= 0], minlength=10).min() > 0
    rows, columns = directions((40, 60), (2.0, 1.0), (2, 2))
    # Up to the Nyquist frequency of the input along the other axis: bin 15 of 60, bin 10 of 40.
    for band, last in ((rows.band, 15), (columns.band.T, 10)):
        assert (band[0] == -1).all()
        assert (band[1:, : last + 1] >= 0).all()
        assert (band[1:, last + 1 : -last] == -1).all()


def test_a_wave_stands_in_the_band_of_its_physical_frequency():
    # 0.3 cycles per mm along rows of 0.5 mm; bands are 0.1 cycles per mm wide.
    wave = np.cos(2 * np.pi * 0.3 * 0.5 * np.arange(60))[:, None] * np.ones((1, 60))
    [ring] = directions((60, 60), (0.5, 0.5), (2, 2))
    other = 0.5 * wave + 1e-3 * noise((60, 60))
    found = band_curves(spectrum(other), spectrum(wave + 1e-3 * noise((60, 60), 1)), ring)

    band = int(np.argmin(np.abs(ring.frequency - 0.3)))
    assert found.correlation[band] > 0.99
    assert found.power_ratio[band] == pytest.approx(0.25, rel=0.02)
    assert np.abs(found.correlation[6:]).max() < 0.5


def test_bands_without_power_are_not_numbers_and_no_output_is_no_agreement():
    [ring] = directions((32, 32), (1.0, 1.0), (2, 2))
    blank = spectrum(np.zeros((32, 32)))
    assert np.isnan(band_curves(spectrum(noise((32, 32))), blank, ring).power_ratio).all()
    assert (band_curves(blank, spectrum(noise((32, 32))), ring).correlation == 0).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-2, 2), st.sampled_from([(2, 2), (3, 1), (1, 4)]))
def test_property_the_error_is_what_is_invented_and_what_is_lost(seed, size, mix, scale):
    t = noise((40, 36), seed)
    x = mix * t + noise((40, 36), seed + 100)
    found, scaled = agreement(x, t, scale), agreement(size * x, size * t, scale)

    assert found.error_power == pytest.approx(found.invented_power + found.lost_power)
    assert found.invented_power >= 0
    assert scaled == pytest.approx(found)
    # Rows and columns play the same part.
    turned = agreement(x.T, t.T, scale[::-1])
    assert turned == pytest.approx(found)


@pytest.mark.parametrize("bad", [np.full((32, 32), np.nan), np.zeros((8, 32)), np.zeros((2, 32, 32))])
def test_images_that_have_no_spectrum_are_refused(bad):
    with pytest.raises(ValueError, match="image"):
        spectrum(bad)


def test_shapes_and_factors_are_checked():
    a, b = spectrum(noise((32, 32))), spectrum(noise((32, 34)))
    with pytest.raises(ValueError, match="shapes differ"):
        band_agreement(a, b, np.ones((32, 32), bool))
    with pytest.raises(ValueError, match="shapes differ"):
        band_curves(a, b, directions((32, 32), (1.0, 1.0), (2, 2))[0])
    with pytest.raises(ValueError, match="scale"):
        regions((32, 32), (0, 1))
