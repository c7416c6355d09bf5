"""The traces of a model in spectrum and noise: they do not depend on contrast, and the limit keeps its false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.metrics.spectral_fingerprint import centre, fingerprint, fingerprint_features, limit
from medgan_qa.rng import child


def noise(count: int, seed: int, size: int = 32) -> np.ndarray:
    return child(seed, "fingerprint test").normal(0.5, 0.1, (count, size, size))


def upsampled(count: int, seed: int) -> np.ndarray:
    """Noise of half the size, enlarged, with a little noise on top."""
    small = noise(count, seed, 16)
    return np.stack([ndimage.zoom(image, 2, order=1) for image in small]) + 0.2 * (noise(count, seed + 1) - 0.5)


def test_features_have_one_length_for_every_size_and_do_not_depend_on_contrast() -> None:
    images = noise(3, 0, 40)
    features = fingerprint_features(images)
    assert features.shape == (3, fingerprint_features(noise(2, 0, 64)).shape[1])
    assert np.isfinite(features).all()
    assert np.allclose(fingerprint_features(3 * images + 7), features, atol=1e-3)
    assert np.allclose(fingerprint_features(images[1:2]), features[1:2], rtol=1e-9, atol=1e-12)
    assert fingerprint_features(images[:0]).shape[0] == 0


def test_a_flat_image_has_finite_features() -> None:
    assert np.isfinite(fingerprint_features(np.zeros((1, 32, 32)))).all()


def test_enlarged_noise_is_told_from_noise_and_noise_from_noise_is_not() -> None:
    reader = fingerprint(fingerprint_features(noise(60, 1)), fingerprint_features(upsampled(60, 2)))
    real, fake = (reader.scores(fingerprint_features(images)) for images in (noise(200, 3), upsampled(60, 4)))
    middle = centre(real)
    beyond = limit(0.05, 200, 200)
    assert (middle.standardised(fake) > beyond).mean() > 0.95
    assert (middle.standardised(real) > beyond).sum() <= 1
    blind = fingerprint(fingerprint_features(noise(60, 1)), fingerprint_features(noise(60, 5)))
    scores = blind.scores(fingerprint_features(noise(200, 6)))
    assert abs(centre(scores).standardised(blind.scores(fingerprint_features(noise(60, 7)))).mean()) < 0.5


def test_centre_is_not_moved_by_a_few_that_lie_far() -> None:
    g = child(0, "centre")
    clean = g.normal(3, 2, 100)
    assert centre(clean).middle == pytest.approx(3, abs=0.6)
    dirty = centre(np.concatenate([clean, np.full(10, 60.0)]))
    assert dirty.middle == pytest.approx(centre(clean).middle, abs=0.05)
    assert dirty.spread == pytest.approx(centre(clean).spread, rel=0.05)
    assert dirty.n == centre(clean).n
    assert centre(np.ones(5)).spread == 1e-12


def test_the_limit_keeps_the_chance_of_any_false_alarm() -> None:
    g, alarms = child(1, "limit"), 0
    for _ in range(400):
        scores = g.normal(0, 1, 60)
        alarms += bool((centre(scores).standardised(scores) > limit(0.05, 60, 60)).any())
    assert alarms <= 30


@pytest.mark.parametrize("bad", [(0.0, 5, 5), (0.1, 0, 5), (0.1, 5, 2)])
def test_limits_that_mean_nothing_are_refused(bad: tuple[float, int, int]) -> None:
    with pytest.raises(ValueError, match="alpha in"):
        limit(*bad)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        fingerprint(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="at least 4"):
        centre(np.zeros(3))
    with pytest.raises(ValueError, match="sides of at least 32"):
        fingerprint_features(np.zeros((1, 16, 16)))


@given(st.floats(0.001, 0.5), st.integers(1, 500), st.integers(3, 500))
def test_prop_more_looks_and_fewer_units_raise_the_limit(alpha: float, looks: int, units: int) -> None:
    assert limit(alpha, looks + 1, units) >= limit(alpha, looks, units)
    assert limit(alpha, looks, units) >= limit(alpha, looks, units + 1) or looks == 1
    assert limit(alpha / 2, looks, units) > limit(alpha, looks, units)
