"""Radiomic features against published values, other implementations and matrices counted pixel by pixel."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.draw import ellipse
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import label, regionprops

from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
from medgan_qa.cohorts.phantom_render import anatomy, render
from medgan_qa.features import _filters, _intensity, _runs, _shape, _texture, radiomic
from medgan_qa.features.radiomic import FEATURE_NAMES, RadiomicExtractor, feature_names
from medgan_qa.rng import child

SOURCE = RadiomicExtractor()

# The digital phantom of the Image Biomarker Standardisation Initiative, four slices of 4 x 5; 0 is outside its region.
PHANTOM = np.array(
    [
        ["14411", "14611", "41641", "44641"],
        ["14411", "11611", "01311", "44611"],
        ["14400", "11111", "11011", "11611"],
        ["14400", "11111", "11111", "11611"],
    ]
)
PHANTOM = np.array([[[int(level) for level in row] for row in image] for image in PHANTOM], dtype=np.int32)
# Reference values of arXiv:1612.07003: by slice with merged directions (GLCM, GLRLM), by slice (GLSZM, NGTDM).
PUBLISHED = {
    "glcm.joint_maximum": 0.512,
    "glcm.joint_average": 2.14,
    "glcm.joint_entropy": 2.24,
    "glcm.difference_average": 1.40,
    "glcm.contrast": 5.19,
    "glcm.inverse_difference": 0.683,
    "glcm.inverse_difference_moment": 0.625,
    "glcm.correlation": 0.0173,
    "glcm.autocorrelation": 5.14,
    "glcm.cluster_shade_root": 6.98,
    "glcm.cluster_prominence_root": 80.4,
    "glcm.information_correlation_1": -0.0341,
    "glcm.information_correlation_2": 0.263,
    "glrlm.short_emphasis": 0.661,
    "glrlm.log_long_emphasis": 3.51,
    "glrlm.low_grey_emphasis": 0.609,
    "glrlm.high_grey_emphasis": 9.74,
    "glszm.short_emphasis": 0.363,
    "glszm.log_long_emphasis": 43.9,
    "glszm.low_grey_emphasis": 0.371,
    "glszm.high_grey_emphasis": 16.4,
    "glszm.short_low_grey_emphasis": 0.0259,
    "glszm.short_high_grey_emphasis": 10.3,
    "glszm.log_long_low_grey_emphasis": 40.4,
    "glszm.log_long_high_grey_emphasis": 113,
    "glszm.grey_non_uniformity_normalised": 0.323,
    "glszm.size_non_uniformity_normalised": 0.333,
    "glszm.percentage": 0.24,
    "glszm.grey_variance": 3.97,
    "glszm.log_size_variance": 21,
    "glszm.entropy": 1.93,
    "ngtdm.log_coarseness": 0.121,
    "ngtdm.log_contrast": 0.925,
    "ngtdm.log_busyness": 2.99,
    "ngtdm.log_complexity": 10.4,
    "ngtdm.log_strength": 2.88,
}
# From standardised scales back to the published ones.
UNDO = {
    "log_coarseness": lambda v: 10**v,
    "cluster_shade_root": lambda v: v**3,
    "cluster_prominence_root": lambda v: v**4,
}
LONG = ("log_long_emphasis", "log_long_low_grey_emphasis", "log_long_high_grey_emphasis")


def texture(levels):
    names = [("glcm", _texture.GLCM_NAMES), ("glrlm", _runs.SIZE_NAMES), ("glszm", _runs.SIZE_NAMES)]
    names.append(("ngtdm", _texture.NGTDM_NAMES))
    parts = [_texture.glcm_features(levels, 1), _runs.glrlm_features(levels), _runs.glszm_features(levels)]
    values = np.hstack([*parts, _texture.ngtdm_features(levels)])
    return dict(zip([f"{family}.{name}" for family, of in names for name in of], values.T, strict=True))


def undone(name, values):
    last = name.partition(".")[2]
    if last in UNDO:
        return UNDO[last](values)
    if last in LONG:
        return 10**values
    return 10**values - 1 if last.startswith("log_") else values


def rounded_like(value, published):
    digits = max(3, len(f"{published:g}".lstrip("-0.").replace(".", "")))
    return float(f"{value:.{min(digits, 3)}g}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_texture_has_the_published_values(name):
    found = undone(name, texture(PHANTOM)[name]).mean()
    assert found == pytest.approx(PUBLISHED[name], rel=6e-3)
    assert rounded_like(found, PUBLISHED[name]) == PUBLISHED[name]


def test_first_order_has_the_published_values():
    values = PHANTOM.reshape(1, -1).astype(float)
    found = dict(zip(_intensity.FIRST_ORDER_NAMES, _intensity.first_order(values / 8, values > 0)[0], strict=True))
    published = {"mean": 2.15, "median": 1, "minimum": 1, "percentile_10": 1, "percentile_90": 4, "maximum": 6}
    published |= {"interquartile_range": 3, "mean_absolute_deviation": 1.55, "median_absolute_deviation": 1.15}
    published |= {"robust_mean_absolute_deviation": 1.11}
    assert {name: round(found[name] * 8, 2) for name in published} == pytest.approx(published)
    assert found["standard_deviation"] ** 2 * 64 == pytest.approx(3.05, abs=0.005)
    assert found["skewness"] == pytest.approx(1.08, abs=0.005)
    assert found["excess_kurtosis"] == pytest.approx(-0.355, abs=0.0005)
    assert found["discretised_entropy"] == pytest.approx(1.27, abs=0.005)
    assert found["discretised_uniformity"] == pytest.approx(0.512, abs=0.0005)


def test_first_order_agrees_with_scipy():
    values = child(0, "first order").gamma(2, 0.05, (5, 300)).astype(np.float32).astype(float)
    found = dict(zip(_intensity.FIRST_ORDER_NAMES, _intensity.first_order(values, values > 0).T, strict=True))
    np.testing.assert_allclose(found["skewness"], scipy.stats.skew(values, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found["excess_kurtosis"], scipy.stats.kurtosis(values, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found["interquartile_range"], scipy.stats.iqr(values, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["percentile_90"], np.percentile(values, 90, axis=1), rtol=1e-6)
    counts = [np.histogram(row, 32, (0, 1))[0] for row in values]
    np.testing.assert_allclose(found["discretised_entropy"], scipy.stats.entropy(counts, base=2, axis=1), rtol=1e-9)


def test_a_mask_leaves_out_what_is_outside():
    values = child(0, "mask").random((4, 50))
    mask = child(1, "mask").random((4, 50)) < 0.4
    found = _intensity.first_order(values, mask)
    for row, inside, of in zip(values, mask, found, strict=True):
        alone = _intensity.first_order(row[inside][None], np.ones((1, inside.sum()), bool))
        np.testing.assert_allclose(of, alone[0], rtol=1e-12)


@pytest.mark.parametrize("distance", [1, 3])
def test_cooccurrence_agrees_with_skimage(distance):
    levels = child(0, "glcm").integers(1, 33, (3, 12, 17)).astype(np.int32)
    matrix, features = _texture.glcm(levels, distance), _texture.glcm_features(levels, distance)
    for image, p, row in zip(levels, matrix, features, strict=True):
        # skimage rounds the step along a diagonal; with these lengths it lands on (distance, distance)
        straight = graycomatrix(image, [distance], [0, np.pi / 2], 33, symmetric=True)
        diagonal = graycomatrix(image, [distance * np.sqrt(2)], [np.pi / 4, 3 * np.pi / 4], 33, symmetric=True)
        counts = (straight.sum(axis=(2, 3)) + diagonal.sum(axis=(2, 3)))[:, :, None, None].astype(float)
        np.testing.assert_allclose(p, (counts / counts.sum())[1:, 1:, 0, 0], atol=1e-15)
        found = dict(zip(_texture.GLCM_NAMES, row, strict=True))
        asked = {"contrast": "contrast", "difference_average": "dissimilarity", "correlation": "correlation"}
        asked |= {
            "inverse_difference_moment": "homogeneity",
            "angular_second_moment": "ASM",
            "joint_entropy": "entropy",
        }
        for name, theirs in asked.items():
            expected = graycoprops(counts, theirs)[0, 0] * (np.log2(np.e) if theirs == "entropy" else 1)
            assert found[name] == pytest.approx(expected), name


LEVELS = arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 3)).filter(np.any)


def counted_runs(image):
    """(level, length) of runs along the four directions, walked pixel by pixel."""
    found = []
    height, width = image.shape
    for (down, right), r, c in product([(0, 1), (1, 0), (1, 1), (1, -1)], range(height), range(width)):
        level = image[r, c]

        def at(k, r=r, c=c, down=down, right=right):
            y, x = r + k * down, c + k * right
            return image[y, x] if 0 <= y < height and 0 <= x < width else 0

        if level and at(-1) != level:
            found.append((level, next(k for k in range(1, 8) if at(k) != level)))
    return found


def counted_zones(image):
    zones = [label(image == level, connectivity=2) for level in range(1, 4)]
    return [(i + 1, (z == k).sum()) for i, z in enumerate(zones) for k in range(1, z.max() + 1)]


def size_features(pairs, pixels):
    """IBSI's formulas on the list of (level, size), scaled as the module says."""
    i, j = np.array(pairs, float).T
    by_level, by_size, by_both = Counter(i), Counter(j), Counter(pairs)
    n = len(pairs)
    p = np.array(list(by_both.values())) / n
    return [
        np.mean(j**-2),
        np.log10(np.mean(j**2)),
        np.mean(i**-2),
        np.mean(i**2),
        np.mean((i * j) ** -2),
        np.mean(i**2 / j**2),
        np.log10(np.mean(j**2 / i**2)),
        np.log10(np.mean(i**2 * j**2)),
        sum(c**2 for c in by_level.values()) / n**2,
        sum(c**2 for c in by_size.values()) / n**2,
        n / pixels,
        i.var(),
        np.log10(1 + j.var()),
        -(p * np.log2(p)).sum(),
    ]


