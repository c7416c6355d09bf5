"""Equal rates by permutation of patients: against an exact test, under clustering, and by its symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

from medgan_qa.metrics.uneven_rates import equal_rates_p


def p_of(events, patients, groups, seed=0, permutations=999):
    return equal_rates_p(events, patients, groups, np.random.default_rng(seed), permutations)


@pytest.mark.parametrize("hits", [(0, 6), (1, 6), (3, 4), (5, 5)])
def test_agrees_with_fisher_where_every_patient_has_one_unit(hits):
    """With groups of one size the distance of the rates orders the tables as their probability does."""
    events = [i < hits[0] for i in range(10)] + [i < hits[1] for i in range(10)]
    expected = fisher_exact([[hits[0], 10 - hits[0]], [hits[1], 10 - hits[1]]]).pvalue

    assert p_of(events, range(20), ["a"] * 10 + ["b"] * 10, permutations=19_999) == pytest.approx(expected, abs=0.015)


def test_false_alarms_stay_at_five_percent_when_the_units_of_a_patient_are_alike():
    """Five units a patient, all events or none: a test of units would raise an alarm every other time."""
    g, runs, alarms = np.random.default_rng(7), 300, 0
    for seed in range(runs):
        events = np.repeat(g.random(40) < 0.3, 5)
        groups = np.repeat(g.permutation(["a"] * 8 + ["b"] * 32), 5)
        alarms += p_of(events, np.repeat(np.arange(40), 5), groups, seed, permutations=199) <= 0.05

    assert alarms <= binom.ppf(0.999, runs, 0.05)


def test_a_difference_is_found_and_the_smallest_p_value_is_one_permutation():
    events = [True] * 12 + [False] * 24

    assert p_of(events, range(36), ["a"] * 12 + ["b"] * 24) == pytest.approx(1 / 1000)


@pytest.mark.parametrize("events", [[], [True] * 6, [False] * 6])
def test_nothing_to_compare_is_no_difference(events):
    n = len(events)

    assert p_of(events, range(n), ["a", "b"] * (n // 2)) == 1.0
    assert p_of([True, False], [1, 2], ["a", "a"]) == 1.0


@given(
    counts=st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from("abc")), min_size=2, max_size=12),
)
def test_property_the_p_value_is_one_and_does_not_depend_on_names(counts):
    patients = [k for k, (n, _, _) in enumerate(counts) for _ in range(n)]
    events = [event for n, event, _ in counts for _ in range(n)]
    groups = [group for n, _, group in counts for _ in range(n)]
    p = p_of(events, patients, groups, permutations=99)

    assert 0 < p <= 1
    assert p == p_of(events, [f"p{i}" for i in patients], [group * 2 for group in groups], permutations=99)
    assert p == p_of([not e for e in events], patients, groups, permutations=99)


def test_refuses_what_cannot_be_permuted():
    with pytest.raises(ValueError, match="several groups"):
        p_of([True, False], ["p", "p"], ["a", "b"])
    with pytest.raises(ValueError, match="a unit"):
        p_of([True], ["p", "q"], ["a"])
    with pytest.raises(ValueError, match="at least 1"):
        p_of([True, False], ["p", "q"], ["a", "b"], permutations=0)
