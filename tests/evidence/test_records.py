"""Reading Records of this version and of others: every way to be unreadable says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import __version__
from medgan_qa.errors import RecordError
from medgan_qa.evidence.records import load_record
from medgan_qa.record import Record, json_schema

Make = Callable[..., Any]
OLD = Path(__file__).parent / "old"
FIRST = (OLD / "record-first.json").read_text(encoding="utf-8")
CONTENT = json.loads(FIRST)


def refused(text: str | bytes) -> RecordError:
    with pytest.raises(RecordError) as caught:
        load_record(text, "run/record.json")
    error = caught.value
    assert error.exit_code == 2
    assert error.where == "run/record.json"
    assert all((error.expected, error.found, error.todo))
    return error


@pytest.mark.parametrize("name", ["record-first.json", "record-whole.json"])
def test_records_of_earlier_versions_are_read(name: str) -> None:
    text = (OLD / name).read_text(encoding="utf-8")
    record = load_record(text, name)
    assert load_record(text.encode(), name) == record
    jsonschema.validate(json.loads(text), json_schema())
    assert contained(json.loads(text), json.loads(record.to_json()))


def contained(old: Any, new: Any) -> bool:
    """Everything that `old` says stands in `new` as well, which may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and contained(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(contained, old, new))
    return bool(old == new)


def test_what_the_first_version_did_not_know_is_empty() -> None:
    record = load_record(FIRST, "x")
    assert (record.preconditions, record.sentinels, record.attempts, record.comparison, record.files) == (
        [],
        [],
        None,
        None,
        {},
    )
    assert all(c.severity == "gate" for audit in record.audits for c in audit.criteria)


def test_what_is_written_is_read_back(make_record: Make) -> None:
    record = make_record()
    assert load_record(record.to_json(), "x") == record


@pytest.mark.parametrize("version", ["2", "10"])
def test_a_newer_schema(version: str) -> None:
    error = refused(json.dumps({**CONTENT, "schema": f"medgan-qa/record/{version}", "tool": {"version": "3.1.0"}}))
    assert "newer schema" in error.problem
    assert f"record/{version}, written by medgan-qa 3.1.0" in str(error.found)
    assert "Install medgan-qa 3.1.0 or newer" in str(error.todo)


def test_a_newer_schema_that_does_not_say_who_wrote_it() -> None:
    error = refused(json.dumps({"schema": "medgan-qa/record/2", "tool": ["x"]}))
    assert (
        error.todo == f"Install a version of medgan-qa after {__version__}; it reads this Record and those of schema 1."
    )


def test_an_older_schema() -> None:
    error = refused(json.dumps({**CONTENT, "schema": "medgan-qa/record/0"}))
    assert "no published version" in error.problem
    assert "Run the audit again with medgan-qa 0.1.0 or newer" in str(error.todo)


@pytest.mark.parametrize(
    "schema", [None, "", "medgan-qa/criteria/1", "medgan-qa/record/one", 1, ["medgan-qa/record/1"]]
)
def test_what_is_no_record(schema: Any) -> None:
    error = refused(json.dumps({**CONTENT, "schema": schema}))
    assert str(error.found).startswith("schema: ")


@pytest.mark.parametrize("place", ["top", "criterion"])
def test_a_field_of_a_newer_minor_version(place: str) -> None:
    content = json.loads(FIRST)
    content["tool"]["version"] = "0.9.0"
    (content if place == "top" else content["audits"][0]["criteria"][0])["witness"] = "somebody"
    error = refused(json.dumps(content))
    assert "probably written by a newer version" in error.problem
    named = "witness" if place == "top" else "audits.0.criteria.0.witness"
    assert error.found == f"{named}, written by medgan-qa 0.9.0"
    assert error.todo == "Install medgan-qa 0.9.0 or newer."


def test_an_unknown_field_beside_damage_is_damage() -> None:
    content = {**CONTENT, "witness": "somebody", "verdict": "maybe"}
    error = refused(json.dumps(content))
    assert "no Record that can be read" in error.problem
    assert str(error.found).startswith("verdict: ")
    assert str(error.found).endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Invalid JSON: Expecting value"),
        (FIRST[:500], "Invalid JSON: "),
        (FIRST + "{}", "Invalid JSON: Extra data"),
        (b"\xff\xfe", "no UTF-8"),
        ("[]", "is a list"),
        ("null", "is null"),
        ("true", "is true or false"),
        ("7", "is a number"),
        ('"x"', "is a text"),
        ("[" * 100_000, "Invalid JSON"),
        (FIRST.replace('"value": 0.03', '"value": NaN'), "NaN has no place in a Record"),
        (FIRST.replace('"value": 0.03', '"value": -Infinity'), "-Infinity has no place"),
        (FIRST.replace('"value": 0.03', '"value": 1e999'), "audits.0.measurements.0.value"),
        (FIRST.replace('"value": 0.03', '"value": "low"'), "audits.0.measurements.0.value: "),
        (FIRST.replace('"suite": "translation"', '"suite": "\\ud800"'), ""),
    ],
)
def test_damage_is_told_by_its_place(text: str | bytes, found: str) -> None:
    assert found in str(refused(text).found)


@pytest.mark.parametrize("key", ["verdict", "sha256"])
def test_a_key_that_stands_twice_is_refused(key: str) -> None:
    place = FIRST.index(f'"{key}": ')
    text = f'{FIRST[:place]}"{key}": "pass", {FIRST[place:]}'
    assert refused(text).found == f"the key '{key}' stands twice in one object"


@given(cut=st.integers(0, len(FIRST) - 2))
def test_prop_no_part_of_a_record_is_a_record(cut: int) -> None:
    refused(FIRST[:cut])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_prop_no_other_json_is_a_record(value: Any) -> None:
    refused(json.dumps(value))


def test_a_record_that_passes_the_schema_is_read(make_record: Make) -> None:
    content = json.loads(make_record().to_json())
    jsonschema.validate(content, json_schema())
    assert isinstance(load_record(json.dumps(content), "x"), Record)
