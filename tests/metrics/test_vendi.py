"""Vendi score: closed forms, published values, orders, invariances, growth with N, and the spread of half samples."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medgan_qa.metrics.vendi import vendi_replicates, vendi_score
from medgan_qa.rng import child
from medgan_qa.stats.half_sampling import draw_halves, half_sample_interval

ORDERS = (0.0, 0.1, 0.5, 1.0, 1.0 + 1e-9, 2.0, 7.5, math.inf)
matrices = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0.5, 9.0))


def features_of(kernel: np.ndarray) -> np.ndarray:
    """Rows whose cosines are the entries of a kernel with a unit diagonal."""
    values, vectors = np.linalg.eigh(kernel)
    return vectors * np.sqrt(np.maximum(values, 0))


def renyi_by_hand(features: np.ndarray, q: float) -> float:
    """From singular values of the unit rows, another road than the eigenvalues of a Gram matrix."""
    unit = features / np.sqrt((features**2).sum(axis=1))[:, None]
    share = np.linalg.svd(unit, compute_uv=False) ** 2 / len(features)
    share = share[share > 1e-12]
    if q == 1:
        return math.exp(-sum(s * math.log(s) for s in share))
    return 1 / max(share) if math.isinf(q) else sum(s**q for s in share) ** (1 / (1 - q))


def test_published_values():
    # the two examples of the authors' package: a kernel, and exp(-|a - b|) of six numbers
    kernel = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert vendi_score(features_of(kernel)) == pytest.approx(2.1573, abs=5e-5)
    numbers = np.array([0, 0, 10, 10, 20, 20])
    # printed there cut off as 2.9999: the three groups are orthogonal but for exp(-10)
    assert 2.9999 <= vendi_score(features_of(np.exp(-np.abs(numbers[:, None] - numbers)))) < 3


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize(("groups", "copies", "columns"), [(1, 5, 3), (4, 1, 4), (4, 6, 9), (7, 3, 40)])
def test_orthogonal_groups_score_their_number(q, groups, copies, columns):
    rows = np.repeat(np.eye(columns)[:groups], copies, axis=0) * np.arange(1, groups * copies + 1)[:, None]
    assert vendi_score(rows, q) == pytest.approx(groups, rel=1e-7)


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (12, 12), (1, 5), (2, 1)])
def test_every_order_equals_the_entropy_by_hand(q, shape):
    rows = child(1, "vendi", *shape).normal(size=shape)
    expected = renyi_by_hand(rows, 1.0 if q == 1 + 1e-9 else q)
    assert vendi_score(rows, q) == pytest.approx(expected, rel=1e-6)


@given(matrices, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_order_scale_rotation_and_repetition_change_nothing(rows, seed):
    rng = child(seed, "vendi")
    score = vendi_score(rows)
    rotation = np.linalg.qr(rng.normal(size=(rows.shape[1],) * 2))[0]
    assert vendi_score(rows[rng.permutation(len(rows))]) == pytest.approx(score, rel=1e-9)
    assert vendi_score(rows * np.exp(rng.normal(size=(len(rows), 1)))) == pytest.approx(score, rel=1e-9)
    assert vendi_score(rows @ rotation) == pytest.approx(score, rel=1e-9)
    assert vendi_score(np.concatenate([rows, rows])) == pytest.approx(score, rel=1e-9)
    assert 1 - 1e-9 <= score <= min(rows.shape) + 1e-9


@given(matrices)
@settings(max_examples=50, deadline=None)
def test_higher_orders_score_no_higher(rows):
    scores = [vendi_score(rows, q) for q in (0.0, 0.5, 1.0, 2.0, math.inf)]
    assert all(first >= second * (1 - 1e-9) for first, second in pairwise(scores))


def test_it_rises_with_the_sample_and_falls_with_collapse():
    rows = child(2, "vendi").normal(size=(400, 64))
    assert vendi_score(rows[:25]) < vendi_score(rows[:100]) < vendi_score(rows) < 64
    assert vendi_score(np.tile(rows[:10], (40, 1))) < 10 < 25 < vendi_score(rows)


def test_extreme_scales_neither_overflow_nor_vanish():
    rows = child(3, "vendi").normal(size=(6, 4))
    assert vendi_score(rows * 1e300) == pytest.approx(vendi_score(rows), rel=1e-9)
    assert vendi_score(rows * 1e-300) == pytest.approx(vendi_score(rows), rel=1e-9)


def test_replicates_are_the_score_of_each_part():
    rng = child(4, "vendi")
    rows, halves = rng.normal(size=(21, 6)), rng.random((5, 21)) < 0.5
    expected = [vendi_score(rows[half], 2.0) for half in halves]
    assert vendi_replicates(rows, halves, 2.0) == pytest.approx(expected, rel=1e-12)


def test_half_sample_intervals_cover_the_expected_score():
    rng = child(5, "vendi")
    intervals, scores = [], []
    for _ in range(200):
        rows = rng.normal(size=(60, 24)) + 6 * np.eye(8, 24)[rng.integers(8, size=60)]
        replicates = vendi_replicates(rows, draw_halves([str(i) for i in range(60)], 60, rng))
        scores.append(vendi_score(rows))
        intervals.append(half_sample_interval(scores[-1], replicates, clusters=60, alpha=0.05, sided=2))
    target = np.mean(scores)
    covered = np.mean([i.low <= target <= i.high for i in intervals])
    assert 0.9 <= covered <= 1.0
    assert 0.75 <= np.mean([i.se for i in intervals]) / np.std(scores) <= 1.5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(3), "shape"),
        (np.ones((0, 3)), "at least 1"),
        (np.ones((3, 0)), "D >= 1"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), r"rows \[1\] are all zero"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "NaN or infinity"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), "NaN or infinity"),
    ],
)
def test_rows_that_have_no_cosine_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        vendi_score(rows)


@pytest.mark.parametrize("q", [-0.1, math.nan])
def test_other_orders_are_refused(q):
    with pytest.raises(ValueError, match="q must be"):
        vendi_score(np.eye(2), q)


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="bool"):
        vendi_replicates(np.eye(2), np.ones((1, 2)))
    with pytest.raises(ValueError, match="at least 1"):
        vendi_replicates(np.eye(2), np.zeros((1, 2), bool))
