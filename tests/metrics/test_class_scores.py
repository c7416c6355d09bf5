"""Area over pairs of classes and balanced accuracy, against every pair counted one by one, also on subsets."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.metrics.class_scores import area_over_pairs, balanced_accuracy
from medgan_qa.stats.roc import placements


def one_by_one(scores: np.ndarray, labels: np.ndarray) -> float:
    areas = []
    for i, j in permutations(range(scores.shape[1]), 2):
        hits = [
            1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[labels == i, i] for b in scores[labels == j, i]
        ]
        areas.append(np.mean(hits))
    return float(np.mean(areas))


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_prop_the_area_is_that_of_all_pairs(seed, classes):
    g = rng.child(seed, "area")
    labels = np.concatenate([np.arange(classes), g.integers(classes, size=12)])
    scores = g.integers(0, 4, size=(len(labels), classes)).astype(float)

    assert area_over_pairs(scores, labels)[0] == pytest.approx(one_by_one(scores, labels))


def test_two_classes_have_the_usual_area():
    g = rng.child(1, "area")
    labels, score = np.arange(60) % 2, g.normal(size=60) + np.arange(60) % 2
    both = np.stack([-score, score], axis=1)

    usual = placements(score, labels == 1)[labels == 1].mean()
    assert area_over_pairs(both, labels)[0] == pytest.approx(usual)
    assert area_over_pairs(np.exp(both), labels)[0] == pytest.approx(usual)


@pytest.mark.parametrize("statistic", [area_over_pairs, balanced_accuracy])
def test_a_subset_counts_as_if_the_others_were_not_there(statistic):
    g = rng.child(2, "subsets")
    labels, scores = np.arange(40) % 3, g.normal(size=(40, 3))
    subsets = g.random((7, 40)) < 0.6
    found = statistic(scores, labels, subsets)

    for held, value in zip(subsets, found, strict=True):
        assert value == pytest.approx(statistic(scores[held], labels[held])[0])


def test_a_subset_without_a_class_has_no_value():
    labels, scores = np.array([0, 0, 1, 1]), np.arange(8.0).reshape(4, 2)
    subsets = np.array([[True, True, False, False], [True, False, True, False]])

    for statistic in (area_over_pairs, balanced_accuracy):
        found = statistic(scores, labels, subsets)
        assert np.isnan(found[0])
        assert np.isfinite(found[1])
    assert np.isnan(area_over_pairs(np.empty((0, 2)), np.empty(0, int))[0])


def test_balanced_accuracy_weighs_classes_alike():
    labels = np.array([0] * 9 + [1])
    says_first = np.tile([1.0, 0.0], (10, 1))

    assert balanced_accuracy(says_first, labels)[0] == 0.5
    assert balanced_accuracy(np.eye(2)[labels], labels)[0] == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "subsets"),
    [
        (np.zeros((3, 1)), [0, 0, 0], None),
        (np.zeros((3, 2)), [0, 1], None),
        (np.zeros((3, 2)), [0, 1, 2], None),
        (np.full((2, 2), np.nan), [0, 1], None),
        (np.zeros((2, 2)), [0, 1], np.ones((4, 3), bool)),
    ],
)
def test_what_cannot_be_scored_is_refused(scores, labels, subsets):
    with pytest.raises(ValueError, match=r"."):
        area_over_pairs(scores, np.array(labels), subsets)
