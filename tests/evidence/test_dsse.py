"""DSSE envelopes: what is signed is what the specification says, and no byte of a file can change."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.digests import canonical_json
from medgan_qa.errors import IntegrityError
from medgan_qa.evidence.dsse import PAYLOAD_TYPE, open_envelope, pae, sign_statement, statement
from medgan_qa.evidence.keys import as_key

KEY = as_key(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
SUBJECTS = {"record.json": "ab" * 32, "cases.csv": "cd" * 32}
STATEMENT = statement(SUBJECTS, "urn:medgan-qa:signature:1", {"name": "Zoë <b>", "number": 1})
FILE = sign_statement(STATEMENT, KEY)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


def envelope(payload: bytes, **changes: Any) -> bytes:
    """An envelope around any payload, truly signed."""
    signature = KEY.private.sign(pae(PAYLOAD_TYPE, payload))
    whole = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": KEY.keyid, "sig": base64.b64encode(signature).decode()}],
    }
    return canonical_json({**whole, **changes}) + b"\n"


def signed(**changes: Any) -> bytes:
    """The statement with parts replaced, truly signed."""
    whole = {**STATEMENT, "predicate": {**STATEMENT["predicate"], "public_key": KEY.public_hex}}
    return envelope(canonical_json({**whole, **changes}))


def test_the_encoding_is_that_of_the_specification() -> None:
    # The example of the protocol's own text.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("é", b"\xff\n") == b"DSSEv1 2 \xc3\xa9 2 \xff\n"


def test_an_outsider_can_verify_a_file_with_nothing_but_the_specification() -> None:
    outer = json.loads(FILE)
    payload = base64.standard_b64decode(outer["payload"])
    inner = json.loads(payload)
    message = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(inner["predicate"]["public_key"]))
    public.verify(base64.standard_b64decode(outer["signatures"][0]["sig"]), message)
    assert outer["payloadType"] == "application/vnd.in-toto+json"
    assert inner["_type"] == "https://in-toto.io/Statement/v1"
    assert inner["subject"] == [
        {"digest": {"sha256": "cd" * 32}, "name": "cases.csv"},
        {"digest": {"sha256": "ab" * 32}, "name": "record.json"},
    ]
    raw = public.public_bytes_raw()
    assert outer["signatures"][0]["keyid"] == hashlib.sha256(raw).hexdigest()[:16]


def test_the_key_of_rfc_8032_gives_its_public_key() -> None:
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert as_key(Ed25519PrivateKey.from_private_bytes(secret)).public_hex == public


def test_a_file_reads_back() -> None:
    found = open_envelope(FILE)
    assert found.subjects == SUBJECTS
    assert found.predicate_type == "urn:medgan-qa:signature:1"
    assert found.predicate == {"name": "Zoë <b>", "number": 1, "public_key": KEY.public_hex}
    assert (found.public_key, found.keyid) == (KEY.public_hex, KEY.keyid)
    assert sign_statement(STATEMENT, KEY) == FILE
    assert envelope(base64.b64decode(json.loads(FILE)["payload"])) == FILE


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_any_predicate_survives(predicate: dict[str, Any]) -> None:
    found = open_envelope(sign_statement(statement(SUBJECTS, "urn:x", predicate), KEY))
    assert found.predicate == {**predicate, "public_key": KEY.public_hex}


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_changed_byte_is_found(mask: int) -> None:
    for place in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[place] ^= mask
        with pytest.raises(IntegrityError):
            open_envelope(bytes(damaged))


def test_every_cut_and_every_added_byte_is_found() -> None:
    for place in range(len(FILE)):
        for damaged in (FILE[:place], FILE[:place] + FILE[place + 1 :], FILE[:place] + b" " + FILE[place:]):
            with pytest.raises(IntegrityError):
                open_envelope(damaged)
    with pytest.raises(IntegrityError):
        open_envelope(FILE + b"\n")


@given(st.binary())
def test_anything_else_is_refused_and_nothing_crashes(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_envelope(content)


OTHER = as_key(Ed25519PrivateKey.generate())
TWICE = STATEMENT["subject"][:1] * 2


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[" * 5000 + b"\n", "no JSON"),
        (b"{}\n", "not an envelope"),
        (envelope(b"{}"), "no in-toto Statement"),
        (envelope(b"[]"), "not in canonical form"),
        (envelope(b'{"a": 1}'), "not in canonical form"),
        (envelope(b'{"a":NaN}'), "no JSON"),
        (envelope(b"\xff"), "no JSON"),
        (envelope(b"{}", signatures=[]), "not an envelope"),
        (envelope(b"{}", signatures=[{"keyid": "", "sig": ""}] * 2), "not an envelope"),
        (envelope(b"{}", payloadType="text/plain"), "payloadType"),
        (envelope(b"{}", more=1), "does not belong"),
        (signed(_type="https://in-toto.io/Statement/v0.1"), "no in-toto Statement"),
        (signed(predicate={}), "no in-toto Statement"),
        (signed(predicate={"public_key": "AB" * 32}), "no in-toto Statement"),
        (signed(predicate={"public_key": OTHER.public_hex}), "does not hold"),
        (signed(subject=[]), "no subject"),
        (signed(subject=TWICE), "twice"),
        (signed(subject=[{"name": "a", "digest": {"sha256": "short"}}]), "without name and SHA-256"),
    ],
)
def test_says_what_is_wrong(content: bytes, found: str) -> None:
    with pytest.raises(IntegrityError) as error:
        open_envelope(content)
    assert found in str(error.value.found)


def test_a_key_name_that_is_not_that_of_the_key_is_refused() -> None:
    whole = json.loads(FILE)
    whole["signatures"][0]["keyid"] = OTHER.keyid
    with pytest.raises(IntegrityError) as error:
        open_envelope(canonical_json(whole) + b"\n")
    assert "keyid" in str(error.value.found)


def test_a_signature_of_another_statement_does_not_fit() -> None:
    other = json.loads(sign_statement(statement({"record.json": "00" * 32}, "urn:x", {}), KEY))
    mixed = {**json.loads(FILE), "signatures": other["signatures"]}
    with pytest.raises(IntegrityError) as error:
        open_envelope(canonical_json(mixed) + b"\n")
    assert "does not hold" in str(error.value.found)
