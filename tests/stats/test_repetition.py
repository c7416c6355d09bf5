"""Repeated testing: worked examples, the two ends, and how the two error rates lie to each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.stats import repeated_testing

alphas = st.floats(1e-9, 0.999)
counts = st.integers(1, 10_000)


def test_two_tests_at_five_percent() -> None:
    together = repeated_testing(0.05, 2)
    assert together.bound == pytest.approx(0.1)
    assert together.independent == pytest.approx(0.0975)


def test_many_tests_pass_for_certain_in_the_worst_case() -> None:
    together = repeated_testing(0.05, 40)
    assert together.bound == 1.0
    assert together.independent == pytest.approx(0.871488)


def test_a_small_alpha_is_not_lost_in_rounding() -> None:
    assert repeated_testing(1e-17, 3).independent == pytest.approx(3e-17)


@given(alphas)
def test_prop_one_test_has_its_own_error_rate(alpha: float) -> None:
    one = repeated_testing(alpha, 1)
    assert one.bound == alpha
    assert math.isclose(one.independent, alpha, rel_tol=1e-12)


@given(alphas, counts)
def test_prop_independence_is_never_worse_than_the_bound(alpha: float, tests: int) -> None:
    together = repeated_testing(alpha, tests)
    assert 0 < together.independent <= together.bound <= 1
    assert math.isclose(together.independent, 1 - (1 - alpha) ** tests, abs_tol=1e-9)


@given(alphas, counts, st.integers(1, 100))
def test_prop_another_test_never_helps(alpha: float, tests: int, more: int) -> None:
    before, after = repeated_testing(alpha, tests), repeated_testing(alpha, tests + more)
    assert after.bound >= before.bound
    assert after.independent >= before.independent


@pytest.mark.parametrize(
    ("alpha", "tests", "message"),
    [(0.0, 1, "alpha"), (1.0, 1, "alpha"), (math.nan, 1, "alpha"), (-0.1, 1, "alpha"), (0.05, 0, "tests")],
)
def test_refuses_what_is_no_error_rate_or_no_test(alpha: float, tests: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        repeated_testing(alpha, tests)
