"""Kernel distance: brute force, a simulated standard error, replicates by one pass, and the permutation test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from medgan_qa.metrics import _kernels
from medgan_qa.metrics.kernel_distance import (
    cmmd,
    kernel_distance,
    kernel_permutation_p,
    kernel_replicates,
    median_bandwidth,
)
from medgan_qa.rng import child
from medgan_qa.stats import draw_halves, half_sample_interval

KERNELS = {
    "polynomial": lambda a, b: (a @ b / len(a) + 1) ** 3,
    "rbf": lambda a, b: math.exp(-((a - b) @ (a - b)) / (2 * 1.7**2)),
}
OPTIONS = {"polynomial": {"kernel": "polynomial"}, "rbf": {"kernel": "rbf", "bandwidth": 1.7}}


def brute(x, y, kernel):
    """The U-statistic from its definition, pair by pair."""
    within = [
        np.mean([kernel(a, b) for i, a in enumerate(side) for j, b in enumerate(side) if i != j]) for side in (x, y)
    ]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def sample(n, d, purpose, shift=0.0):
    return child(0, purpose, n, d).normal(size=(n, d)) + shift


def activations(n, d, purpose, factor=1.0):
    """Float32 features as networks make them, far from the origin."""
    return (np.abs(sample(n, d, purpose)) * factor + 0.5).astype(np.float32)


@pytest.fixture(params=["polynomial", "rbf"])
def kernel(request):
    return request.param


class TestKernelDistance:
    @pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (2, 7, 3), (9, 4, 5), (12, 12, 2)])
    def test_it_is_the_mean_over_pairs(self, kernel, n, m, d):
        x, y = sample(n, d, "x"), sample(m, d, "y", 0.5)
        expected = brute(x, y, KERNELS[kernel])
        assert kernel_distance(x, y, **OPTIONS[kernel]).value == pytest.approx(expected, rel=1e-9, abs=1e-12)

    @given(st.integers(2, 15), st.integers(2, 15), st.integers(1, 4), st.sampled_from(sorted(KERNELS)))
    def test_prop_tiles_change_nothing(self, n, m, tile, kernel):
        x, y = sample(n, 3, "x"), sample(m, 3, "y")
        whole = kernel_distance(x, y, **OPTIONS[kernel])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_kernels, "TILE", tile)
            tiled = kernel_distance(x, y, **OPTIONS[kernel])
        assert tiled.value == pytest.approx(whole.value, rel=1e-9, abs=1e-12)
        if whole.standard_error is not None:
            assert tiled.standard_error == pytest.approx(whole.standard_error, rel=1e-6)

    def test_sides_change_places(self, kernel):
        x, y = sample(20, 3, "x"), sample(13, 3, "y", 0.5)
        one, other = kernel_distance(x, y, **OPTIONS[kernel]), kernel_distance(y, x, **OPTIONS[kernel])
        assert one.value == pytest.approx(other.value, rel=1e-9)
        assert one.standard_error == pytest.approx(other.standard_error, rel=1e-9)

    def test_the_rbf_kernel_has_no_origin(self):
        x, y = sample(20, 3, "x"), sample(13, 3, "y", 0.5)
        near, far = (kernel_distance(x + by, y + by, "rbf", bandwidth=1.0).value for by in (0.0, 1e4))
        assert near == pytest.approx(far, rel=1e-6)

    def test_few_samples_have_no_standard_error(self):
        assert kernel_distance(sample(3, 2, "x"), sample(9, 2, "y")).standard_error is None
        assert kernel_distance(sample(4, 2, "x"), sample(4, 2, "y")).standard_error > 0.0

    def test_constant_samples(self):
        found = kernel_distance(np.ones((5, 3)), np.ones((6, 3)))
        assert (found.value, found.standard_error) == pytest.approx((0.0, 0.0), abs=1e-6)

    @pytest.mark.parametrize(
        "distance",
        [kernel_distance, lambda x, y: kernel_distance(x, y, "rbf", bandwidth=9.0), cmmd],
        ids=["polynomial", "rbf", "cmmd"],
    )
    def test_float32_differs_by_far_less_than_the_standard_error(self, distance):
        x, y = activations(1100, 256, "x"), activations(300, 256, "y", 1.02)
        single, double = distance(x, y), distance(x.astype(float), y.astype(float))
        assert abs(single.value - double.value) < 1e-3 * double.standard_error
        assert single.standard_error == pytest.approx(double.standard_error, rel=1e-3)

    def test_float32_too_large_for_a_cube_is_computed_in_float64(self):
        x, y = (1e6 * activations(30, 4, side) for side in ("x", "y"))
        assert kernel_distance(x, y).value == kernel_distance(x.astype(float), y.astype(float)).value

    def test_equals_the_mean_over_subsets_when_the_subset_is_everything(self):
        torch = pytest.importorskip("torch")
        kid = pytest.importorskip("torch_fidelity.metric_kid")
        x, y = sample(40, 6, "x"), sample(40, 6, "y", 0.3)
        theirs = kid.kid_features_to_metric(
            torch.from_numpy(x),
            torch.from_numpy(y),
            kid_subsets=1,
            kid_subset_size=40,
            kid_kernel="poly",
            kid_kernel_poly_degree=3,
            kid_kernel_poly_gamma=None,
            kid_kernel_poly_coef0=1,
            rng_seed=0,
            verbose=False,
        )
        assert kernel_distance(x, y).value == pytest.approx(theirs[kid.KEY_METRIC_KID_MEAN], rel=1e-9)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kernel": "linear"}, "polynomial"),
            ({"kernel": "rbf"}, "bandwidth > 0"),
            ({"kernel": "rbf", "bandwidth": 0.0}, "bandwidth > 0"),
            ({"kernel": "rbf", "bandwidth": math.nan}, "bandwidth > 0"),
            ({"bandwidth": 1.0}, "no bandwidth"),
        ],
    )
    def test_refuses_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            kernel_distance(sample(5, 2, "x"), sample(5, 2, "y"), **options)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.zeros((1, 2)), "real must hold at least 2"),
            (np.zeros((5, 3)), "same D"),
            (np.array([[0.0, 1.0], [np.nan, 1.0]]), "1 rows: 1"),
        ],
    )
    def test_refuses_features(self, x, message):
        with pytest.raises(ValueError, match=message):
            kernel_distance(x, np.zeros((5, 2)))


class TestStandardError:
    """Against the spread of repeated studies; 800 of them know a standard deviation to 2.5 %."""

    @pytest.mark.parametrize(("n", "m", "shift"), [(40, 40, 0.5), (15, 60, 0.7), (60, 25, 0.5)])
    def test_it_is_the_spread_of_repeated_studies(self, kernel, n, m, shift):
        rng = child(n, "studies", m, kernel)
        found = [
            kernel_distance(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + shift, **OPTIONS[kernel])
            for _ in range(800)
        ]
        spread = np.std([one.value for one in found])
        assert math.sqrt(np.mean([one.standard_error**2 for one in found])) == pytest.approx(spread, rel=0.12)

    def test_between_equal_distributions_it_is_not_too_small(self, kernel):
        rng = child(0, "null", kernel)
        found = [kernel_distance(*rng.normal(size=(2, 30, 3)), **OPTIONS[kernel]) for _ in range(800)]
        values = np.array([one.value for one in found])
        ratio = math.sqrt(np.mean([one.standard_error**2 for one in found])) / values.std()
        # a first-order part that is 0 is estimated above and below it, and cut off below
        assert 0.95 < ratio < 1.4
        assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))


class TestCmmd:
    def test_it_is_the_rbf_distance_of_unit_vectors(self):
        x, y = sample(30, 5, "x"), sample(20, 5, "y", 0.5)
        unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y)]
        found = cmmd(x, 7.0 * y, sigma=0.5)
        assert found.value == pytest.approx(kernel_distance(*unit, "rbf", bandwidth=0.5).value, rel=1e-9)
        assert (found.kernel, found.bandwidth, found.real, found.generated) == ("rbf", 0.5, 30, 20)

    def test_the_biased_statistic_exceeds_it_by_what_is_said(self):
        n = 25
        x, y = ((lambda z: z / np.linalg.norm(z, axis=1, keepdims=True))(sample(n, 5, side)) for side in ("x", "y"))
        xx, yy, xy = (np.exp(-np.square(a[:, None] - b).sum(axis=2) / 200) for a, b in ((x, x), (y, y), (x, y)))
        biased = xx.mean() + yy.mean() - 2 * xy.mean()
        off_diagonal = (xx.sum() + yy.sum() - 2 * n) / (2 * n * (n - 1))
        assert biased - cmmd(x, y).value == pytest.approx(2 / n * (1 - off_diagonal), rel=1e-6)

    def test_refuses_rows_without_direction(self):
        with pytest.raises(
            ValueError, match="generated holds 1 rows that are all zero and have no direction; first: 3"
        ):
            cmmd(sample(5, 2, "x"), np.where(np.arange(5)[:, None] == 3, 0.0, sample(5, 2, "y")))


class TestMedianBandwidth:
    @pytest.mark.parametrize("n", [2, 3, 50])
    def test_it_is_the_median_of_the_distances(self, n):
        x = sample(n, 4, "x") + 100.0
        assert median_bandwidth(x) == pytest.approx(np.median(pdist(x)), rel=1e-6)

    def test_of_many_samples_some_tell_it(self):
        x = sample(5000, 2, "x")
        assert median_bandwidth(x) == pytest.approx(math.sqrt(2 * 2 * math.log(2)), rel=0.03)

    def test_refuses_samples_that_are_mostly_equal(self):
        with pytest.raises(ValueError, match="more than half of the pairs"):
            median_bandwidth(np.vstack([np.full((9, 3), 0.1), sample(1, 3, "x")]))


def halves(n, m, count):
    return draw_halves(range(n), count, child(0, "real")), draw_halves(range(m), count, child(0, "generated"))


class TestKernelReplicates:
    @pytest.mark.parametrize("tile", [4, 7, 1024])
    def test_each_is_the_distance_of_its_halves(self, kernel, tile, monkeypatch):
        monkeypatch.setattr(_kernels, "TILE", tile)
        x, y = sample(21, 3, "x"), sample(16, 3, "y", 0.5)
        masks = halves(21, 16, 8)
        expected = [kernel_distance(x[a], y[b], **OPTIONS[kernel]).value for a, b in zip(*masks, strict=True)]
        assert kernel_replicates(x, y, *masks, **OPTIONS[kernel]) == pytest.approx(expected, rel=1e-9, abs=1e-12)

    def test_float32_differs_by_far_less_than_their_spread(self):
        x, y = activations(1100, 64, "x"), activations(300, 64, "y", 1.02)
        masks = halves(1100, 300, 20)
        double = kernel_replicates(x.astype(float), y.astype(float), *masks)
        assert np.abs(kernel_replicates(x, y, *masks) - double).max() < 0.01 * double.std()

    def test_half_sampling_covers_the_truth(self, kernel):
        # E k has no closed form here; the mean of the unbiased estimate over many studies stands for it
        rng, hits = child(0, "coverage", kernel), 0
        studies = [(rng.normal(size=(50, 3)), rng.normal(size=(40, 3)) + 0.5) for _ in range(900)]
        truth = np.mean([kernel_distance(x, y, **OPTIONS[kernel]).value for x, y in studies])
        for x, y in studies[:250]:
            masks = draw_halves(range(50), 40, rng), draw_halves(range(40), 40, rng)
            replicates = kernel_replicates(x, y, *masks, **OPTIONS[kernel])
            value = kernel_distance(x, y, **OPTIONS[kernel]).value
            found = half_sample_interval(value, replicates, clusters=40, sided=2)
            hits += found.low <= truth <= found.high
        assert 0.90 <= hits / 250 <= 0.99

    def test_refuses_masks_that_are_not_theirs(self):
        with pytest.raises(ValueError, match=r"halves_generated must have shape \(B, 5\)"):
            kernel_replicates(sample(5, 2, "x"), sample(5, 2, "y"), *halves(5, 6, 4))


class TestPermutation:
    def test_equal_distributions_give_uniform_p(self):
        rng = child(0, "null")
        found = np.array(
            [kernel_permutation_p(*rng.normal(size=(2, 12, 2)), permutations=19, generator=rng) for _ in range(400)]
        )
        # 20 relabellings: exactly one in 20 is the largest
        assert np.mean(found <= 0.05) == pytest.approx(0.05, abs=0.035)
        assert np.mean(found <= 0.5) == pytest.approx(0.5, abs=0.08)

    def test_a_shift_is_found(self):
        x, y = sample(40, 3, "x"), sample(30, 3, "y", 1.0)
        assert kernel_permutation_p(x, y, permutations=99, generator=child(0, "p")) == 0.01

    def test_copies_within_a_patient_do_not_make_it_significant(self):
        # ten copies of each of eight patients, equal distributions: by image the difference looks enormous
        x, y = (np.repeat(sample(8, 3, side), 10, axis=0) for side in ("x1", "y1"))
        patients = np.repeat(np.arange(8), 10)
        by_image = kernel_permutation_p(x, y, permutations=99, generator=child(0, "p"))
        by_patient = kernel_permutation_p(
            x, y, permutations=99, generator=child(0, "p"), clusters_real=patients, clusters_generated=patients
        )
        assert by_image == 0.01
        assert by_patient > 0.1

    def test_relabelling_agrees_with_the_distance(self):
        # with two samples a side every relabelling can be written down: three distances, each twice
        x, y = np.array([[0.0], [0.1]]), np.array([[5.0], [5.1]])
        p = kernel_permutation_p(x, y, permutations=2000, generator=child(0, "p"), kernel="rbf", bandwidth=1.0)
        assert p == pytest.approx(1 / 3, abs=0.04)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"permutations": 0}, "at least 1"),
            ({"clusters_real": ["p"] * 4}, "expected 5, got 4"),
            ({"clusters_real": [*"aaaaa"], "clusters_generated": [*"abcde"]}, "too few patients"),
        ],
    )
    def test_refuses(self, options, message):
        x, y = sample(5, 2, "x"), sample(5, 2, "y")
        options = {"permutations": 9, **options}
        with pytest.raises(ValueError, match=message):
            kernel_permutation_p(x, y, generator=child(0, "p"), **options)
