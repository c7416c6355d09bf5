"""Who stands for the report: signatures, dispositions, and what they make of the document's status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medgan_qa.digests import file_sha256
from medgan_qa.record import Record, Verdict
from medgan_qa.report.marks import Mark, mark
from medgan_qa.report.view_facts import utc

if TYPE_CHECKING:
    from medgan_qa.evidence.signing import Disposition, Signature

FOLDER = "signatures"
_MEANINGS = {"author": "Author", "review": "Review", "approval": "Approval"}
_DISPOSITIONS = {"pass-with-exception": "pass with exception", "accepted-failure": "failure accepted"}


class SignatureRow(NamedTuple):
    """A signature as it is printed."""

    number: str
    name: str
    role: str
    time: str
    meaning: str
    key: str
    comment: str
    valid: bool
    validity: str


class DispositionRow(NamedTuple):
    """How a criterion was dealt with, beside its verdict."""

    criterion: str
    mark: Mark | None
    disposition: str
    reason: str
    who: str
    valid: bool
    validity: str


class Status(NamedTuple):
    """What the signatures make of the document."""

    word: str
    name: str


class Signing(NamedTuple):
    """All that people said about the Record."""

    status: Status
    signatures: list[SignatureRow]
    dispositions: list[DispositionRow]
    digest: str
    """SHA-256 of `record.json`: what every signature names."""
    broken: list[str]
    """Signatures and dispositions that do not hold, each with what is wrong."""
    lines: list[str]
    """Meanings that nobody signed in yet."""


def signing(record: Record, folder: Path) -> Signing:
    """Read and verify what people signed in a run's folder."""
    signed, disposed = _read(folder)
    path = folder / "record.json"
    return Signing(
        status=_status(signed),
        signatures=[_signature(one) for one in signed],
        dispositions=[_disposition(one, record) for one in disposed],
        digest=file_sha256(path) if path.is_file() else "",
        broken=[
            *(f"Number {one.number}: {one.problem}." for one in signed if not one.valid),
            *(f"Number {one.number}: {one.problem}." for one in disposed if not one.valid),
        ],
        lines=[word for key, word in _MEANINGS.items() if not any(one.valid and one.meaning == key for one in signed)],
    )


def _read(folder: Path) -> tuple[Sequence[Signature], Sequence[Disposition]]:
    if not (folder / FOLDER).is_dir():
        return [], []
    # Loaded where there is something to verify, because it brings the cryptography with it.
    from medgan_qa.evidence import signing as evidence

    return evidence.signatures(folder), evidence.dispositions(folder)


def _status(signed: Sequence[Signature]) -> Status:
    meanings = {one.meaning for one in signed if one.valid}
    if "approval" in meanings:
        return Status("Approved", "approved")
    return Status("Signed, not approved", "signed") if meanings else Status("Unsigned draft", "draft")


def _signature(one: Signature) -> SignatureRow:
    meaning = _MEANINGS.get(one.meaning, one.meaning or "none given")
    validity = _validity(one.valid, one.problem, one.note)
    return SignatureRow(
        str(one.number), one.name, one.role, utc(one.time_utc), meaning, one.keyid, one.comment, one.valid, validity
    )


def _validity(valid: bool, problem: str, note: str = "") -> str:
    return f"valid{f'; {note}' if note else ''}" if valid else f"not valid: {problem}"


def _disposition(one: Disposition, record: Record) -> DispositionRow:
    verdicts = [c.verdict for audit in record.audits for c in audit.criteria if c.id == one.criterion]
    worst = next((v for v in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE) if v in verdicts), None)
    shown = worst or (verdicts[0] if verdicts else None)
    return DispositionRow(
        criterion=one.criterion,
        mark=None if shown is None else mark(shown),
        disposition=_DISPOSITIONS.get(one.disposition, one.disposition),
        reason=one.reason,
        who=f"{one.name}, {one.role}, {utc(one.time_utc)}",
        valid=one.valid,
        validity=_validity(one.valid, one.problem),
    )