@given(LEVELS)
def test_runs_are_those_that_are_counted(image):
    expected = size_features(counted_runs(image), 4 * np.count_nonzero(image))
    np.testing.assert_allclose(_runs.glrlm_features(image[None])[0], expected, atol=1e-9)


@given(LEVELS)
def test_zones_are_those_that_are_counted(image):
    expected = size_features(counted_zones(image), np.count_nonzero(image))
    np.testing.assert_allclose(_runs.glszm_features(image[None])[0], expected, atol=1e-9)


@given(LEVELS)
def test_tone_differences_are_those_that_are_counted(image):
    n, s = Counter(), Counter()
    for r, c in np.argwhere(image):
        around = [image[y, x] for y, x in neighbours(image, r, c) if image[y, x]]
        if around:
            n[int(image[r, c])] += 1
            s[int(image[r, c])] += abs(image[r, c] - np.mean(around))
    found = dict(zip(_texture.NGTDM_NAMES, _texture.ngtdm_features(image[None])[0], strict=True))
    total, kinds = max(sum(n.values()), 1), list(n)
    p = {i: n[i] / total for i in kinds}
    coarse = sum(p[i] * s[i] for i in kinds)
    assert found["log_coarseness"] == pytest.approx(6 if coarse == 0 else min(6, -np.log10(coarse)))
    pairs = list(product(kinds, kinds))
    spread = sum(p[i] * p[j] * (i - j) ** 2 for i, j in pairs) / max(len(kinds) * (len(kinds) - 1), 1)
    assert found["log_contrast"] == pytest.approx(np.log10(1 + spread * sum(s.values()) / total), abs=1e-12)
    busy = sum(abs(i * n[i] - j * n[j]) for i, j in pairs) / total
    assert found["log_busyness"] == pytest.approx(np.log10(1 + (coarse / busy if busy else 0)), abs=1e-12)
    mixed = sum(abs(i - j) * (p[i] * s[i] + p[j] * s[j]) / (p[i] + p[j]) for i, j in pairs) / total
    assert found["log_complexity"] == pytest.approx(np.log10(1 + mixed), abs=1e-12)
    strong = sum((p[i] + p[j]) * (i - j) ** 2 for i, j in pairs)
    strong = strong / sum(s.values()) if sum(s.values()) else 0
    assert found["log_strength"] == pytest.approx(np.log10(1 + strong), abs=1e-12)


