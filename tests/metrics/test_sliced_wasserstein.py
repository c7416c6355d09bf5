"""Sliced Wasserstein: the pyramid, a slow loop as the oracle, scipy's 1-D distance, blindness, half samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from scipy.stats import wasserstein_distance

from medgan_qa.metrics.sliced_wasserstein import (
    _wasserstein,
    laplacian_pyramid,
    sliced_wasserstein,
    sliced_wasserstein_replicates,
)
from medgan_qa.rng import child
from medgan_qa.stats.half_sampling import draw_halves, half_sample_interval

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def textures(rng: np.random.Generator, n: int, side: int = 16, spread: float = 0.0) -> np.ndarray:
    """Random walks along rows whose amplitude differs from image to image."""
    walk = np.cumsum(rng.normal(size=(n, side, side)), axis=2) * 0.2
    return walk * (1 + spread * rng.random((n, 1, 1))) + rng.normal(size=(n, side, side))


def smooth_by_hand(image: np.ndarray) -> np.ndarray:
    return convolve2d(np.pad(image, 2, mode="reflect"), KERNEL, mode="valid")


def expand_by_hand(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    sparse = np.zeros(shape)
    sparse[::2, ::2] = 4 * image
    return smooth_by_hand(sparse)


@pytest.mark.parametrize("shape", [(16, 16), (31, 33), (32, 40), (70, 65)])
def test_pyramid_by_hand_and_back_to_the_image(shape):
    image = child(0, "pyramid").random(shape)
    levels = [level[0, 0] for level in laplacian_pyramid(image[None, None])]
    rest = image
    for level in levels[:-1]:
        smaller = smooth_by_hand(rest)[::2, ::2]
        assert level == pytest.approx(rest - expand_by_hand(smaller, rest.shape), abs=1e-12)
        rest = smaller
    assert levels[-1] == pytest.approx(rest, abs=1e-12)
    assert 16 <= min(rest.shape) < 31
    for level in levels[-2::-1]:
        rest = level + expand_by_hand(rest, level.shape)
    assert rest == pytest.approx(image, abs=1e-12)


def test_levels_run_from_full_size_to_sixteen_pixels():
    rng = child(1, "sides")
    result = sliced_wasserstein(rng.random((2, 64, 96)), rng.random((2, 64, 96)), rng, patches=2, directions=4)
    assert result.sides == (64, 32, 16)
    assert len(result.levels) == 3
    assert result.value == pytest.approx(np.mean(result.levels))


@pytest.mark.parametrize("standardise", ["each", "real"])
@pytest.mark.parametrize(("n", "m", "channels"), [(3, 3, 1), (4, 4, 2), (3, 5, 3)])
def test_one_level_equals_a_slow_loop(standardise, n, m, channels):
    images = child(2, "images")
    real, generated = images.random((n, channels, 16, 18)), 2 + images.random((m, channels, 16, 18)) ** 2
    result = sliced_wasserstein(real, generated, child(3, "swd"), patches=6, directions=40, standardise=standardise)

    rng = child(3, "swd")  # the order of draws is part of what a seed means: places, real first, then directions
    sets = []
    for x in (real, generated):
        top, left = rng.integers(0, np.array([10, 12])[:, None, None], (2, len(x), 6))
        sets.append(
            np.array(
                [
                    x[i, :, top[i, k] : top[i, k] + 7, left[i, k] : left[i, k] + 7]
                    for i in range(len(x))
                    for k in range(6)
                ]
            )
        )
    directions = rng.standard_normal((channels, 40, 49))
    moments = [(s.mean(axis=(0, 2, 3), keepdims=True), s.std(axis=(0, 2, 3), keepdims=True)) for s in sets]
    moments = [moments[0], moments[0] if standardise == "real" else moments[1]]
    flat = [((s - mean) / sd).reshape(len(s), -1) for s, (mean, sd) in zip(sets, moments, strict=True)]
    along = []
    for d in range(40):
        unit = directions[:, d].ravel() / np.linalg.norm(directions[:, d])
        along.append(wasserstein_distance(flat[0] @ unit, flat[1] @ unit) * 1000)
    assert result.value == pytest.approx(np.mean(along), rel=1e-4)
    assert result.directions_se == pytest.approx(np.std(along, ddof=1) / math.sqrt(40), rel=1e-3)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_sets_of_any_size_have_scipys_distance(n, m, seed):
    rng = child(seed, "1-D")
    a, b = np.sort(rng.integers(0, 5, (3, n)), axis=1), np.sort(rng.normal(size=(3, m)), axis=1)
    expected = [wasserstein_distance(x, y) for x, y in zip(a, b, strict=True)]
    assert _wasserstein(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(expected, abs=1e-5)


def test_the_published_standardisation_is_blind_to_contrast_and_the_other_is_not():
    rng = child(4, "textures")
    real, generated = textures(rng, 40), textures(rng, 40)

    def distance(x: np.ndarray, standardise: str) -> float:
        return sliced_wasserstein(real, x, child(5, "swd"), patches=16, directions=32, standardise=standardise).value

    assert distance(3 * generated - 7, "each") == pytest.approx(distance(generated, "each"), rel=1e-3)
    assert distance(3 * generated - 7, "real") > 3 * distance(generated, "real")


def test_scale_of_both_sets_changes_nothing():
    rng = child(6, "textures")
    real, generated = textures(rng, 10), textures(rng, 10, spread=1.0)
    for standardise in ("each", "real"):
        keywords = {"patches": 8, "directions": 16, "standardise": standardise}
        first = sliced_wasserstein(real, generated, child(7, "swd"), **keywords)
        second = sliced_wasserstein(real * 500, generated * 500, child(7, "swd"), **keywords)
        assert second.value == pytest.approx(first.value, rel=1e-4)


def test_it_falls_with_the_sample_and_rises_with_blur():
    rng = child(8, "textures")
    real, fresh = textures(rng, 200), textures(rng, 200)

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return sliced_wasserstein(x, y, child(9, "swd"), patches=16, directions=64).value

    null = distance(real, fresh)
    assert null < 0.6 * distance(real[:25], fresh[:25])
    assert distance(real, gaussian_filter(fresh, (0, 1, 1))) > 2 * null


def test_flat_images_are_far_and_two_flat_sets_are_equal():
    real, flat = textures(child(10, "textures"), 10, 32), np.full((10, 32, 32), 0.3)
    assert sliced_wasserstein(real, flat, child(0, "swd"), patches=4, directions=8).value > 100
    assert sliced_wasserstein(flat, flat, child(0, "swd"), patches=4, directions=8).value < 1e-3


def test_the_seed_fixes_the_value_and_the_type_of_the_images_does_not_matter():
    rng = child(11, "bytes")
    real, generated = (rng.integers(0, 256, (40, 32, 32), dtype=np.uint8) for _ in range(2))

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return sliced_wasserstein(x, y, child(1, "swd"), patches=3, directions=70).value

    assert distance(real, generated) == distance(real, generated)
    assert distance(real.astype(float)[:, None], generated.astype(float)[:, None]) == distance(real, generated)


@pytest.mark.parametrize("standardise", ["each", "real"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_replicate_of_everything_is_the_value_and_one_of_a_half_is_that_of_the_half(standardise, channels):
    rng = child(12, "replicates")
    real, generated = rng.random((6, channels, 32, 32)), rng.random((8, channels, 32, 32)) ** 2
    keywords = {"patches": 5, "directions": 12, "standardise": standardise}
    masks = np.ones((2, 6), bool), np.ones((2, 8), bool)
    masks[0][1, 3:] = masks[1][1, 4:] = False
    replicates = sliced_wasserstein_replicates(real, generated, *masks, child(0, "swd"), **keywords)
    assert replicates[0] == pytest.approx(sliced_wasserstein(real, generated, child(0, "swd"), **keywords).value)
    # images outside the half have no say, however different
    real[3:], generated[4:] = 1 - 9 * real[3:], 9 * generated[4:] ** 2
    changed = sliced_wasserstein_replicates(real, generated, *masks, child(0, "swd"), **keywords)
    assert changed[1] == pytest.approx(replicates[1], rel=1e-4)
    assert changed[0] != pytest.approx(replicates[0], rel=1e-2)


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_half_samples_with_the_error_of_the_directions_cover(spread):
    rng = child(13, "cover", int(spread))
    ids = [str(i) for i in range(30)]
    values, ends, errors = [], [], []
    for _ in range(80):
        real, generated = textures(rng, 30), textures(rng, 30, spread=spread)
        result = sliced_wasserstein(real, generated, rng, patches=16, directions=32)
        halves = draw_halves(ids, 40, rng), draw_halves(ids, 40, rng)
        replicates = sliced_wasserstein_replicates(real, generated, *halves, rng, patches=16, directions=16)
        se = half_sample_interval(result.value, replicates, clusters=30).se
        values.append(result.value)
        errors.append(math.hypot(se, result.directions_se))
        ends.append((result.value - 2.045 * errors[-1], result.value + 2.045 * errors[-1]))
    target = np.mean(values)
    assert np.mean([low <= target <= high for low, high in ends]) >= 0.9
    # where the sets do not differ the distance has no linear part, and halves overstate its error
    assert 0.8 <= np.mean(errors) / np.std(values) <= (1.5 if spread else 2.5)


@pytest.mark.parametrize(
    ("real", "generated", "keywords", "message"),
    [
        (np.ones((4, 15, 20)), np.ones((4, 15, 20)), {}, "at least 16 pixels"),
        (np.ones((1, 16, 16)), np.ones((4, 16, 16)), {}, "N at least 2"),
        (np.ones((16, 16)), np.ones((4, 16, 16)), {}, "shape"),
        (np.ones((4, 16, 16)), np.ones((4, 2, 16, 16)), {}, "one shape"),
        (np.ones((4, 16, 16)), np.ones((4, 16, 17)), {}, "one shape"),
        (np.ones((4, 16, 16)), np.full((4, 16, 16), np.inf), {}, "generated holds NaN or infinity"),
        (np.ones((4, 16, 16)), np.ones((4, 16, 16)), {"patches": 0}, "patches must be"),
        (np.ones((4, 16, 16)), np.ones((4, 16, 16)), {"directions": 1}, "directions must be"),
        (np.ones((4, 16, 16)), np.ones((4, 16, 16)), {"standardise": "none"}, "standardise must be"),
    ],
)
def test_misfits_are_refused(real, generated, keywords, message):
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein(real, generated, child(0, "swd"), **keywords)


def test_masks_that_do_not_fit_are_refused():
    images = np.ones((4, 16, 16))
    with pytest.raises(ValueError, match="halves_generated must have shape"):
        sliced_wasserstein_replicates(images, images, np.ones((2, 4), bool), np.ones((2, 3), bool), child(0, "swd"))
    with pytest.raises(ValueError, match="same B"):
        sliced_wasserstein_replicates(images, images, np.ones((2, 4), bool), np.ones((3, 4), bool), child(0, "swd"))
