"""The JSON Schemas (2020-12) of every file format of the project, as published in docs/.

A format that is a pydantic model takes its schema from the model; the others stand in `schemas/`, one file each, and
are held against the readers and writers by tests. A schema says what a file looks like; what takes more than one value
to see (a low end above a high one, an identifier that stands twice, a hash that does not hold) the readers check.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import Any, NamedTuple

from medgan_qa.record import json_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Format(NamedTuple):
    """A file format."""

    file: str
    """Where it is found."""
    schema: Callable[[str], dict[str, Any]]
    """Its JSON Schema, given its name."""


def _stored(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((files("medgan_qa.evidence") / "schemas" / f"{name}.json").read_text("utf-8"))
    return content


def _model(module: str, model: str) -> Callable[[str], dict[str, Any]]:
    """The schema of a pydantic model."""

    def schema(name: str) -> dict[str, Any]:
        found = getattr(import_module(module), model).model_json_schema(by_alias=True)
        # It may have a default for those who make one; in a file it is what tells one format from another.
        required = dict.fromkeys(["schema", *found["required"]])
        return {"$schema": DIALECT, **found, "required": list(required)}

    return schema


FORMATS: dict[str, Format] = {
    "record": Format("record.json", lambda name: json_schema()),
    "criteria": Format("criteria.toml, criteria.json", _stored),
    "dataset": Format("a dataset's TOML file", _stored),
    "card": Format("model.card.toml", _stored),
    "expert-reading": Format("an expert reading's TOML file", _stored),
    "lock": Format("criteria.lock.json", _model("medgan_qa.evidence.lock", "Lock")),
    "ledger-line": Format("a line of the attempt ledger", _model("medgan_qa.evidence.ledger", "Line")),
    "baseline-line": Format("a line of a baseline's history.jsonl", _stored),
    "manifest": Format("manifest.json", _stored),
    "envelope": Format("signatures/*.dsse.json, manifest.dsse.json", _stored),
    "statement-signature": Format("payload of a signature's envelope", _stored),
    "statement-disposition": Format("payload of a disposition's envelope", _stored),
    "statement-manifest": Format("payload of manifest.dsse.json", _stored),
    "test-record": Format("test-record.yaml", _stored),
}
"""Every format, by the name that its schema is published under."""


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a format.

    Raises:
        KeyError: there is no format of that name.
    """
    return FORMATS[name].schema(name)
