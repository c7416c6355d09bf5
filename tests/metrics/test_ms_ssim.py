"""MS-SSIM: scikit-image as the oracle scale by scale, small images, drawn pairs, and the standard error of the mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity

from medgan_qa.metrics.ms_ssim import WEIGHTS, ms_ssim, ms_ssim_diversity, ms_ssim_replicates, ms_ssim_scales
from medgan_qa.rng import child
from medgan_qa.stats.half_sampling import draw_halves, half_sample_interval


def one_scale(a: np.ndarray, b: np.ndarray, data_range: float, k1: float) -> float:
    """Mean SSIM over windows inside the image; a huge K1 makes the luminance factor 1 and leaves contrast-structure."""
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(a, b, data_range=data_range, K1=k1, **settings)


def by_scikit_image(a: np.ndarray, b: np.ndarray, scales: int, data_range: float = 1.0) -> float:
    weights = np.array(WEIGHTS[:scales])
    weights = weights if scales == 5 else weights / weights.sum()
    product = 1.0
    for scale in range(1, scales + 1):
        mean = one_scale(a, b, data_range, 0.01 if scale == scales else 1e6)
        product *= max(mean, 0.0) ** weights[scale - 1]
        if scale < scales:
            a, b = (block_reduce(np.pad(x, [(0, s % 2) for s in x.shape], mode="edge"), 2, np.mean) for x in (a, b))
    return product


def pair(seed: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = child(seed, "ms-ssim")
    a = ndimage.gaussian_filter(rng.random(shape), 1)
    return a, np.clip(a + rng.normal(0, 0.1, shape), 0, 1)


@pytest.mark.parametrize(
    ("shape", "scales"),
    [((11, 11), 1), ((20, 31), 1), ((21, 40), 2), ((41, 47), 3), ((64, 64), 3), ((81, 90), 4), ((161, 163), 5)],
)
def test_it_equals_scikit_image_scale_by_scale(shape, scales):
    a, b = pair(1, *shape)
    assert ms_ssim_scales(*shape) == scales
    assert ms_ssim(a[None], b[None])[0] == pytest.approx(by_scikit_image(a, b, scales), abs=1e-9)


def test_the_data_range_scales_with_the_images():
    a, b = pair(2, 3, 44, 44)
    assert ms_ssim(a * 4000, b * 4000, 4000.0) == pytest.approx(ms_ssim(a, b), abs=1e-9)
    assert (ms_ssim(a, b, 10.0) > ms_ssim(a, b)).all()


@given(st.integers(0, 2**32), st.integers(11, 30))
@settings(max_examples=30, deadline=None)
def test_symmetric_bounded_and_one_for_equal_images(seed, side):
    a, b = pair(seed, 2, side, side + 3)
    value = ms_ssim(a, b)
    assert ms_ssim(b, a) == pytest.approx(value, abs=1e-12)
    assert ms_ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    assert ((value >= 0) & (value <= 1)).all()


def test_turning_both_images_changes_nothing():
    a, b = pair(13, 3, 44, 44)
    for turn in (lambda x: x[:, ::-1], lambda x: x.swapaxes(1, 2)):
        assert ms_ssim(turn(a), turn(b)) == pytest.approx(ms_ssim(a, b), abs=1e-9)


def test_an_inverted_image_scores_zero_instead_of_a_complex_number():
    a, _ = pair(3, 1, 32, 32)
    assert one_scale(a[0], 1 - a[0], 1.0, 1e6) < 0
    assert ms_ssim(a, 1 - a)[0] == 0.0


def test_equal_channels_change_nothing():
    a, b = pair(4, 3, 24, 24)
    assert ms_ssim(a[:, None].repeat(3, 1), b[:, None].repeat(3, 1)) == pytest.approx(ms_ssim(a, b), abs=1e-12)


def test_channels_are_averaged_at_one_scale():
    a, b = pair(5, 2, 15, 15)
    assert ms_ssim(a[None], b[None])[0] == pytest.approx(ms_ssim(a, b).mean(), abs=1e-12)


def test_all_pairs_are_used_once_where_few_exist():
    images = pair(6, 5, 12, 12)[0]
    result = ms_ssim_diversity(images, 1000, child(0, "draw"))
    drawn = set(zip(result.first.tolist(), result.second.tolist(), strict=True))
    expected = list(itertools.combinations(range(5), 2))
    assert drawn == set(expected)
    assert len(result.first) == 10
    by_hand = [ms_ssim(images[i : i + 1], images[j : j + 1])[0] for i, j in expected]
    assert result.value == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert (result.images, result.scales) == (5, 1)


@given(st.integers(3, 40), st.integers(2, 60), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_pairs_differ_and_keep_patients_apart(n, pairs, seed):
    images = child(seed, "images").random((n, 11, 11))
    patients = [f"p{i % max(3, n // 2)}" for i in range(n)]
    result = ms_ssim_diversity(images, pairs, child(seed, "draw"), clusters=patients)
    drawn = list(zip(result.first.tolist(), result.second.tolist(), strict=True))
    possible = sum(patients[i] != patients[j] for i, j in itertools.combinations(range(n), 2))
    assert len(set(drawn)) == len(drawn) == min(pairs, possible)
    assert all(i < j and patients[i] != patients[j] for i, j in drawn)


def test_every_pair_is_drawn_equally_often():
    images = child(7, "images").random((6, 11, 11))
    rng = child(7, "draw")
    seen = np.zeros((6, 6))
    for _ in range(600):
        result = ms_ssim_diversity(images, 3, rng, clusters=list("aabcde"))
        seen[result.first, result.second] += 1
    allowed = seen[np.triu_indices(6, 1)][1:]
    assert seen[0, 1] == 0
    # 14 pairs, each expected 600 * 3 / 14 = 129 times with a standard deviation of about 10
    assert (np.abs(allowed - 600 * 3 / 14) < 4 * 10.1).all()


def test_collapse_raises_the_value_and_identical_images_score_one_without_error():
    rng = child(8, "collapse")
    shapes = ndimage.gaussian_filter(rng.random((30, 24, 24)), (0, 2, 2)) * 3
    collapsed = shapes[rng.integers(2, size=30)]
    assert ms_ssim_diversity(collapsed, 200, rng).value > ms_ssim_diversity(shapes, 200, rng).value + 0.2
    same = ms_ssim_diversity(shapes[:1].repeat(4, 0), 6, rng)
    assert same.value == pytest.approx(1.0, abs=1e-12)
    assert same.standard_error == pytest.approx(0.0, abs=1e-12)


def test_order_of_the_images_changes_nothing_with_all_pairs():
    images = pair(9, 6, 14, 14)[0]
    first = ms_ssim_diversity(images, 15, child(0, "draw"))
    second = ms_ssim_diversity(images[::-1], 15, child(1, "draw"))
    assert first.value == pytest.approx(second.value, abs=1e-12)
    assert first.standard_error == pytest.approx(second.standard_error, abs=1e-12)


def test_standard_error_by_hand():
    result = ms_ssim_diversity(pair(10, 7, 12, 12)[0], 12, child(0, "draw"))
    residual = result.similarities - result.value
    members = [{i, j} for i, j in zip(result.first.tolist(), result.second.tolist(), strict=True)]
    variance = sum(residual[p] * residual[q] for p in range(12) for q in range(12) if members[p] & members[q])
    expected = max(variance, (residual**2).sum()) ** 0.5 / 12
    assert result.standard_error == pytest.approx(expected, abs=1e-12)


def test_standard_error_and_half_samples_follow_the_spread_of_the_value():
    rng = child(11, "spread")
    shapes = ndimage.gaussian_filter(rng.random((8, 14, 14)), (0, 2, 2)) * 3
    values, errors, intervals = [], [], []
    for _ in range(200):
        # two images a patient, alike to each other
        kinds = np.repeat(rng.integers(8, size=24), 2)
        images = shapes[kinds] + 0.05 * rng.normal(size=(48, 14, 14))
        patients = [f"p{i // 2}" for i in range(48)]
        result = ms_ssim_diversity(images, 200, rng, clusters=patients)
        replicates = ms_ssim_replicates(result, draw_halves(patients, 60, rng))
        values.append(result.value)
        errors.append(result.standard_error)
        intervals.append(half_sample_interval(result.value, replicates, clusters=24, alpha=0.05, sided=2))
    target, spread = np.mean(values), np.std(values)
    assert 0.75 <= np.mean(errors) / spread <= 1.3
    assert 0.95 <= np.mean([i.se for i in intervals]) / spread <= 2.5
    assert np.mean([i.low <= target <= i.high for i in intervals]) >= 0.93


def test_replicates_by_hand():
    result = ms_ssim_diversity(pair(12, 8, 12, 12)[0], 28, child(0, "draw"))
    half = np.arange(8) < 4
    inside = half[result.first] & half[result.second]
    assert ms_ssim_replicates(result, np.stack([half, ~half]))[0] == pytest.approx(result.similarities[inside].mean())


@pytest.mark.parametrize(
    ("images", "pairs", "message"),
    [
        (np.ones((4, 10, 12)), 3, "at least 11 x 11"),
        (np.ones((12, 12)), 3, "shape"),
        (np.ones((2, 12, 12)), 3, "at least 3 independent"),
        (np.full((4, 12, 12), np.nan), 3, r"NaN or infinity in images \[0, 1, 2, 3\]"),
        (np.ones((4, 12, 12)), 1, "pairs must be"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(images, pairs, message):
    with pytest.raises(ValueError, match=message):
        ms_ssim_diversity(images, pairs, child(0, "draw"))


def test_other_misfits_are_refused():
    images = child(0, "images").random((4, 12, 12))
    with pytest.raises(ValueError, match="one shape"):
        ms_ssim(images, images[:3])
    with pytest.raises(ValueError, match="data_range"):
        ms_ssim(images, images, 0.0)
    with pytest.raises(ValueError, match="one label per image"):
        ms_ssim_diversity(images, 3, child(0, "draw"), clusters=["a", "b", "c"])
    result = ms_ssim_diversity(images, 3, child(0, "draw"))
    drawn = list(zip(result.first.tolist(), result.second.tolist(), strict=True))
    unused = next(p for p in itertools.combinations(range(4), 2) if p not in drawn)
    with pytest.raises(ValueError, match="draw more pairs"):
        ms_ssim_replicates(result, np.isin(np.arange(4), unused)[None])
