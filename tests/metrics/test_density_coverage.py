"""Density and coverage, plain and clipped: brute force, closed forms, calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import beta

from medgan_qa.metrics.density_coverage import (
    clipped_density_coverage,
    clipped_density_coverage_of,
    density_coverage,
    density_coverage_of,
    expected_clipped_coverage,
    expected_coverage,
)
from medgan_qa.metrics.neighbours import neighbourhood
from medgan_qa.rng import child


def share_of_good(value, n, m, k):
    """Inverse of the expectation by bisection over its linear pieces."""
    expected = [expected_clipped_coverage(n, good, k) for good in range(2 * m + 1)]
    above = next((good for good, e in enumerate(expected) if e >= value), None)
    if above is None:
        return 2.0
    if above == 0:
        return 0.0
    step = (value - expected[above - 1]) / (expected[above] - expected[above - 1])
    return (above - 1 + step) / m


def brute(real, generated, k):
    """Density, coverage, clipped density, clipped coverage."""
    among, between = cdist(real, real, "sqeuclidean"), cdist(real, generated, "sqeuclidean")
    np.fill_diagonal(among, np.inf)
    radii = np.sort(among, axis=1)[:, k - 1]
    n, m = between.shape
    inside = between <= radii[:, None]
    ordered = np.sort(radii)
    low, high = ordered[(n - 1) // 2], ordered[n // 2]
    median = low if low == high else ((math.sqrt(low) + math.sqrt(high)) / 2) ** 2
    clipped = np.minimum(radii, median)[:, None]
    fidelity = np.minimum((between <= clipped).sum(axis=0), k).mean() / k
    own = np.minimum((among <= clipped).sum(axis=0), k).mean() / k
    coverage = np.minimum(inside.sum(axis=1), k).mean() / k
    return inside.sum() / (k * m), inside.any(axis=1).mean(), fidelity / own, share_of_good(coverage, n, m, k)


def sets(kind):
    rng = child(0, "density", kind)
    real, generated = rng.standard_normal((61, 4)), 1.2 * rng.standard_normal((54, 4))
    if kind == "copies":
        generated, real = np.repeat(real[:9], 6, axis=0), np.repeat(real[:20], 4, axis=0)
    if kind == "lattice":
        real, generated = np.round(real), np.round(generated)
    if kind == "at the centre":
        generated *= 0.01
    return real, generated


KINDS = ["spread", "copies", "lattice", "at the centre"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_brute_force(kind, k, dtype):
    real, generated = (values.astype(dtype) for values in sets(kind))
    values = (*density_coverage(real, generated, k), *clipped_density_coverage(real, generated, k))
    assert values == pytest.approx(brute(real.astype(float), generated.astype(float), k), rel=1e-9)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(KINDS), st.sampled_from([3, 32]))
def test_halves_are_computed_as_if_alone(seed, kind, keep):
    real, generated = sets(kind)
    rng = child(seed, "halves")
    halves = [np.stack([rng.permutation(n) < n // 2 for _ in range(2)]) for n in (len(real), len(generated))]
    near = neighbourhood(real, generated, keep=keep)
    values = np.stack([*density_coverage_of(near, *halves), *clipped_density_coverage_of(near, *halves)], axis=1)
    expected = [brute(real[a], generated[b], 5) for a, b in zip(*halves, strict=True)]
    assert values == pytest.approx(np.array(expected), rel=1e-9)


def test_a_point_on_the_sphere_is_inside():
    real = np.array([[0.0], [1.0], [3.0]])
    assert density_coverage(real, np.array([[2.0], [-1.0]]), k=1) == (1.5, 1.0)


@pytest.mark.parametrize(("n", "m", "value"), [(200, 200, 0.9699), (10_000, 10_000, 0.9688)])
def test_expected_coverage_of_equal_sizes(n, m, value):
    assert expected_coverage(n, m) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize(("n", "m", "k"), [(12, 7, 3), (20, 30, 5), (6, 0, 5)])
def test_expected_coverages_are_beta_binomial(n, m, k):
    mass = [math.comb(m, j) * beta(k + j, n + m - k - j) / beta(k, n - k) for j in range(m + 1)]
    assert sum(mass) == pytest.approx(1)
    assert expected_coverage(n, m, k) == pytest.approx(1 - mass[0])
    clipped = sum(min(j, k) * p for j, p in enumerate(mass)) / k
    assert expected_clipped_coverage(n, m, k) == pytest.approx(clipped)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 150), (150, 60)])
def test_the_same_distribution_scores_what_is_expected_at_any_sizes(n, m):
    values = []
    for trial in range(150):
        rng = child(trial, "calibration", n, m)
        real, generated = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
        near = neighbourhood(real, generated)
        values.append([*density_coverage_of(near), *clipped_density_coverage_of(near)])
    mean = np.mean(values, axis=0)[:, 0]
    error = np.std(values, axis=0)[:, 0] / math.sqrt(len(values))
    expected = np.array([1, expected_coverage(n, m), 1, 1])
    # the inverse of a concave expectation bends noise upwards a little
    assert (np.abs(mean - expected) < 4 * error + [0, 0, 0.02, 0.04]).all()


@pytest.mark.parametrize("bad", [0.2, 0.5])
def test_clipped_values_are_shares_of_good_samples(bad):
    rng = child(0, "bad")
    real, generated = rng.standard_normal((800, 5)), rng.standard_normal((800, 5))
    generated[: int(800 * bad)] += 100
    values = clipped_density_coverage(real, generated)
    assert values == pytest.approx((1 - bad, 1 - bad), abs=0.06)


def test_one_outlier_does_not_move_clipped_density():
    rng = child(0, "outlier")
    real, generated = rng.standard_normal((300, 3)), 40 + rng.standard_normal((300, 3))
    real[0] = 45
    plain, clipped = density_coverage(real, generated), clipped_density_coverage(real, generated)
    assert plain.density > 0.15
    assert clipped.density < 0.01


def test_a_set_against_itself_covers_everything():
    real = np.repeat(child(0, "self").standard_normal((20, 3)), 7, axis=0)
    assert density_coverage(real, real).coverage == 1.0
    assert clipped_density_coverage(real, real) == (1.0, 2.0)


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="real must hold at least 6 samples for k = 5, got 5"):
        density_coverage(np.eye(5), np.eye(5))
    with pytest.raises(ValueError, match="real holds NaN"):
        clipped_density_coverage(np.full((9, 2), np.inf), np.ones((3, 2)))
    near = neighbourhood(np.eye(9), np.eye(9)[:4])
    with pytest.raises(ValueError, match="holds no sample"):
        density_coverage_of(near, None, np.zeros((1, 4), bool))
    for function in (expected_coverage, expected_clipped_coverage):
        with pytest.raises(ValueError, match="n = 5, m = 5, k = 5"):
            function(5, 5, 5)


def test_few_generated_samples_are_enough():
    real = child(0, "few").standard_normal((30, 2))
    assert density_coverage(real, real[:1]).coverage > 0
    assert density_coverage(real, real[:1] + 99) == (0.0, 0.0)
