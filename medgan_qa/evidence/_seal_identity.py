"""What the report's PDF is sealed with: the user's certificate, or one made on this machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from medgan_qa.errors import ConfigurationError, InputError, MedganQAError, OutputError
from medgan_qa.evidence._cms import PrivateKey
from medgan_qa.evidence.keys import encryption, password
from medgan_qa.key_folder import keys_folder, store

P12 = "MEDGAN_QA_SEAL_P12"
"""Environment variable: a PKCS #12 file with the certificate and key that PDFs are sealed with."""
P12_PASSWORD = "MEDGAN_QA_SEAL_PASSWORD"
"""Environment variable: its passphrase."""
MADE_HERE = "medgan-qa seal key made on this machine, identity not verified"
IN_MEMORY = "medgan-qa seal key kept in memory only, identity not verified"
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""No end that means anything (RFC 5280, 4.1.2.5)."""


class Signer(NamedTuple):
    """A private key and its certificates, that of the key first."""

    private: PrivateKey
    certificates: tuple[x509.Certificate, ...]


class SealIdentity(NamedTuple):
    """Who a seal is from."""

    signer: Signer
    label: str
    """The certificate's subject in words."""
    own: bool
    """A certificate that the user gave; False for one made here, which proves integrity and no identity."""
    note: str = ""
    """What to tell the user, e.g. that a key was made."""


def seal_identity() -> SealIdentity:
    """The user's PKCS #12 file where one is named, else a self-signed certificate made on first use.

    Where the key folder cannot be written, the key is kept in memory for this run alone and its subject says so.

    Raises:
        InputError: the PKCS #12 file cannot be used.
        ConfigurationError: a passphrase is missing or wrong, or the certificate is not valid now or not for signing.
    """
    given = os.environ.get(P12)
    if given:
        signer = _read_p12(Path(given))
        return SealIdentity(signer, subject(signer.certificates[0]), own=True)
    try:
        place = keys_folder() / "seal.pem"
        made = not place.exists() and store(place, _pem(_self_signed(MADE_HERE)))
    except OutputError as error:
        note = f"{error.where} cannot be written: the report is sealed with a key that is kept in memory only."
        return SealIdentity(_self_signed(IN_MEMORY), IN_MEMORY, own=False, note=note)
    note = f"A new key that seals reports was made: {place}." if made else ""
    return SealIdentity(_read_pem(place), MADE_HERE, own=False, note=note)


def subject(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject, or all of it where there is none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def is_own(certificate: x509.Certificate) -> bool:
    """Whether it is a certificate that a user gave, judged by its subject."""
    return subject(certificate) not in (MADE_HERE, IN_MEMORY)


def _self_signed(name: str) -> Signer:
    private = ec.generate_private_key(ec.SECP256R1())
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = {"digital_signature": True, "content_commitment": True}
    never = ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only")
    builder = x509.CertificateBuilder(names, names, private.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime.now(UTC) - timedelta(days=1)).not_valid_after(FOREVER)
    builder = builder.add_extension(
        x509.KeyUsage(**usage, **dict.fromkeys(never, False), decipher_only=False), critical=True
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return Signer(private, (builder.sign(private, hashes.SHA256()),))


def _pem(signer: Signer) -> bytes:
    private = signer.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption())
    return private + signer.certificates[0].public_bytes(serialization.Encoding.PEM)


def _read_pem(place: Path) -> Signer:
    try:
        content = place.read_bytes()
        certificate = x509.load_pem_x509_certificate(content)
        secret = password() if b"ENCRYPTED" in content else None
        private = serialization.load_pem_private_key(content, secret)
    except TypeError as error:
        raise _no_passphrase(place, "MEDGAN_QA_KEY_PASSWORD", "no passphrase") from error
    except (OSError, ValueError) as error:
        raise _no_certificate(place, str(error)) from error
    return _usable(place, private, (certificate,))


def _read_p12(place: Path) -> Signer:
    secret = os.environ.get(P12_PASSWORD, "").encode() or None
    try:
        store = pkcs12.load_pkcs12(place.read_bytes(), secret)
    except OSError as error:
        raise _no_certificate(place, str(error)) from error
    except ValueError as error:
        if "password" in str(error).lower():
            raise _no_passphrase(place, P12_PASSWORD, "none, or another") from error
        raise _no_certificate(place, str(error)) from error
    if store.key is None or store.cert is None:
        raise _no_certificate(place, "no private key with its certificate")
    further = tuple(c.certificate for c in store.additional_certs if c.certificate != store.cert.certificate)
    signer = _usable(place, store.key, (store.cert.certificate, *dict.fromkeys(further)))
    _require_valid(place, signer.certificates[0])
    return signer


def _usable(place: Path, private: object, certificates: tuple[x509.Certificate, ...]) -> Signer:
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise _no_certificate(place, f"a key of another kind ({type(private).__name__})")
    if private.public_key() != certificates[0].public_key():
        raise _no_certificate(place, "a certificate of another key")
    return Signer(private, certificates)


def _require_valid(place: Path, certificate: x509.Certificate) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise _unfit(place, "a certificate that is valid now", f"valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.digital_signature or usage.content_commitment):
        raise _unfit(place, "a certificate for digital signatures", "a key usage that leaves them out")


def _no_certificate(place: Path, found: str) -> MedganQAError:
    return InputError(
        "The certificate for the report's seal cannot be used.",
        expected="a private key (ECDSA or RSA) with its certificate",
        found=found,
        where=place,
        todo=f"Name a PKCS #12 file in ${P12}, or unset it to seal with a key made on this machine.",
    )


def _no_passphrase(place: Path, variable: str, found: str) -> MedganQAError:
    return ConfigurationError(
        "The key for the report's seal is encrypted and cannot be opened.",
        expected=f"its passphrase in ${variable}",
        found=found,
        where=place,
        todo=f"Set ${variable}.",
    )


def _unfit(place: Path, expected: str, found: str) -> MedganQAError:
    return ConfigurationError(
        "The certificate for the report's seal must not be used.",
        expected=expected,
        found=found,
        where=place,
        todo=f"Name another PKCS #12 file in ${P12}, or unset it.",
    )
