"""The files in `signatures/`: reading and verifying each, and the chain that they form."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.digests import sha256
from medgan_qa.errors import IntegrityError, MedganQAError
from medgan_qa.evidence._run_files import RECORD, file_problem, files_below, inside, read_record_bytes
from medgan_qa.evidence.dsse import Statement, open_envelope
from medgan_qa.evidence.records import load_record
from medgan_qa.record import Record

FOLDER = "signatures"
SIGNATURE = "urn:medgan-qa:signature:1"
DISPOSITION = "urn:medgan-qa:disposition:1"
NAME = re.compile(r"signatures/(\d{4,})-(author|review|approval|disposition)\.dsse\.json")
NEEDED = {
    SIGNATURE: ("name", "role", "meaning", "time_utc", "comment", "tool_version", "record_sha256"),
    DISPOSITION: (
        *("name", "role", "time_utc", "tool_version", "record_sha256"),
        *("criterion", "verdict", "disposition", "reason"),
    ),
}
"""What a predicate must hold as text."""


class Numbered(NamedTuple):
    """A file that has the name of a signature or disposition."""

    number: int
    file: str
    label: str


class Entry(NamedTuple):
    """A signature or disposition, and what is wrong with it."""

    number: int
    file: str
    kind: str
    predicate: dict[str, Any]
    keyid: str
    public_key: str
    problem: str
    note: str

    def said(self, field: str) -> str:
        """A field of the predicate as text; empty where it is none."""
        value = self.predicate.get(field)
        return value if isinstance(value, str) else ""


class _Run(NamedTuple):
    """What the signatures of a folder are held against."""

    folder: Path
    record_sha256: str
    files: dict[str, str]
    finished: str


def numbered(folder: Path) -> list[Numbered]:
    """The signatures and dispositions of a run by name, lowest number first.

    Raises:
        OSError: the folder cannot be listed.
    """
    place = folder / FOLDER
    if place.is_symlink() or not place.is_dir():
        return []
    names = [NAME.fullmatch(f"{FOLDER}/{name}") for name in files_below(place)]
    return sorted(Numbered(int(m[1]), m[0], m[2]) for m in names if m is not None)


def entries(folder: Path) -> list[Entry]:
    """Every signature and disposition of a run in order, verified against the chain and the files that it covers.

    A damaged file is in the list with its problem; nothing is raised for it.

    Raises:
        RecordError: the folder holds no Record that can be read.
    """
    content = read_record_bytes(folder)
    record = load_record(content, folder / RECORD)
    run = _Run(folder, sha256(content), record.files, _finished(record))
    found: list[Entry] = []
    previous: str | None = None
    for place, item in enumerate(numbered(folder), 1):
        entry, previous = _entry(run, item, place, previous)
        found.append(_with_clock(entry, run.finished, found))
    return found


def _finished(record: Record) -> str:
    value = record.run.get("finished_utc")
    return value if isinstance(value, str) else ""


def _entry(run: _Run, item: Numbered, place: int, previous: str | None) -> tuple[Entry, str | None]:
    """The entry, and the digest that the next one must name."""
    kind = DISPOSITION if item.label == "disposition" else SIGNATURE
    blank = Entry(item.number, item.file, kind, {}, "", "", "", "")
    try:
        content = inside(run.folder, item.file).read_bytes()
    except (OSError, IntegrityError) as error:
        found = error.found if isinstance(error, IntegrityError) else str(error)
        return blank._replace(problem=f"cannot be read: {found}"), previous
    try:
        signed = open_envelope(content)
    except MedganQAError as error:
        return blank._replace(problem=error.found or error.problem), sha256(content)
    problems = [*_form(signed, kind, item), *_chain(signed, item, place, previous), *_subjects(signed, run)]
    entry = blank._replace(
        predicate=signed.predicate, keyid=signed.keyid, public_key=signed.public_key, problem="; ".join(problems)
    )
    return entry, sha256(content)


def _form(signed: Statement, kind: str, item: Numbered) -> list[str]:
    if signed.predicate_type != kind:
        return [f"of type {signed.predicate_type}, and its name says {item.label}"]
    missing = [field for field in NEEDED[kind] if not isinstance(signed.predicate.get(field), str)]
    if missing:
        return [f"says nothing of {', '.join(missing)}"]
    if kind == SIGNATURE and signed.predicate["meaning"] != item.label:
        return [f"means {signed.predicate['meaning']}, and its name says {item.label}"]
    return []


def _chain(signed: Statement, item: Numbered, place: int, previous: str | None) -> list[str]:
    problems = []
    if item.number != place:
        problems.append(f"the chain is broken: number {item.number} stands in place {place}")
    if signed.predicate.get("number") != item.number:
        problems.append(f"signed as number {signed.predicate.get('number')}")
    if signed.predicate.get("previous") != previous:
        problems.append("the chain is broken: the signature before it is not the one that it names")
    return problems


def _subjects(signed: Statement, run: _Run) -> list[str]:
    problems = []
    if signed.subjects.get(RECORD) != run.record_sha256 or signed.predicate.get("record_sha256") != run.record_sha256:
        problems.append("signed another Record")
    problems += [f"does not cover {name}" for name in run.files if name not in signed.subjects]
    for name, digest in signed.subjects.items():
        problem = "" if name == RECORD else file_problem(run.folder, name, digest)
        if problem:
            problems.append(f"{name}: {problem}")
    return problems


def _with_clock(entry: Entry, finished: str, before: list[Entry]) -> Entry:
    """Note a time that lies before what came earlier; the signature stays what it is."""
    time = _time(entry.said("time_utc"))
    if entry.problem and not entry.predicate:
        return entry
    if time is None:
        return entry._replace(problem="; ".join(filter(None, [entry.problem, "no time that can be read"])))
    notes = []
    if (end := _time(finished)) is not None and time < end:
        notes.append("signed at a time before the run ended: a clock was wrong")
    earlier = [t for other in before if (t := _time(other.said("time_utc"))) is not None]
    if earlier and time < max(earlier):
        notes.append("signed at a time before that of an earlier signature: a clock was wrong")
    return entry._replace(note="; ".join(notes))


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
