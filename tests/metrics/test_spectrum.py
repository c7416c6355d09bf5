"""Power spectra on waves of known frequency, white noise, and grids planted in phantom slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
from medgan_qa.cohorts.phantom_render import render
from medgan_qa.metrics.spectrum import (
    high_band_energy,
    mean_power_spectrum,
    radial_power_spectrum,
    spectral_peaks,
)
from medgan_qa.rng import child

FUNCTIONS = (radial_power_spectrum, spectral_peaks, high_band_energy, mean_power_spectrum)


def slices(partition: str, patients: int = 60) -> np.ndarray:
    specs = draw_cohort(COHORT_SEED, partition, patients)
    return np.stack([render(spec, "FLAIR", 64) for spec in specs])


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return slices("test")


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return slices("train")


def noise(*shape: int) -> np.ndarray:
    return child(3, "noise").normal(0.5, 0.1, shape)


def wave(shape: tuple[int, int], fy: float, fx: float) -> np.ndarray:
    y, x = np.indices(shape)
    return 0.5 + 0.3 * np.cos(2 * np.pi * (fy * y + fx * x) + 0.4)


def up_convolved(images: np.ndarray, amplitude: float) -> np.ndarray:
    """What a transposed convolution of kernel 3 and stride 2 does: pixels that two taps reach are brighter."""
    taps = np.array([1.0, 2.0])[np.arange(64) % 2]
    grid = np.outer(taps, taps)
    return images * (1 + amplitude * (grid / grid.mean() - 1) / np.abs(grid / grid.mean() - 1).max())


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (37, 50)])
def test_white_noise_is_flat_and_has_no_peaks(shape: tuple[int, int]) -> None:
    images = noise(200, *shape)
    spectrum = radial_power_spectrum(images)
    assert spectrum.log_power.shape == (200, spectrum.frequency.size)
    # the first ring loses to the mean that is taken out, the corner ring holds a few coefficients only
    inner = np.log10(np.mean(10**spectrum.log_power, axis=0))[1:-1]
    assert np.abs(inner).max() < 0.1
    scores = spectral_peaks(images)
    # a largest of several is above 0
    assert all(0 <= score.mean() < 0.35 for score in scores.values())
    assert high_band_energy(images).mean() == pytest.approx(0.62, abs=0.02)


@pytest.mark.parametrize("shape", [(64, 64), (48, 96), (45, 63)])
@pytest.mark.parametrize(("fy", "fx"), [(0.25, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_a_wave_stands_at_its_frequency(shape: tuple[int, int], fy: float, fx: float) -> None:
    spectrum = radial_power_spectrum(wave(shape, fy, fx)[None])
    found = spectrum.frequency[np.argmax(spectrum.log_power[0])]
    assert found == pytest.approx(np.hypot(fy, fx), abs=1 / min(shape))


def test_anisotropic_pixels_give_physical_frequencies() -> None:
    # one wave of 8 mm along rows 2 mm apart, one along columns 1 mm apart
    along_rows, along_columns = wave((64, 64), 0.25, 0.0), wave((64, 64), 0.0, 0.125)
    spectrum = radial_power_spectrum(np.stack([along_rows, along_columns]), spacing=(2.0, 1.0))
    assert spectrum.frequency[np.argmax(spectrum.log_power, axis=1)] == pytest.approx([0.125, 0.125], abs=1 / 64)


def test_frequencies_ascend_without_gaps_to_the_corner() -> None:
    frequency = radial_power_spectrum(noise(1, 40, 64)).frequency
    assert np.diff(frequency) == pytest.approx(1 / 40)
    assert frequency[0] == pytest.approx(1 / 40)
    assert frequency[-1] == pytest.approx(np.sqrt(0.5), abs=1 / 40)


def test_the_spectrum_of_a_plane_is_that_of_a_direct_sum() -> None:
    image = noise(1, 32, 32)
    window = np.outer(*[np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2] * 2)
    centred = (image[0] - (image[0] * window).sum() / window.sum()) * window
    phase = np.exp(-2j * np.pi * np.outer(np.arange(32), np.arange(32)) / 32)
    power = np.abs(phase @ centred @ phase.T) ** 2
    power[0, 0] = 0
    f = (np.arange(32) + 16) % 32 - 16
    radius = np.hypot(f[:, None], f[None, :])
    expected = [np.log10(power[(np.rint(radius) == k)].mean() / power.mean()) for k in range(2, 20)]
    assert radial_power_spectrum(image).log_power[0, 1:19] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fy", "fx", "name"),
    [
        (0.5, 0.5, "period_2"),
        (0.5, 0.0, "period_2"),
        (0.25, 0.0, "period_4"),
        (0.25, 0.75, "period_4"),
        (0.5, 0.25, "period_4"),
    ],
)
@pytest.mark.parametrize("shape", [(64, 64), (37, 50)])
def test_a_grid_is_named_by_its_period(fy: float, fx: float, name: str, shape: tuple[int, int]) -> None:
    scores = spectral_peaks(noise(20, *shape) + wave(shape, fy, fx) / 3)
    other = {"period_2": "period_4", "period_4": "period_2"}[name]
    assert scores[name].min() > 1.2
    assert scores[other].mean() < 0.5


@pytest.mark.parametrize(("amplitude", "least"), [(0.005, 0.2), (0.01, 0.8), (0.02, 0.99), (0.05, 1.0)])
def test_finds_a_planted_checkerboard(real: np.ndarray, other: np.ndarray, amplitude: float, least: float) -> None:
    limit = np.quantile(spectral_peaks(real)["period_2"], 0.99)
    checker = amplitude * (-1.0) ** np.indices((64, 64)).sum(axis=0)
    body = 2 * ndimage.gaussian_filter(other, (0, 2, 2))
    found = spectral_peaks(np.clip(other + checker * body, 0, 1))["period_2"] > limit
    assert found.mean() >= least
    assert (spectral_peaks(other)["period_2"] > limit).mean() < 0.05


def test_finds_the_overlap_of_a_transposed_convolution(real: np.ndarray, other: np.ndarray) -> None:
    scores, limits = spectral_peaks(up_convolved(other, 0.1)), spectral_peaks(real)
    assert (scores["period_2"] > np.quantile(limits["period_2"], 0.99)).mean() > 0.95
    assert (scores["nyquist_lines"] > np.quantile(limits["nyquist_lines"], 0.99)).mean() > 0.95


def test_blur_lowers_the_high_band_and_noise_raises_it(real: np.ndarray) -> None:
    clean = high_band_energy(real)
    assert (high_band_energy(ndimage.gaussian_filter(real, (0, 0.5, 0.5))) < 0.6 * clean).all()
    assert (high_band_energy(real + noise(*real.shape) - 0.5) > 2 * clean).all()


def test_real_splits_do_not_differ(real: np.ndarray, other: np.ndarray) -> None:
    first, second = spectral_peaks(real), spectral_peaks(other)
    first["high"], second["high"] = high_band_energy(real), high_band_energy(other)
    # one slice a patient, as the two of one patient are not independent
    p = [stats.ks_2samp(first[name][::2], second[name][::2]).pvalue for name in first]
    assert min(p) > 0.01


def test_averaging_brings_out_a_grid_that_no_image_shows(other: np.ndarray) -> None:
    checker = 0.002 * (-1.0) ** np.indices((64, 64)).sum(axis=0)
    corner = mean_power_spectrum(other + checker)[0, 0] - mean_power_spectrum(other)[0, 0]
    assert corner > 0.5
    assert mean_power_spectrum(other).shape == (64, 64)


def test_a_constant_image_has_no_power() -> None:
    images = np.full((2, 32, 40), 0.3, np.float32)
    assert (radial_power_spectrum(images).log_power == -12).all()
    assert all((score == 0).all() for score in spectral_peaks(images).values())
    assert (high_band_energy(images) == 0).all()


def test_a_pure_grid_is_a_finite_peak() -> None:
    scores = spectral_peaks((np.indices((32, 32)).sum(axis=0) % 2)[None].astype(float))
    assert 6 < scores["period_2"][0] <= 15


@pytest.mark.parametrize("n", [0, 1])
def test_few_images(n: int) -> None:
    images = noise(n, 32, 32)
    spectrum = radial_power_spectrum(images)
    assert spectrum.log_power.shape == (n, spectrum.frequency.size)
    assert high_band_energy(images).shape == (n,)
    assert all(score.shape == (n,) for score in spectral_peaks(images).values())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(3, 31, 64), (64, 64), (2, 1, 64, 64)])
def test_refuses_other_shapes(function: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        function(np.zeros(shape))  # type: ignore[operator]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_names_images_that_are_not_finite(function: object) -> None:
    images = noise(5, 32, 32)
    images[3, 4, 5] = np.inf
    with pytest.raises(ValueError, match=r"\[3\]"):
        function(images)  # type: ignore[operator]


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="cutoff"):
        high_band_energy(noise(1, 32, 32), 0.6)
    with pytest.raises(ValueError, match="spacing"):
        radial_power_spectrum(noise(1, 32, 32), (0.0, 1.0))
    with pytest.raises(ValueError, match="at least one"):
        mean_power_spectrum(np.zeros((0, 32, 32)))


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_prop_ignores_scale_and_offset(factor: float, offset: float) -> None:
    images = noise(2, 32, 36)
    moved = factor * images + offset
    assert radial_power_spectrum(moved).log_power == pytest.approx(radial_power_spectrum(images).log_power, abs=1e-6)
    assert high_band_energy(moved) == pytest.approx(high_band_energy(images), rel=1e-6)


@given(st.sampled_from(["flipud", "fliplr", "T"]))
def test_prop_turns_with_the_image(how: str) -> None:
    images = noise(3, 33, 33)
    turned = images.transpose(0, 2, 1) if how == "T" else np.flip(images, 1 if how == "flipud" else 2)
    for name, score in spectral_peaks(images).items():
        assert spectral_peaks(turned)[name] == pytest.approx(score, abs=0.15), name
    assert high_band_energy(turned) == pytest.approx(high_band_energy(images))
    assert radial_power_spectrum(turned).log_power == pytest.approx(radial_power_spectrum(images).log_power)


def test_does_not_depend_on_the_batch() -> None:
    images = noise(300, 32, 32)
    apart = np.concatenate([radial_power_spectrum(images[:7]).log_power, radial_power_spectrum(images[7:]).log_power])
    assert apart == pytest.approx(radial_power_spectrum(images).log_power, rel=1e-12)
