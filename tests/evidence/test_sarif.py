"""SARIF: the rules of version 2.1.0 that a log of this kind can break, and what a viewer makes of a Record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.evidence.sarif import FINGERPRINT, sarif_json
from medgan_qa.record import Record, Verdict

Make = Callable[..., Any]
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
KINDS = {"pass", "fail", "open", "review", "notApplicable", "informational"}
LEVELS = {"none", "note", "warning", "error"}


def log_of(record: Record) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(sarif_json(record))
    return log


def message_text(escaped: str) -> str:
    """What a viewer shows of a plain text message, sections 3.11.5 and 3.11.6."""
    assert not re.search(r"(?<!\{)(\{\{)*\{(?!\{)", escaped), "a single brace begins a placeholder"
    assert not re.search(r"(?<!\\)\[[^\[\]]*\]\(", escaped), "brackets of both kinds are a link"
    return escaped.replace("{{", "{").replace("}}", "}").replace("\\[", "[")


def require_valid(log: dict[str, Any]) -> list[dict[str, Any]]:
    """Check the rules of the standard that hold for the properties that are used; returns the results."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    assert set(run) <= {"tool", "automationDetails", "invocations", "columnKind", "results", "properties"}
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    driver = run["tool"]["driver"]
    assert driver["name"]
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) == {"id", "shortDescription", "fullDescription"}
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription"))
    for invocation in run["invocations"]:
        assert isinstance(invocation["executionSuccessful"], bool)
        times = [invocation[key] for key in ("startTimeUtc", "endTimeUtc") if key in invocation]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time) for time in times)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["kind"] in KINDS
        assert result["level"] in LEVELS
        # Section 3.27.10: a level belongs to a failure, and to nothing else.
        assert (result["level"] == "none") == (result["kind"] != "fail")
        assert result["message"]["text"]
        message_text(result["message"]["text"])
        [place] = result["locations"]
        address = urlsplit(place["physicalLocation"]["artifactLocation"]["uri"])
        assert (address.scheme, address.netloc) == ("", "")
        assert address.path
        assert not address.path.startswith("/")
        assert ".." not in address.path.split("/")
        [fingerprint] = result["partialFingerprints"].values()
        assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    results: list[dict[str, Any]] = run["results"]
    return results


def test_a_whole_record() -> None:
    log = log_of(WHOLE)
    results = require_valid(log)
    found = {(r["properties"]["check"], r["message"]["text"].split(": ")[0]): (r["kind"], r["level"]) for r in results}
    assert found == {
        ("precondition", "DATA-patients"): ("pass", "none"),
        ("precondition", "DATA-sites"): ("fail", "warning"),
        ("criterion", "AC-01 PAT-001.removal_rate"): ("pass", "none"),
        ("criterion", "AC-01 PAT-001.removal_rate[site B]"): ("review", "none"),
        ("criterion", "AC-02 PAT-001.inversion_rate"): ("fail", "warning"),
        ("criterion", "AC-03 PAT-001.contrast_recovery"): ("pass", "none"),
        ("criterion", "AC-04 FID-010.psnr"): ("pass", "none"),
        ("criterion", "AC-05 GEO-001.shift"): ("fail", "error"),
        ("audit", "ran"): ("fail", "error"),
        ("sentinel", "case-0017 PAT-001"): ("fail", "error"),
        ("sentinel", "case-0042 PAT-001"): ("pass", "none"),
        ("change", "AC-01 PAT-001.removal_rate"): ("fail", "warning"),
        ("change", "AC-04 FID-010.psnr"): ("notApplicable", "none"),
    }
    [run] = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        *(audit.code for audit in WHOLE.audits),
        "DATA",
        "COMPARISON",
    ]
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "startTimeUtc": WHOLE.run["started_utc"],
            "endTimeUtc": WHOLE.run["finished_utc"],
        }
    ]


def test_the_rules_are_the_audits() -> None:
    first = log_of(WHOLE)["runs"][0]["tool"]["driver"]["rules"][0]
    audit = WHOLE.audits[0]
    assert first["shortDescription"] == {"text": audit.title}
    assert first["fullDescription"] == {"text": audit.question}


