"""Inception score: closed forms, splits as published, the split spread that is no interval, and half samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.inception_score import LIMITATION, inception_score, inception_score_replicates
from medgan_qa.rng import child
from medgan_qa.stats.half_sampling import draw_halves, half_sample_interval


def softmax(rng: np.random.Generator, n: int, k: int, sharpness: float = 2.0) -> np.ndarray:
    odds = np.exp(sharpness * rng.normal(size=(n, k)))
    return odds / odds.sum(axis=1, keepdims=True)


def score_by_hand(rows: np.ndarray) -> float:
    marginal = rows.mean(axis=0)
    divergences = [sum(p * math.log(p / q) for p, q in zip(row, marginal, strict=True) if p > 0) for row in rows]
    return math.exp(sum(divergences) / len(rows))


@pytest.mark.parametrize("classes", [2, 7])
def test_sure_and_even_scores_the_number_of_classes(classes):
    result = inception_score(np.tile(np.eye(classes), (20, 1)), splits=4)
    assert (result.value, result.whole) == pytest.approx((classes, classes))
    assert (result.images, result.classes, result.splits) == (20 * classes, classes, 4)


def test_one_class_or_no_opinion_scores_one():
    assert inception_score(np.tile([1.0, 0.0, 0.0], (20, 1))).value == 1.0
    assert inception_score(np.full((20, 4), 0.25)).value == pytest.approx(1.0)


@pytest.mark.parametrize(("n", "splits"), [(40, 1), (40, 10), (43, 10), (20, 10)])
def test_it_equals_the_definition_in_each_contiguous_part(n, splits):
    rows = softmax(child(1, "is"), n, 5)
    rows[::3] = np.eye(5)[np.arange(len(rows[::3])) % 5]
    parts = [score_by_hand(rows[i * n // splits : (i + 1) * n // splits]) for i in range(splits)]
    result = inception_score(rows, splits)
    assert result.value == pytest.approx(np.mean(parts), rel=1e-12)
    assert result.split_sd == pytest.approx(np.std(parts), abs=1e-12)
    assert result.whole == pytest.approx(score_by_hand(rows), rel=1e-12)


def test_it_equals_torch_fidelity_on_its_own_logits():
    torch = pytest.importorskip("torch")
    isc = pytest.importorskip("torch_fidelity.metric_isc")
    logits = 3 * child(5, "is").normal(size=(57, 12))
    expected = isc.isc_features_to_metric(torch.from_numpy(logits), splits=4, shuffle=False)
    odds = np.exp(logits)
    result = inception_score(odds / odds.sum(axis=1, keepdims=True), splits=4)
    assert result.value == pytest.approx(expected["inception_score_mean"], rel=1e-12)
    assert result.split_sd == pytest.approx(expected["inception_score_std"], rel=1e-9)


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(2, 9))
@settings(max_examples=50, deadline=None)
def test_order_of_images_and_classes_changes_nothing_in_one_split(seed, n, k):
    rng = child(seed, "is")
    rows = softmax(rng, n, k)
    whole = inception_score(rows, 1)
    assert whole.value == whole.whole
    assert inception_score(rows[rng.permutation(n)][:, rng.permutation(k)], 1).value == pytest.approx(whole.value)
    assert 1 <= whole.value <= min(n, k) + 1e-9


def test_small_splits_score_lower_and_their_spread_is_no_interval():
    rng = child(2, "is")
    results = [inception_score(softmax(rng, 100, 30)) for _ in range(100)]
    population = inception_score(softmax(rng, 50_000, 30), 1).value
    assert np.mean([r.value for r in results]) < 0.95 * np.mean([r.whole for r in results]) < 0.95 * population
    assert all(abs(r.value - population) > 2 * r.split_sd / math.sqrt(10) for r in results)


def test_a_report_gets_the_warning_with_the_value():
    result = inception_score(np.full((20, 4), 0.25))
    assert result.limitation == LIMITATION
    assert "one modality" in LIMITATION
    assert "supports no claim" in LIMITATION


def test_replicates_are_the_score_of_each_part():
    rng = child(3, "is")
    rows, halves = softmax(rng, 31, 6), rng.random((4, 31)) < 0.5
    expected = [score_by_hand(rows[half]) for half in halves]
    assert inception_score_replicates(rows, halves) == pytest.approx(expected, rel=1e-12)


def test_half_sample_intervals_cover_the_expected_score():
    rng = child(4, "is")
    ids = [str(i) for i in range(80)]
    scores, intervals = [], []
    for _ in range(300):
        rows = softmax(rng, 80, 8)
        replicates = inception_score_replicates(rows, draw_halves(ids, 100, rng))
        scores.append(inception_score(rows, 1).whole)
        intervals.append(half_sample_interval(scores[-1], replicates, clusters=80, alpha=0.05, sided=2))
    target = np.mean(scores)
    assert 0.92 <= np.mean([i.low <= target <= i.high for i in intervals]) <= 1.0
    assert 0.85 <= np.mean([i.se for i in intervals]) / np.std(scores) <= 1.4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[0.5, 0.5], [0.9, 0.2]]), r"rows \[1\] are no probabilities"),
        (np.array([[0.5, 0.5], [1.2, -0.2]]), r"rows \[1\] are no probabilities"),
        (np.array([[3.0, -1.0], [2.0, 5.0]]), "softmax"),
        (np.array([[np.nan, 0.5], [0.5, 0.5]]), "NaN"),
        (np.ones((4, 1)), "at least 2 classes"),
        (np.ones(4), "shape"),
    ],
)
def test_what_is_no_probability_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        inception_score(rows, 1)


@pytest.mark.parametrize(("n", "splits"), [(19, 10), (1, 1)])
def test_too_few_images_are_refused(n, splits):
    with pytest.raises(ValueError, match="need at least"):
        inception_score(np.full((n, 2), 0.5), splits)


@pytest.mark.parametrize("splits", [0, 2.5])
def test_other_splits_are_refused(splits):
    with pytest.raises(ValueError, match="splits must be"):
        inception_score(np.full((20, 2), 0.5), splits)
