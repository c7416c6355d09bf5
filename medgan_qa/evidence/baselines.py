"""The registry of accepted models: which run is the baseline of later gates, who accepted it, and why.

`REGISTRY/NAME/0001`, `0002`, ... are run folders as they were accepted; the newest is current and none is ever removed.
`REGISTRY/NAME/history.jsonl` has one line an acceptance, in canonical JSON, chained by hash: each line names the hash
of the line before, so that a line that was changed, taken out or put in is found. A line that was cut off at the end
is found by the folder that it leaves behind.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medgan_qa.digests import canonical_json, digest, file_sha256
from medgan_qa.errors import ConfigurationError, IntegrityError, OutputError
from medgan_qa.evidence.folder import RECORD, read_record, staged
from medgan_qa.record import Record, Verdict

SCHEMA = "medgan-qa/baselines/1"
HISTORY = "history.jsonl"
NOTHING_BEFORE = "0" * 64
"""Stands for the hash of the line before the first."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
FOLDER = re.compile(r"\d{4,}")

KEYS = frozenset(
    (
        *("schema", "number", "time_utc", "by", "reason", "allowed_failed", "run", "model", "version"),
        *("model_sha256", "record_sha256", "verdict", "previous", "hash"),
    )
)
Acceptance = dict[str, Any]
"""A line of the history: a value for each of `KEYS`."""


def accept(
    folder: Path, registry: Path, name: str, *, reason: str, by: str = "", allow_failed: str = ""
) -> tuple[Path, Acceptance]:
    """Copy a verified run into the registry, where it becomes the current baseline of its name.

    Args:
        folder: a run's folder, or the outcome of a gate.
        registry: the folder of all baselines; made where it does not exist.
        name: what the baseline is called.
        reason: why it is accepted.
        by: who accepts it.
        allow_failed: why a run is accepted that did not pass; empty: only a pass is.

    Returns:
        The accepted folder, and its line in the history.

    Raises:
        ConfigurationError: an unusable name, an empty reason, a verdict other than pass, or `allow_failed` for a pass.
        IntegrityError: the folder does not verify, or the registry is damaged.
        OutputError: the registry cannot be written.
    """
    _require_name(name)
    record = read_record(folder)
    _require_acceptable(record, reason, allow_failed, folder)
    require_verified(folder)
    place = registry / name
    with _locked(place) as history:
        lines = _sound_history(place)
        accepted = place / f"{len(lines) + 1:04d}"
        with staged(accepted) as stage:
            shutil.copytree(folder, stage, dirs_exist_ok=True)
            line = _line(record, file_sha256(stage / RECORD), lines, by, reason, allow_failed)
        history.write(canonical_json(line) + b"\n")
        history.flush()
        os.fsync(history.fileno())
    return accepted, line


def current(registry: Path, name: str) -> tuple[Path, Acceptance]:
    """The newest accepted run of a name, and its line in the history.

    Raises:
        ConfigurationError: nothing was accepted under that name.
        IntegrityError: the history is not sound, or the folder's Record is not the one that was accepted.
    """
    lines = history(registry, name)
    place = registry / name
    newest = place / f"{lines[-1]['number']:04d}"
    found = file_sha256(newest / RECORD) if (newest / RECORD).is_file() else "no such file"
    if found != lines[-1]["record_sha256"]:
        raise _damaged(
            "The baseline's Record is not the one that was accepted.",
            lines[-1]["record_sha256"],
            found,
            newest / RECORD,
        )
    return newest, lines[-1]


def history(registry: Path, name: str) -> list[Acceptance]:
    """Every acceptance of a name, oldest first.

    Raises:
        ConfigurationError: nothing was accepted under that name.
        IntegrityError: the history is not sound.
    """
    _require_name(name)
    lines = _sound_history(registry / name)
    if not lines:
        names = sorted(p.parent.name for p in registry.glob(f"*/{HISTORY}") if p.stat().st_size)
        raise ConfigurationError(
            f"No baseline is called {name!r}.",
            expected=f"one of {', '.join(names)}" if names else "a baseline that was accepted",
            found=name,
            where=registry,
            todo=f"Accept a run: medgan-qa accept DIR --name {name} --reason '...', or name a run's folder.",
        )
    return lines


def require_verified(folder: Path) -> None:
    """Refuse a run's folder in which something changed.

    Raises:
        IntegrityError: a check failed; all of them are named.
    """
    from medgan_qa.evidence.verify import verify

    failed = verify(folder).failed
    if failed:
        raise IntegrityError(
            "The run does not verify, so it is not accepted.",
            expected="every file as it was written",
            found="\n    ".join(f"{check.file or check.name}: {check.detail}" for check in failed),
            where=folder,
            todo=f"`medgan-qa verify {folder}` lists every check. Restore the folder, or run the audit again.",
        )


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            "A baseline cannot have that name.",
            expected="letters, digits and . _ + - , beginning with a letter or digit",
            found=repr(name),
            where="--name",
            todo="Choose another name.",
        )


