"""Making a lock, and putting it in place; one that it replaces is kept and chained."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from medgan_qa import __version__
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.cohorts.dataset import FileCohort
from medgan_qa.criteria import Criteria
from medgan_qa.digests import file_sha256, sha256
from medgan_qa.errors import ConfigurationError, OutputError
from medgan_qa.evidence._lock_drift import drift, locked_criteria
from medgan_qa.evidence._lock_file import (
    PHANTOM,
    Lock,
    LockedCriteria,
    LockedData,
    LockingTool,
    lock_name,
    names,
    read_lock,
)
from medgan_qa.new_file import write_new


def make_lock(
    criteria: Criteria,
    suite: str,
    cohort: Cohort,
    data: str,
    who: str,
    now: datetime,
    *,
    folder: Path | None = None,
    reason: str = "",
    tool_version: str = __version__,
    commit: str | None = None,
) -> Lock:
    """A lock of criteria and data as they are now. Reads every file of the data.

    Args:
        criteria: as read from their file.
        suite: what they are for.
        cohort: the data.
        data: how the data were named: a dataset file, its folder, or `phantom:NAME`.
        who: who locks.
        now: when, with a time zone.
        folder: where the lock will lie; None: beside the criteria file.
        reason: why, where it takes the place of another lock.
        tool_version: version of the tool.
        commit: its commit, where known.

    Raises:
        DatasetError: a file of the data cannot be read.
        OSError: the training manifest cannot be read.
    """
    place = Path(criteria.file).parent if folder is None else folder
    manifest = criteria.train_manifest
    return Lock(
        criteria=LockedCriteria(
            file=_relative(Path(criteria.file), place),
            sha256=sha256(criteria.text.encode()),
            digest=criteria.digest(),
            text=criteria.text,
            train_manifest=None if manifest is None else file_sha256(manifest),
        ),
        suite=suite,
        data=_data(cohort, data, place),
        tool=LockingTool(name="medgan-qa", version=tool_version, commit=commit),
        locked_utc=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        locked_by=who,
        reason=reason,
    )


def _data(cohort: Cohort, data: str, place: Path) -> LockedData:
    parts = cohort.inventory()
    file = cohort.description.path if isinstance(cohort, FileCohort) else Path(data)
    return LockedData(
        name=cohort.name,
        file=data if data.startswith(PHANTOM) else _relative(file, place),
        digest=cohort.digest(),
        description=parts.description,
        rows=parts.rows,
        files=parts.files,
    )


def _relative(path: Path, place: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), place.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


@dataclass(frozen=True)
class Written:
    """What came of writing a lock."""

    lock: Lock
    """As it lies there now."""
    changed: bool
    """False where the same was locked already: the earlier lock stands, with its time and name."""
    kept: Path | None = None
    """Where the lock that it took the place of was kept."""


def write_lock(lock: Lock, path: Path) -> Written:
    """Put a lock in place, whole or not at all.

    One that says the same stays as it is. One that says something else is kept as `criteria.lock.N.json`, its SHA-256
    goes into the new one, and a reason has to be given.

    Raises:
        ConfigurationError: the place holds the lock of another criteria file, or another lock and no reason was given.
        IntegrityError: the lock in place was damaged.
        OutputError: it cannot be written.
    """
    if not path.exists():
        return Written(lock.at(path, _put(path, lock)), changed=True)
    old = read_lock(path)
    if not names(old, path, path.parent / lock.criteria.file):
        raise _another_file(old, lock, path)
    if (old.criteria, old.suite, old.data, old.tool) == (lock.criteria, lock.suite, lock.data, lock.tool):
        return Written(old, changed=False)
    if not lock.reason.strip():
        raise _no_reason(old, lock, path)
    before = path.read_bytes()
    kept = _keep(path, before)
    chained = lock.model_copy(update={"previous": sha256(before), "previous_file": kept.name})
    return Written(chained.at(path, _put(path, chained)), changed=True, kept=kept)


def _another_file(old: Lock, lock: Lock, path: Path) -> ConfigurationError:
    other = path.with_name(lock_name(Path(lock.criteria.file)))
    return ConfigurationError(
        "The place holds the lock of other criteria.",
        expected=f"no lock, or one of {lock.criteria.file}",
        found=f"the lock of {old.criteria.file}",
        where=path,
        todo=f"Give --out {other}; it is found there as well.",
    )


def _no_reason(old: Lock, lock: Lock, path: Path) -> ConfigurationError:
    differences = drift(old, lock, locked_criteria(lock).content())
    commit = (
        "" if old.tool.commit == lock.tool.commit else f"commit of the tool: {old.tool.commit} -> {lock.tool.commit}"
    )
    layout = "" if old.criteria.sha256 == lock.criteria.sha256 else "layout or comments of the criteria file"
    found = differences or [text for text in (layout, commit) if text] or ["place or name of a file"]
    return ConfigurationError(
        f"Criteria and data are locked already, by {old.locked_by} on {old.locked_utc}, and something changed since.",
        expected="the same criteria, data and tool, or a reason",
        found="\n    ".join([f"{len(found)} in all:", *found]),
        where=path,
        todo="Say why with --reason; the earlier lock is kept beside the new one.",
    )


def _keep(path: Path, content: bytes) -> Path:
    """Copy the lock in place to the next free number; one that holds the same already is that copy."""
    for number in count(1):
        kept = path.with_name(f"{path.name.removesuffix('.json')}.{number}.json")
        try:
            if write_new(kept, content) or kept.read_bytes() == content:
                return kept
        except OSError as error:
            raise _unwritable(kept, error) from error
    raise AssertionError("unreachable")


def _put(path: Path, lock: Lock) -> bytes:
    content = lock.to_bytes()
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return content


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        "The lock cannot be written.",
        expected="a folder that takes it",
        found=error.strerror or str(error),
        where=path,
        todo="Choose another --out, or correct the permissions.",
    )
