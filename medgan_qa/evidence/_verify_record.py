"""Verification of a Record against what it names: evidence files, criteria, lock, ledger, data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.digests import sha256
from medgan_qa.evidence._run_files import RECORD
from medgan_qa.evidence._verify_parts import Check, Source, failed, guarded, not_checked, ok
from medgan_qa.evidence.records import load_record
from medgan_qa.evidence.whereabouts import recall
from medgan_qa.record import Record

CRITERIA = "criteria.json"
LOCK = "criteria.lock.json"


class Given(NamedTuple):
    """What the user gave to check a run against; None: nothing."""

    data: str | None
    ledger: Path | None


def record_checks(source: Source, given: Given) -> list[Check]:
    """The Record, and everything that it names."""
    read: list[tuple[Record, str]] = []

    def look() -> Iterator[Check]:
        content = source.read(RECORD)
        record = load_record(content, Path(RECORD))
        read.append((record, sha256(content)))
        yield ok("record", f"run {record.run.get('id', 'without identifier')}, SHA-256 {read[0][1]}", RECORD)

    found = guarded("record", RECORD, look)
    if not read:
        return found
    record, digest = read[0]
    found += guarded("evidence files", RECORD, lambda: _evidence(record, source))
    found += guarded("criteria", CRITERIA, lambda: _criteria(record, source))
    found += guarded("lock", LOCK, lambda: _lock(record, source))
    found += guarded("ledger", "", lambda: _ledger(record, digest, given.ledger))
    return found + guarded("data", "", lambda: _data(record, given.data))


def _evidence(record: Record, source: Source) -> Iterator[Check]:
    sound = absent = 0
    for name, digest in record.files.items():
        try:
            same = sha256(source.read(name)) == digest
        except FileNotFoundError:
            absent += 1
            if source.complete:
                yield failed("evidence file", "missing, and named in the Record", name)
            continue
        sound += same
        if not same:
            yield failed("evidence file", "differs from the digest in the Record", name)
    if not record.files:
        yield not_checked("evidence files", "the Record names none")
    elif sound == len(record.files):
        yield ok("evidence files", f"all {sound} have the digest that the Record gives")
    elif absent and not source.complete:
        detail = f"{sound} of {len(record.files)} have the digest that the Record gives; {absent} are not attached"
        yield ok("evidence files", detail) if sound else not_checked("evidence files", detail)


def _criteria(record: Record, source: Source) -> Iterator[Check]:
    try:
        content = source.read(CRITERIA)
    except FileNotFoundError:
        if CRITERIA not in record.files or not source.complete:
            yield not_checked("criteria", f"there is no {CRITERIA}", CRITERIA)
        return
    if sha256(content) != record.criteria_lock.get("digest"):
        yield failed("criteria", "not the criteria that the Record was judged by", CRITERIA)
    else:
        yield ok("criteria", "those that the Record was judged by", CRITERIA)


def _lock(record: Record, source: Source) -> Iterator[Check]:
    stated = record.criteria_lock
    try:
        content = source.read(LOCK)
    except FileNotFoundError:
        if not stated.get("locked"):
            yield not_checked("lock", "the criteria were not locked before the run")
        elif source.complete:
            yield failed("lock", "missing, and the Record says that the criteria were locked", LOCK)
        else:
            yield not_checked("lock", "not attached", LOCK)
        return
    problems = _lock_problems(record, content)
    if problems:
        yield failed("lock", "; ".join(problems), LOCK)
    else:
        when, who = stated.get("locked_utc"), stated.get("locked_by")
        yield ok("lock", f"criteria and data are those that {who} locked at {when}", LOCK)


def _lock_problems(record: Record, content: bytes) -> list[str]:
    stated = record.criteria_lock
    if not stated.get("locked"):
        return ["a lock, and the Record says that the criteria were not locked"]
    if sha256(content) != stated.get("lock_sha256"):
        return ["not the lock that the Record names"]
    from medgan_qa.evidence.lock import read_lock

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / LOCK
        copy.write_bytes(content)
        lock = read_lock(copy)
    problems = []
    if lock.criteria.digest != stated.get("digest"):
        problems.append("it locks other criteria than the Record was judged by")
    if lock.data.digest != record.data.get("digest"):
        problems.append("it locks other data than the run was made on")
    return problems


def _ledger(record: Record, digest: str, given: Path | None) -> Iterator[Check]:
    attempts = record.attempts
    if attempts is None:
        if given is not None:
            yield failed("ledger", "the Record says that the run was entered in no ledger", str(given))
        else:
            yield not_checked("ledger", "the run was entered in no ledger")
        return
    path = given or Path(recall(str(record.run.get("id") or "")).get("ledger") or attempts.ledger)
    if given is None and not path.is_file():
        yield not_checked("ledger", f"{path.name} is not here; name it with --ledger")
        return
    from medgan_qa.evidence.ledger import Ledger

    lines = Ledger(path).check()
    line: Any = lines[attempts.line - 1] if attempts.line <= len(lines) else None
    # A gate adds its comparison to the candidate's Record; the ledger holds the candidate's run.
    entered = digest if record.comparison is None else record.comparison.candidate.get("record_sha256")
    stated = (record.run.get("id"), entered, attempts.previous_hash)
    if line is None or (line.run, line.record_sha256, line.previous) != stated:
        yield failed("ledger", f"line {attempts.line} does not hold this run and this Record", str(path))
    else:
        after = len(lines) - attempts.line
        yield ok("ledger", f"sound; line {attempts.line} holds this run, {after} later ones follow", str(path))


def _data(record: Record, given: str | None) -> Iterator[Check]:
    if given is None:
        yield not_checked("data", "not given; name the dataset with --data")
        return
    found = _data_digest(given)
    if found != record.data.get("digest"):
        yield failed(
            "data", f"not the data of the run: digest {found}, the Record says {record.data.get('digest')}", given
        )
    else:
        yield ok("data", f"the data of the run, digest {found}", given)


def _data_digest(given: str) -> str:
    if given.startswith("phantom:"):
        from medgan_qa.cohorts.phantom import phantom_cohort

        return phantom_cohort(given).digest()
    from medgan_qa.cohorts.dataset import read_dataset

    return read_dataset(Path(given)).digest()
