"""Equal areas in every group: level under the hypothesis, and what is found."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.metrics.uneven_areas import equal_areas_p

PLANS = np.array([[1, 1], [1, 0], [1, 0], [0, 0]], bool)


def drawn(g, people, weak=1.5):
    """Two units a patient; three groups, in the first of which the classes lie `weak` apart, in the others 1.5."""
    positive = np.tile(PLANS, (people // 4, 1))
    group = g.integers(3, size=len(positive))
    apart = np.where(group == 0, weak, 1.5)[:, None]
    scores = apart * positive + 0.7 * g.standard_normal((len(positive), 1)) + 0.7 * g.standard_normal(positive.shape)
    two = np.repeat(np.arange(len(positive)), 2)
    return scores.ravel(), positive.ravel(), two, group[two]


def test_p_is_uniform_where_groups_are_alike():
    g = np.random.default_rng(0)
    found = np.array([equal_areas_p(*drawn(g, 60), g, permutations=199) for _ in range(200)])
    # 200 runs: 5 % plus two standard errors
    assert np.mean(found <= 0.05) <= 0.085
    assert np.mean(found <= 0.5) == pytest.approx(0.5, abs=0.09)


@pytest.mark.parametrize("seed", range(3))
def test_a_group_that_is_worse_is_found(seed):
    g = np.random.default_rng(seed)
    assert equal_areas_p(*drawn(g, 200, weak=0.0), g, permutations=999) <= 0.005


def test_a_group_without_both_kinds_is_not_compared():
    g = np.random.default_rng(1)
    scores, positive = g.standard_normal(40), np.arange(40) % 2 == 0
    groups = np.where(positive & (np.arange(40) < 20), "a", "b")
    assert equal_areas_p(scores, positive, range(40), groups, g, 99) == 1.0


def test_nothing_to_compare_has_p_of_one():
    g = np.random.default_rng(2)
    assert equal_areas_p([], [], [], [], g) == 1.0
    assert equal_areas_p([0.1], [True], ["p"], ["a"], g) == 1.0
    assert equal_areas_p([0.1, 0.2], [True, False], ["p", "q"], ["a", "a"], g) == 1.0
    assert equal_areas_p([0.1, 0.2], [True, True], ["p", "q"], ["a", "b"], g) == 1.0
    assert equal_areas_p(np.zeros(20), np.arange(20) % 2, range(20), np.arange(20) % 4 < 2, g, 99) == 1.0


def test_p_is_never_zero_and_repeats_itself():
    sample = drawn(np.random.default_rng(3), 100, weak=-3.0)
    first, again = (equal_areas_p(*sample, np.random.default_rng(4), permutations=99) for _ in range(2))
    assert first == again == 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groups": ["a", "b", "a", "b"]}, "several groups"),
        ({"scores": [1.0, 2.0, 3.0]}, "one label"),
        ({"scores": [1.0, 2.0, 3.0, np.nan]}, "finite"),
        ({"permutations": 0}, "permutations"),
    ],
)
def test_what_cannot_be_tested_is_refused(change, said):
    given = {
        "scores": [1.0, 2.0, 3.0, 4.0],
        "positive": [1, 0, 1, 0],
        "patients": ["p", "p", "q", "q"],
        "groups": ["a", "a", "b", "b"],
        "generator": np.random.default_rng(0),
    }
    with pytest.raises(ValueError, match=said):
        equal_areas_p(**{**given, **change})