def neighbours(image, r, c):
    for y, x in product((r - 1, r, r + 1), (c - 1, c, c + 1)):
        if (y, x) != (r, c) and 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
            yield y, x


def smooth(n=3, height=40, width=52):
    return ndimage.gaussian_filter(child(0, "smooth").random((n, height, width)), (0, 2, 2))


@pytest.mark.parametrize("sigma", radiomic.SIGMAS)
def test_laplacian_of_gaussian_agrees_with_scipy(sigma):
    images = smooth()
    found = _filters.laplacian_of_gaussian(_filters.spectrum(images), sigma)
    for image, of in zip(images, found, strict=True):
        expected = sigma**2 * ndimage.gaussian_laplace(image, sigma, mode="reflect", truncate=8)
        # scipy samples the kernel, which aliases a little at one pixel; here it is the frequencies that are sampled
        assert np.abs(of - expected).max() < (0.02 if sigma == 1 else 1e-3) * np.abs(expected).max()


def test_power_adds_up_to_the_variance():
    images = smooth()
    power = 10 ** _filters.spectral(_filters.spectrum(images))[:, : len(_filters.BANDS) - 1] - _filters.POWER_FLOOR
    np.testing.assert_allclose(power.sum(axis=1), images.var(axis=(1, 2)), rtol=1e-9)


