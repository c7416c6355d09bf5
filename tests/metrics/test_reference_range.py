"""The false-alarm rate of the joint range on made-up tables, and limits of one measure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medgan_qa.metrics.reference_range import (
    NON_FINITE,
    GrossFailures,
    Quantity,
    gross_failures,
    out_of_range,
    reference_limits,
)
from medgan_qa.rng import child

# The joint range

QUANTITIES = {
    "normal": Quantity("1", "both", 0.01, ""),
    "skewed": Quantity("1", "high", 0.01, ""),
    "heavy": Quantity("1", "both", 0.01, ""),
    "low": Quantity("1", "low", 0.01, ""),
    "count": Quantity("1", "both", 0.25, ""),
    "rare": Quantity("1", "high", 0.25, ""),
    "constant": Quantity("1", "both", 0.01, ""),
}


def draw(generator: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    shared = generator.normal(size=n)
    return {
        "normal": generator.normal(size=n) + shared,
        "skewed": np.exp(generator.normal(size=n) + shared),
        "heavy": generator.standard_t(3, size=n),
        "low": generator.normal(size=n),
        "count": generator.poisson(3.0, n).astype(float),
        "rare": generator.poisson(0.02, n).astype(float),
        "constant": np.ones(n),
    }


def judged(reference: dict[str, np.ndarray], table: dict[str, np.ndarray], rate: float = 0.01) -> GrossFailures:
    return gross_failures(reference, table, QUANTITIES, rate)


@pytest.mark.parametrize(("n", "rate"), [(99, 0.01), (150, 0.01), (400, 0.01), (99, 0.05)])
def test_flags_real_images_at_the_stated_rate(n: int, rate: float) -> None:
    generator = child(n, "joint range")
    found = [judged(draw(generator, n), draw(generator, 40), rate) for _ in range(250)]
    flagged = float(np.mean([f.flags.mean() for f in found]))
    expected = found[0].expected_rate
    assert expected is not None
    assert expected <= rate
    error = 3 * np.std([f.flags.mean() for f in found]) / math.sqrt(250)
    assert flagged <= expected + 1 / n + error
    assert flagged >= expected - 1 / n - error


def test_names_the_measures_the_farthest_first() -> None:
    table = draw(child(1, "one"), 3)
    table["normal"] = np.array([0.0, 40.0, 0.0])
    table["count"] = np.array([3.0, 200.0, 3.0])
    table["constant"] = np.array([1.0, 1.0, 1.2])
    table["heavy"] = table["low"] = np.zeros(3)
    table["skewed"], table["rare"] = np.ones(3), np.zeros(3)
    found = judged(draw(child(2, "many"), 200), table)
    assert found.measures == ((), ("count", "normal"), ("constant",))
    assert found.flags.tolist() == [False, True, True]
    assert found.scores[1] > found.scores[2] > found.scores[0]


def test_the_limits_are_those_that_the_flags_follow() -> None:
    reference, table = draw(child(3, "reference"), 150), draw(child(4, "table"), 2000)
    found = judged(reference, table)
    outside = np.zeros(2000, bool)
    for name, (low, high) in found.limits.items():
        outside |= table[name] < (-np.inf if low is None else low)
        outside |= table[name] > (np.inf if high is None else high)
    assert np.array_equal(outside, found.flags)
    assert found.flags.any()
    assert found.limits["skewed"][0] is None
    assert found.limits["low"][1] is None


def test_only_the_faulty_side_is_judged() -> None:
    table = {name: np.full(2, np.median(column)) for name, column in draw(child(5, "reference"), 200).items()}
    table["low"] = np.array([50.0, -50.0])
    assert judged(draw(child(5, "reference"), 200), table).measures == ((), ("low",))


@pytest.mark.parametrize("n", [0, 1, 2, 98])
def test_too_few_reference_images_say_how_many_are_needed(n: int) -> None:
    table = {**draw(child(6, "table"), 2), "non_finite": np.array([0.0, 0.1])}
    reference = {**draw(child(7, "reference"), n), "non_finite": np.zeros(n)}
    quantities = {**QUANTITIES, NON_FINITE: Quantity("1", "high", 1e-6, "")}
    found = gross_failures(reference, table, quantities)
    assert found.expected_rate is None
    assert (found.n_reference, found.n_needed) == (n, 99)
    assert found.flags.tolist() == [False, True]
    assert found.measures == ((), ("non_finite",))
    assert set(found.limits.values()) == {(None, None)}


@pytest.mark.parametrize(
    ("reference", "table", "message"),
    [
        ({}, {}, "same measures"),
        ({"a": [1.0]}, {"b": [1.0]}, "same measures"),
        ({"a": [1.0]}, {"a": [1.0]}, "without a quantity"),
        ({"normal": [1.0, np.nan]}, {"normal": [1.0]}, "finite"),
        ({"normal": [1.0, 2.0], "low": [1.0]}, {"normal": [1.0], "low": [1.0]}, "one length"),
    ],
)
def test_refuses_tables_that_do_not_fit(reference: dict, table: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judged(reference, table)


def test_refuses_a_quantity_without_resolution() -> None:
    column = {"a": np.ones(100)}
    with pytest.raises(ValueError, match="resolution"):
        gross_failures(column, column, {"a": Quantity("1", "both", 0.0, "a")})


# Limits of one measure


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
