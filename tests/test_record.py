"""The Record: what it refuses, that it survives a round trip through JSON, and its published schema."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medgan_qa.record import (
    SCHEMA,
    AuditResult,
    Criterion,
    Exhibit,
    Interval,
    Measurement,
    Record,
    Verdict,
    json_schema,
)

ROOT = Path(__file__).resolve().parent.parent
INTERVAL = Interval(low=0.012, high=None, level=0.95, method="Clopper-Pearson (exact)", sided=1)
NOT_NUMBERS = [float("nan"), float("inf"), float("-inf")]


def a_measurement(**changes: Any) -> Measurement:
    facts: dict[str, Any] = {
        "id": "PAT-001.removal_rate",
        "label": "Lesions removed",
        "value": 0.03,
        "unit": "fraction",
        "interval": INTERVAL,
        "n": 160,
        "unit_of_analysis": "lesion",
        "better": "lower",
        "clusters": 84,
    }
    return Measurement(**{**facts, **changes})


def a_criterion(**changes: Any) -> Criterion:
    facts: dict[str, Any] = {
        "id": "AC-01",
        "measurement": "PAT-001.removal_rate",
        "limit": {"max": 0.1},
        "judged_on": "upper",
        "value": 0.076,
        "verdict": Verdict.PASS,
        "reason": "The bound meets the limit.",
        "rationale": "",
        "hazard": "HZ-03",
        "requirement": "SRS-041",
        "interval": INTERVAL,
    }
    return Criterion(**{**facts, **changes})


def an_exhibit(**changes: Any) -> Exhibit:
    facts = {"id": "PAT-001-strata", "kind": "forest", "title": "By stratum", "caption": "", "data": {"rows": []}}
    return Exhibit(**{**facts, **changes})


def an_audit(**changes: Any) -> AuditResult:
    facts: dict[str, Any] = {
        "code": "PAT-001",
        "title": "Removed pathology",
        "question": "Does the model remove lesions?",
        "verdict": Verdict.PASS,
        "reason": "",
        "parameters": {"min_overlap": 0.25},
        "seconds": 1.5,
        "measurements": [a_measurement(), a_measurement(id="PAT-001.x", value=None, interval=None, reason="no lesion")],
        "criteria": [a_criterion()],
        "exhibits": [an_exhibit()],
        "notes": ["a note"],
    }
    return AuditResult(**{**facts, **changes})


def a_record(**changes: Any) -> Record:
    facts: dict[str, Any] = {
        "verdict": Verdict.PASS,
        "reason": "Every criterion passed.",
        "suite": "translation",
        "tool": {"name": "medgan-qa", "version": "0.1.0"},
        "run": {"seed": 0, "command": ["medgan-qa", "audit"], "seconds": 2.5},
        "subject": {"sha256": "ab" * 32, "detector": None},
        "data": {"digest": "cd" * 32, "phantom": True},
        "criteria_lock": {"locked": False},
        "environment": {"packages": {"numpy": "2"}},
        "deviations": [],
        "limitations": ["Grüße µm²"],
        "audits": [an_audit()],
    }
    return Record(**{**facts, **changes})


def test_survives_a_round_trip() -> None:
    record = a_record()
    text = record.to_json()
    assert Record.from_json(text) == record
    assert Record.from_json(text).to_json() == text


def test_json_begins_with_what_it_is_and_leaves_nothing_out() -> None:
    content = json.loads(a_record().to_json())
    order = "schema verdict reason suite tool run subject data criteria_lock environment deviations limitations audits"
    added = "index document context preconditions sentinels hazards attempts accounting comparison files"
    assert list(content) == [*order.split(), *added.split()]
    assert content["schema"] == SCHEMA
    assert content["audits"][0]["measurements"][1]["value"] is None
    assert content["audits"][0]["measurements"][1]["reason"] == "no lesion"
    assert content["audits"][0]["measurements"][0]["interval"]["high"] is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_prop_numbers_come_back_bit_for_bit(value: float) -> None:
    record = a_record(audits=[an_audit(measurements=[a_measurement(value=value)], parameters={"x": value})])
    [audit] = Record.from_json(record.to_json()).audits
    assert audit.measurements[0].value == value
    assert math.copysign(1, audit.parameters["x"]) == math.copysign(1, value)


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize(
    "make",
    [
        lambda v: a_measurement(value=v),
        lambda v: Interval(low=v, high=1.0, level=0.95, method="", sided=1),
        lambda v: Interval(low=0.0, high=v, level=0.95, method="", sided=1),
        lambda v: Interval(low=0.0, high=1.0, level=v, method="", sided=1),
        lambda v: a_criterion(value=v),
        lambda v: a_criterion(limit={"max": v}),
        lambda v: a_criterion(estimate=v),
        lambda v: a_criterion(adjusted_alpha=v),
        lambda v: an_exhibit(data={"rows": [{"points": [1.0, v]}]}),
        lambda v: an_audit(parameters={"min_overlap": v}),
        lambda v: an_audit(seconds=v),
        lambda v: a_record(subject={"card": {"range_in": [0.0, v]}}),
        lambda v: a_record(run={"seconds": v}),
    ],
)
def test_refuses_a_number_that_is_none(make: Any, value: float) -> None:
    with pytest.raises(ValidationError):
        make(value)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_refuses_a_file_with_a_number_that_is_none(token: str) -> None:
    text = a_record().to_json().replace('"value": 0.03', f'"value": {token}')
    assert token in text
    with pytest.raises(ValidationError):
        Record.from_json(text)


@pytest.mark.parametrize("reason", [None, ""])
def test_a_missing_value_needs_a_reason(reason: str | None) -> None:
    with pytest.raises(ValidationError, match=r"PAT-001\.removal_rate: a measurement without a value needs a reason"):
        a_measurement(value=None, reason=reason)


@pytest.mark.parametrize(
    "make",
    [
        lambda: a_measurement(valeu=1.0),
        lambda: a_measurement(n=-1),
        lambda: a_measurement(better="bigger"),
        lambda: Interval(low=0.0, high=1.0, level=1.0, method="", sided=1),
        lambda: Interval(low=0.0, high=1.0, level=0.95, method="", sided=3),  # type: ignore[arg-type]
        lambda: a_criterion(limit={"maximum": 1.0}),
        lambda: a_criterion(verdict="passed"),
        lambda: an_exhibit(kind="html"),
        lambda: a_record(schema="medgan-qa/record/2"),
        lambda: a_record(extra=1),
    ],
)
def test_refuses_what_the_schema_does_not_know(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()


def test_nothing_in_a_record_changes_afterwards() -> None:
    record = a_record()
    with pytest.raises(ValidationError):
        record.verdict = Verdict.FAIL
    with pytest.raises(ValidationError):
        record.audits[0].criteria[0].verdict = Verdict.FAIL


# The published schema


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_describes_a_record(validator: Any) -> None:
    validator.validate(json.loads(a_record().to_json()))


def test_the_schema_describes_the_record_of_a_run(validator: Any) -> None:
    validator.validate(json.loads((ROOT / "tests" / "report" / "record.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema"], "medgan-qa/record/2"),
        (["schema"], None),
        (["verdict"], "passed"),
        (["verdict"], None),
        (["surprise"], 1),
        (["audits", 0, "measurements", 0, "value"], "0.03"),
        (["audits", 0, "measurements", 0, "n"], -1),
        (["audits", 0, "measurements", 0, "interval", "sided"], 3),
        (["audits", 0, "criteria", 0, "limit"], {"about": 1}),
        (["audits", 0, "exhibits", 0, "kind"], "html"),
        (["audits", 0, "reason"], None),
    ],
)
def test_the_schema_refuses_anything_else(validator: Any, path: list[Any], value: Any) -> None:
    content = json.loads(a_record().to_json())
    *parents, key = path
    table = content
    for part in parents:
        table = table[part]
    if value is None:
        del table[key]
    else:
        table[key] = value
    assert not validator.is_valid(content)


def test_what_was_added_later_is_optional(validator: Any) -> None:
    content = json.loads(a_record().to_json())
    del content["reason"]
    del content["audits"][0]["criteria"][0]["adjusted_alpha"]
    validator.validate(content)


def test_every_field_is_explained_or_named_in_the_design() -> None:
    described = json_schema()["$defs"]["Measurement"]["properties"]
    assert all("description" in field for field in described.values())


def test_the_published_schema_is_this_one() -> None:
    published = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema()