@pytest.mark.parametrize(("frequency", "band"), [(1, 1), (3, 2), (7, 3), (10, 4), (15, 5), (20, 6), (31, 7)])
def test_a_wave_has_its_power_in_its_band_and_direction(frequency, band):
    rows = np.cos(np.pi * frequency * (np.arange(32) + 0.5) / 32)
    images = np.stack([np.tile(rows[:, None], 32), np.tile(rows, (32, 1))])
    found = dict(zip(_filters.SPECTRAL_NAMES, _filters.spectral(_filters.spectrum(images)).T, strict=True))
    bands = np.stack([found[f"log_power_band_{k}"] for k in range(1, 9)])
    assert bands.argmax(axis=0).tolist() == [band - 1] * 2
    assert bands[band - 1] == pytest.approx(np.log10(0.5))
    side = found["log_vertical_to_horizontal_" + ("low" if frequency <= 16 else "high")]
    assert side[0] == pytest.approx(-side[1])
    assert side[0] > 7


def test_haar_details_are_block_differences():
    image = smooth(1, 9, 7)
    found, padded = _filters.haar_details(image), np.pad(image[0], ((0, 1), (0, 1)), mode="edge")
    for r, c in product(range(9), range(7)):
        a, b, d, e = padded[r, c], padded[r, c + 1], padded[r + 1, c], padded[r + 1, c + 1]
        expected = {"horizontal": a - b + d - e, "vertical": a + b - d - e, "diagonal": a - b - d + e}
        for name, value in expected.items():
            assert found[name][0, r, c] == pytest.approx(value / 4, abs=1e-15)