def _require_acceptable(record: Record, reason: str, allow_failed: str, folder: Path) -> None:
    if not reason.strip():
        raise ConfigurationError(
            "A run is accepted for a reason.",
            expected="a sentence",
            found="an empty reason",
            where="--reason",
            todo="Say why this run is accepted; it stands in the history.",
        )
    passed = record.verdict is Verdict.PASS
    if passed and allow_failed.strip():
        raise ConfigurationError(
            "A failure is allowed, and the run passed.",
            expected="no --allow-failed",
            found=f"--allow-failed {allow_failed}",
            where=folder,
            todo="Leave --allow-failed out.",
        )
    if not passed and not allow_failed.strip():
        raise ConfigurationError(
            "The run did not pass, so it is not accepted.",
            expected="verdict pass",
            found=f"{record.verdict}: {record.reason}",
            where=folder,
            todo="Accept a run that passed, or give a reason with --allow-failed; it stands in the history.",
        )


def _line(record: Record, sha256: str, before: list[Acceptance], by: str, reason: str, allow_failed: str) -> Acceptance:
    line: Acceptance = {
        "schema": SCHEMA,
        "number": len(before) + 1,
        "time_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "by": by.strip(),
        "reason": reason.strip(),
        "allowed_failed": allow_failed.strip(),
        "run": str(record.run.get("id", "")),
        "model": str(record.subject.get("name", "")),
        "version": str(record.subject.get("version", "")),
        "model_sha256": str(record.subject.get("sha256", "")),
        "record_sha256": sha256,
        "verdict": record.verdict.value,
        "previous": before[-1]["hash"] if before else NOTHING_BEFORE,
    }
    return {**line, "hash": digest(line)}


@contextmanager
def _locked(place: Path) -> Iterator[Any]:
    """The history, open for appending, held against a second acceptance at the same time."""
    path = place / HISTORY
    try:
        place.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except OSError as error:
        raise OutputError(
            "The registry of baselines cannot be written.",
            expected="a folder that can be written to",
            found=error.strerror or str(error),
            where=path,
            todo="Choose another --registry, or correct the permissions.",
        ) from error


def _sound_history(place: Path) -> list[Acceptance]:
    path = place / HISTORY
    content = path.read_bytes() if path.is_file() else b""
    *texts, tail = content.split(b"\n")
    if tail:
        raise _damaged("The history ends in the middle of a line.", "whole lines", repr(tail[:60]), path)
    lines: list[Acceptance] = []
    for number, text in enumerate(texts, 1):
        lines.append(_sound_line(text, number, lines[-1]["hash"] if lines else NOTHING_BEFORE, path))
    folders = {p.name for p in place.iterdir() if FOLDER.fullmatch(p.name)} if place.is_dir() else set()
    expected = {f"{number:04d}" for number in range(1, len(lines) + 1)}
    if folders != expected:
        found = (
            f"{len(folders)} folders, among them {', '.join(sorted(folders ^ expected)[:3])}"
            if folders - expected
            else f"no {', '.join(sorted(expected - folders)[:3])}"
        )
        raise _damaged(
            "Accepted runs and the lines of the history do not match.",
            f"{len(lines)} folders, one a line",
            found,
            place,
        )
    return lines


def _sound_line(text: bytes, number: int, previous: str, path: Path) -> Acceptance:
    where = f"{path}, line {number}"
    try:
        line = json.loads(text)
    except ValueError as error:
        raise _damaged("A line of the history is no JSON.", "one acceptance a line", str(error), where) from error
    if not isinstance(line, Mapping) or set(line) != KEYS or line["schema"] != SCHEMA:
        raise _damaged(
            "A line of the history is no acceptance.",
            f"the keys {', '.join(sorted(KEYS))}",
            text[:80].decode(errors="replace"),
            where,
        )
    true = digest({key: value for key, value in line.items() if key != "hash"})
    for name, expected, found in (
        ("number", number, line["number"]),
        ("previous", previous, line["previous"]),
        ("hash", true, line["hash"]),
        ("text", text, canonical_json(line)),
    ):
        if expected != found:
            raise _damaged(f"A line of the history was changed ({name}).", str(expected), str(found), where)
    return dict(line)


def _damaged(problem: str, expected: str, found: str, where: Path | str) -> IntegrityError:
    return IntegrityError(
        problem,
        expected=expected,
        found=found,
        where=where,
        todo="Restore the registry from a copy. An acceptance that was interrupted leaves a folder without a line: "
        "compare it with what was to be accepted and remove it by hand.",
    )
