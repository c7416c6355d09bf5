"""The CMS container of a PDF signature: made in one way, and accepted only if that way gives the same bytes.

Most of a CMS container lies outside what its signature covers: version numbers, names of algorithms, further
certificates. A reader that only asks whether the signature holds lets those change. Here every certificate is named by
its hash in the signed attributes, and a container is sound only if building it again from the parts that were verified
gives it back byte for byte.

Sources: RFC 5652 (CMS), RFC 5035 (ESS signing-certificate-v2), RFC 5754 (SHA-2 in CMS), ETSI EN 319 142-1 (PAdES B-B),
X.690 (DER).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

SEQUENCE, SET, INTEGER, OCTETS, OID, NULL = 0x30, 0x31, 0x02, 0x04, 0x06, 0x05
FIELD_0 = 0xA0
"""Tag of the context-specific, constructed field 0."""


class Unsound(Exception):
    """A container that is damaged, changed or not of the one form; the message says how."""


class Element(NamedTuple):
    """A DER element: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    whole: bytes


def element(tag: int, *parts: bytes) -> bytes:
    """The DER encoding of an element whose content is `parts` one after the other."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def split(content: bytes) -> list[Element]:
    """The DER elements that stand one after the other in `content`.

    Raises:
        Unsound: they do not fill it exactly, or one is longer than its place or not written in the shortest form.
    """
    found = []
    while content:
        first = _first(content)
        found.append(first)
        content = content[len(first.whole) :]
    return found


def first_length(padded: bytes) -> int:
    """Length of the DER element that a padded field begins with.

    Raises:
        Unsound: it begins with none.
    """
    return len(_first(padded).whole)


def _first(content: bytes) -> Element:
    head = 2 + (content[1] & 0x7F if len(content) > 1 and content[1] & 0x80 else 0)
    size = int.from_bytes(content[2:head], "big") if head > 2 else content[1] if len(content) > 1 else 0
    whole = content[: head + size]
    if len(whole) < head + size or element(whole[0], whole[head:]) != whole:
        raise Unsound("the signature's value is damaged")
    return Element(whole[0], whole[head:], whole)


def _object(dotted: str) -> bytes:
    first, second, *rest = (int(number) for number in dotted.split("."))
    encoded = bytearray()
    for number in (40 * first + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        encoded += bytes(reversed(digits))
    return element(OID, bytes(encoded))


DATA = _object("1.2.840.113549.1.7.1")
SIGNED_DATA = _object("1.2.840.113549.1.7.2")
CONTENT_TYPE = _object("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = _object("1.2.840.113549.1.9.4")
SIGNING_CERTIFICATE_V2 = _object("1.2.840.113549.1.9.16.2.47")
SHA256 = element(SEQUENCE, _object("2.16.840.1.101.3.4.2.1"))
ECDSA_SHA256 = element(SEQUENCE, _object("1.2.840.10045.4.3.2"))
RSA_SHA256 = element(SEQUENCE, _object("1.2.840.113549.1.1.11"), element(NULL))
VERSION_1 = element(INTEGER, b"\1")


def make(digest: bytes, private: PrivateKey, certificates: Sequence[x509.Certificate]) -> bytes:
    """A detached signature over a SHA-256 digest as a DER container.

    Args:
        digest: SHA-256 of what is signed.
        private: signs; ECDSA on a NIST curve or RSA (PKCS #1 v1.5), with SHA-256.
        certificates: that of the signer first, then its chain.
    """
    chain = [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    signed = element(SET, _attributes(digest, chain))
    if isinstance(private, rsa.RSAPrivateKey):
        return _container(digest, chain, RSA_SHA256, private.sign(signed, padding.PKCS1v15(), hashes.SHA256()))
    return _container(digest, chain, ECDSA_SHA256, private.sign(signed, ec.ECDSA(hashes.SHA256())))


def check(container: bytes, digest: bytes) -> x509.Certificate:
    """Verify a container.

    Args:
        container: DER, without padding.
        digest: SHA-256 of what is said to be signed.

    Returns:
        The signer's certificate.

    Raises:
        Unsound: a byte of it is not what it must be, or it signs something else.
    """
    if digest not in container:
        raise Unsound("the file was changed after it was sealed")
    chain, signature = _parts(container)
    try:
        certificate = x509.load_der_x509_certificate(chain[0])
        algorithm = _verify(certificate, signature, element(SET, _attributes(digest, chain)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unsound("the signer's certificate is damaged") from error
    if _container(digest, chain, algorithm, signature) != container:
        raise Unsound("the signature's value was changed")
    return certificate


def _attributes(digest: bytes, chain: Sequence[bytes]) -> bytes:
    """The signed attributes: content of a SET OF, in the order that DER asks for."""
    # SHA-256 is the default of ESSCertIDv2, and DER leaves a default out.
    named = [element(SEQUENCE, element(OCTETS, hashlib.sha256(one).digest())) for one in chain]
    values = {
        CONTENT_TYPE: DATA,
        MESSAGE_DIGEST: element(OCTETS, digest),
        SIGNING_CERTIFICATE_V2: element(SEQUENCE, element(SEQUENCE, *named)),
    }
    return b"".join(sorted(element(SEQUENCE, kind, element(SET, value)) for kind, value in values.items()))


def _container(digest: bytes, chain: Sequence[bytes], algorithm: bytes, signature: bytes) -> bytes:
    information = element(
        SEQUENCE,
        VERSION_1,
        _issuer_and_serial(chain[0]),
        SHA256,
        element(FIELD_0, _attributes(digest, chain)),
        algorithm,
        element(OCTETS, signature),
    )
    data = element(
        SEQUENCE,
        VERSION_1,
        element(SET, SHA256),
        element(SEQUENCE, DATA),
        element(FIELD_0, *sorted(chain)),
        element(SET, information),
    )
    return element(SEQUENCE, SIGNED_DATA, element(FIELD_0, data))


def _issuer_and_serial(certificate: bytes) -> bytes:
    fields = split(split(split(certificate)[0].content)[0].content)
    # The version stands before the serial number and is left out for version 1.
    serial, _algorithm, issuer = fields[1:4] if fields[0].tag == FIELD_0 else fields[:3]
    return element(SEQUENCE, issuer.whole, serial.whole)


def _parts(container: bytes) -> tuple[list[bytes], bytes]:
    """The certificates in the order in which the signed attributes name them, and the signature."""
    try:
        [whole] = split(container)
        _kind, field = split(whole.content)
        _version, _digests, _content, certificates, infos = split(split(field.content)[0].content)
        *_, attributes, _algorithm, signature = split(split(infos.content)[0].content)
        [value] = [e.content for e in split(attributes.content) if e.content.startswith(SIGNING_CERTIFICATE_V2)]
        named = split(split(split(split(value)[1].content)[0].content)[0].content)
        by_hash = {hashlib.sha256(one.whole).digest(): one.whole for one in split(certificates.content)}
        return [by_hash[split(one.content)[0].content] for one in named], signature.content
    except (ValueError, IndexError, KeyError) as error:
        raise Unsound("the signature's value is damaged") from error


def _verify(certificate: x509.Certificate, signature: bytes, content: bytes) -> bytes:
    """The identifier of the algorithm under which the signature holds."""
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, padding.PKCS1v15(), hashes.SHA256())
            return RSA_SHA256
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
            return ECDSA_SHA256
    except InvalidSignature as error:
        raise Unsound("the signature does not hold") from error
    raise Unsound(f"a key of a kind that is not used here ({type(key).__name__})")