def test_gradients_of_a_ramp_and_of_noise():
    rows, columns = np.indices((64, 64)) / 64
    noise = child(0, "noise").normal(0, 0.05, (64, 64))
    images = np.stack([rows * 0.5, columns * 8, rows + columns, noise, np.zeros((64, 64))])
    found = dict(zip(_filters.GRADIENT_NAMES, _filters.gradients(images).T, strict=True))
    assert found["percentile_90"][:2] == pytest.approx([0.5 / 64, 8 / 64])
    assert found["edge_share"][:2] == pytest.approx([0, 62 / 64])
    assert found["vertical_share"] == pytest.approx([1, 0, 0.5, 0.5, 0.5], abs=0.03)
    assert found["coherence"] == pytest.approx([1, 1, 1, 0, 0], abs=0.05)
    assert found["fine_noise"][:3] == pytest.approx(0, abs=5e-3)
    assert found["fine_noise"][3:] == pytest.approx([0.05, 0], rel=0.05)


def test_shape_agrees_with_skimage():
    body = np.zeros((1, 60, 80), bool)
    body[0][ellipse(25, 45, 20, 9, rotation=0.5)] = True
    image = body * 0.5
    found = dict(zip(_shape.SHAPE_NAMES, _shape.shape(image, body)[0], strict=True))
    [region] = regionprops(body[0].astype(int))
    assert found["area_share"] == pytest.approx(region.area / 4800)
    assert found["extent"] == pytest.approx(region.extent)
    top, left, bottom, right = region.bbox
    assert (found["height_share"], found["width_share"]) == pytest.approx(((bottom - top) / 60, (right - left) / 80))
    assert found["centroid_row"] * 60 - 0.5 == pytest.approx(region.centroid[0])
    assert found["centroid_column"] * 80 - 0.5 == pytest.approx(region.centroid[1])
    # skimage adds the moments of a pixel (1/12) to those of the pixel centres
    assert found["major_axis"] * 80 == pytest.approx(region.axis_major_length, rel=2e-3)
    assert found["eccentricity"] == pytest.approx(region.eccentricity, rel=2e-3)
    mirror = body[0][:, left:right][:, ::-1]
    assert found["mirror_overlap"] == pytest.approx((mirror & body[0][:, left:right]).sum() / region.area)
    assert found["mirror_difference"] > 0.1


def test_a_square_is_symmetric_wherever_it_is():
    body = np.zeros((2, 20, 30), bool)
    body[0, 3:9, 1:7] = body[1, 10:20, 20:30] = True
    found = dict(zip(_shape.SHAPE_NAMES, _shape.shape(body * 0.7, body).T, strict=True))
    np.testing.assert_allclose(found["mirror_overlap"], 1)
    np.testing.assert_allclose(found["mirror_difference"], 0, atol=1e-12)
    np.testing.assert_allclose(found["eccentricity"], 0, atol=1e-6)
    np.testing.assert_allclose(found["perimeter_ratio"], 2 / np.sqrt(np.pi))


@pytest.fixture(scope="module")
def phantoms():
    """Slices of thirty patients of the embedded phantom, those that show a lesion, and the same without it."""
    specs = draw_cohort(COHORT_SEED, "radiomic", 30)
    ill = [spec for spec in specs if anatomy(spec, 64).mask.sum() >= 20]
    healed = [replace(spec, patient=replace(spec.patient, lesion=None)) for spec in ill]
    return [np.stack([render(spec, "FLAIR", 64) for spec in of])[:, None] for of in (specs, ill, healed)]


def moved(before, after, scale):
    """Mean change of each feature in standard deviations of the real images, and whether all images agree on it."""
    change = SOURCE.features(after.astype(np.float32)) - SOURCE.features(before)
    direction = np.sign(change)
    return change.mean(axis=0) / scale, (direction == direction[0]).all(axis=0) & (direction[0] != 0)


