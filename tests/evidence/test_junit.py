"""JUnit: what a CI server would make of a Record. Nothing but a run that passed may come out green."""

from __future__ import annotations

import locale
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.evidence.junit import junit_xml
from medgan_qa.record import Record

Make = Callable[..., Any]


def parsed(record: Record) -> ET.Element:
    return ET.fromstring(junit_xml(record).encode())


def counts(suite: ET.Element) -> dict[str, int]:
    return {key: int(suite.get(key, "missing")) for key in ("tests", "failures", "errors", "skipped")}


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
    assert len(first) == 0
    assert first.attrib == {"classname": "PAT-001 Removed pathology", "name": "AC-01 PAT-001.removal_rate"}
    [outcome] = second
    assert outcome.tag == tag
    assert outcome.get("message") == f"{verdict}: It straddles"
    assert outcome.text == "It straddles\nthe <limit> & more."


def test_a_run_that_passed(make_record: Make) -> None:
    suite = parsed(make_record())
    assert counts(suite) == {"tests": 1, "failures": 0, "errors": 0, "skipped": 0}
    assert suite.attrib | {"name": "medgan-qa translation", "time": "2.5", "timestamp": "2026-11-03T10:12:00"} == (
        suite.attrib
    )
    facts = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert facts == {
        "verdict": "pass",
        "model_sha256": "ab" * 32,
        "data": "cd" * 32,
        "PAT-001.removal_rate": "0.03",
    }


def test_a_number_that_is_missing_is_empty(make_record: Make, make_audit: Make, make_measurement: Make) -> None:
    record = make_record(audits=[make_audit(measurements=[make_measurement(None)])], subject={})
    facts = {p.get("name"): p.get("value") for p in parsed(record).iter("property")}
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
