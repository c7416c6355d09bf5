"""Signatures and dispositions as the report prints them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from medgan_qa.evidence._signature_files import DISPOSITION, SIGNATURE, Entry, entries


class Signature(NamedTuple):
    """A signature as the report prints it."""

    number: int
    file: str
    kind: str
    """`signature`."""
    name: str
    role: str
    meaning: str
    time_utc: str
    comment: str
    keyid: str
    public_key: str
    valid: bool
    """The envelope is sound, in its place, and what it signed is unchanged."""
    problem: str
    """Why it is not valid; empty if it is."""
    note: str
    """What a reader should know of a valid one, e.g. a clock that went backwards."""


class Disposition(NamedTuple):
    """How a criterion was dealt with, as the report prints it; it changes no verdict."""

    number: int
    file: str
    kind: str
    """`disposition`."""
    criterion: str
    disposition: str
    reason: str
    name: str
    role: str
    time_utc: str
    keyid: str
    public_key: str
    valid: bool
    problem: str
    note: str


def signatures(folder: Path) -> list[Signature]:
    """The signatures of a run, in order, each verified; one that cannot be read is in the list with its problem.

    Raises:
        RecordError: the folder holds no Record that can be read.
    """
    return [_signature(entry) for entry in entries(folder) if entry.kind == SIGNATURE]


def dispositions(folder: Path) -> list[Disposition]:
    """The dispositions of a run, in order, each verified; of two on one criterion the later one stands.

    Raises:
        RecordError: the folder holds no Record that can be read.
    """
    return [_disposition(entry) for entry in entries(folder) if entry.kind == DISPOSITION]


def _signature(entry: Entry) -> Signature:
    said = entry.said
    return Signature(
        number=entry.number,
        file=entry.file,
        kind="signature",
        name=said("name"),
        role=said("role"),
        meaning=said("meaning"),
        time_utc=said("time_utc"),
        comment=said("comment"),
        keyid=entry.keyid,
        public_key=entry.public_key,
        valid=not entry.problem,
        problem=entry.problem,
        note=entry.note,
    )


def _disposition(entry: Entry) -> Disposition:
    said = entry.said
    return Disposition(
        number=entry.number,
        file=entry.file,
        kind="disposition",
        criterion=said("criterion"),
        disposition=said("disposition"),
        reason=said("reason"),
        name=said("name"),
        role=said("role"),
        time_utc=said("time_utc"),
        keyid=entry.keyid,
        public_key=entry.public_key,
        valid=not entry.problem,
        problem=entry.problem,
        note=entry.note,
    )