def test_numbers_are_properties() -> None:
    results = {r["message"]["text"].split(": ")[0]: r["properties"] for r in require_valid(log_of(WHOLE))}
    facts = {"verdict": "fail", "bound": 1.99, "limit_max": 1.5, "n": 200, "clusters": 100}
    assert facts.items() <= results["AC-05 GEO-001.shift"].items()


@pytest.mark.parametrize("severity", ["gate", "report"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_each_verdict_has_its_kind(
    make_record: Make, make_audit: Make, make_criterion: Make, verdict: Verdict, severity: str
) -> None:
    audit = make_audit(criteria=[make_criterion("AC-01", verdict, severity=severity)])
    [result] = require_valid(log_of(make_record(audits=[audit])))
    gating = {
        "pass": "pass",
        "fail": "fail",
        "error": "fail",
        "inconclusive": "fail",
        "not_applicable": "notApplicable",
    }
    reported = {**gating, "fail": "review", "error": "open", "inconclusive": "open"}
    assert result["kind"] == (gating if severity == "gate" else reported)[verdict]
    assert result["properties"]["verdict"] == verdict


def test_fingerprints_stay_the_same_over_runs_and_differ_between_checks() -> None:
    def fingerprints(record: Record) -> list[str]:
        return [result["partialFingerprints"][FINGERPRINT] for result in require_valid(log_of(record))]

    first = fingerprints(WHOLE)
    assert len(set(first)) == len(first)
    audits = [
        a.model_copy(
            update={"criteria": [c.model_copy(update={"reason": "x", "verdict": Verdict.PASS}) for c in a.criteria]}
        )
        for a in WHOLE.audits
    ]
    assert fingerprints(WHOLE.model_copy(update={"audits": audits, "run": {"id": "another"}})) == first


@pytest.mark.parametrize(
    ("lock", "uri"),
    [
        ({}, "record.json"),
        ({"file": ""}, "record.json"),
        ({"file": "default criteria of suite translation", "default": True}, "record.json"),
        ({"file": "criteria.toml"}, "criteria.toml"),
        ({"file": "./qa/VP 012.toml"}, "qa/VP%20012.toml"),
        ({"file": "qa\\criteria.toml"}, "qa/criteria.toml"),
        ({"file": "/home/somebody/criteria.toml"}, "criteria.toml"),
        ({"file": "C:\\Users\\somebody\\criteria.toml"}, "criteria.toml"),
        ({"file": "../../etc/passwd"}, "passwd"),
        ({"file": "qa:1/größe#1.toml"}, "qa%3A1/gr%C3%B6%C3%9Fe%231.toml"),
        ({"file": ".."}, "record.json"),
        ({"file": 7}, "record.json"),
    ],
)
def test_the_location_is_the_criteria_file(make_record: Make, lock: dict[str, Any], uri: str) -> None:
    [result] = require_valid(log_of(make_record(criteria_lock=lock)))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_a_check_that_broke_is_work_not_done(make_record: Make) -> None:
    record = make_record("error", "The audit broke.", run={"started_utc": "yesterday"})
    log = log_of(record)
    require_valid(log)
    assert log["runs"][0]["invocations"] == [{"executionSuccessful": False}]


@given(file=st.text(max_size=20), reason=st.text(max_size=40), suite=st.text(max_size=10))
def test_prop_valid_and_nothing_lost_whatever_the_texts(
    make_record: Make, make_audit: Make, make_criterion: Make, file: str, reason: str, suite: str
) -> None:
    audit = make_audit(title=reason, question=reason, criteria=[make_criterion("AC-01", "fail", reason or "x")])
    record = make_record("fail", reason, audits=[audit], criteria_lock={"file": file}, suite=suite)
    [result] = require_valid(log_of(record))
    shown = result["message"]["text"].replace("{{", "{").replace("}}", "}")
    expected = f"AC-01 PAT-001.removal_rate: {reason or 'x'}"
    assert shown.replace("\\[", "[") == expected.replace("\\[", "[")
