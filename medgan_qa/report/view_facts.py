"""The model, the tool, the data and the lock of the criteria, as facts for the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from medgan_qa.record import Record
from medgan_qa.report.facts import Fact, fact, facts, plain, title
from medgan_qa.report.view_audits import MeasurementRow, measurement_row


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def full_name(part: Mapping[str, Any]) -> str:
    """Name and version of a model or a tool."""
    return " ".join(str(part[key]) for key in ("name", "version") if part.get(key)) or "not named"


def w3c(time: str) -> str:
    """A UTC time as PDF metadata takes it; an empty text where there is none."""
    found = re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", time)
    return f"{found[1]}T{found[2]}Z" if found else ""


def utc(value: Any) -> str:
    """A UTC time for reading, to the second."""
    written = w3c(str(value or ""))
    return f"{written[:10]} {written[11:19]} UTC" if written else plain(value)


def protocol(lock: Mapping[str, Any]) -> str:
    """The protocol that the criteria belong to."""
    named = as_mapping(lock.get("protocol"))
    if not named.get("id"):
        return "none named"
    revision = f", revision {named['revision']}" if named.get("revision") else ""
    return f"{named['id']}{revision}" + (f": {named['title']}" if named.get("title") else "")


def subject_facts(subject: Mapping[str, Any]) -> list[Fact]:
    """What names the model under test."""
    first = ("name", "version", "task", "file", "format", "sha256")
    known = [fact(title(key), subject.get(key), mono=key == "file") for key in first]
    return [*known, *facts(subject, skip=(*first, "card", "detector"))]


def card_facts(subject: Mapping[str, Any]) -> list[Fact]:
    """What the model card declares beyond what names the model."""
    return facts(as_mapping(subject.get("card")), skip=("name", "version", "task"))


def tool_facts(record: Record) -> list[Fact]:
    """The tool, the run and the machine."""
    run = record.run
    known = [
        Fact("Tool", full_name(record.tool)),
        *facts(record.tool, skip=("name", "version", "suite_title")),
        fact("Run", run.get("id"), mono=True),
        Fact("Started", utc(run.get("started_utc"))),
        Fact("Finished", utc(run.get("finished_utc"))),
        fact("Seed", run.get("seed"), mono=True),
        Fact("Command", _command(run.get("command")), "mono"),
        *facts(run, skip=("id", "started_utc", "finished_utc", "seed", "command", "detector")),
    ]
    return [*known, *facts(record.environment, skip=("packages", "detector"))]


def _command(command: Any) -> str:
    return shlex.join(map(str, command)) if isinstance(command, list) else plain(command)


def packages(environment: Mapping[str, Any]) -> str:
    """Names and versions of the installed packages in one line."""
    listed = environment.get("packages")
    if not isinstance(listed, Mapping):
        return plain(listed) if listed else ""
    return ", ".join(f"{package} {version}" for package, version in listed.items())


def detector_rows(record: Record) -> list[MeasurementRow]:
    """The measurements of the detector's own performance."""
    found = [item for audit in record.audits for item in audit.measurements if ".detector_" in item.id]
    return [measurement_row(item) for item in found]


def detector_facts(record: Record) -> list[Fact]:
    """What the Record says of detectors, wherever a part of it names one; each fact once."""
    parts = [record.run, record.environment, record.subject, record.data, *(a.parameters for a in record.audits)]
    named = [(key, part[key]) for part in parts for key in part if key == "detector" or key.startswith("detector_")]
    listed: dict[Fact, None] = {}
    for key, value in named:
        if value is None:
            continue
        listed |= dict.fromkeys(_detector(value) if isinstance(value, Mapping) else [fact(title(key), value)])
    return list(listed)


def _detector(part: Mapping[str, Any]) -> list[Fact]:
    return [*facts(part, skip=("card",)), *card_facts(part)]


def data_facts(data: Mapping[str, Any]) -> list[Fact]:
    """What names and describes the data; its tables are shown below."""
    first = ("name", "digest", "phantom")
    known = [fact(title(key), data.get(key)) for key in first]
    return [*known, *facts(data, skip=first, tables=False)]


def lock_facts(lock: Mapping[str, Any]) -> list[Fact]:
    """Protocol, criteria file, lock and error rates."""
    known = [
        Fact("Protocol", protocol(lock)),
        fact("Locked before the run", bool(lock.get("locked"))),
        fact("Default criteria of the suite", bool(lock.get("default"))),
        fact("Criteria file", lock.get("file"), mono=True),
        fact("Digest of the criteria", lock.get("digest")),
        fact("Alpha", lock.get("alpha")),
        fact("Correction for multiplicity", lock.get("multiplicity")),
    ]
    return [*known, *facts(lock, skip=("protocol", "locked", "default", "file", "digest", "alpha", "multiplicity"))]
