"""What changed since criteria and data were locked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medgan_qa.criteria import Criteria, changes, parse_criteria
from medgan_qa.digests import file_sha256
from medgan_qa.errors import ConfigurationError, InputError, IntegrityError
from medgan_qa.evidence._lock_file import Lock

SHOWN = 10
"""Rows and files of each kind of change that a message names; the rest is counted."""


@dataclass(frozen=True)
class LockState:
    """A lock that held."""

    facts: dict[str, Any]
    """What the Record's `criteria_lock` says of it."""
    notes: tuple[str, ...]
    """What is worth saying although nothing that matters changed."""


def drift(locked: Lock, current: Lock, content: Mapping[str, Any]) -> list[str]:
    """What matters and differs between a lock and one of the present state; empty where nothing does.

    Args:
        locked: the lock.
        current: one made of criteria, data, suite and tool as they are now.
        content: `Criteria.content()` of the criteria as they are now.
    """
    return [*_of_run(locked, current), *_of_criteria(locked, current, content), *_of_data(locked, current)]


def _of_run(locked: Lock, current: Lock) -> Iterator[str]:
    if locked.suite != current.suite:
        yield f"suite: {locked.suite} -> {current.suite}"
    if locked.tool.version != current.tool.version:
        yield f"version of medgan-qa: {locked.tool.version} -> {current.tool.version}"


def _of_criteria(locked: Lock, current: Lock, content: Mapping[str, Any]) -> Iterator[str]:
    if locked.criteria.digest != current.criteria.digest:
        yield from (f"criteria, {line}" for line in _keys(locked, content))
    before, after = locked.criteria.train_manifest, current.criteria.train_manifest
    # That one is named or no longer named is a change of the criteria, and said above.
    if before and after and before != after:
        yield f"training manifest: SHA-256 {before[:12]}... -> {after[:12]}..."


def _keys(locked: Lock, content: Mapping[str, Any]) -> list[str]:
    try:
        before = locked_criteria(locked).content()
    except ConfigurationError as error:
        return [f"digest: the locked text cannot be read by this version ({error.problem})"]
    return changes(before, content) or ["digest: the lock's digest is not that of the text in it"]


def locked_criteria(lock: Lock) -> Criteria:
    """The criteria that a lock holds the text of.

    Raises:
        ConfigurationError: this version cannot read them.
    """
    try:
        content = tomllib.loads(lock.criteria.text.replace("\r\n", "\n").replace("\r", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            "The locked criteria are no TOML.",
            expected="the text of a criteria file",
            found=str(error),
            where=lock.path,
            todo="Restore the lock from your records.",
        ) from error
    return parse_criteria(content, lock.criteria.file)


def _of_data(locked: Lock, current: Lock) -> Iterator[str]:
    before, after = locked.data, current.data
    if before.digest == after.digest:
        return
    if before.name != after.name:
        yield f"data: {before.name} -> {after.name}"
    if before.description != after.description:
        yield "data: what describes it (the dataset file, or what phantoms are drawn from) changed"
    for kind, old, new in (("row", before.rows, after.rows), ("file", before.files, after.files)):
        changed = [name for name in old if name in new and old[name] != new[name]]
        added, removed = [name for name in new if name not in old], [name for name in old if name not in new]
        for done, found in (("changed", changed), ("added", added), ("removed", removed)):
            if found:
                yield f"data, {len(found)} {kind}{'s' if len(found) > 1 else ''} {done}: {_listed(found)}"
    if (before.description, before.rows, before.files) == (after.description, after.rows, after.files):
        yield f"data: digest {before.digest[:12]}... -> {after.digest[:12]}..., with the same rows and files"


def _listed(found: list[str]) -> str:
    shown = ", ".join(sorted(found)[:SHOWN])
    return shown + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def require_unchanged(locked: Lock, current: Lock, content: Mapping[str, Any]) -> None:
    """Refuse a state that is not the locked one.

    Raises:
        IntegrityError: everything that changed, in one message.
    """
    found = [*drift(locked, current, content), *_of_history(locked)]
    if found:
        raise IntegrityError(
            f"Something changed since {locked.locked_by} locked criteria and data on {locked.locked_utc}.",
            expected="criteria, data, suite and tool as they were locked",
            found="\n    ".join([f"{len(found)} in all:", *found]),
            where=locked.path,
            todo="Restore what was locked, or lock again and say why: medgan-qa lock ... --reason TEXT.",
        )


def _of_history(locked: Lock) -> Iterator[str]:
    earlier = _earlier(locked)
    if earlier is None or not earlier.is_file():
        return
    try:
        found = file_sha256(earlier)
    except OSError as error:
        raise InputError(
            "An earlier lock cannot be read.",
            expected="the file that was kept when it was replaced",
            found=error.strerror or str(error),
            where=earlier,
            todo="Correct the permissions.",
        ) from error
    if found != locked.previous:
        yield f"earlier lock {earlier.name}: SHA-256 {str(locked.previous)[:12]}... -> {found[:12]}..."


def _earlier(locked: Lock) -> Path | None:
    if locked.path is None or locked.previous_file is None:
        return None
    return locked.path.parent / locked.previous_file


def state(locked: Lock, current: Lock, criteria: Criteria, now: datetime) -> LockState:
    """What the Record says of a lock that held."""
    facts = {
        "locked": True,
        "lock_file": None if locked.path is None else locked.path.name,
        "lock_sha256": locked.sha256,
        "locked_utc": locked.locked_utc,
        "locked_by": locked.locked_by,
        "lock_previous": locked.previous,
        "lock_tool_version": locked.tool.version,
        "lock_reason": locked.reason,
    }
    return LockState(facts, tuple(_notes(locked, current, criteria, now)))


def _notes(locked: Lock, current: Lock, criteria: Criteria, now: datetime) -> Iterator[str]:
    if criteria.text and locked.criteria.sha256 != current.criteria.sha256:
        yield "Layout or comments of the criteria file changed since the lock; what it says did not."
    before, after = locked.tool.commit, current.tool.commit
    if before and after and before != after:
        version = locked.tool.version
        yield f"The criteria were locked with commit {before} of medgan-qa {version}; this is commit {after}."
    if f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" < locked.locked_utc:
        yield f"The time of the lock, {locked.locked_utc}, lies in the future of this machine's clock."
    earlier = _earlier(locked)
    if earlier is not None and not earlier.is_file():
        yield f"The lock that this one replaced, {earlier.name}, is not beside it."
