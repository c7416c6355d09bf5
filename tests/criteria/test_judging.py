"""Judging: what passes, what fails, and what neither may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medgan_qa.criteria import Criteria, Declared, Estimate, Strata, judge
from medgan_qa.criteria.strata import is_of_kind
from medgan_qa.record import Criterion, Interval, Measurement, Verdict
from medgan_qa.stats import clopper_pearson


def measurement(value: float | None, *, unit: str = "fraction", reason: str | None = None, **more: Any) -> Measurement:
    facts = {"id": "X.y", "label": "y", "n": 40, "clusters": 20, "unit_of_analysis": "lesion", "better": "lower"}
    return Measurement(**{**facts, "value": value, "unit": unit, "reason": reason, **more})


def interval(low: float | None, high: float | None, level: float = 0.95) -> Interval:
    return Interval(low=low, high=high, level=level, method="test", sided=1)


def fixed(low: float | None, high: float | None, value: float = 0.5) -> Estimate:
    """An estimate whose interval is the same at every error rate."""
    return Estimate(measurement(value), lambda alpha: interval(low, high, 1 - alpha))


def rate(events: int, units: int) -> Estimate:
    """A proportion with its exact bounds."""

    def at(alpha: float) -> Interval:
        return interval(*clopper_pearson(events, units, alpha), 1 - alpha)

    return Estimate(measurement(events / units), at)


def declared(limit: dict[str, float], judged_on: str, name: str = "AC-01", of: str = "X.y") -> Declared:
    return Declared(name, of, limit, judged_on)  # type: ignore[arg-type]


def criteria(*entries: Declared, multiplicity: Any = "none", alpha: float = 0.05) -> Criteria:
    return Criteria(protocol={}, alpha=alpha, multiplicity=multiplicity, declared=entries)


def judge_one(limit: dict[str, float], judged_on: str, estimate: Estimate) -> Criterion:
    [criterion] = judge(criteria(declared(limit, judged_on)), {"X.y": estimate})
    return criterion


# Judging on a bound


@pytest.mark.parametrize(
    ("limit", "judged_on", "low", "high", "verdict", "held"),
    [
        ({"max": 0.1}, "upper", 0.01, 0.09, "pass", 0.09),
        ({"max": 0.1}, "upper", 0.01, 0.10, "pass", 0.10),
        ({"max": 0.1}, "upper", 0.01, 0.11, "inconclusive", 0.11),
        ({"max": 0.1}, "upper", 0.10, 0.30, "inconclusive", 0.30),
        ({"max": 0.1}, "upper", 0.11, 0.30, "fail", 0.30),
        ({"max": 0.0}, "upper", 0.0, 0.0, "pass", 0.0),
        ({"min": 0.7}, "lower", 0.71, 0.9, "pass", 0.71),
        ({"min": 0.7}, "lower", 0.70, 0.9, "pass", 0.70),
        ({"min": 0.7}, "lower", 0.60, 0.9, "inconclusive", 0.60),
        ({"min": 0.7}, "lower", 0.50, 0.69, "fail", 0.50),
        ({"min": 0.7, "max": 1.4}, "both", 0.8, 1.3, "pass", 1.3),
        ({"min": 0.7, "max": 1.4}, "both", 0.72, 1.1, "pass", 0.72),
        ({"min": 0.7, "max": 1.4}, "both", 0.7, 1.4, "pass", 1.4),
        ({"min": 0.7, "max": 1.4}, "both", 0.6, 1.3, "inconclusive", 0.6),
        ({"min": 0.7, "max": 1.4}, "both", 0.8, 1.5, "inconclusive", 1.5),
        ({"min": 0.7, "max": 1.4}, "both", 0.5, 1.9, "inconclusive", 1.9),
        ({"min": 0.7, "max": 1.4}, "both", 0.1, 0.6, "fail", 0.1),
        ({"min": 0.7, "max": 1.4}, "both", 1.5, 1.6, "fail", 1.6),
        ({"max": 0.1}, "both", 0.0, 0.05, "pass", 0.05),
    ],
)
def test_judges_on_the_unfavourable_bound(
    limit: dict[str, float], judged_on: str, low: float, high: float, verdict: str, held: float
) -> None:
    criterion = judge_one(limit, judged_on, fixed(low, high))
    assert (criterion.verdict, criterion.value) == (verdict, held)


def test_a_good_estimate_with_a_wide_interval_does_not_pass() -> None:
    # 0 of 20: the estimate is 0 %, the bound 1 - 0.05^(1/20) = 13.9 %.
    criterion = judge_one({"max": 0.05}, "upper", rate(0, 20))
    assert criterion.verdict == Verdict.INCONCLUSIVE
    assert criterion.estimate == 0
    assert criterion.value == pytest.approx(1 - 0.05 ** (1 / 20))


def test_says_what_it_was_judged_on() -> None:
    criterion = judge_one({"max": 0.1}, "upper", fixed(0.01, 0.09, value=0.04))
    assert (criterion.n, criterion.clusters, criterion.unit_of_analysis) == (40, 20, "lesion")
    assert (criterion.estimate, criterion.adjusted_alpha) == (0.04, 0.05)
    assert criterion.interval == interval(0.01, 0.09)
    assert criterion.reason == "The bound 9.0 % meets the limit of at most 10 %."


@pytest.mark.parametrize(
    ("limit", "judged_on", "low", "high"),
    [
        ({"max": 0.1}, "upper", 0.0, None),
        ({"min": 0.7}, "lower", None, 0.9),
        ({"min": 0.7, "max": 1.4}, "both", 0.8, None),
        ({"min": 0.7, "max": 1.4}, "both", None, None),
    ],
)
def test_a_missing_bound_never_passes(
    limit: dict[str, float], judged_on: str, low: float | None, high: float | None
) -> None:
    criterion = judge_one(limit, judged_on, fixed(low, high))
    assert criterion.verdict == Verdict.INCONCLUSIVE
    assert criterion.value is None
    assert criterion.reason


def test_an_open_interval_beyond_the_limit_fails() -> None:
    criterion = judge_one({"max": 0.1}, "upper", fixed(0.2, None))
    assert (criterion.verdict, criterion.value) == ("fail", 0.2)
    assert criterion.reason == "The whole interval, at least 20.0 %, lies beyond the limit of at most 10 %."


def test_a_measurement_without_a_value_is_inconclusive_for_its_own_reason() -> None:
    estimate = Estimate(measurement(None, reason="no lesion to count"), lambda alpha: interval(0, 0))
    criterion = judge_one({"max": 0.1}, "upper", estimate)
    assert (criterion.verdict, criterion.reason) == ("inconclusive", "no lesion to count")


def test_a_measurement_without_an_interval_is_inconclusive() -> None:
    criterion = judge_one({"max": 0.1}, "upper", Estimate(measurement(0.0)))
    assert criterion.verdict == Verdict.INCONCLUSIVE
    assert "interval" in criterion.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_that_is_none_reaches_a_verdict(value: float) -> None:
    with pytest.raises(ValueError, match="NaN and infinity"):
        measurement(value)
    with pytest.raises(ValueError, match="NaN and infinity"):
        judge_one({"max": 0.1}, "upper", Estimate(measurement(0.0), lambda alpha: interval(0, value)))


def test_a_measurement_that_nobody_made_is_inconclusive_with_a_suggestion() -> None:
    [criterion] = judge(criteria(declared({"max": 1}, "upper", of="X.removal_rat")), {"X.removal_rate": fixed(0, 0)})
    assert (criterion.verdict, criterion.value, criterion.n) == ("inconclusive", None, None)
    assert "X.removal_rat (did you mean 'X.removal_rate'?)" in criterion.reason


def test_an_inconclusive_claim_says_what_is_missing() -> None:
    asked: list[tuple[str, float]] = []

    def shortfall(of: Declared, alpha: float) -> str:
        asked.append((of.id, alpha))
        return "12 more patients"

    wide = Estimate(measurement(0.05), lambda alpha: interval(0.0, 0.2), shortfall)
    assert "12 more patients" in judge_one({"max": 0.1}, "upper", wide).reason
    none = Estimate(measurement(0.05), lambda alpha: interval(0.0, None), shortfall)
    assert "12 more patients" in judge_one({"max": 0.1}, "upper", none).reason
    assert asked == [("AC-01", 0.05)] * 2
    assert "12 more" not in judge_one({"max": 0.1}, "upper", wide._replace(interval_at=lambda a: interval(0, 0))).reason


def test_verdicts_come_in_the_declared_order() -> None:
    entries = [declared({"max": 0.1}, "upper", name, of) for name, of in (("B", "X.b"), ("A", "X.a"), ("C", "X.c"))]
    found = judge(criteria(*entries), {"X.a": fixed(0, 0), "X.b": fixed(1, 1)})
    assert [(c.id, c.verdict) for c in found] == [("B", "fail"), ("A", "pass"), ("C", "inconclusive")]


# Counts


@pytest.mark.parametrize(("count", "verdict"), [(0, "pass"), (2, "pass"), (3, "fail")])
def test_a_count_is_judged_on_its_value(count: int, verdict: str) -> None:
    criterion = judge_one({"max": 2}, "value", Estimate(measurement(count, unit="count")))
    assert (criterion.verdict, criterion.value, criterion.interval) == (verdict, count, None)


def test_a_count_has_to_meet_both_limits() -> None:
    def verdict(count: int) -> str:
        return judge_one({"min": 2, "max": 4}, "value", Estimate(measurement(count, unit="count"))).verdict

    assert [verdict(count) for count in (1, 2, 4, 5)] == ["fail", "pass", "pass", "fail"]


def test_nothing_but_a_count_is_judged_on_its_value() -> None:
    criterion = judge_one({"max": 0.5}, "value", fixed(0.0, 0.1, value=0.05))
    assert criterion.verdict == Verdict.INCONCLUSIVE
    assert "Only a count" in criterion.reason


def test_a_count_judged_on_a_bound_is_inconclusive() -> None:
    assert judge_one({"max": 2}, "upper", Estimate(measurement(0, unit="count"))).verdict == Verdict.INCONCLUSIVE


# Holm's procedure. With no event in n units the exact upper bound at alpha is 1 - alpha^(1/n), so that the smallest
# alpha at which a limit of 5 % is met is 0.95^n.


def verdicts(multiplicity: str, *estimates: Estimate | None) -> list[tuple[str, float | None]]:
    entries = [declared({"max": 0.05}, "upper", f"AC-{k}", f"X.{k}") for k in range(len(estimates))]
    found = {f"X.{k}": estimate for k, estimate in enumerate(estimates) if estimate is not None}
    judged = judge(criteria(*entries, multiplicity=multiplicity), found)
    return [(c.verdict, c.adjusted_alpha) for c in judged]


def test_holm_equals_the_example_by_hand() -> None:
    # p = 0.95^100 = 0.0059 <= 0.05 / 2, then p = 0.95^60 = 0.0461 <= 0.05 / 1: both pass.
    assert verdicts("holm", rate(0, 100), rate(0, 60)) == [("pass", 0.025), ("pass", 0.05)]
    assert verdicts("holm", rate(0, 60), rate(0, 100)) == [("pass", 0.05), ("pass", 0.025)]
    # p = 0.95^70 = 0.0276 > 0.05 / 2: the first does not pass, and so does none after it.
    assert verdicts("holm", rate(0, 70), rate(0, 60)) == [("inconclusive", 0.025)] * 2
    assert verdicts("none", rate(0, 70), rate(0, 60)) == [("pass", 0.05)] * 2


def test_holm_leaves_a_failure_a_failure() -> None:
    assert [v for v, _ in verdicts("holm", rate(0, 100), rate(40, 60))] == ["pass", "fail"]


def test_leaving_a_criterion_unmeasured_does_not_help_the_others() -> None:
    # Alone with AC-0 the second would be tested at 0.05 and pass; the unmeasured one keeps it at 0.05 / 2.
    assert verdicts("holm", rate(0, 100), rate(0, 60), None) == [
        ("pass", pytest.approx(0.05 / 3)),
        ("inconclusive", 0.025),
        ("inconclusive", None),
    ]


def test_counts_take_no_part_of_the_error_rate() -> None:
    entries = [declared({"max": 0.05}, "upper", "A", "X.a"), declared({"max": 0}, "value", "B", "X.b")]
    found = {"X.a": rate(0, 60), "X.b": Estimate(measurement(0, unit="count"))}
    judged = judge(criteria(*entries, multiplicity="holm"), found)
    assert [(c.verdict, c.adjusted_alpha) for c in judged] == [("pass", 0.05), ("pass", None)]


def test_holm_decides_where_a_bound_does_not_shrink_steadily() -> None:
    def at(alpha: float) -> Interval:
        return interval(0.0, 0.04 if 0.04 < alpha < 0.06 or alpha > 0.2 else 0.2)

    [criterion] = judge(
        criteria(declared({"max": 0.05}, "upper"), multiplicity="holm"), {"X.y": Estimate(measurement(0.0), at)}
    )
    assert (criterion.verdict, criterion.value) == ("inconclusive", 0.04)
    assert "Holm" in criterion.reason


def test_holm_without_anything_measured() -> None:
    assert verdicts("holm", None, None) == [("inconclusive", None)] * 2


# Properties

numbers = st.floats(-1e6, 1e6)
ends = st.tuples(numbers, numbers).map(sorted)
bounds = st.sampled_from(
    [({"max"}, "upper"), ({"min"}, "lower"), ({"min", "max"}, "both"), ({"max"}, "both"), ({"min"}, "both")]
)


@st.composite
def claims(draw: Any) -> tuple[dict[str, float], str]:
    keys, judged_on = draw(bounds)
    low, high = draw(ends)
    return {k: {"min": low, "max": high}[k] for k in keys}, judged_on


@given(claims(), ends, st.sampled_from([(True, True), (True, False), (False, True)]))
def test_prop_a_pass_means_that_every_bound_meets_its_limit(
    claim: tuple[dict[str, float], str], found: list[float], there: tuple[bool, bool]
) -> None:
    low, high = (end if is_there else None for end, is_there in zip(found, there, strict=True))
    criterion = judge_one(*claim, fixed(low, high))
    if criterion.verdict == Verdict.PASS:
        assert "max" not in claim[0] or (high is not None and high <= claim[0]["max"])
        assert "min" not in claim[0] or (low is not None and low >= claim[0]["min"])
        assert criterion.value in found


@given(claims(), ends, st.floats(0, 1e6))
def test_prop_tightening_a_limit_never_saves_a_model(
    claim: tuple[dict[str, float], str], found: list[float], by: float
) -> None:
    limit, judged_on = claim
    tighter = {k: v - by if k == "max" else v + by for k, v in limit.items()}
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    before = judge_one(limit, judged_on, fixed(*found)).verdict
    after = judge_one(tighter, judged_on, fixed(*found)).verdict
    assert order.index(after) <= order.index(before)


@given(claims(), st.lists(numbers, min_size=4, max_size=4).map(sorted))
def test_prop_a_narrower_interval_never_turns_a_pass_into_a_failure(
    claim: tuple[dict[str, float], str], found: list[float]
) -> None:
    low, inner_low, inner_high, high = found
    wide, narrow = judge_one(*claim, fixed(low, high)), judge_one(*claim, fixed(inner_low, inner_high))
    decided = (Verdict.PASS, Verdict.FAIL)
    assert wide.verdict not in decided or narrow.verdict == wide.verdict


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5))
def test_prop_holm_passes_nothing_that_fails_alone(sizes: list[int]) -> None:
    estimates = [rate(0, n) for n in sizes]
    together = [v for v, _ in verdicts("holm", *estimates)]
    alone = [v for v, _ in verdicts("none", *estimates)]
    assert all(a == "pass" for t, a in zip(together, alone, strict=True) if t == "pass")


@given(st.integers(0, 30), st.integers(1, 30), st.floats(0.01, 0.99))
def test_prop_a_rate_never_passes_and_fails_at_once(events: int, more: int, limit: float) -> None:
    estimate = rate(events, events + more)
    at_most = judge_one({"max": limit}, "upper", estimate).verdict
    at_least = judge_one({"min": limit}, "lower", estimate).verdict
    assume(at_most != Verdict.INCONCLUSIVE)
    assert at_least != at_most


# Severity, strata, two-sided bounds


def in_stratum(estimate: Estimate, name: str) -> Estimate:
    return estimate._replace(measurement=estimate.measurement.model_copy(update={"stratum": name}))


def stratified(**by_stratum: Estimate) -> dict[str, Estimate]:
    """X.y overall and in strata; `diameter_10` stands for `diameter 10`."""
    named = {name.replace("_", " "): estimate for name, estimate in by_stratum.items()}
    return {"X.y": rate(0, 100), **{f"X.y[{name}]": in_stratum(e, name) for name, e in named.items()}}


def test_what_was_declared_beside_the_limit_comes_along() -> None:
    entry = replace(declared({"max": 0.1}, "upper"), severity="report", claim="It holds.", margin=0.03)
    [found] = judge(criteria(entry), {"X.y": fixed(0, 0.05)})
    assert (found.severity, found.claim, found.margin) == ("report", "It holds.", 0.03)


def test_a_criterion_is_judged_in_every_stratum_of_a_kind() -> None:
    entry = replace(
        declared({"max": 0.05}, "upper"),
        strata=Strata(gate=("diameter",), report=("site",)),
        margin=0.1,
        hazard="HZ-03",
    )
    found = judge(criteria(entry), stratified(diameter_5=rate(0, 100), diameter_10=rate(3, 4), site_A=rate(0, 9)))
    assert [(c.id, c.measurement, c.severity, c.verdict) for c in found] == [
        ("AC-01", "X.y", "gate", "pass"),
        ("AC-01[diameter 5]", "X.y[diameter 5]", "gate", "pass"),
        ("AC-01[diameter 10]", "X.y[diameter 10]", "gate", "fail"),
        ("AC-01[site A]", "X.y[site A]", "report", "inconclusive"),
    ]
    assert {(c.hazard, c.margin) for c in found} == {("HZ-03", 0.1)}


@pytest.mark.parametrize(
    ("stratum", "kind", "one"),
    [
        ("diameter 5-10 mm", "diameter", True),
        ("diameter", "diameter", True),
        ("site A, men", "site A", True),
        ("sites", "site", False),
        ("diameters 5", "diameter", False),
        ("age 5", "ag", False),
        ("site", "site A", False),
    ],
)
def test_the_kind_of_a_stratum_is_its_first_words(stratum: str, kind: str, one: bool) -> None:
    assert is_of_kind(stratum, kind) is one


@pytest.mark.parametrize(("severity", "strata"), [("gate", Strata(gate=("age",))), ("report", Strata(report=("age",)))])
def test_a_kind_that_was_not_measured_is_inconclusive_and_says_so(severity: str, strata: Strata) -> None:
    entry = replace(declared({"max": 0.05}, "upper"), strata=strata)
    first, second = judge(criteria(entry), stratified(site_A=rate(0, 100)))
    assert first.verdict == Verdict.PASS
    assert (second.id, second.severity, second.verdict) == ("AC-01[age]", severity, "inconclusive")
    assert "No stratum of kind 'age'" in second.reason
    assert "site A" in second.reason


def test_strata_without_any_measurement_are_inconclusive_too() -> None:
    found = judge(criteria(replace(declared({"max": 0.05}, "upper"), strata=Strata(gate=("site",)))), {})
    assert [c.verdict for c in found] == ["inconclusive"] * 2
    assert "this run measured none" in found[1].reason


def test_a_stratum_says_how_many_more_it_needs_of_itself() -> None:
    asked = []

    def shortfall(of: Declared, alpha: float) -> str:
        asked.append(of.id)
        return "12 more patients"

    small = Estimate(measurement(0.05), lambda alpha: interval(0.0, 0.2), shortfall)
    entry = replace(declared({"max": 0.05}, "upper"), strata=Strata(gate=("site",)))
    found = judge(criteria(entry), stratified(site_A=small))
    assert asked == ["AC-01[site A]"]
    assert "12 more patients" in found[1].reason


def test_only_what_gates_shares_the_error_rate() -> None:
    # With the reported one in the family the second would be tested at 0.05 / 2 and not pass (0.95^60 = 0.0461).
    gate = declared({"max": 0.05}, "upper", "A", "X.a")
    report = replace(declared({"max": 0.05}, "upper", "B", "X.b"), severity="report")
    found = judge(criteria(gate, report, multiplicity="holm"), {"X.a": rate(0, 60), "X.b": rate(0, 60)})
    assert [(c.verdict, c.adjusted_alpha) for c in found] == [("pass", 0.05), ("pass", 0.05)]


def test_strata_that_gate_share_the_error_rate() -> None:
    estimates = stratified(site_A=rate(0, 60))
    for strata, verdict in ((Strata(gate=("site",)), "pass"), (Strata(gate=("site", "age")), "inconclusive")):
        entry = replace(declared({"max": 0.05}, "upper"), strata=strata)
        found = judge(criteria(entry, multiplicity="holm"), estimates)
        # 0.95^60 = 0.0461 passes at 0.05 / 1, and not at 0.05 / 2 with a kind that nobody measured after it.
        assert found[1].verdict == verdict
        assert found[0].adjusted_alpha == pytest.approx(0.05 / (len(found)))


def test_two_sided_bounds_are_judged_at_half_of_alpha_and_say_so() -> None:
    one = criteria(declared({"max": 0.05}, "upper"))
    two = replace(one, statistics={"bound": "two-sided"})
    # 1 - 0.05^(1/60) = 4.9 %, 1 - 0.025^(1/60) = 6.0 %.
    [single] = judge(one, {"X.y": rate(0, 60)})
    [double] = judge(two, {"X.y": rate(0, 60)})
    assert (single.verdict, single.adjusted_alpha) == ("pass", 0.05)
    assert (double.verdict, double.adjusted_alpha) == ("inconclusive", 0.025)
    assert double.value == pytest.approx(1 - 0.025 ** (1 / 60))
    assert "two-sided" not in single.reason
    assert double.reason.endswith("The bound is an end of a two-sided interval at level 0.95, judged at 0.025.")
    [passed] = judge(two, {"X.y": rate(0, 100)})
    assert passed.verdict == Verdict.PASS
    assert "two-sided" in passed.reason


def test_two_sided_goes_with_holm() -> None:
    entries = [declared({"max": 0.05}, "upper", f"AC-{k}", f"X.{k}") for k in range(2)]
    two = replace(criteria(*entries, multiplicity="holm"), statistics={"bound": "two-sided"})
    found = judge(two, {"X.0": rate(0, 200), "X.1": rate(0, 100)})
    assert [c.adjusted_alpha for c in found] == [0.0125, 0.025]


def test_a_count_has_no_two_sides() -> None:
    two = replace(criteria(declared({"max": 0}, "value")), statistics={"bound": "two-sided"})
    [found] = judge(two, {"X.y": Estimate(measurement(0, unit="count"))})
    assert found.verdict == Verdict.PASS
    assert "two-sided" not in found.reason


@given(claims(), ends, st.floats(0.001, 0.499))
def test_prop_two_sides_pass_nothing_that_fails_on_one(
    claim: tuple[dict[str, float], str], found: list[float], alpha: float
) -> None:
    low, high = found

    def at(rate_of_error: float) -> Interval:
        wider = (high - low) * (1 - rate_of_error)
        return interval(low - wider, high + wider, 1 - rate_of_error)

    one = criteria(declared(*claim), alpha=alpha)
    two = replace(one, statistics={"bound": "two-sided"})
    [single], [double] = (judge(c, {"X.y": Estimate(measurement(0.0), at)}) for c in (one, two))
    assert double.verdict != Verdict.PASS or single.verdict == Verdict.PASS
    assert double.verdict != Verdict.FAIL or single.verdict == Verdict.FAIL


@given(st.lists(st.integers(1, 200), min_size=1, max_size=4), st.lists(st.integers(1, 200), max_size=4))
def test_prop_what_is_only_reported_changes_no_gate(gates: list[int], reports: list[int]) -> None:
    entries = [declared({"max": 0.05}, "upper", f"G{k}", f"G.{k}") for k in range(len(gates))]
    more = [
        replace(declared({"max": 0.05}, "upper", f"R{k}", f"R.{k}"), severity="report") for k in range(len(reports))
    ]
    found = {
        **{f"G.{k}": rate(0, n) for k, n in enumerate(gates)},
        **{f"R.{k}": rate(0, n) for k, n in enumerate(reports)},
    }
    alone = judge(criteria(*entries, multiplicity="holm"), found)
    together = judge(criteria(*entries, *more, multiplicity="holm"), found)
    assert together[: len(alone)] == alone
