"""Files of expert readings: what is sound is read, everything that cannot be true is named, and the schema agrees."""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from medgan_qa.criteria import expert_reading
from medgan_qa.criteria.expert_reading import read_expert_reading
from medgan_qa.errors import ConfigurationError
from medgan_qa.evidence.formats import schema

ROOT = Path(__file__).resolve().parent.parent.parent
SHA = "ab" * 32
GOOD: dict[str, Any] = {
    "schema": "medgan-qa/expert-reading/1",
    "question": "Would you train on it?",
    "protocol": "RP-004 A",
    "date": datetime.date(2026, 3, 1),
    "model_sha256": SHA,
    "seen": {"synthetic": 60, "real": 40, "blinded": True},
    "reader": [{"id": "R1", "role": "radiologist", "years": 12}, {"id": "R2", "role": "radiologist", "years": 4.5}],
    "result": [
        {
            "reader": name,
            "synthetic_seen": 50,
            "accepted": 47,
            "unrealistic": 2,
            "label_wrong": 1,
            "synthetic_called_real": 30,
            "real_seen": 40,
            "real_accepted": 39,
            "real_called_real": 33,
        }
        for name in ("R2", "R1")
    ],
}
WITHOUT_REAL = {
    **GOOD,
    "seen": {"synthetic": 50, "real": 0, "blinded": False},
    "result": [
        {"reader": name, "synthetic_seen": 50, "accepted": 50, "unrealistic": 0, "label_wrong": 0}
        for name in ("R1", "R2")
    ],
}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return value.isoformat() if isinstance(value, datetime.date) else json.dumps(value)


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "experts.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in content.items()), encoding="utf-8")
    return path