@pytest.mark.parametrize(
    ("defect", "feature", "least"),
    [
        ("blur", "spectrum.log_power_band_8", 1),
        ("noise", "gradient.fine_noise", 0.5),
        ("contrast", "body.mean", 1),
        ("checkerboard", "spectrum.log_power_band_8", 1),
    ],
)
def test_a_defect_moves_features(phantoms, defect, feature, least):
    real = phantoms[0]
    board = np.indices((64, 64)).sum(axis=0) % 2 - 0.5
    after = {
        "blur": ndimage.gaussian_filter(real, (0, 0, 0.7, 0.7)),
        "noise": real + child(0, "defect").normal(0, 0.01, real.shape),
        "contrast": real**1.2,
        "checkerboard": real + 0.02 * board,
    }[defect]
    change, agreed = moved(real, after, SOURCE.features(real).std(axis=0) + 1e-9)
    assert np.abs(change[FEATURE_NAMES.index(feature)]) > least
    assert agreed[FEATURE_NAMES.index(feature)]
    assert (np.abs(change) > 0.5).sum() >= 8


def test_an_erased_lesion_moves_features(phantoms):
    real, ill, healed = phantoms
    change, agreed = moved(ill, healed, SOURCE.features(real).std(axis=0) + 1e-9)
    assert (agreed & (np.abs(change) > 0.1)).sum() >= 3


def test_a_mirrored_image_moves_nothing_but_what_has_a_direction(phantoms):
    real = phantoms[0]
    change = np.abs(SOURCE.features(real) - SOURCE.features(real[..., ::-1].copy())).max(axis=0)
    different = {name for name, of in zip(FEATURE_NAMES, change, strict=True) if of > 1e-4}
    assert different <= {name for name in FEATURE_NAMES if name.startswith(("haar", "shape.centroid_column"))}


@settings(max_examples=40)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)),
        elements=st.one_of(
            st.sampled_from([0.0, 0.3, 1.0, -1.0, 3.0, 1e30]), st.floats(0, 1, width=32, allow_subnormal=False)
        ),
    )
)
def test_there_is_always_a_number(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = SOURCE.features(images)
    assert found.shape == (len(images), len(feature_names(images.shape[1])))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0, -2.0, 7.0])
def test_a_constant_image_has_the_values_of_no_texture(level):
    found = dict(zip(FEATURE_NAMES, SOURCE.features(np.full((1, 1, 24, 24), level, np.float32))[0], strict=True))
    zero = ("deviation", "skewness", "kurtosis", "entropy", "contrast", "variance", "range", "magnitude", "coherence")
    for name, value in found.items():
        if any(part in name for part in zero) and not name.startswith("glrlm") and "share" not in name:
            assert value == 0, name
    assert found["image.mean"] == pytest.approx(level)
    assert (found["image.share_below_range"], found["image.share_above_range"]) == (level < 0, level > 1)
    assert found["glcm_1.correlation"] == found["glcm_1.angular_second_moment"] == found["shape.area_share"] == 1
    assert found["ngtdm.log_coarseness"] == 6


def test_values_outside_the_range_are_clipped_for_texture_alone():
    image = smooth(1).astype(np.float32)[:, None]
    image = (image - image.min()) / np.ptp(image)
    beyond = image.copy()
    beyond[0, 0, 5, 5], beyond[0, 0, 20, 20] = -3, 5
    edge = beyond.clip(0, 1)
    found, clipped = (dict(zip(FEATURE_NAMES, SOURCE.features(x)[0], strict=True)) for x in (beyond, edge))
    assert found["image.share_below_range"] == found["image.share_above_range"] == pytest.approx(1 / image.size)
    assert found["image.maximum"] == 5
    levels = [_intensity.levels_of(x[:, 0]) for x in (beyond, edge)]
    np.testing.assert_array_equal(*levels)
    assert clipped["image.maximum"] == 1


def test_grey_levels_are_equal_bins_of_the_range():
    edges = np.array([-1, 0, 1 / 32 - 1e-6, 1 / 32, 0.5, 31 / 32, 1, 2], np.float32)
    assert _intensity.levels_of(edges).tolist() == [1, 1, 1, 2, 17, 32, 32, 32]


