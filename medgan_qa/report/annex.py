"""Annexes: the criteria as they were fixed, the glossary, and the files of the run with their digests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.digests import file_sha256
from medgan_qa.errors import ConfigurationError, IntegrityError, RecordError
from medgan_qa.record import Record
from medgan_qa.report.figures_panels import exhibit_path
from medgan_qa.report.resources import Templates

_MOST_CHARACTERS = 40_000


class Term(NamedTuple):
    """An entry of the glossary."""

    name: str
    meaning: str


class FileDigest(NamedTuple):
    """A file with its SHA-256."""

    name: str
    digest: str


class Verbatim(NamedTuple):
    """A text that is printed as it stands."""

    file: str
    said: str
    text: str


def criteria_text(folder: Path) -> Verbatim:
    """The criteria of a run: the user's file as it stands, or their content; empty where the folder holds neither.

    Raises:
        RecordError: a file of criteria cannot be read.
    """
    own, content = folder / "criteria.toml", folder / "criteria.json"
    try:
        if own.is_file():
            return _verbatim(own.name, "The criteria file, verbatim.", own.read_text(encoding="utf-8"))
        if content.is_file():
            text = _laid_out(json.loads(content.read_text(encoding="utf-8")))
            return _verbatim(content.name, "The content of the criteria; no file of criteria was given.", text)
    except (OSError, ValueError) as error:
        raise RecordError(
            "The criteria of the run cannot be read",
            expected="criteria.toml as text in UTF-8, or criteria.json",
            found=str(error),
            where=own if own.is_file() else content,
            todo="restore the file from the run's folder, or run the audit again",
        ) from error
    return Verbatim("", "The run's folder holds no file of criteria; section 7 lists them from the Record.", "")


def _verbatim(name: str, said: str, text: str) -> Verbatim:
    if len(text) <= _MOST_CHARACTERS:
        return Verbatim(name, said, text)
    cut = text[:_MOST_CHARACTERS].rpartition("\n")[0]
    return Verbatim(name, f"{said} Its first {len(cut)} of {len(text)} characters; {name} holds all.", cut)


def _laid_out(content: Any) -> str:
    """JSON with one line a key, and one line an entry of a list of tables."""
    if not isinstance(content, Mapping):
        return json.dumps(content, ensure_ascii=False)
    return "\n".join(f"{key} = {_value(value)}" for key, value in content.items())


def _value(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return "[\n" + "".join(f"  {json.dumps(item, ensure_ascii=False)},\n" for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def glossary(record: Record, fixed: str, templates: Templates) -> list[Term]:
    """Definitions of the terms that the record, or the report's own wording `fixed`, uses; in alphabetical order.

    Raises:
        ConfigurationError: a company's glossary has an entry without its keys, or with an expression that is none.
    """
    used = f"{record.to_json()} {fixed}".lower()
    terms = []
    for entry in templates.table("glossary.toml").get("entry", []):
        try:
            if re.search(rf"\b(?:{entry['find']})", used):
                terms.append(Term(str(entry["term"]), str(entry["meaning"])))
        except (KeyError, TypeError, re.error) as error:
            raise ConfigurationError(
                "An entry of the glossary cannot be used",
                expected="term, meaning, and find, a regular expression",
                found=f"{entry}: {error}",
                where=templates.where("glossary.toml"),
                todo="correct glossary.toml",
            ) from error
    return sorted(terms, key=lambda term: term.name.lower())


def file_digests(record: Record, folder: Path) -> list[FileDigest]:
    """SHA-256 of the Record and of its evidence files; of an older Record, of what the folder holds of them."""
    shown = [exhibit_path(item, folder) for audit in record.audits for item in audit.exhibits if item.file]
    paths = [folder / "record.json", folder / "cases.csv", *dict.fromkeys(shown)]
    there = [path.resolve() for path in paths if path.is_file()]
    found = {path.relative_to(folder.resolve()).as_posix(): file_sha256(path) for path in there}
    return [FileDigest(name, digest) for name, digest in {**found, **record.files}.items()]


def require_unchanged(record: Record, folder: Path) -> None:
    """Refuse to lay out files that are not those of the run.

    Raises:
        IntegrityError: a file of the folder differs from what the Record says of it.
    """
    for name, digest in record.files.items():
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file() and file_sha256(path) != digest:
            raise IntegrityError(
                f"{name} is not the file that the Record was made with",
                expected=f"SHA-256 {digest}",
                found=f"SHA-256 {file_sha256(path)}",
                where=path,
                todo="restore the file, or run the audit again",
            )
