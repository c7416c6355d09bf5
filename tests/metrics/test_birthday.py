"""Birthday test: brute-force pairs, the exact bound without duplicates, and coverage for equal and unequal chances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.spatial.distance import pdist

from medgan_qa.metrics import birthday as module
from medgan_qa.metrics.birthday import birthday_diversity, near_duplicates
from medgan_qa.rng import child

grids = hnp.arrays(np.float64, st.tuples(st.integers(2, 25), st.integers(1, 3)), elements=st.integers(-3, 3))


def brute_force(features: np.ndarray, threshold: float) -> list[list[int]]:
    n = len(features)
    gaps = features[:, None] - features
    near = np.sqrt((gaps**2).sum(axis=2)) <= threshold
    return [[i, j] for i in range(n) for j in range(i + 1, n) if near[i, j]]


@given(grids, st.sampled_from([0.0, 1.0, math.sqrt(2), 2.0]), st.sampled_from([1, 37, 1 << 22]))
@settings(max_examples=150, deadline=None)
def test_pairs_equal_brute_force_at_any_tile_size(features, threshold, tile):
    # integer grids: many distances equal the threshold to the last bit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", tile)
        assert near_duplicates(features, threshold).tolist() == brute_force(features, threshold)
        result = birthday_diversity(features, threshold)
    assert result.duplicates == len(brute_force(features, threshold))
    assert result.pairs == len(features) * (len(features) - 1) // 2


def test_exact_copies_are_told_from_neighbours_far_from_the_origin():
    features = 1e6 + child(0, "far").normal(size=(50, 8))
    features[30] = features[3]
    # squared distances below the rounding of the expanded square
    features[31:41] = features[4:14] * (1 + 2e-15)
    assert near_duplicates(features, 0.0).tolist() == [[3, 30]]
    assert near_duplicates(features.astype(np.float32), 0.0).tolist() == [[3, 30], *([i, i + 27] for i in range(4, 14))]


def test_a_long_list_is_refused_and_still_counted():
    features = np.zeros((60, 2))
    with pytest.raises(ValueError, match="over 100 pairs"):
        near_duplicates(features, 0.1, limit=100)
    result = birthday_diversity(features, 0.1)
    assert (result.duplicates, result.rate, result.support, result.support_low) == (1770, 1.0, 1.0, 1.0)
    assert result.even_odds == pytest.approx(0.5 + math.sqrt(0.25 + 2 * math.log(2)))


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("n", [2, 4, 10, 300, 4000])
def test_without_duplicates_the_bound_is_the_exact_one(n, alpha):
    result = birthday_diversity(np.arange(n, dtype=float)[:, None], 0.0, alpha=alpha)
    support = result.support_low

    def chance(size: float) -> float:
        return math.prod(1 - i / size for i in range(n))

    if support == n:
        assert chance(n) >= alpha
    else:
        assert chance(support) == pytest.approx(alpha, rel=1e-6)
        assert chance(0.99 * support) < alpha < chance(1.01 * support)
    assert (result.support, result.support_high, result.even_odds) == (None, None, None)


def test_rule_of_three_for_pairs():
    low = birthday_diversity(np.arange(1000.0)[:, None], 0.0).support_low
    assert low == pytest.approx(1000**2 / 6, rel=0.01)


@pytest.mark.parametrize(("support", "n"), [(500, 60), (500, 200), (30, 12), (30, 100)])
def test_bounds_hold_for_equal_chances(support, n):
    rng = child(1, "equal", support, n)
    results = [birthday_diversity(rng.integers(support, size=(n, 1)).astype(float), 0.0) for _ in range(400)]
    low = np.mean([r.support_low <= support for r in results])
    high = np.mean([r.support_high is None or r.support_high >= support for r in results])
    # two standard deviations of 400 repetitions below 0.95
    assert low >= 0.95 - 0.022
    assert high >= 0.95 - 0.022
    assert np.mean([r.rate for r in results]) == pytest.approx(1 / support, rel=0.15)


@pytest.mark.parametrize("n", [40, 200])
def test_bounds_for_unequal_chances(n):
    rng = child(2, "unequal", n)
    chances = 1 / np.arange(1, 301)
    chances /= chances.sum()
    effective = 1 / float(chances @ chances)
    results = [birthday_diversity(rng.choice(300, (n, 1), p=chances).astype(float), 0.0) for _ in range(300)]
    assert np.mean([r.support_low <= 300 for r in results]) == 1.0
    assert np.mean([r.support_low <= effective for r in results]) >= 0.85
    assert np.mean([r.support_high >= effective for r in results]) >= 0.93
    assert np.mean([r.rate for r in results]) == pytest.approx(1 / effective, rel=0.05)
    assert np.mean([r.design_effect for r in results]) > 3


def test_bounds_are_garwoods_for_scattered_duplicates():
    features = np.arange(400.0)[:, None]
    features[200:205] = features[:5]
    result = birthday_diversity(features, 0.0, alpha=0.025)
    pairs = 400 * 399 / 2
    assert (result.duplicates, result.pairs, result.support) == (5, pairs, pairs / 5)
    assert result.design_effect == pytest.approx(1.0, abs=0.01)
    assert result.support_high == pytest.approx(pairs / (stats.chi2.ppf(0.025, 10) / 2), rel=0.02)
    assert result.support_low == pytest.approx(pairs / (stats.chi2.ppf(0.975, 12) / 2), rel=0.02)


def test_even_odds_is_the_batch_that_holds_a_duplicate_half_of_the_time():
    rng = child(3, "odds")
    batch = round(birthday_diversity(rng.integers(2000, size=(2000, 1)).astype(float), 0.0).even_odds)
    repeated = [len(np.unique(rng.integers(2000, size=batch))) < batch for _ in range(1500)]
    assert np.mean(repeated) == pytest.approx(0.5, abs=0.06)


@given(grids, st.floats(0.0, 3.0), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_order_scale_and_place_change_nothing(features, threshold, seed):
    rng = child(seed, "birthday")
    if (np.abs(pdist(features) - threshold) < 1e-6).any():
        threshold += 1e-3
    first = birthday_diversity(features, threshold)
    second = birthday_diversity(4 * features[rng.permutation(len(features))] + 16, 4 * threshold)
    for name in ("duplicates", "pairs", "rate", "support", "support_low", "support_high", "design_effect"):
        assert getattr(second, name) == pytest.approx(getattr(first, name)), name
    assert first.support_low <= (first.support or math.inf) <= (first.support_high or math.inf)
    assert first.support_low >= 1
    assert first.design_effect >= 1


def test_pairs_within_a_patient_do_not_count():
    features = np.array([0.0, 0.0, 1.0, 2.0, 0.0, 5.0])[:, None]
    patients = ["a", "a", "b", "b", "c", "d"]
    result = birthday_diversity(features, 0.0, clusters=patients)
    assert (result.duplicates, result.pairs) == (2, 15 - 2)
    apart = birthday_diversity(np.arange(40.0)[:, None] // 2, 0.0, clusters=[str(i // 2) for i in range(40)])
    assert apart.duplicates == 0
    assert apart.support_low == birthday_diversity(np.arange(20.0)[:, None], 0.0).support_low


def test_more_duplicates_never_raise_the_lower_bound():
    bounds = []
    for copies in range(6):
        features = np.arange(100.0)[:, None]
        features[50 : 50 + copies] = features[:copies]
        bounds.append(birthday_diversity(features, 0.0).support_low)
    assert bounds == sorted(bounds, reverse=True)


@pytest.mark.parametrize(
    ("features", "keywords", "message"),
    [
        (np.ones((1, 2)), {}, "at least 2 independent"),
        (np.ones(4), {}, "shape"),
        (np.array([[1.0], [np.nan]]), {}, "NaN or infinity"),
        (np.ones((3, 2)), {"threshold": -1.0}, "threshold must be"),
        (np.ones((3, 2)), {"threshold": math.nan}, "threshold must be"),
        (np.ones((3, 2)), {"alpha": 0.6}, "alpha must lie"),
        (np.ones((3, 2)), {"clusters": ["a", "a", "a"]}, "at least 2 independent"),
        (np.ones((3, 2)), {"clusters": ["a", "b"]}, "one label per image"),
    ],
)
def test_misfits_are_refused(features, keywords, message):
    with pytest.raises(ValueError, match=message):
        birthday_diversity(features, **{"threshold": 0.5, **keywords})
