"""in-toto Statements in DSSE envelopes, in one canonical form.

An envelope's file is the canonical JSON of `{payload, payloadType, signatures: [{keyid, sig}]}` and a line feed; its
payload is the canonical JSON of a Statement whose predicate holds the raw public key in hexadecimal. What reads back as
the same envelope but is written differently is refused, so that no byte of the file can change unnoticed.

Sources: Dead Simple Signing Envelope v1.0.2 (github.com/secure-systems-lab/dsse), in-toto Attestation Framework v1
(github.com/in-toto/attestation), RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from medgan_qa.digests import canonical_json
from medgan_qa.errors import IntegrityError
from medgan_qa.evidence.keys import Key, keyid

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
HEX_256 = re.compile("[0-9a-f]{64}")


class Statement(NamedTuple):
    """What a sound envelope says, and who signed it."""

    subjects: dict[str, str]
    """SHA-256 by name."""
    predicate_type: str
    predicate: dict[str, Any]
    public_key: str
    """The raw public key that the signature holds under, in hexadecimal."""
    keyid: str


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding of DSSE v1: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement(subjects: dict[str, str], predicate_type: str, predicate: dict[str, Any]) -> dict[str, Any]:
    """A Statement about files.

    Args:
        subjects: SHA-256 by name.
        predicate_type: what the predicate is, e.g. `urn:medgan-qa:signature:1`.
        predicate: what is said about them.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def sign_statement(content: dict[str, Any], key: Key) -> bytes:
    """The file of a signed Statement; the public key is put into its predicate.

    Args:
        content: a Statement as `statement` makes it.
        key: signs it.
    """
    signed = {**content, "predicate": {**content["predicate"], "public_key": key.public_hex}}
    payload = canonical_json(signed)
    signature = key.private.sign(pae(PAYLOAD_TYPE, payload))
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(signature).decode()}],
    }
    return canonical_json(envelope) + b"\n"


def open_envelope(content: bytes) -> Statement:
    """The Statement of an envelope's file, once form and signature have been checked.

    Whether the key belongs to anybody in particular is not known here.

    Raises:
        IntegrityError: a byte differs from the canonical form, the signature does not hold, or it is no envelope.
    """
    envelope = _canonical(content.removesuffix(b"\n"), "envelope")
    if not content.endswith(b"\n"):
        raise _broken("the line feed at the end is missing")
    match envelope:
        case {"payload": str(payload), "payloadType": str(kind), "signatures": [{"keyid": str(name), "sig": str(sig)}]}:
            pass
        case _:
            raise _broken("not an envelope with one signature")
    if kind != PAYLOAD_TYPE:
        raise _broken("another payloadType")
    if len(envelope) != 3 or len(envelope["signatures"][0]) != 2:
        raise _broken("a key that does not belong there")
    raw = _base64(payload)
    result = _statement(_canonical(raw, "payload"))
    _require_signature(result.public_key, _base64(sig), raw)
    if name != result.keyid:
        raise _broken("keyid is not that of the public key")
    return result


def _canonical(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content.decode())
        same = canonical_json(value) == content
    except (ValueError, RecursionError) as error:
        raise _broken(f"the {what} is no JSON: {error}") from error
    if not same or not isinstance(value, dict):
        raise _broken(f"the {what} is not in canonical form")
    return value


def _base64(text: str) -> bytes:
    try:
        content = base64.b64decode(text.encode(), validate=True)
    except ValueError as error:
        raise _broken(f"damaged base64: {error}") from error
    # Spare bits at the end may differ and decode to the same bytes.
    if base64.b64encode(content).decode() != text:
        raise _broken("base64 that is not in canonical form")
    return content


def _statement(value: dict[str, Any]) -> Statement:
    match value:
        case {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [*entries],
            "predicateType": str(kind),
            "predicate": {"public_key": str(public)},
        } if HEX_256.fullmatch(public):
            predicate: dict[str, Any] = value["predicate"]
        case _:
            raise _broken("no in-toto Statement of version 1 with a public key")
    return Statement(_subjects(entries), kind, predicate, public, keyid(bytes.fromhex(public)))


def _subjects(entries: list[Any]) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for entry in entries:
        match entry:
            case {"name": str(name), "digest": {"sha256": str(digest)}} if HEX_256.fullmatch(digest):
                subjects[name] = digest
            case _:
                raise _broken("a subject without name and SHA-256")
    if not subjects or len(subjects) != len(entries):
        raise _broken("no subject, or the same one twice")
    return subjects


def _require_signature(public: str, signature: bytes, payload: bytes) -> None:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(signature, pae(PAYLOAD_TYPE, payload))
    except (InvalidSignature, ValueError) as error:
        raise _broken("the signature does not hold") from error


def _broken(found: str) -> IntegrityError:
    return IntegrityError(
        "The signed file is damaged or was changed.",
        expected="a DSSE envelope in canonical form whose signature holds",
        found=found,
        todo="Take the file from where it was kept unchanged, or sign again.",
    )
