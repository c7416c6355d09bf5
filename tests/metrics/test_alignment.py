"""Orientation, resampling, shift and gamma against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.metrics import _alignment as alignment
from medgan_qa.rng import child


def texture(count: int, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth random images in [0.1, 0.9]."""
    noise = child(seed, "texture").standard_normal((count, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    return (0.1 + 0.8 * (smooth - low) / (high - low)).astype(np.float32)


def test_orientations_are_numpys():
    image = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4)
    expected = {
        "identity": image,
        "flip left-right": image[..., ::-1],
        "flip up-down": image[..., ::-1, :],
        "rotate 180": np.rot90(image, 2, axes=(1, 2)),
        "transpose": image.transpose(0, 2, 1),
        "rotate 90 clockwise": np.rot90(image, -1, axes=(1, 2)),
        "rotate 90 counterclockwise": np.rot90(image, 1, axes=(1, 2)),
        "transpose about the other diagonal": np.rot90(image, 2, axes=(1, 2)).transpose(0, 2, 1),
    }
    assert list(expected) == list(alignment.ORIENTATIONS)
    for code, name in enumerate(alignment.ORIENTATIONS):
        assert np.array_equal(alignment.oriented(image, code), expected[name]), name


@pytest.mark.parametrize("code", range(8))
def test_each_orientation_has_its_inverse(code):
    image = texture(1, (5, 7))
    assert np.array_equal(alignment.oriented(alignment.oriented(image, code), alignment.INVERSE[code]), image)


def test_images_that_are_not_square_keep_their_size():
    assert alignment.orientations((48, 64), "dihedral") == (0, 1, 2, 3)
    assert alignment.orientations((64, 64), "dihedral") == tuple(range(8))
    assert alignment.orientations((64, 64), "identity") == (0,)


def test_resampling_to_whole_factors_is_the_block_mean():
    images = texture(2, (12, 18))
    blocks = images.reshape(2, 4, 3, 6, 3).mean(axis=(2, 4))
    assert alignment.resampled(images, (4, 6), 0.0) == pytest.approx(blocks, abs=1e-6)


@given(size=st.integers(2, 40), share=st.floats(0.1, 1.0), blur=st.one_of(st.just(0.0), st.floats(0.1, 3.0)))
def test_resampling_keeps_constants_and_mirrors(size, share, blur):
    rows = alignment.resampling_rows(size, max(1, round(share * size)), blur)
    assert rows.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert rows == pytest.approx(rows[::-1, ::-1], abs=1e-6)


def test_unexplained_is_one_minus_the_squared_correlation_under_the_mask():
    a, b = texture(6, (9, 11)), texture(6, (9, 11), seed=1)
    b += 0.5 * a
    masks = child(0, "mask").random(a.shape) < 0.6
    expected = [1 - np.corrcoef(x[m], y[m])[0, 1] ** 2 for x, y, m in zip(a, b, masks, strict=True)]
    assert alignment.unexplained(a, masks, b) == pytest.approx(expected, abs=1e-6)


def test_nothing_is_explained_by_a_negative_or_a_flat_image():
    a = texture(1, (9, 9))
    whole = np.ones(a.shape, bool)
    assert alignment.unexplained(a, whole, 1 - a) == 1.0
    assert alignment.unexplained(a, whole, np.full_like(a, 0.5)) == 1.0
    assert alignment.unexplained(np.full_like(a, 0.5), whole, a) == 1.0


@pytest.mark.parametrize("shape", [(20, 20), (17, 24)])
def test_shift_is_that_of_brute_force(shape):
    references, queries = texture(8, shape), texture(8, shape, seed=1)
    masks = child(1, "mask").random(queries.shape) < 0.7
    found = alignment.aligned(queries, masks, references, 3)
    for q, m, r, shift in zip(queries, masks, references, found.shift, strict=True):
        residuals = {}
        for down in range(-3, 4):
            for right in range(-3, 4):
                moved = ndimage.shift(r, (down, right), order=0, cval=np.nan)
                use = m & np.isfinite(moved)
                correlation = np.corrcoef(q[use], moved[use])[0, 1]
                residuals[down, right] = 1 - max(correlation, 0) ** 2
        assert residuals[tuple(shift)] == pytest.approx(min(residuals.values()), abs=1e-5)


@pytest.mark.parametrize("gamma", [0.6, 0.8, 1.0, 1.25, 1.7])
@pytest.mark.parametrize("shift", [(0, 0), (2, -3)])
def test_shift_and_gamma_of_a_copy_are_recovered(gamma, shift):
    references = texture(4, (32, 32))
    queries = 0.9 * np.roll(references, shift, axis=(1, 2)) ** np.float32(gamma)
    found = alignment.aligned(queries, np.ones(queries.shape, bool), references, 4)
    assert np.array_equal(found.shift, np.tile(shift, (4, 1)))
    assert found.gamma == pytest.approx(gamma, rel=0.012)
    assert found.residual == pytest.approx(0.0, abs=1e-3)


def test_offset_and_gain_leave_the_residual_as_it_is():
    references, queries = texture(3, (24, 24)), texture(3, (24, 24), seed=2)
    whole = np.ones(queries.shape, bool)
    plain = alignment.unexplained(queries, whole, references)
    assert alignment.unexplained(0.3 + 0.5 * queries, whole, references) == pytest.approx(plain, abs=1e-5)


def test_large_images_are_reduced_and_small_ones_are_not():
    assert alignment.working_images(texture(1, (256, 320)), 0.7).shape == (1, 64, 80)
    assert alignment.working_images(texture(1, (40, 50)), 0.0) == pytest.approx(texture(1, (40, 50)), abs=1e-6)


def test_images_that_are_not_finite_are_named():
    images = texture(4, (8, 8))
    images[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"queries \[2\] hold NaN"):
        alignment.image_stack(images, "queries")
    with pytest.raises(ValueError, match="must be 8 x 9"):
        alignment.image_stack(texture(1, (8, 8)), "queries", (8, 9))
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        alignment.image_stack(texture(1, (8, 8))[0], "queries")
