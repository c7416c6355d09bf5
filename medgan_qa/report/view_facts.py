"""The model, the tool, the machine, the data and the lock of the criteria, as facts for the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from medgan_qa.record import Record
from medgan_qa.report.declared import as_mapping, protocol_name
from medgan_qa.report.facts import Fact, fact, facts, plain, title
from medgan_qa.report.view_measurements import MeasurementRow, measurement_row

_MACHINE = ("commit", "dirty", "commit_reason", "hardware", "threads", "determinism", "packages", "detector")
_TOLD = ("id", "started_utc", "finished_utc", "seed", "command", "detector", "extractors")
_EXTRACTORS = ("extractor", "extractors", "features")
_LOCK = (
    ("Lock file", "lock_file"),
    ("Digest of the lock", "lock_sha256"),
    ("Locked by", "locked_by"),
    ("Reason of the lock", "lock_reason"),
    ("Lock before it", "lock_previous"),
    ("Locked with", "lock_tool_version"),
)
_ISOLATION = {
    "process": "Ran in",
    "network": "Its network",
    "files": "Its files",
    "memory": "Its memory",
    "memory_limit_mb": "Its memory limit (MB)",
    "time_limit": "Its time limit",
    "threads": "Its threads",
    "batch": "Its batches",
    "crashes": "Its crashes",
}
_LOCK_KEYS = ("protocol", "locked", "default", "file", "digest", "alpha", "multiplicity", "locked_utc")


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
    return protocol_name(named) if named.get("id") else "none named"


def commit(environment: Mapping[str, Any]) -> str:
    """The commit of the tool's code, and whether files differed from it."""
    named = environment.get("commit")
    if not named:
        return f"not known: {environment.get('commit_reason') or 'the Record names none'}"
    return f"{named}{', with changed files' if environment.get('dirty') else ''}"


def subject_facts(subject: Mapping[str, Any]) -> list[Fact]:
    """What names the model under test."""
    first = ("name", "version", "task", "file", "format", "sha256")
    known = [fact(title(key), subject.get(key), mono=key == "file") for key in first]
    rest = facts(subject, skip=(*first, "card", "detector", "isolation", "trusted"))
    return [*known, *rest, *isolation_facts(subject)]


def isolation_facts(subject: Mapping[str, Any]) -> list[Fact]:
    """What stood between a model and the audit that ran it; nothing where the Record does not tell."""
    told = as_mapping(subject.get("isolation"))
    named = [Fact(_ISOLATION.get(key, title(key)), plain(value)) for key, value in told.items()]
    trusted = subject.get("trusted")
    return named if trusted is None else [*named, fact("Trusted (--trust)", bool(trusted))]


def card_facts(subject: Mapping[str, Any]) -> list[Fact]:
    """What the model card declares beyond what names the model."""
    return facts(as_mapping(subject.get("card")), skip=("name", "version", "task", "training", "training_data"))


def tool_facts(record: Record) -> list[Fact]:
    """The tool, the run and its seed."""
    run = record.run
    return [
        Fact("Tool", full_name(record.tool)),
        fact("Run", run.get("id"), mono=True),
        *facts(record.tool, skip=("name", "version", "suite_title", "qualification")),
        Fact("Commit", commit(record.environment)),
        Fact("Started", utc(run.get("started_utc"))),
        Fact("Finished", utc(run.get("finished_utc"))),
        fact("Seed", run.get("seed"), mono=True),
        *facts(run, skip=(*_TOLD, *_EXTRACTORS), tables=False),
        *facts(record.environment, skip=_MACHINE),
        *facts(as_mapping(record.environment.get("hardware"))),
    ]


def determinism_facts(environment: Mapping[str, Any]) -> list[Fact]:
    """Threads and settings that results may depend on; variables of the environment under their own names."""
    threads = as_mapping(environment.get("threads"))
    named = {f"{key}_threads" if key.startswith("torch") else key: value for key, value in threads.items()}
    told = {**named, **as_mapping(environment.get("determinism"))}
    unset = [key for key, value in told.items() if value is None]
    known = [Fact(k if k.isupper() else title(k), plain(value)) for k, value in told.items() if value is not None]
    return [*known, *([Fact("Not set", ", ".join(unset), "mono")] if unset else [])]


def command(record: Record) -> str:
    """The command line, as a shell takes it."""
    given = record.run.get("command")
    return shlex.join(map(str, given)) if isinstance(given, list) else plain(given)


def packages(environment: Mapping[str, Any]) -> str:
    """Names and versions of the installed packages in one line."""
    listed = environment.get("packages")
    if not isinstance(listed, Mapping):
        return plain(listed) if listed else ""
    return ", ".join(f"{package} {version}" for package, version in listed.items())


def detector_rows(record: Record) -> list[MeasurementRow]:
    """The measurements of the detector's own performance; the same number from several audits once.

    Strata that an audit made for a purpose of its own stand in its table.
    """
    found = [item for audit in record.audits for item in audit.measurements if ".detector_" in item.id]
    once = {(item.label, item.value, item.stratum): item for item in reversed(found)}
    overall = {item.label for item in found if not item.stratum}
    return [measurement_row(item) for item in reversed(once.values()) if not item.stratum or item.label not in overall]


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
    card = as_mapping(part.get("card"))
    training = {key: card[key] for key in ("training_data", "training") if card.get(key)}
    known = facts(part, skip=("card", "isolation", "trusted"))
    return [*known, *card_facts(part), *facts(training), *isolation_facts(part)]


def extractor_facts(record: Record) -> list[list[Fact]]:
    """What the Record says of feature extractors, one list an extractor."""
    found = []
    for value in (record.run[key] for key in _EXTRACTORS if record.run.get(key)):
        listed = value if isinstance(value, list) else [value]
        found += [facts(one) if isinstance(one, Mapping) else [fact("Extractor", one)] for one in listed]
    return found


def data_facts(data: Mapping[str, Any]) -> list[Fact]:
    """What names and describes the data; its tables are shown below."""
    first = ("name", "digest", "phantom")
    known = [fact(title(key), data.get(key)) for key in first]
    return [*known, *facts(data, skip=(*first, "sites", "attributes"), tables=False)]


def lock_facts(lock: Mapping[str, Any]) -> list[Fact]:
    """The criteria file and its lock."""
    known = [
        fact("Criteria file", lock.get("file"), mono=True),
        fact("Default criteria of the suite", bool(lock.get("default"))),
        fact("Digest of the criteria", lock.get("digest")),
        *(fact(label, lock[key], mono=key == "lock_file") for label, key in _LOCK if lock.get(key)),
    ]
    return [*known, *facts(lock, skip=(*_LOCK_KEYS, *(key for _, key in _LOCK)))]


def lock_sentence(lock: Mapping[str, Any]) -> str:
    """Whether, when and by whom the criteria were fixed."""
    if lock.get("locked") is not True:
        return "The criteria were not locked: nothing shows that they were fixed before the results were seen."
    by = f" by {lock['locked_by']}" if lock.get("locked_by") else ""
    when = f" on {utc(lock['locked_utc'])}" if lock.get("locked_utc") else ""
    return f"The criteria were locked{by}{when}, before the run, and did not change until it."
