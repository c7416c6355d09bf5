"""JUnit: what a CI server would make of a Record. Nothing but a run that passed may come out green."""

from __future__ import annotations

import locale
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.evidence.junit import junit_xml
from medgan_qa.record import Record, Verdict

Make = Callable[..., Any]


def parsed(record: Record) -> ET.Element:
    return ET.fromstring(junit_xml(record).encode())


def counts(suite: ET.Element) -> dict[str, int]:
    return {key: int(suite.get(key, "missing")) for key in ("tests", "failures", "errors", "skipped")}


def properties(element: ET.Element) -> dict[str | None, str | None]:
    return {p.get("name"): p.get("value") for p in element.findall("properties/property")}


def by_name(record: Record) -> dict[str, ET.Element]:
    return {str(case.get("name")): case for case in parsed(record).findall("testcase")}


@pytest.fixture
def whole() -> Record:
    """A Record with everything that a Record can hold."""
    return Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("verdict", "tag", "count"),
    [
        ("fail", "failure", "failures"),
        ("error", "error", "errors"),
        ("inconclusive", "error", "errors"),
        ("not_applicable", "skipped", "skipped"),
    ],
)
def test_each_verdict_has_its_outcome(
    make_record: Make, make_audit: Make, make_criterion: Make, verdict: str, tag: str, count: str
) -> None:
    judged = [make_criterion("AC-01"), make_criterion("AC-02", verdict, "It straddles\nthe <limit> & more.")]
    suite = parsed(make_record(verdict, audits=[make_audit(verdict=verdict, criteria=judged)]))
    expected = {"tests": 2, "failures": 0, "errors": 0, "skipped": 0, count: 1}
    if verdict == "not_applicable":
        # A run that was not judged may not come out green.
        expected |= {"tests": 3, "errors": 1}
    assert counts(suite) == expected
    first, second = suite.findall("testcase")[:2]
    assert [child.tag for child in first] == ["properties"]
    assert first.attrib == {"classname": "PAT-001 Removed pathology", "name": "AC-01 PAT-001.removal_rate"}
    properties, outcome = second
    assert (properties.tag, outcome.tag) == ("properties", tag)
    assert outcome.get("message") == f"{verdict}: It straddles"
    assert outcome.text == "It straddles\nthe <limit> & more."


def test_a_run_that_passed(make_record: Make) -> None:
    suite = parsed(make_record())
    assert counts(suite) == {"tests": 1, "failures": 0, "errors": 0, "skipped": 0}
    assert suite.attrib | {"name": "medgan-qa translation", "time": "2.5", "timestamp": "2026-11-03T10:12:00"} == (
        suite.attrib
    )
    facts = properties(suite)
    assert facts == {
        "verdict": "pass",
        "model_sha256": "ab" * 32,
        "data": "cd" * 32,
        "PAT-001.removal_rate": "0.03",
    }


def test_a_number_that_is_missing_is_empty(make_record: Make, make_audit: Make, make_measurement: Make) -> None:
    record = make_record(audits=[make_audit(measurements=[make_measurement(None)])], subject={})
    facts = properties(parsed(record))
    assert (facts["PAT-001.removal_rate"], facts["model_sha256"]) == ("", "")


@pytest.mark.parametrize("verdict", ["error", "inconclusive"])
def test_an_audit_that_broke_without_a_criterion_is_a_case(make_record: Make, make_audit: Make, verdict: str) -> None:
    broken = make_audit("ROB-002", verdict, reason="RuntimeError: out of memory")
    suite = parsed(make_record(verdict, audits=[make_audit(), broken]))
    assert counts(suite) == {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}
    [case] = suite.findall("testcase")
    assert case.get("classname") == "ROB-002 Removed pathology"
    assert case.find("error").text == "RuntimeError: out of memory"  # type: ignore[union-attr]


@pytest.mark.parametrize("audits", [[], ["not_applicable"], ["pass"]])
@pytest.mark.parametrize("verdict", ["inconclusive", "not_applicable", "error", "fail"])
def test_a_run_that_judged_nothing_is_not_green(
    make_record: Make, make_audit: Make, verdict: str, audits: list[str]
) -> None:
    record = make_record(verdict, "No criterion applied.", audits=[make_audit(verdict=v) for v in audits])
    suite = parsed(record)
    assert counts(suite) == {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}
    [case] = suite.findall("testcase")
    assert case.find("error").text == "No criterion applied."  # type: ignore[union-attr]


verdicts = st.sampled_from(["pass", "fail", "inconclusive", "error", "not_applicable"])


