"""The joint range of several measures: false alarms on made-up tables, and what a measure does to the others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medgan_qa.metrics.joint_range import NON_FINITE, GrossFailures, gross_failures
from medgan_qa.metrics.reference_range import Quantity
from medgan_qa.rng import child

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


def spike(n: int, share: float) -> np.ndarray:
    return np.where(np.arange(n) < share * n, 1.0, 0.0)


@pytest.mark.parametrize("rare", ["heavy", "count"])
def test_a_measure_with_rare_large_values_does_not_open_the_limits_of_others(rare: str) -> None:
    g, n = child(20, "rare"), 1000
    columns = {f"normal {k}": g.normal(size=n) for k in range(10)}
    quantities = {name: Quantity("1", "both", 0.01, "") for name in [*columns, rare]}
    odd = g.standard_t(1.5, n) if rare == "heavy" else g.permutation(spike(n, 0.009))
    alone = gross_failures(columns, columns, quantities)
    together = gross_failures({**columns, rare: odd}, {**columns, rare: odd}, quantities)
    for name in columns:
        assert together.limits[name][1] == pytest.approx(alone.limits[name][1], rel=0.25)
    assert 3.0 < together.limits["normal 0"][1] < 4.6


def test_a_count_that_never_varies_flags_any_other() -> None:
    g = child(21, "count")
    reference = {"normal": g.normal(size=200), "count": np.full(200, 2.0)}
    found = judged(reference, {"normal": np.zeros(3), "count": np.array([2.0, 3.0, 1.0])})
    assert found.flags.tolist() == [False, True, True]


@pytest.mark.parametrize("share", [0.03, 0.3, 0.5])
def test_a_value_that_many_real_images_have_is_in_range(share: float) -> None:
    g, n = child(22, "atoms"), 400
    reference = {"count": g.permutation(spike(n, share)), "normal": g.normal(size=n)}
    found = judged(reference, {"count": np.array([0.0, 1.0]), "normal": np.zeros(2)})
    assert not found.flags.any()


def test_images_of_one_patient_are_scored_by_other_patients() -> None:
    # Eight nearly equal images a patient: left among the others they would vouch for one another.
    g, people, each = child(23, "patients"), 100, 8
    patients = np.repeat(np.arange(people), each)

    def cohort() -> dict[str, np.ndarray]:
        return {f"m{k}": np.repeat(g.normal(size=people), each) + g.normal(0, 0.05, people * each) for k in range(6)}

    quantities = {f"m{k}": Quantity("1", "both", 0.01, "") for k in range(6)}
    flagged = [gross_failures(cohort(), cohort(), quantities, 0.01, patients.tolist()).flags.mean() for _ in range(40)]
    assert np.mean(flagged) <= 0.02


def test_refuses_patients_of_other_images() -> None:
    column = {"normal": np.arange(100.0)}
    with pytest.raises(ValueError, match="patient of each of 100"):
        gross_failures(column, column, QUANTITIES, 0.01, ["a"])


def test_one_patient_is_scored_by_its_own_images() -> None:
    column = {"normal": child(24, "one").normal(size=120)}
    assert gross_failures(column, column, QUANTITIES, 0.01, ["a"] * 120).expected_rate == pytest.approx(1 / 121)


@pytest.mark.parametrize("n", [99, 1000])
def test_less_than_the_resolution_is_no_deviation(n: int) -> None:
    reference = {"normal": child(25, "resolution").normal(size=n), "constant": np.ones(n)}
    found = judged(reference, {"normal": np.zeros(3), "constant": np.array([1.0 + 1e-9, 1.004, 1.04])})
    assert found.flags.tolist() == [False, False, True]
