"""The lock as a file: what criteria and data were when they were fixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from medgan_qa.digests import sha256
from medgan_qa.errors import InputError, IntegrityError

SCHEMA: Literal["medgan-qa/lock/1"] = "medgan-qa/lock/1"
LOCK = "criteria.lock.json"
PHANTOM = "phantom:"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LockedCriteria(_Model):
    """A criteria file as it was."""

    file: str
    """Its name, relative to the lock."""
    sha256: str
    """Of its bytes."""
    digest: str
    """Of its content, whatever its layout: `Criteria.digest()`."""
    text: str
    """The file verbatim."""
    train_manifest: str | None = None
    """SHA-256 of the training manifest that it names; None where it names none."""


class LockedData(_Model):
    """A dataset, part by part."""

    name: str
    file: str
    """The dataset file relative to the lock, or the name of embedded phantoms."""
    digest: str
    """Of all of it."""
    description: str
    """Digest of what defines it beside its cases."""
    rows: dict[str, str]
    """Digest of every row, by case id."""
    files: dict[str, str]
    """SHA-256 of every file, by path as the table gives it."""

    def path(self, folder: Path) -> str:
        """The dataset as a command takes it, seen from the folder that the lock lies in."""
        return self.file if self.file.startswith(PHANTOM) else str(folder / self.file)


class LockingTool(_Model):
    """What locked it."""

    name: str
    version: str
    commit: str | None = None


class Lock(_Model):
    """Criteria and data, fixed before a model is seen."""

    schema_: Literal["medgan-qa/lock/1"] = Field(default=SCHEMA, alias="schema")
    criteria: LockedCriteria
    suite: str
    data: LockedData
    tool: LockingTool
    locked_utc: str
    """When, as the machine's clock said, ISO 8601 with a Z."""
    locked_by: str
    reason: str = ""
    """Why, where it took the place of another lock."""
    previous: str | None = None
    """SHA-256 of the lock file that it took the place of."""
    previous_file: str | None = None
    """Where that one was kept, relative to this one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)
    _path: Path | None = PrivateAttr(default=None)
    _sha256: str | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path | None:
        """The file that it was read from or written to; None for one that is no file yet."""
        return self._path

    @property
    def sha256(self) -> str | None:
        """Of that file's bytes."""
        return self._sha256

    def at(self, path: Path, content: bytes) -> Lock:
        """The same, as the file `path` with these bytes."""
        placed = self.model_copy()
        placed._path, placed._sha256 = path, sha256(content)
        return placed

    def to_bytes(self) -> bytes:
        """The file's content: JSON for people to read."""
        fields = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises:
        InputError: it is not there, or is no lock of this schema.
        IntegrityError: it is damaged, or its text is not the one that it was locked with.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            "The lock cannot be read.",
            expected="the file that `medgan-qa lock` wrote",
            found=error.strerror or str(error),
            where=path,
            todo="Name the lock with --lock, or lock criteria and data.",
        ) from error
    fields = _fields(path, content)
    if fields.get("schema") != SCHEMA:
        raise InputError(
            "The file is no lock that this version can read.",
            expected=f"schema {SCHEMA}",
            found=f"schema {fields.get('schema')!r}",
            where=path,
            todo="Use the version of medgan-qa that wrote it, or lock criteria and data again under another name.",
        )
    try:
        lock = Lock.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{place}: {first['msg']}") from error
    if sha256(lock.criteria.text.encode()) != lock.criteria.sha256:
        raise _damaged(path, "a text of the criteria whose SHA-256 is not the one beside it")
    return lock.at(path, content)


def _fields(path: Path, content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise _damaged(path, f"JSON that is no object but a {type(fields).__name__}")
    return fields


def _damaged(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        "The lock was damaged or edited.",
        expected="the file as `medgan-qa lock` wrote it",
        found=found,
        where=path,
        todo="Restore it from your records. Without it nothing shows what the criteria and the data were.",
    )


def lock_name(criteria_file: Path) -> str:
    """A lock's name where several criteria files lie in one folder: `plan-a.lock.json`."""
    return f"{criteria_file.stem}.lock.json"


def find_lock(criteria_file: Path) -> Path | None:
    """The lock beside a criteria file that names it; None where there is none.

    Looked for under `criteria.lock.json` and under the criteria file's own name (`plan-a.lock.json`).

    Raises:
        InputError: a lock of another schema lies there, so that nobody knows whether it names the file.
        IntegrityError: one that was damaged.
    """
    for name in dict.fromkeys((LOCK, lock_name(criteria_file))):
        path = criteria_file.parent / name
        if path.is_file() and names(read_lock(path), path, criteria_file):
            return path
    return None


def names(lock: Lock, path: Path, criteria_file: Path) -> bool:
    """Whether a lock that lies at `path` is that of a criteria file."""
    return (path.parent / lock.criteria.file).resolve() == criteria_file.resolve()
