"""Distances of two samples against scipy, closed forms and each half on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medgan_qa.metrics.distributions import distribution_distance, half_sample_distances
from medgan_qa.rng import child

SAMPLES = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=12)


@given(SAMPLES, st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12))
def test_prop_distances_are_those_of_scipy(first: list[float], second: list[float]) -> None:
    found = distribution_distance(first, second)
    assert found.kolmogorov_smirnov == pytest.approx(stats.ks_2samp(first, second, method="asymp").statistic)
    spread, area = np.std(first, ddof=1), stats.wasserstein_distance(first, second)
    if spread > 0:
        assert found.wasserstein == pytest.approx(area / spread)
    else:
        assert found.wasserstein == (np.inf if area > 0 else 0)


def test_replicates_are_those_of_the_halves_alone() -> None:
    g = child(1, "halves")
    first, second = g.normal(size=31), g.exponential(size=44).round(1)
    a, b = g.random((150, 31)) < 0.5, g.random((150, 44)) < 0.5
    found = half_sample_distances(first, second, a, b)
    alone = [distribution_distance(first[i], second[j]) for i, j in zip(a, b, strict=True)]
    assert found.kolmogorov_smirnov == pytest.approx([d.kolmogorov_smirnov for d in alone])
    assert found.wasserstein == pytest.approx([d.wasserstein for d in alone])


def test_the_stated_distance_of_equal_distributions() -> None:
    g = child(2, "equal")
    found = [distribution_distance(x[:200], x[200:]) for x in g.normal(size=(300, 500))]
    scale = np.sqrt(1 / 200 + 1 / 300)
    assert np.mean([d.kolmogorov_smirnov for d in found]) == pytest.approx(0.87 * scale, rel=0.1)
    assert np.mean([d.wasserstein for d in found]) == pytest.approx(1.29 * scale, rel=0.1)


@given(st.floats(0.1, 100), st.floats(-50, 50))
def test_prop_distances_ignore_scale_and_offset(factor: float, offset: float) -> None:
    g = child(3, "scale")
    first, second = g.normal(size=40), g.normal(0.5, 2.0, 30)
    before, after = (
        distribution_distance(first, second),
        distribution_distance(first * factor + offset, second * factor + offset),
    )
    assert after.kolmogorov_smirnov == pytest.approx(before.kolmogorov_smirnov)
    assert after.wasserstein == pytest.approx(before.wasserstein)


def test_no_replicates_are_an_empty_vector() -> None:
    found = half_sample_distances([1.0, 2.0], [1.0], np.zeros((0, 2), bool), np.zeros((0, 1), bool))
    assert found.kolmogorov_smirnov.shape == found.wasserstein.shape == (0,)


@pytest.mark.parametrize(
    ("reference", "values", "a", "b", "message"),
    [
        ([1.0], [1.0], np.ones((1, 1), bool), np.ones((1, 1), bool), "reference"),
        ([1.0, np.nan], [1.0], np.ones((1, 2), bool), np.ones((1, 1), bool), "finite"),
        ([1.0, 2.0], [], np.ones((1, 2), bool), np.ones((1, 0), bool), "values"),
        ([1.0, 2.0], [1.0], np.ones((1, 3), bool), np.ones((1, 1), bool), "shapes"),
        ([1.0, 2.0], [1.0], np.ones((2, 2), bool), np.ones((1, 1), bool), "shapes"),
        ([1.0, 2.0], [1.0], np.array([[True, False]]), np.ones((1, 1), bool), "at least two"),
    ],
)
def test_refuses_samples_without_a_distance(reference: Any, values: Any, a: Any, b: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        half_sample_distances(reference, values, a, b)
