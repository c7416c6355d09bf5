"""Holm's procedure: hand-made families and its defining properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.stats import holm

p_values = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


def test_worked_example_in_input_order():
    # sorted: .005 * 4, .01 * 3, .03 * 2, .04 * 1, then made monotone
    steps = holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert [step.p_adjusted for step in steps] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [step.rejected for step in steps] == [True, False, False, True]
    assert [step.alpha_tested for step in steps] == pytest.approx([0.05 / 3, 0.025, 0.025, 0.0125])


def test_stops_at_the_first_that_stands():
    # .04 alone would be rejected at .05, but .03 stands at .025 before it
    assert not any(step.rejected for step in holm([0.04, 0.03], 0.05))


def test_one_hypothesis_is_not_corrected():
    (step,) = holm([0.049], 0.05)
    assert (step.p_adjusted, step.alpha_tested, step.rejected) == (0.049, 0.05, True)


def test_rejects_at_the_level_itself():
    assert all(step.rejected for step in holm([0.025, 0.05], 0.05))


def test_no_hypothesis_no_step():
    assert holm([], 0.05) == []


def test_an_untested_hypothesis_costs_the_others():
    assert holm([0.03], 0.05)[0].rejected
    assert not holm([0.03, 1.0], 0.05)[0].rejected


@pytest.mark.parametrize(
    ("p", "alpha", "message"),
    [([math.nan], 0.05, "finite"), ([1.1], 0.05, "p_values"), ([-0.1], 0.05, "p_values"), ([0.1], 1.0, "alpha")],
)
def test_refuses_bad_input(p, alpha, message):
    with pytest.raises(ValueError, match=message):
        holm(p, alpha)


@given(p_values, st.floats(0.001, 0.5))
def test_prop_rejects_between_bonferroni_and_no_correction(p, alpha):
    for value, step in zip(p, holm(p, alpha), strict=True):
        assert step.rejected or value > alpha / len(p)
        assert not step.rejected or value <= alpha
        assert step.rejected == (value <= step.alpha_tested)


@given(p_values, st.floats(0.001, 0.5))
def test_prop_adjusted_values_follow_the_order_and_decide(p, alpha):
    steps = holm(p, alpha)
    ordered = [steps[i].p_adjusted for i in sorted(range(len(p)), key=p.__getitem__)]
    assert ordered == sorted(ordered)
    for step in steps:
        assert math.isclose(step.p_adjusted, alpha) or step.rejected == (step.p_adjusted <= alpha)


@given(p_values)
def test_prop_a_smaller_p_never_loses_a_rejection(p):
    before = sum(step.rejected for step in holm(p, 0.05))
    assert sum(step.rejected for step in holm([value / 2 for value in p], 0.05)) >= before
