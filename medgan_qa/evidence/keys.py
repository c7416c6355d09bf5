"""Ed25519 keys that sign: one a signer's name, made on first use, or the user's own."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from medgan_qa.digests import sha256
from medgan_qa.errors import ConfigurationError, InputError, MedganQAError
from medgan_qa.key_folder import keys_folder, store
from medgan_qa.new_file import write_new

PASSWORD = "MEDGAN_QA_KEY_PASSWORD"
"""Environment variable: passphrase that new keys are encrypted with, and encrypted keys are opened with."""


class Key(NamedTuple):
    """A key that signs."""

    private: Ed25519PrivateKey
    public_hex: str
    """The raw public key, 32 bytes in hexadecimal."""
    keyid: str
    """The first 16 hexadecimal digits of the public key's SHA-256."""
    made: bool
    """It was made by this call."""
    path: Path | None
    """Where it lies; None for one that is kept in memory only."""

    @property
    def note(self) -> str:
        """What to tell the user when the key is new; empty otherwise."""
        if not self.made or self.path is None:
            return ""
        return (
            f"A new key was made: {self.path} (key {self.keyid}). Whoever can read this file can sign with it; "
            f"{self.path.with_suffix('.pub.pem').name} beside it is what others check signatures with."
        )


def keyid(public: bytes) -> str:
    """The short name of a raw public key."""
    return sha256(public)[:16]


def password() -> bytes | None:
    """The passphrase of the keys; None where none is set."""
    return os.environ.get(PASSWORD, "").encode() or None


def encryption() -> serialization.KeySerializationEncryption:
    """How a new private key is stored."""
    secret = password()
    return serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()


def as_key(private: Ed25519PrivateKey, path: Path | None = None, *, made: bool = False) -> Key:
    """A private key with its names."""
    public = private.public_key().public_bytes_raw()
    return Key(private, public.hex(), keyid(public), made, path)


def key_file_name(name: str) -> str:
    """The file of a signer's key: readable where the name allows, and different for every name.

    What is not an ASCII letter or digit is left out of the readable part, so that no name leads out of the folder; a
    hash of the whole name tells apart what that makes equal.
    """
    composed = unicodedata.normalize("NFC", name)
    plain = unicodedata.normalize("NFKD", composed).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-") or "signer"
    return f"{slug}-{hashlib.sha256(composed.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.pem"


def signing_key(path: Path | None, name: str) -> Key:
    """The key that a signer signs with.

    Args:
        path: the user's own Ed25519 key (PEM, PKCS8 or OpenSSH); None: the signer's key in the key folder, which is
            made on first use.
        name: the signer's name.

    Raises:
        InputError: the file holds no Ed25519 private key.
        ConfigurationError: the key is encrypted and the passphrase is missing or wrong.
        OutputError: a new key cannot be written.
    """
    if path is not None:
        return as_key(_read_private(path), path)
    place = keys_folder() / key_file_name(name)
    made = not place.exists() and _make(place)
    return as_key(_read_private(place), place, made=made)


def _make(place: Path) -> bool:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption())
    if not store(place, pem):
        return False
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_new(place.with_suffix(".pub.pem"), public)
    return True


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        private = _load_private(path.read_bytes())
    except TypeError as error:
        raise _locked(path, "no passphrase") from error
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        if password() and "password" in str(error).lower():
            raise _locked(path, "another passphrase") from error
        raise _no_key(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(path, f"a key of another kind ({type(private).__name__})")
    return private


def _load_private(content: bytes) -> object:
    load = serialization.load_pem_private_key
    if content.startswith(b"-----BEGIN OPENSSH"):
        load = serialization.load_ssh_private_key
    try:
        return load(content, password=password())
    except (TypeError, ValueError) as error:
        # A passphrase is set for some keys; this one has none, which is no fault.
        if password() is None or "not encrypted" not in str(error):
            raise
        return load(content, password=None)


def _no_key(path: Path, found: str) -> InputError:
    return InputError(
        "The signing key cannot be used.",
        expected="an Ed25519 private key in PEM form",
        found=found,
        where=path,
        todo="Name another file; `openssl genpkey -algorithm ed25519 -out key.pem` makes one.",
    )


def _locked(path: Path, found: str) -> MedganQAError:
    return ConfigurationError(
        "The signing key is encrypted and cannot be opened.",
        expected=f"its passphrase in ${PASSWORD}",
        found=found,
        where=path,
        todo=f"Set ${PASSWORD} to the passphrase of this key.",
    )


def trusted_keys(folder: Path) -> dict[str, str]:
    """The public keys in a folder: file name by raw public key in hexadecimal.

    A file is the PEM of an Ed25519 public key, or its 64 hexadecimal digits.

    Raises:
        InputError: the folder holds no key, or a file that is none.
    """
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise _no_trust(folder, str(error)) from error
    keys = {_public_hex(file): file.name for file in files}
    if not keys:
        raise _no_trust(folder, "an empty folder")
    return keys


def _public_hex(file: Path) -> str:
    try:
        content = file.read_bytes().strip()
        if re.fullmatch(rb"[0-9a-fA-F]{64}", content):
            return content.decode().lower()
        public = serialization.load_pem_public_key(content)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _no_trust(file, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if not isinstance(public, Ed25519PublicKey):
        raise _no_trust(file, f"a key of another kind ({type(public).__name__})")
    return public.public_bytes_raw().hex()


def _no_trust(where: Path, found: str) -> InputError:
    return InputError(
        "The list of trusted keys cannot be used.",
        expected="a folder of Ed25519 public keys, one a file: PEM, or 64 hexadecimal digits",
        found=found,
        where=where,
        todo="Collect the .pub.pem files of the signers in a folder of their own.",
    )
