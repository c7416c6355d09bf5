"""The seal of a PDF: what it covers, and whether it holds."""

from __future__ import annotations

import hashlib
import io
import re
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes

from medgan_qa.evidence import _cms
from medgan_qa.evidence._seal_identity import is_own, subject

FIELD = "medgan-qa seal"
"""Name of the signature field, and of the key that seals manifests."""
BYTE_RANGE = re.compile(rb"/ByteRange \[0 (\d{1,15}) (\d{1,15}) (\d{1,15})\]")
END_OF_REVISION = re.compile(rb"startxref\s+\d+\s+%%EOF[ \t]*\r?\n?")


class SealState(NamedTuple):
    """What a PDF's seal shows."""

    sealed: bool
    """There is a seal, sound or not."""
    valid: bool
    """It is sound and covers every byte of the file."""
    problem: str
    """Why it is not valid; empty if it is."""
    signer: str = ""
    """The common name of the certificate's subject."""
    own: bool = False
    """A certificate that a user gave, not one made by the tool."""
    fingerprint: str = ""
    """SHA-256 of the certificate."""
    covered: int = 0
    """Bytes that the seal covers: all of the file but the signature itself."""


class Range(NamedTuple):
    """The part of a file that a signature leaves out: its own value with the angle brackets, and the file's length."""

    start: int
    end: int
    length: int


def check_seal(pdf: bytes) -> SealState:
    """What the seal of a PDF shows. Trust is no part of it: who holds the key is for the reader to judge.

    Every byte is looked at: those that the signature covers through it, the signature's own value by building it again
    from its verified parts. The file is parsed as PDF only once that holds.
    """
    gap = _range(pdf)
    if gap is None:
        return SealState(sealed=False, valid=False, problem="no seal")
    try:
        certificate = _cms.check(_container(pdf, gap), signed_digest(pdf, gap))
        _require_field(pdf, gap)
    except _cms.Unsound as error:
        return SealState(sealed=True, valid=False, problem=str(error))
    return SealState(
        sealed=True,
        valid=True,
        problem="",
        signer=subject(certificate),
        own=is_own(certificate),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        covered=gap.start + gap.length - gap.end,
    )


def unsealed_bytes(pdf: bytes) -> bytes:
    """The revision before the seal; all of the file where there is no seal."""
    gap = _range(pdf)
    if gap is None:
        return pdf
    ends = [match.end() for match in END_OF_REVISION.finditer(pdf, 0, gap.start)]
    return pdf[: ends[-1]] if ends else pdf


def _range(pdf: bytes) -> Range | None:
    """What the last signature of a file leaves out; None where there is no signature of the form that seals have."""
    place = pdf.rfind(b"/ByteRange")
    match = BYTE_RANGE.match(pdf, place) if place >= 0 else None
    if match is None:
        return None
    start, end, rest = (int(number) for number in match.groups())
    return Range(start, end, end + rest)


def signed_digest(pdf: bytes, gap: Range) -> bytes:
    """SHA-256 of what a signature covers."""
    view = memoryview(pdf)
    found = hashlib.sha256(view[: gap.start])
    found.update(view[gap.end :])
    return found.digest()


def _container(pdf: bytes, gap: Range) -> bytes:
    """The signature's value without its padding."""
    if gap.length != len(pdf) or not 0 < gap.start < gap.end - 2 < len(pdf):
        raise _cms.Unsound("the file is longer or shorter than what was sealed")
    value = pdf[gap.start : gap.end]
    if re.fullmatch(rb"<(?:[0-9A-F]{2})+>", value) is None:
        raise _cms.Unsound("the signature's value is damaged")
    padded = bytes.fromhex(value[1:-1].decode())
    size = _cms.first_length(padded)
    if any(padded[size:]):
        raise _cms.Unsound("something was written behind the signature's value")
    return padded[:size]


def _require_field(pdf: bytes, gap: Range) -> None:
    """A reader of PDF must find the same signature that was checked, in the field of the seal."""
    from medgan_qa.evidence._pdf import last_signature

    try:
        name, numbers = last_signature(io.BytesIO(pdf))
    except Exception as error:  # whoever seals a damaged PDF decides what its parsing runs into
        raise _cms.Unsound(f"the file cannot be read as PDF: {type(error).__name__}") from error
    if name != FIELD or numbers != [0, gap.start, gap.end, gap.length - gap.end]:
        raise _cms.Unsound("the seal is not the document's last signature")