def changed(place: str, value: Any, content: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A copy with the value at a dotted place; `...` takes it out."""
    result = copy.deepcopy(content)
    *path, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    inner: Any = result
    for key in path:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return result


def refused(folder: Path, content: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_expert_reading(written(folder, content))
    assert caught.value.exit_code == 2
    assert caught.value.todo
    assert caught.value.where == str(folder / "experts.toml")
    return str(caught.value.found)


def problems(content: dict[str, Any]) -> list[str]:
    plain = json.loads(json.dumps(content, default=str))
    return [error.message for error in Draft202012Validator(schema("expert-reading")).iter_errors(plain)]


def test_a_sound_reading_is_read(tmp_path):
    path = written(tmp_path, GOOD)
    reading = read_expert_reading(path)

    assert reading.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert reading.model_sha256 == SHA
    assert reading.date == "2026-03-01"
    assert (reading.synthetic, reading.real, reading.blinded) == (60, 40, True)
    # Results stand in the order of the readers.
    assert [(r.id, r.years) for r in reading.readers] == [("R1", 12.0), ("R2", 4.5)]
    assert [r.reader for r in reading.results] == ["R1", "R2"]
    assert reading.results[0].accepted == 47
    assert reading.facts["sha256"] == reading.sha256
    assert json.loads(json.dumps(reading.facts))["readers"][1] == {"id": "R2", "role": "radiologist", "years": 4.5}


def test_real_images_may_be_left_out(tmp_path):
    reading = read_expert_reading(written(tmp_path, WITHOUT_REAL))

    assert reading.real == 0
    assert reading.results[0].real_called_real is None
    assert problems(WITHOUT_REAL) == []
    capital = changed("model_sha256", SHA.upper())
    assert read_expert_reading(written(tmp_path, capital)).model_sha256 == SHA


MALFORMED = [
    ("question", ...),
    ("question", " "),
    ("protocol", 7),
    ("date", "in March"),
    ("date", "20260301"),
    ("date", 2026),
    ("model_sha256", "ab12"),
    ("model_sha256", "g" * 64),
    ("seen", ...),
    ("seen", 60),
    ("seen.synthetic", 0),
    ("seen.synthetic", 60.5),
    ("seen.real", -1),
    ("seen.blinded", "yes"),
    ("seen.blinded", ...),
    ("seen.total", 100),
    ("reader", []),
    ("reader", ...),
    ("reader.0.id", ""),
    ("reader.0.role", ...),
    ("reader.0.years", -1),
    ("reader.0.years", "many"),
    ("reader.0.name", "Dr. X"),
    ("result", ...),
    ("result", {"reader": "R1"}),
    ("result.0", "R1"),
    ("result.0.reader", 3),
    ("result.0.accepted", ...),
    ("result.0.accepted", True),
    ("result.0.synthetic_seen", 0),
    ("result.0.synthetic_seen", 10**9),
    ("result.0.unrealistc", 2),
    ("result.0.real_seen", ...),
    ("result.0.real_called_real", -2),
    ("comment", "x"),
]


@pytest.mark.parametrize(("place", "value"), MALFORMED)
def test_what_is_malformed_is_named_and_the_schema_says_so_too(tmp_path, place, value):
    content = changed(place, value)
    found = refused(tmp_path, content)

    assert place.split(".")[-1] in found or place.split(".")[0] in found
    assert problems(content)


@pytest.mark.parametrize("value", ["medgan-qa/expert-reading/2", ...])
def test_another_schema_is_refused(tmp_path, value):
    content = changed("schema", value)

    assert "schema" in refused(tmp_path, content)
    assert problems(content)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("result.0.accepted", 51, "accepted is 51, more than the 50 synthetic_seen"),
        ("result.0.unrealistic", 4, "unrealistic is 4, more than the 3 images not accepted"),
        ("result.0.label_wrong", 4, "label_wrong is 4, more than the 3 images not accepted"),
        ("result.0.synthetic_seen", 61, "more than the 60 synthetic images shown"),
        ("result.0.synthetic_called_real", 51, "synthetic_called_real is 51"),
        ("result.0.real_seen", 41, "more than the 40 real images shown"),
        ("result.0.real_accepted", 41, "real_accepted is 41"),
        ("result.0.real_called_real", 41, "real_called_real is 41"),
        ("result.0.reader", "R1", "R1 stands more than once"),
        ("result.0.reader", "R9", "R9 is none of the readers"),
        ("reader.1.id", "R1", "reader: R1 stands more than once"),
        ("seen.synthetic", 500, "500 images were shown, and readers read 100 in all"),
    ],
)
def test_counts_that_cannot_be_true_are_named(tmp_path, place, value, said):
    assert said in refused(tmp_path, changed(place, value))


def test_everything_wrong_is_said_at_once(tmp_path):
    content = changed("result.0.accepted", 99, changed("result.1.real_called_real", 99, changed("reader.1.id", "R3")))
    found = refused(tmp_path, content)

    assert all(part in found for part in ("accepted is 99", "real_called_real is 99", "R2 is none", "R3 has no result"))
    assert "did you mean 'unrealistic'" in refused(tmp_path, changed("result.0.unrealistc", 2))
    assert "no real images were shown" in refused(tmp_path, changed("result.0.real_seen", 4, WITHOUT_REAL))
    many = refused(tmp_path, {**GOOD, "result": [{"x": 1}] * 9})
    assert many.count(";") == expert_reading.MOST_SHOWN
    assert many.endswith("more")


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"schema = ", b""])
def test_what_is_no_toml_is_refused(tmp_path, raw):
    path = tmp_path / "experts.toml"
    path.write_bytes(raw)

    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_expert_reading(path)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_expert_reading(tmp_path / "nothing.toml")


def test_the_schema_knows_the_keys_of_the_reader():
    found = schema("expert-reading")["properties"]

    assert set(found) == {"schema", "seen", "reader", "result", *expert_reading.TOP}
    assert set(found["seen"]["properties"]) == set(expert_reading.SEEN)
    assert set(found["reader"]["items"]["properties"]) == set(expert_reading.READER)
    results = set(found["result"]["items"]["properties"])
    assert results == {*expert_reading.RESULT, *expert_reading.WITH_REAL}
    assert problems(GOOD) == []


def test_the_template_in_the_docs_can_be_read(tmp_path):
    page = (ROOT / "docs" / "how-to" / "augmentation.md").read_text(encoding="utf-8")
    template = next(block for block in re.findall(r"```toml\n(.*?)```", page, re.S) if "expert-reading/1" in block)
    path = tmp_path / "experts.toml"
    path.write_text(template, encoding="utf-8")

    assert len(read_expert_reading(path).readers) >= 2
    assert problems(tomllib.loads(template)) == []
