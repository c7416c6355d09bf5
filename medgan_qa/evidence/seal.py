"""Seals: a PAdES signature on the report's PDF, and a signed statement about the run's manifest.

Both show that nothing changed since. Whose key it was is another question: the key is made on first use unless the user
gives a certificate (`MEDGAN_QA_SEAL_P12`) whose issuer answers for the identity.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from medgan_qa import __version__
from medgan_qa.digests import sha256
from medgan_qa.errors import InputError, OutputError
from medgan_qa.evidence import _cms
from medgan_qa.evidence._seal_check import FIELD, Range, SealState, check_seal, signed_digest, unsealed_bytes
from medgan_qa.evidence._seal_identity import SealIdentity, seal_identity
from medgan_qa.evidence.dsse import sign_statement, statement
from medgan_qa.evidence.keys import Key, as_key, signing_key
from medgan_qa.new_file import replace

__all__ = [
    "FIELD",
    "MANIFEST_SEAL",
    "MANIFEST_TYPE",
    "SealIdentity",
    "SealState",
    "check_seal",
    "seal_identity",
    "seal_key",
    "seal_manifest",
    "seal_pdf",
    "unsealed_bytes",
]

MANIFEST = "manifest.json"
MANIFEST_SEAL = "manifest.dsse.json"
MANIFEST_TYPE = "urn:medgan-qa:manifest:1"
SLACK = 32
"""Bytes that a second signature by the same key may be longer than the first (ECDSA in DER varies in length)."""


def seal_pdf(path: Path, *, identity: SealIdentity) -> None:
    """Seal a PDF as an incremental update and put it in its place; an earlier seal is replaced.

    The field is invisible and the update touches neither metadata nor content, so that a PDF/A-3 document stays one.

    Args:
        path: the PDF.
        identity: seals it.

    Raises:
        InputError: the file is no PDF that can be sealed.
        OutputError: the folder does not take it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _no_pdf(path, str(error)) from error
    sealed = _sealed(path, unsealed_bytes(content), identity)
    try:
        replace(path, sealed)
    except OSError as error:
        raise OutputError(
            "The sealed report cannot be written.",
            expected="a folder that can be written",
            found=str(error),
            where=path,
            todo="Check that the folder is writable and has room.",
        ) from error


def seal_key() -> Key:
    """The Ed25519 key that seals manifests; one kept in memory only where the key folder cannot be written.

    Raises:
        InputError: the key that lies there cannot be used.
        ConfigurationError: it is encrypted and the passphrase is missing or wrong.
    """
    try:
        return signing_key(None, FIELD)
    except OutputError:
        return as_key(Ed25519PrivateKey.generate(), made=True)


def seal_manifest(folder: Path, *, key: Key | None = None, now: datetime | None = None) -> Path:
    """Sign a statement about `manifest.json` and write it beside as `manifest.dsse.json`.

    Args:
        folder: a run's folder with its manifest.
        key: signs [the key of `seal_key`].
        now: time of sealing [the present].

    Returns:
        The seal's file.

    Raises:
        OutputError: the folder does not take it.
        OSError: there is no manifest.
        InputError: as in `seal_key`.
        ConfigurationError: as in `seal_key`.
    """
    key = key or seal_key()
    time = (now or datetime.now(UTC)).astimezone(UTC)
    predicate = {
        "time_utc": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "tool_version": __version__,
        "key": "kept in a file" if key.path is not None else "kept in memory only, for this one seal",
    }
    subjects = {MANIFEST: sha256((folder / MANIFEST).read_bytes())}
    path = folder / MANIFEST_SEAL
    try:
        replace(path, sign_statement(statement(subjects, MANIFEST_TYPE, predicate), key))
    except OSError as error:
        raise OutputError(
            "The seal of the manifest cannot be written.",
            expected="a folder that can be written",
            found=str(error),
            where=path,
            todo="Check that the folder is writable and has room.",
        ) from error
    return path


def _sealed(path: Path, content: bytes, identity: SealIdentity) -> bytes:
    from medgan_qa.evidence._pdf import prepare

    private, certificates = identity.signer
    trial = _cms.make(bytes(32), private, certificates)
    try:
        prepared, start, end = prepare(content, FIELD, f"Sealed by medgan-qa {__version__}", len(trial) + SLACK)
    except Exception as error:  # a damaged PDF ends in whatever its parsing runs into
        raise _no_pdf(path, f"{type(error).__name__}: {error}") from error
    gap = Range(start, end, len(prepared))
    value = _cms.make(signed_digest(prepared, gap), private, certificates).hex().upper().encode()
    return prepared[: start + 1] + value.ljust(end - start - 2, b"0") + prepared[end - 1 :]


def _no_pdf(path: Path, found: str) -> InputError:
    return InputError(
        "The report cannot be sealed.",
        expected="a PDF",
        found=found.splitlines()[0],
        where=path,
        todo="Render it again: `medgan-qa report DIR`.",
    )
