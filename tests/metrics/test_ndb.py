"""NDB: scipy as the oracle of each test, false alarms of clean generators with and without patients, and power."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from medgan_qa.metrics.ndb import DifferentBins, ndb
from medgan_qa.rng import child
from medgan_qa.stats.multiplicity import holm

# the package exports the function under the name of its module
module = import_module("medgan_qa.metrics.ndb")


def clusters_of(rng: np.random.Generator, patients: int, slices: int, shared: float, columns: int = 3) -> np.ndarray:
    """Standard normal features, `shared` of whose variance belongs to the patient."""
    own = rng.normal(size=(patients, slices, columns))
    return (math.sqrt(shared) * rng.normal(size=(patients, 1, columns)) + math.sqrt(1 - shared) * own).reshape(
        -1, columns
    )


def compare(n: int = 300, m: int = 500, bins: int = 12, shift: float = 0.0, seed: int = 0) -> DifferentBins:
    rng = child(seed, "ndb")
    return ndb(rng.normal(size=(200, 3)), rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + shift, rng, bins=bins)


def test_counts_are_those_of_the_nearest_centres():
    rng = child(1, "counts")
    binning, real, generated = rng.normal(size=(120, 4)), rng.normal(size=(90, 4)) + 50, rng.normal(size=(70, 4))
    result = ndb(binning + 50, real, generated + 50, rng, bins=5)
    assert result.bins == len(result.centres) == 5
    for x, counts in ((real, result.real_counts), (generated + 50, result.generated_counts)):
        nearest = np.argmin(((x[:, None] - result.centres) ** 2).sum(axis=2), axis=1)
        assert counts.tolist() == np.bincount(nearest, minlength=5).tolist()
    # centres of a settled k-means are the means of their images
    nearest = np.argmin(((binning[:, None] + 50 - result.centres) ** 2).sum(axis=2), axis=1)
    assert result.centres == pytest.approx(
        np.array([binning[nearest == j].mean(axis=0) + 50 for j in range(5)]), abs=1e-9
    )


@pytest.mark.parametrize(("n", "m", "exact"), [(2000, 3000, False), (130, 150, True)])
def test_every_bin_equals_scipys_test(n, m, exact):
    result = compare(n, m, bins=6, shift=0.15)
    for j in range(6):
        a, b = result.real_counts[j], result.generated_counts[j]
        pooled = (a + b) / (n + m)
        z = (b / m - a / n) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        assert result.z[j] == pytest.approx(z, rel=1e-12)
        expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue if exact else 2 * stats.norm.sf(abs(z))
        assert result.p_values[j] == pytest.approx(expected, rel=1e-7)
        assert (min(pooled, 1 - pooled) * min(n, m) < module.EXACT_BELOW) == exact
    assert result.p_adjusted == pytest.approx([step.p_adjusted for step in holm(result.p_values, 0.05)])
    assert result.different == np.count_nonzero(result.p_values <= 0.05)
    assert result.different_holm == np.count_nonzero(result.p_adjusted <= 0.05)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_exact_test_equals_scipys(n, m, first, second):
    a, b = round(first * n), round(second * m)
    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert module._fisher(a, n, b, m) == pytest.approx(expected, rel=1e-9)


def test_divergence_equals_scipys_and_its_bias_is_the_stated_one():
    result = compare(shift=0.5)
    expected = jensenshannon(result.real_shares, result.generated_shares, base=2) ** 2
    assert result.jensen_shannon == pytest.approx(expected)
    clean = [compare(seed=seed).jensen_shannon for seed in range(40)]
    assert np.mean(clean) == pytest.approx(11 / 8 * (1 / 300 + 1 / 500) / math.log(2), rel=0.2)
    assert module._jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


def test_global_p_value_agrees_with_the_chi_square_test():
    result = compare(shift=0.1)
    table = np.array([result.real_counts, result.generated_counts])
    assert result.p_value == pytest.approx(stats.chi2_contingency(table).pvalue, abs=0.02)


@pytest.mark.parametrize(("slices", "shared"), [(1, 0.0), (2, 0.9), (2, 1.0)])
def test_clean_generators_are_flagged_in_at_most_five_percent(slices, shared, monkeypatch):
    monkeypatch.setattr(module, "PERMUTATIONS", 499)
    rng = child(2, "clean", slices, int(10 * shared))
    flagged, rejected, repetitions = 0, 0, 300
    patients = np.repeat(np.arange(200), slices).astype(str)
    for _ in range(repetitions):
        real, generated = clusters_of(rng, 200, slices, shared), rng.normal(size=(300, 3))
        result = ndb(rng.normal(size=(200, 3)), real, generated, rng, real_clusters=patients)
        flagged += result.different_holm > 0
        rejected += result.p_value <= 0.05
    # three standard deviations of 300 repetitions above 0.05
    assert flagged / repetitions <= 0.05 + 0.038
    assert rejected / repetitions <= 0.05 + 0.038


def test_ignoring_the_patients_would_raise_false_alarms(monkeypatch):
    monkeypatch.setattr(module, "PERMUTATIONS", 499)
    rng = child(3, "ignored")
    rejected = 0
    for _ in range(60):
        real = clusters_of(rng, 40, 10, 0.9)
        rejected += ndb(rng.normal(size=(200, 3)), real, rng.normal(size=(300, 3)), rng, bins=4).p_value <= 0.05
    # 3 of 60 would be right
    assert rejected > 20


def test_design_effect_of_identical_and_of_independent_slices():
    rng = child(4, "effect")
    patients = np.repeat(np.arange(300), 4).astype(str)
    sets = [clusters_of(rng, 300, 4, shared) for shared in (1.0, 0.0)]
    same, free = (
        ndb(rng.normal(size=(300, 3)), x, rng.normal(size=(500, 3)), rng, bins=10, real_clusters=patients) for x in sets
    )
    assert same.design_effect == pytest.approx(4.0, rel=0.01)
    assert 1.0 <= free.design_effect < 1.15
    assert compare().design_effect == 1.0


def test_a_dropped_and_a_doubled_mode_are_found():
    rng = child(5, "modes")
    modes = 8 * np.eye(10)

    def draw(n: int, chances: np.ndarray) -> np.ndarray:
        return modes[rng.choice(10, n, p=chances / chances.sum())] + rng.normal(size=(n, 10))

    even, skewed = np.ones(10), np.array([0, 2] + [1] * 8)
    result = ndb(draw(300, even), draw(400, even), draw(400, skewed), rng, bins=10)
    dropped, doubled = (np.argmin(((result.centres - modes[k]) ** 2).sum(axis=1)) for k in (0, 1))
    assert result.generated_counts[dropped] == 0
    assert result.z[dropped] < -4
    assert result.z[doubled] > 2
    assert result.p_adjusted[dropped] < 0.001
    assert result.p_value <= 0.001


def test_bins_are_capped_by_the_smallest_independent_sample():
    assert compare(n=85, m=500, bins=100).bins == 8
    rng = child(6, "cap")
    patients = [str(i // 5) for i in range(300)]
    sets = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    assert ndb(*sets, rng, real_clusters=patients).bins == 6


def test_order_scale_and_rotation_of_the_features_change_nothing():
    rng = child(7, "order")
    binning, real, generated = (rng.normal(size=(100, 3)) for _ in range(3))
    patients = np.array([f"p{i // 2}" for i in range(100)])
    rotation, order = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.permutation(100)
    first = ndb(binning, real, generated, child(0, "k"), bins=5, real_clusters=patients)
    second = ndb(
        7 * binning @ rotation + 3,
        7 * real[order] @ rotation + 3,
        7 * generated[order] @ rotation + 3,
        child(0, "k"),
        bins=5,
        real_clusters=patients[order],
    )
    assert second.real_counts.tolist() == first.real_counts.tolist()
    assert second.p_values == pytest.approx(first.p_values)
    assert second.p_value == pytest.approx(first.p_value)


def test_few_different_images_make_as_many_bins():
    images = np.repeat(np.eye(3), 20, axis=0)
    result = ndb(images, images, images[:40], child(8, "k"), bins=6)
    assert result.bins == 3
    assert sorted(result.real_counts.tolist()) == [20, 20, 20]
    alike = ndb(np.ones((30, 2)), np.ones((30, 2)), np.ones((30, 2)), child(8, "k"))
    assert (alike.bins, alike.different, alike.p_value, alike.jensen_shannon) == (1, 0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("sets", "keywords", "message"),
    [
        ((np.ones((30, 2)), np.ones((19, 2)), np.ones((30, 2))), {}, "20 independent images"),
        ((np.ones((30, 2)), np.ones((30, 3)), np.ones((30, 2))), {}, "differ in D"),
        ((np.ones((30, 2)), np.ones((30, 2)), np.full((30, 2), np.nan)), {}, "generated holds NaN"),
        ((np.ones((30, 2)), np.ones((30, 2)), np.ones((30, 2))), {"bins": 1}, "bins must be"),
        ((np.ones((30, 2)), np.ones((30, 2)), np.ones((30, 2))), {"alpha": 0.0}, "alpha in"),
        ((np.ones((30, 2)), np.ones((30, 2)), np.ones((30, 2))), {"real_clusters": ["a"]}, "one label per image"),
        ((np.ones((30, 2)),) * 3, {"real_clusters": ["a", "b"] * 15}, "2 real"),
    ],
)
def test_misfits_are_refused(sets, keywords, message):
    with pytest.raises(ValueError, match=message):
        ndb(*sets, child(0, "k"), **keywords)