@given(run=verdicts, judged=st.lists(verdicts, max_size=4), texts=st.lists(st.text(), min_size=3, max_size=3))
def test_prop_counts_add_up_and_only_a_pass_is_green(
    make_record: Make, make_audit: Make, make_criterion: Make, run: str, judged: list[str], texts: list[str]
) -> None:
    name, title, reason = texts
    criteria = [make_criterion(f"{name}{k}", verdict, reason) for k, verdict in enumerate(judged)]
    suite = parsed(make_record(run, reason, audits=[make_audit(title=title, criteria=criteria)], suite=name))
    cases = suite.findall("testcase")
    counted = counts(suite)
    assert counted["tests"] == len(cases)
    for tag, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert counted[key] == sum(case.find(tag) is not None for case in cases)
    if run != "pass":
        assert counted["failures"] + counted["errors"] > 0


def test_a_case_holds_what_it_was_judged_on(whole: Record) -> None:
    facts = properties(by_name(whole)["AC-02 PAT-001.inversion_rate"])
    expected = {"estimate": "0.019", "bound": "0.1004", "judged_on": "upper", "limit_max": "0.1", "unit": "fraction"}
    expected |= {"n": "160", "unit_of_analysis": "lesion", "clusters": "84", "interval_low": "0.004"}
    expected |= {"interval_high": "0.1004", "interval_level": "0.95", "interval_method": "Clopper-Pearson"}
    assert expected.items() <= facts.items()


def test_preconditions_sentinels_and_changes_are_cases(whole: Record) -> None:
    cases = by_name(whole)
    outcomes = {
        "DATA-patients": None,
        "DATA-sites": "error",
        "case-0017 PAT-001": "failure",
        "case-0042 PAT-001": None,
        "AC-01 PAT-001.removal_rate": "error",  # the change; the criterion of that name stands before it and passed
        "AC-04 FID-010.psnr": "skipped",
    }
    for name, tag in outcomes.items():
        assert [child.tag for child in cases[name] if child.tag != "properties"] == ([tag] if tag else []), name
    assert cases["case-0017 PAT-001"].find("failure").text.endswith("In the baseline: kept.")  # type: ignore[union-attr]
    assert properties(cases["AC-01 PAT-001.removal_rate"])["worsening"] == "0.0175"
    assert properties(cases["DATA-sites"]) == {
        "required": "at least 3 sites in the test partition",
        "found": "2 sites",
    }


@pytest.mark.parametrize("verdict", ["fail", "error", "inconclusive", "not_applicable"])
def test_what_is_only_reported_fails_no_build(
    make_record: Make, make_audit: Make, make_criterion: Make, verdict: str
) -> None:
    judged = [make_criterion("AC-01"), make_criterion("AC-02", verdict, "It straddles.", severity="report")]
    suite = parsed(make_record(audits=[make_audit(criteria=judged)]))
    assert counts(suite) == {"tests": 2, "failures": 0, "errors": 0, "skipped": 1}
    skipped = suite.findall("testcase")[1].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == f"{verdict} (reported, gates nothing): It straddles."


@pytest.mark.parametrize("verdict", ["fail", "error", "inconclusive"])
@pytest.mark.parametrize("part", ["preconditions", "sentinels", "changes"])
def test_any_part_that_did_not_pass_is_no_green_build(whole: Record, part: str, verdict: str) -> None:
    def all_pass(items: list[Any]) -> list[Any]:
        return [item.model_copy(update={"verdict": Verdict.PASS}) for item in items]

    comparison = whole.comparison
    assert comparison is not None
    parts = {
        "preconditions": all_pass(whole.preconditions),
        "sentinels": all_pass(whole.sentinels),
        "changes": all_pass(comparison.changes),
    }
    parts[part] = [parts[part][0].model_copy(update={"verdict": Verdict(verdict)}), *parts[part][1:]]
    compared = comparison.model_copy(update={"changes": parts.pop("changes"), "sentinels": []})
    suite = parsed(whole.model_copy(update={**parts, "comparison": compared, "audits": [], "verdict": Verdict.PASS}))
    assert counts(suite)["failures" if verdict == "fail" else "errors"] == 1
    assert sum(counts(suite)[key] for key in ("failures", "errors", "skipped")) == 1


def test_what_xml_cannot_hold_is_replaced(make_record: Make, make_audit: Make) -> None:
    broken = make_audit(verdict="error", reason="\x1b[31mRuntimeError\x1b[0m: \x00 \ud800 µm ☃ 😀")
    text = junit_xml(make_record("error", audits=[broken]))
    error = ET.fromstring(text.encode()).find("testcase/error")
    assert error is not None
    assert error.text == "\ufffd[31mRuntimeError\ufffd[0m: \ufffd \ufffd µm ☃ 😀"


def test_says_utf8_whatever_the_locale(make_record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "ISO-8859-1")
    text = junit_xml(make_record("fail", "größer"))
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    assert "größer" in ET.tostring(ET.fromstring(text.encode()), encoding="unicode")