def test_a_row_depends_on_its_image_alone(phantoms, monkeypatch):
    images = phantoms[0][:6]
    whole = SOURCE.features(images)
    np.testing.assert_allclose(np.concatenate([SOURCE.features(x[None]) for x in images]), whole, rtol=1e-6, atol=1e-9)
    monkeypatch.setattr(radiomic, "BATCH_PIXELS", 2 * 64 * 64)
    np.testing.assert_allclose(SOURCE.features(images[::-1])[::-1], whole, rtol=1e-6, atol=1e-9)


def test_channels_are_averaged_and_have_first_order_statistics_of_their_own():
    images = np.stack([smooth(2), smooth(2) * 0.5], axis=1).astype(np.float32)
    found, names = SOURCE.features(images), feature_names(2)
    np.testing.assert_allclose(
        found[:, : len(FEATURE_NAMES)], SOURCE.features(images.mean(axis=1, keepdims=True)), rtol=1e-4, atol=1e-6
    )
    second = SOURCE.features(images[:, 1:])[:, FEATURE_NAMES.index("image.mean")]
    np.testing.assert_allclose(found[:, names.index("channel_1.mean")], second)


def test_names_are_one_a_column():
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == SOURCE.features(np.zeros((1, 1, 8, 8), np.float32)).shape[1]
    assert 100 <= len(FEATURE_NAMES) <= 250
    assert len(set(feature_names(3))) == len(feature_names(3)) == len(FEATURE_NAMES) + 3 * 17
    assert feature_names(1) == FEATURE_NAMES


def test_no_feature_follows_from_the_others_by_a_line():
    g = child(0, "rank")
    rows, columns = np.indices((16, 16))
    images = []
    for _ in range(400):
        centre, radius = g.uniform(6, 9, 2), g.uniform(3, 7, 2)
        body = np.hypot((rows - centre[0]) / radius[0], (columns - centre[1]) / radius[1]) < 1
        grain = ndimage.gaussian_filter(g.random((16, 16)) * g.random(), g.uniform(0, 1))
        images.append((body * (0.3 + grain) + 0.1 * grain) * 1.1 - 0.05)
    features = SOURCE.features(np.array(images, np.float32)[:, None]).astype(float)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    # what is left of each feature when all others have explained what they can
    unexplained = 1 / np.diag(np.linalg.inv(np.cov(standard.T)))
    assert unexplained.min() > 1e-8  # an exact relation leaves the square of the rounding of float32, 1e-14


def test_none_gives_none_and_what_are_no_images_is_refused():
    assert SOURCE.features(np.zeros((0, 1, 8, 8), np.float32)).shape == (0, len(FEATURE_NAMES))
    broken = np.zeros((3, 1, 8, 8), np.float32)
    broken[2, 0, 1, 1] = np.nan
    with pytest.raises(ValueError, match="image 2 holds NaN"):
        SOURCE.features(broken)
    with pytest.raises(ValueError, match="hold pixels"):
        SOURCE.features(np.zeros((2, 8, 8), np.float32))


def test_other_numbers_ask_for_another_version():
    """Stored features are told apart by version and digest, so what a version computes is fixed here."""
    rows, columns = np.indices((48, 40))
    image = 0.5 + 0.3 * np.sin(rows / 3) * np.cos(columns / 5) + 0.1 * (np.hypot(rows - 20, columns - 15) < 6)
    image *= np.hypot((rows - 24) / 20, (columns - 20) / 16) < 1
    features = SOURCE.features(image[None, None].astype(np.float32))[0].astype(float)
    weights = np.cos(np.arange(len(features)))
    assert (SOURCE.version, SOURCE.digest[:8]) == ("1", "54ce4a03")
    assert features @ weights == pytest.approx(-11.7673, rel=1e-5)
