"""A line of the attempt ledger, its head, and what makes them sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from medgan_qa.digests import canonical_json, digest
from medgan_qa.errors import IntegrityError
from medgan_qa.record import Verdict

SCHEMA: Literal["medgan-qa/ledger/1"] = "medgan-qa/ledger/1"
HEAD_SCHEMA: Literal["medgan-qa/ledger-head/1"] = "medgan-qa/ledger-head/1"
NOTHING_BEFORE = "0" * 64
"""Stands for the hash of the line before the first."""

Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    def stored(self) -> bytes:
        """The one text that stands for it in a file, line end included."""
        return canonical_json(self.model_dump(mode="json", by_alias=True)) + b"\n"


class Line(_Stored):
    """One run, as the ledger holds it."""

    schema_: Literal["medgan-qa/ledger/1"] = Field(alias="schema")
    line: int = Field(ge=1)
    """Its place in the file; the first is 1."""
    previous: Hash
    """`hash` of the line before; 64 zeros in the first."""
    time_utc: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    """When it was entered, by the clock of the machine."""
    run: str
    suite: str
    model: str
    """The model's name."""
    model_sha256: str
    criteria_digest: str
    data_digest: str
    data: str
    """The dataset's name."""
    lock_sha256: str | None
    """Of the criteria lock; None where the criteria were not locked."""
    seed: int
    verdict: Verdict
    tool_version: str
    record_sha256: str
    """SHA-256 of the run's record.json."""
    hash: Hash
    """SHA-256 of the canonical JSON of everything else in the line."""

    @classmethod
    def chained(cls, facts: dict[str, Any]) -> Self:
        """The line of these facts (by their names in the file), with its hash.

        Raises:
            pydantic.ValidationError: a fact is missing or of another kind.
        """
        # What is hashed is what was understood, not what was given: 7.0 is stored as 7.
        line = cls.model_validate({**facts, "hash": NOTHING_BEFORE})
        return line.model_copy(update={"hash": line.true_hash()})

    def true_hash(self) -> str:
        """The hash that its content has, whatever `hash` says."""
        return digest(self.model_dump(mode="json", by_alias=True, exclude={"hash"}))


class Head(_Stored):
    """How many lines a ledger has, and the hash of the last."""

    schema_: Literal["medgan-qa/ledger-head/1"] = Field(default=HEAD_SCHEMA, alias="schema")
    lines: int = Field(ge=0)
    hash: Hash


def sound_line(content: bytes, number: int, previous: str, where: str) -> Line:
    """The line that stands at a place of the ledger.

    Raises:
        IntegrityError: its bytes, its number or its hashes are not those of a line written there.
    """
    try:
        line = Line.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise broken("A line of the ledger cannot be read.", SCHEMA, f"{place} {first['msg']}", where) from error
    if line.stored() != content:
        raise broken("A line of the ledger was edited.", "canonical JSON", "the same facts in other bytes", where)
    if line.hash != line.true_hash():
        raise broken("A line of the ledger was edited.", f"hash {line.hash}", line.true_hash(), where)
    if line.line != number:
        raise broken("A line of the ledger was moved, cut or copied.", str(number), f"line {line.line}", where)
    if line.previous != previous:
        raise broken("A line of the ledger does not follow the one before.", previous, line.previous, where)
    return line


def broken(problem: str, expected: str, found: str, where: str | Path) -> IntegrityError:
    """A ledger that is not as it was written."""
    todo = (
        "Restore the ledger and its .head.json together from version control. Where they cannot be restored, keep both "
        "as they are, begin a new ledger and state it among the deviations."
    )
    return IntegrityError(problem, expected=expected, found=found, where=where, todo=todo)
