"""Reading criteria files, and judging: what passes, what fails, and what neither may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medgan_qa.criteria import Criteria, Declared, Estimate, judge, parse_criteria, read_criteria
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Criterion, Interval, Measurement, Verdict
from medgan_qa.stats import clopper_pearson

ENTRY = {"id": "AC-01", "measurement": "PAT-001.removal_rate", "limit": {"max": 0.05}, "judged_on": "upper"}
CONTENT = {"schema": "medgan-qa/criteria/1", "criterion": [ENTRY]}
TEXT = """
schema = "medgan-qa/criteria/1"
protocol = {id = "VP-012", revision = "B", title = "T1 to FLAIR, brain"}
alpha = 0.05
multiplicity = "holm"

[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.05}
judged_on = "upper"
rationale = "a removed lesion is a missed diagnosis"
hazard = "HZ-03"
requirement = "SRS-041"

[parameters.PAT-001]
min_overlap = 0.3
"""


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
    assert "0.09" in criterion.reason
    assert "at most 0.1" in criterion.reason


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
    assert "0.2 to no bound" in criterion.reason


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


# Files


def changed(**changes: Any) -> dict[str, Any]:
    return {**CONTENT, **changes}


def with_entry(**changes: Any) -> dict[str, Any]:
    entry = {k: v for k, v in {**ENTRY, **changes}.items() if v is not None}
    return changed(criterion=[entry])


def test_reads_the_file_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "criteria.toml"
    path.write_text(TEXT, encoding="utf-8")
    read = read_criteria(path)
    assert read.protocol == {"id": "VP-012", "revision": "B", "title": "T1 to FLAIR, brain"}
    assert (read.alpha, read.multiplicity, read.default, read.file) == (0.05, "holm", False, str(path))
    assert read.parameters == {"PAT-001": {"min_overlap": 0.3}}
    [only] = read.declared
    assert (only.limit, only.judged_on, only.hazard) == ({"max": 0.05}, "upper", "HZ-03")


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / "c.toml"
        path.write_text(text, encoding="utf-8")
        return read_criteria(path).digest()

    assert digest(TEXT) == digest("# a comment\n" + TEXT.replace("limit = {max = 0.05}", "limit = { max = 5e-2 }"))
    others = ["0.05", "0.3", '"upper"', "HZ-03", "VP-012", "holm"]
    new = ["0.04", "0.4", '"both"', "HZ-04", "VP-013", "none"]
    assert len({digest(TEXT), *(digest(TEXT.replace(a, b)) for a, b in zip(others, new, strict=True))}) == 7


def test_what_is_left_out_has_the_stated_default() -> None:
    read = parse_criteria(CONTENT, "here", default=True)
    assert (read.alpha, read.multiplicity, read.protocol, read.default) == (0.05, "none", {}, True)


@pytest.mark.parametrize("judged_on", ["both", "value"])
@pytest.mark.parametrize("limit", [{"max": 1}, {"min": 1}, {"min": 1, "max": 1}])
def test_either_limit_goes_with_both_and_value(judged_on: str, limit: dict[str, float]) -> None:
    [entry] = parse_criteria(with_entry(limit=limit, judged_on=judged_on), "here").declared
    assert entry.limit == limit
    assert all(isinstance(v, float) for v in entry.limit.values())


def put(text: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(text)


@pytest.mark.parametrize(
    ("prepare", "found"),
    [
        (lambda path: None, "No such file"),
        (Path.mkdir, "directory"),
        (put(b"schema = "), "Invalid value"),
        (put(b"schema = '\xff'"), "utf-8"),
    ],
    ids=["missing", "folder", "no TOML", "no text"],
)
def test_refuses_a_file_that_cannot_be_read(tmp_path: Path, prepare: Callable[[Path], Any], found: str) -> None:
    path = tmp_path / "criteria.toml"
    prepare(path)
    with pytest.raises(ConfigurationError) as caught:
        read_criteria(path)
    assert found in str(caught.value.found)
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (changed(schema="medgan-qa/criteria/2"), "no criteria file"),
        ({"criterion": [ENTRY]}, "no criteria file"),
        (changed(multiplicty="holm"), "did you mean 'multiplicity'?"),
        (changed(protocol={"titel": "x"}), "did you mean 'title'?"),
        (changed(protocol="VP-012"), "A table was expected"),
        (with_entry(judgedon="upper"), "did you mean 'judged_on'?"),
        (with_entry(limit={"maximum": 0.1}), "Unknown key 'maximum'"),
        (changed(xyzzy=1), "Unknown key 'xyzzy'."),
        *((changed(alpha=alpha), "alpha is no usable") for alpha in (0.0, 0.5, 1, "0.05", float("nan"), True)),
        (changed(multiplicity="bonferroni"), "multiplicity is unknown"),
        (changed(multiplicity=["holm"]), "multiplicity is unknown"),
        *((changed(criterion=wrong), "declares no criterion") for wrong in (None, [], {}, 5, "x")),
        (changed(criterion=["x"]), "A table was expected"),
        (changed(criterion=[ENTRY, ENTRY]), "Two criteria have one id"),
        *((with_entry(**{key: None}), f"lacks '{key}'") for key in ("id", "measurement", "limit", "judged_on")),
        (with_entry(id=""), "lacks 'id'"),
        (with_entry(judged_on="lower"), "does not fit the bound"),
        (with_entry(limit={"min": 0.1}), "does not fit the bound"),
        (with_entry(limit={"min": 0.1, "max": 0.2}), "does not fit the bound"),
        (with_entry(judged_on="above"), "judged_on is unknown"),
        (with_entry(judged_on=["upper"]), "judged_on is unknown"),
        *(
            (with_entry(limit={"max": value}), "The limit is no number")
            for value in ("0.05", float("nan"), float("inf"), True, [0.1], 1e12)
        ),
        (with_entry(limit={}), "The limit is no number"),
        (with_entry(limit=0.05), "A table was expected"),
        (with_entry(limit={"min": 2, "max": 1}, judged_on="both"), "No number can meet"),
        (changed(parameters=3), "parameters are no tables"),
        (changed(parameters={"PAT-001": 3}), "parameters are no tables"),
        (changed(parameters={"PAT-001": {"min_overlap": float("nan")}}), "cannot be recorded"),
        (changed(parameters={"PAT-001": {"since": object()}}), "cannot be recorded"),
    ],
)
def test_refuses_what_cannot_be_judged(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_criteria(content, "plan.toml")
    assert problem in caught.value.problem
    assert "plan.toml" in str(caught.value.where)
    assert caught.value.expected
    assert caught.value.found is not None
    assert caught.value.todo


def test_an_error_names_the_criterion_it_is_about() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_criteria(with_entry(judged_on="lower"), "plan.toml")
    assert caught.value.where == "plan.toml, criterion AC-01"
    assert "{'max': 0.05} judged on 'lower'" in str(caught.value)
