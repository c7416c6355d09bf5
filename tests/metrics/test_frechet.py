"""Frechet distance: closed forms, an independent oracle for every kind of rank, replicates, and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from medgan_qa.metrics import _frechet_halves
from medgan_qa.metrics.frechet import frechet_distance, frechet_distance_of, frechet_replicates
from medgan_qa.metrics.moments import Moments
from medgan_qa.rng import child
from medgan_qa.stats import draw_halves, half_sample_interval

D = 40


def oracle(x, y):
    """From the definition: the root of S1 by its eigenvectors, singular values of S1^(1/2) with a factor of S2."""
    delta = x.mean(axis=0) - y.mean(axis=0)
    _, s, v = linalg.svd((x - x.mean(axis=0)) / math.sqrt(len(x) - 1), full_matrices=False)
    b = (y - y.mean(axis=0)) / math.sqrt(len(y) - 1)
    nuclear = linalg.svdvals((v.T * s) @ v @ b.T).sum()
    return float(delta @ delta + (s**2).sum() + (b**2).sum() - 2 * nuclear)


def decaying(n, power, purpose, d=D):
    """Samples with standard deviations rank^-power in a random basis, away from the origin."""
    basis = linalg.qr(child(0, "basis", d).normal(size=(d, d)))[0]
    return (child(0, purpose, n, str(power)).normal(size=(n, d)) * np.arange(1.0, d + 1) ** -power) @ basis + 1.0


def repeated(features, distinct):
    return features[np.arange(len(features)) % distinct]


def without(features, columns):
    changed = features.copy()
    changed[:, columns] = 0.3
    return changed


X, Y = decaying(150, 1.0, "x"), decaying(120, 1.0, "y") * 1.05
SCALES = 10.0 ** (np.arange(D) % 9 - 4)
PAIRS = {
    "full rank": (X, Y),
    "flat spectrum": (decaying(150, 0.0, "x"), decaying(120, 0.0, "y")),
    "steep spectrum": (decaying(150, 4.0, "x"), decaying(120, 4.0, "y") * 1.05),
    "fewer samples than features": (X[:15], Y[:20]),
    "one side with fewer samples": (X, Y[:12]),
    "the other side with fewer samples": (X[:9], Y),
    "as many as features": (X[:D], Y[:D]),
    "two samples": (X[:2], Y[:2]),
    "repeated samples": (repeated(X, 17), Y),
    "repeated samples on both sides": (repeated(X, 17), repeated(Y, 23)),
    "constant columns": (without(X, slice(0, 5)), without(Y, slice(3, 9))),
    "constant columns, few samples": (without(X, slice(0, 5))[:9], without(Y, slice(3, 9))[:9]),
    "dependent columns": (np.hstack([X, 2 * X[:, :9]]), np.hstack([Y, 2 * Y[:, :9]])),
    "scales of nine decades": (X * SCALES, Y * SCALES),
    "nothing in common": (without(X, slice(0, 20)), without(Y, slice(20, 40))),
}


class TestFrechetDistance:
    @pytest.mark.parametrize("name", PAIRS)
    def test_agrees_with_the_definition_for_any_rank(self, name):
        x, y = PAIRS[name]
        expected = oracle(x, y)
        assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
        assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-6)
        assert frechet_distance_of(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("name", PAIRS)
    def test_equal_samples_are_no_distance_apart(self, name):
        x = PAIRS[name][0]
        trace = x.var(axis=0, ddof=1).sum()
        assert 0.0 <= frechet_distance(x, x) <= 1e-12 * trace
        assert 0.0 <= frechet_distance_of(Moments.of(x), Moments.of(x)) <= 1e-12 * trace

    @pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 30), (50, 20)])
    def test_one_feature_has_its_closed_form(self, n, m):
        x, y = child(1, "x", n).normal(2, 3, (n, 1)), child(1, "y", m).normal(size=(m, 1))
        expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
        assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)

    def test_a_shift_is_its_squared_length(self):
        assert frechet_distance(X, X + 0.5) == pytest.approx(D * 0.25, rel=1e-9)

    def test_a_factor_gives_the_trace_times_its_excess_squared(self):
        centred = X - X.mean(axis=0)
        expected = 0.25 * centred.var(axis=0, ddof=1).sum()
        assert frechet_distance(centred, 1.5 * centred) == pytest.approx(expected, rel=1e-9)

    def test_sides_that_do_not_vary_leave_the_means(self):
        assert frechet_distance(np.full((4, 2), 0.1), np.full((5, 2), 0.4)) == pytest.approx(0.18, rel=1e-12)

    @given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 6), st.integers(0, 9))
    def test_prop_routes_agree_and_nothing_is_negative(self, n, m, d, seed):
        x, y = (np.round(child(seed, side, k, d).normal(size=(k, d))) for side, k in (("x", n), ("y", m)))
        distance = frechet_distance(x, y)
        assert distance >= 0.0
        assert distance == pytest.approx(frechet_distance(y, x), rel=1e-6, abs=1e-12)
        assert distance == pytest.approx(oracle(x, y), rel=1e-6, abs=1e-7)
        assert distance == pytest.approx(frechet_distance_of(Moments.of(x), Moments.of(y)), rel=1e-6, abs=1e-7)

    @pytest.mark.parametrize("n", [30, 120])
    def test_float32_features_agree_with_float64(self, n):
        x, y = X[:n].astype(np.float32), Y[:n].astype(np.float32)
        assert frechet_distance(x, y) == pytest.approx(oracle(x.astype(float), y.astype(float)), rel=1e-6)

    @pytest.mark.parametrize("n", [30, 100])
    def test_agrees_with_torch_fidelity(self, n):
        torch = pytest.importorskip("torch")
        fid = pytest.importorskip("torch_fidelity.metric_fid")
        x, y = decaying(n, 0.3, "fx"), decaying(n, 0.3, "fy")
        theirs = fid.fid_statistics_to_metric(
            *(fid.fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)), verbose=False
        )
        # below D samples their non-symmetric eigenvalues are rounding where ours are 0
        assert frechet_distance(x, y) == pytest.approx(theirs[fid.KEY_METRIC_FID], rel=1e-5)

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (X[:1], Y, "real must hold at least 2"),
            (X, Y[:0], "generated must hold at least 2"),
            (X, Y[:, :3], "same D"),
            (X[0], Y, r"\(N, D\)"),
            (np.where(np.arange(150)[:, None] == 7, np.nan, X), Y, "1 rows: 7"),
        ],
    )
    def test_refuses(self, x, y, message):
        with pytest.raises(ValueError, match=message):
            frechet_distance(x, y)

    def test_refuses_moments_that_do_not_compare(self):
        with pytest.raises(ValueError, match="cannot be compared"):
            frechet_distance_of(Moments.of(X), Moments.of(X[:, :3]))
        with pytest.raises(ValueError, match="at least 2 samples"):
            frechet_distance_of(Moments.of(X), Moments.of(X[:1]))


def halves(n, m, count, seed=0):
    return draw_halves(range(n), count, child(seed, "real")), draw_halves(range(m), count, child(seed, "generated"))


class TestFrechetReplicates:
    @pytest.mark.parametrize("name", [name for name in PAIRS if name != "two samples"])
    def test_each_is_the_distance_of_its_halves(self, name):
        x, y = PAIRS[name]
        masks = halves(len(x), len(y), 10)
        expected = np.array([frechet_distance(x[a], y[b]) for a, b in zip(*masks, strict=True)])
        found = frechet_replicates(x, y, *masks)
        # within 1 % of the spread that they are made for
        assert np.abs(found - expected).max() <= 0.01 * expected.std()

    @pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
    def test_halves_much_larger_than_the_features(self, power):
        x, y = decaying(400, power, "x"), decaying(300, power, "y") * 1.05
        masks = halves(400, 300, 10)
        expected = np.array([frechet_distance(x[a], y[b]) for a, b in zip(*masks, strict=True)])
        assert np.abs(frechet_replicates(x, y, *masks) - expected).max() <= 0.01 * expected.std()

    def test_rows_need_not_come_in_pairs(self):
        x, y = decaying(400, 1.0, "x"), decaying(300, 1.0, "y")
        real, generated = halves(400, 300, 10)
        order = np.array([3, 0, 8, 1, 5])
        found = frechet_replicates(x, y, real[order], generated[order])
        assert found == pytest.approx(frechet_replicates(x, y, real, generated)[order], rel=1e-4)

    def test_small_and_large_halves_in_one_call(self):
        x, y = decaying(400, 1.0, "x"), decaying(300, 1.0, "y")
        real, generated = halves(400, 300, 4)
        real[1, 20:] = False
        real[1, :20] = True
        expected = [frechet_distance(x[a], y[b]) for a, b in zip(real, generated, strict=True)]
        assert frechet_replicates(x, y, real, generated) == pytest.approx(expected, rel=1e-3)

    def test_a_gram_matrix_too_large_to_hold_changes_nothing(self, monkeypatch):
        masks = halves(150, 120, 6)
        x, y = decaying(150, 1.0, "x", 150), decaying(120, 1.0, "y", 150)
        whole = frechet_replicates(x, y, *masks)
        monkeypatch.setattr(_frechet_halves, "GRAM_BYTES", 0)
        assert frechet_replicates(x, y, *masks) == pytest.approx(whole, rel=1e-9)

    def test_samples_that_do_not_vary(self):
        found = frechet_replicates(np.full((40, 3), 0.1), np.full((40, 3), 0.4), *halves(40, 40, 4))
        assert found == pytest.approx([0.27] * 4, rel=1e-9)

    @pytest.mark.parametrize(
        ("real", "generated", "error", "message"),
        [
            (np.ones((4, 150)), np.ones((4, 120), dtype=bool), TypeError, "halves_real must be a bool"),
            (np.ones((4, 120), dtype=bool), np.ones((4, 120), dtype=bool), ValueError, r"\(B, 150\)"),
            (np.ones((4, 150), dtype=bool), np.ones((3, 120), dtype=bool), ValueError, "same B"),
            (np.ones((4, 150), dtype=bool), np.arange(480).reshape(4, 120) < 361, ValueError, "row 3"),
        ],
    )
    def test_refuses(self, real, generated, error, message):
        with pytest.raises(error, match=message):
            frechet_replicates(X, Y, real, generated)


def gaussians(n, m, d, shift, rng):
    scale = np.arange(1.0, d + 1) ** -0.5
    return rng.normal(size=(n, d)) * scale, rng.normal(size=(m, d)) * scale + shift


class TestIntervals:
    @pytest.mark.parametrize(("n", "m", "d", "shift"), [(40, 30, 8, 0.3), (24, 24, 32, 0.3), (60, 40, 8, 0.0)])
    def test_half_sampling_covers_the_expectation_at_this_n(self, n, m, d, shift):
        rng = child(n, "coverage", d)
        expectation = np.mean([frechet_distance(*gaussians(n, m, d, shift, rng)) for _ in range(1500)])
        hits = 0
        for _ in range(200):
            x, y = gaussians(n, m, d, shift, rng)
            replicates = frechet_replicates(x, y, draw_halves(range(n), 40, rng), draw_halves(range(m), 40, rng))
            found = half_sample_interval(
                frechet_distance(x, y), replicates, clusters=min(n, m), sided=2, bounds=(0.0, None)
            )
            hits += found.low <= expectation <= found.high
        # conservative where both distributions are equal and the distance is quadratic
        assert 0.92 <= hits / 200 <= (0.995 if shift else 1.0)

    def test_the_naive_bootstrap_excludes_its_own_estimate(self):
        # why intervals come from halves: drawing with replacement repeats samples, lowers the rank, and moves the
        # distance upwards by about as much again as its bias
        x, y = gaussians(100, 100, 200, 0.0, child(0, "bootstrap"))
        distance, rng = frechet_distance(x, y), child(1, "bootstrap")
        replicates = [
            frechet_distance(x[rng.integers(100, size=100)], y[rng.integers(100, size=100)]) for _ in range(60)
        ]
        assert np.quantile(replicates, 0.025) > distance
        halved = frechet_replicates(x, y, *halves(100, 100, 60))
        found = half_sample_interval(distance, halved, clusters=100, sided=2)
        assert found.low < distance < found.high
