"""Limits of one measure: exact rates, ties, and how many values are needed."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.metrics.reference_range import out_of_range, reference_limits
from medgan_qa.rng import child


@pytest.mark.parametrize(("side", "n", "k"), [("both", 199, 1), ("both", 400, 2), ("high", 99, 1), ("low", 300, 3)])
def test_limits_are_order_statistics(side: str, n: int, k: int) -> None:
    values = child(8, "values").permutation(np.arange(1.0, n + 1))
    found = reference_limits(values, 0.01, side)  # type: ignore[arg-type]
    assert found.low == (None if side == "high" else k)
    assert found.high == (None if side == "low" else n + 1 - k)
    assert found.expected_rate == pytest.approx((2 if side == "both" else 1) * k / (n + 1))


@pytest.mark.parametrize(("side", "needed"), [("both", 199), ("high", 99), ("low", 99)])
def test_the_fewest_values_are_enough_and_one_fewer_is_not(side: str, needed: int) -> None:
    enough = reference_limits(np.arange(needed), 0.01, side)  # type: ignore[arg-type]
    short = reference_limits(np.arange(needed - 1), 0.01, side)  # type: ignore[arg-type]
    assert enough.expected_rate == pytest.approx(0.01)
    assert short.expected_rate is short.low is short.high is None
    assert enough.n_needed == short.n_needed == needed


def test_a_further_value_is_outside_with_the_exact_rate() -> None:
    generator = child(9, "exact")
    outside = [
        out_of_range(sample[:-20], sample[-20:], 0.05)[0] for sample in generator.exponential(size=(1500, 99 + 20))
    ]
    assert np.mean(outside) == pytest.approx(0.04, abs=0.004)  # 2 k / (n + 1) with k = 2, n = 99


def test_ties_are_inside() -> None:
    flags, limits = out_of_range(np.full(200, 2.0), [2.0, 3.0, 1.0])
    assert flags is not None
    assert flags.tolist() == [False, True, True]
    assert (limits.low, limits.high) == (2.0, 2.0)


def test_with_too_few_values_nothing_is_said() -> None:
    flags, limits = out_of_range([1.0, 2.0], [5.0])
    assert flags is None
    assert limits.n_needed == 199


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, np.nan])
def test_refuses_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(ValueError, match="false_alarm"):
        reference_limits([1.0], rate)


def test_refuses_values_that_are_none() -> None:
    with pytest.raises(ValueError, match="NaN"):
        reference_limits([1.0, np.nan])
    with pytest.raises(ValueError, match="finite"):
        out_of_range([1.0], [np.nan])
    with pytest.raises(ValueError, match="side"):
        reference_limits([1.0], side="middle")  # type: ignore[arg-type]
