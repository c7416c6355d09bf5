"""Seals: a PDF in which no byte can change unnoticed, readable by others, and still the same document."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import logging
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from weasyprint import HTML

from medgan_qa.errors import ConfigurationError, InputError
from medgan_qa.evidence import _cms
from medgan_qa.evidence._cms import Unsound
from medgan_qa.evidence.dsse import open_envelope
from medgan_qa.evidence.keys import signing_key
from medgan_qa.evidence.seal import (
    SealIdentity,
    check_seal,
    seal_identity,
    seal_key,
    seal_manifest,
    seal_pdf,
    unsealed_bytes,
)
from medgan_qa.rng import child

PAGE = "<html lang=en><head><title>A report</title></head><body><h1>Result</h1><p>Größe 5 µm</p></body></html>"
NOW = dt.datetime.now(dt.UTC)
RSA_KEY = rsa.generate_private_key(65537, 2048)


def page(**options: Any) -> bytes:
    content: bytes = HTML(string=PAGE).write_pdf(pdf_identifier=b"0" * 32, **options)
    return content


@pytest.fixture(scope="module")
def original() -> bytes:
    return page()


@pytest.fixture(scope="module")
def identity() -> SealIdentity:
    return seal_identity()


def sealed_copy(folder: Path, content: bytes, identity: SealIdentity) -> bytes:
    path = folder / "report.pdf"
    path.write_bytes(content)
    seal_pdf(path, identity=identity)
    return path.read_bytes()


@pytest.fixture(scope="module")
def sealed(original: bytes, identity: SealIdentity, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return sealed_copy(tmp_path_factory.mktemp("sealed"), original, identity)


def gap_of(content: bytes) -> tuple[int, int]:
    """Where the signature's value begins and ends, from the byte range as text."""
    _, start, end, _ = content[content.rfind(b"/ByteRange [") + 12 :].split(b"]")[0].split()
    return int(start), int(end)


def flipped(content: bytes, place: int, mask: int = 1) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= mask
    return bytes(damaged)


# What a seal is


def test_a_sealed_report_is_the_report_and_a_signature(original: bytes, sealed: bytes) -> None:
    assert sealed.startswith(original)
    assert unsealed_bytes(sealed) == unsealed_bytes(original) == original
    state = check_seal(sealed)
    assert state.valid
    assert state.sealed
    assert state.problem == ""
    assert state.signer == "medgan-qa seal key made on this machine, identity not verified"
    assert not state.own
    start, end = gap_of(sealed)
    assert state.covered == len(sealed) - (end - start)
    assert not check_seal(original).sealed
    assert check_seal(original).problem == "no seal"


def test_the_document_keeps_the_shape_of_pdf_a_3(original: bytes, sealed: bytes) -> None:
    with pikepdf.open(io.BytesIO(sealed)) as pdf, pikepdf.open(io.BytesIO(original)) as before:
        form = pdf.Root.AcroForm
        assert int(form.SigFlags) == 3
        assert "/NeedAppearances" not in form
        [field] = form.Fields
        assert str(field.T) == "medgan-qa seal"
        assert str(field.FT) == "/Sig"
        assert int(field.F) & 4 == 4  # Print
        assert int(field.F) & (1 | 2 | 32) == 0  # neither Invisible, Hidden nor NoView
        assert [float(x) for x in field.Rect] == [0, 0, 0, 0]
        assert str(field.V.SubFilter) == "/ETSI.CAdES.detached"
        assert str(field.V.Filter) == "/Adobe.PPKLite"
        assert pdf.pdf_version == before.pdf_version == "1.7"
        assert "/Version" not in pdf.Root
        assert dict(pdf.docinfo) == dict(before.docinfo)
        assert len(pdf.pages) == len(before.pages)
        assert pdf.pages[0].Contents.read_bytes() == before.pages[0].Contents.read_bytes()


def test_metadata_and_attached_files_stay_as_they_were(tmp_path: Path, identity: SealIdentity) -> None:
    from weasyprint import Attachment

    before = page(attachments=[Attachment(string="{}", name="record.json")], pdf_variant="pdf/ua-1")
    after = sealed_copy(tmp_path, before, identity)
    with pikepdf.open(io.BytesIO(after)) as pdf, pikepdf.open(io.BytesIO(before)) as original:
        assert pdf.attachments["record.json"].get_file().read_bytes() == b"{}"
        assert pdf.Root.Metadata.read_bytes() == original.Root.Metadata.read_bytes()
        assert dict(pdf.docinfo) == dict(original.docinfo)
        assert pdf.Root.MarkInfo.Marked


def test_sealing_again_takes_the_place_of_the_seal(
    original: bytes, sealed: bytes, identity: SealIdentity, tmp_path: Path
) -> None:
    again = sealed_copy(tmp_path, sealed, identity)
    assert check_seal(again).valid
    assert unsealed_bytes(again) == original
    assert again.count(b"/ByteRange") == 1


def test_a_file_with_a_table_of_references_is_sealed_too(tmp_path: Path, identity: SealIdentity) -> None:
    for name, options in (("compressed", {}), ("plain", {"uncompressed_pdf": True}), ("classic", {"full_fonts": True})):
        content = page(**options)
        if name == "classic":
            with pikepdf.open(io.BytesIO(content)) as pdf:
                out = io.BytesIO()
                pdf.save(out, object_stream_mode=pikepdf.ObjectStreamMode.disable, static_id=True)
            content = out.getvalue()
            assert b"\ntrailer" in content
        after = sealed_copy(tmp_path, content, identity)
        assert check_seal(after).valid, name
        assert unsealed_bytes(after) == content, name


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\n%%EOF\n", b"not a PDF", b"%PDF-1.7\n" + b"\0" * 500])
def test_what_is_no_pdf_is_not_sealed(content: bytes, tmp_path: Path, identity: SealIdentity) -> None:
    with pytest.raises(InputError, match="cannot be sealed"):
        sealed_copy(tmp_path, content, identity)
    assert (tmp_path / "report.pdf").read_bytes() == content
    with pytest.raises(InputError):
        seal_pdf(tmp_path / "missing.pdf", identity=identity)


def test_sealing_and_checking_say_nothing(
    original: bytes, identity: SealIdentity, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    with caplog.at_level(logging.DEBUG):
        sealed = sealed_copy(tmp_path, original, identity)
        check_seal(sealed)
        check_seal(sealed + b"x")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


# No byte can change


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_changed_byte_of_a_whole_file_is_found(sealed: bytes, mask: int) -> None:
    missed = [place for place in range(len(sealed)) if check_seal(flipped(sealed, place, mask)).valid]
    assert missed == []


def test_every_other_digit_of_the_signature_is_found(sealed: bytes) -> None:
    start, end = gap_of(sealed)
    places = child(0, "digits").choice(np.arange(start, end), 150, replace=False)
    for place in places:
        for byte in b"0123456789ABCDEFabcdef<> \n":
            damaged = sealed[:place] + bytes([byte]) + sealed[place + 1 :]
            assert damaged == sealed or not check_seal(damaged).valid


def test_changed_bytes_of_a_longer_report_are_found(tmp_path: Path, identity: SealIdentity) -> None:
    rows = "".join(f"<tr><td>{i}</td><td>{i * i}</td></tr>" for i in range(300))
    picture = "<svg xmlns='http://www.w3.org/2000/svg' width='90' height='90'><circle cx='40' cy='40' r='30'/></svg>"
    text = PAGE.replace("</body>", f"{picture}<table>{rows}</table></body>")
    sealed = sealed_copy(tmp_path, HTML(string=text).write_pdf(), identity)
    assert check_seal(sealed).valid
    g = child(0, "flips")
    for place, mask in zip(g.integers(0, len(sealed), 2000), g.integers(1, 256, 2000), strict=True):
        assert not check_seal(flipped(sealed, int(place), int(mask))).valid


@pytest.mark.parametrize("tail", [b"\n", b" ", b"\0", b"%%EOF\n", b"/ByteRange [0 1 2 3]"])
def test_what_is_appended_is_found(sealed: bytes, tail: bytes) -> None:
    assert not check_seal(sealed + tail).valid


def test_every_cut_is_found(sealed: bytes) -> None:
    for length in range(0, len(sealed), 7):
        assert not check_seal(sealed[:length]).valid
    assert not check_seal(sealed[:-1]).valid


def test_a_later_revision_is_found(sealed: bytes) -> None:
    from pyhanko.pdf_utils.generic import TextStringObject
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    writer = IncrementalPdfFileWriter(io.BytesIO(sealed))
    writer.root["/Lang"] = TextStringObject("de")
    writer.update_root()
    out = io.BytesIO()
    writer.write(out)
    state = check_seal(out.getvalue())
    assert state.sealed
    assert not state.valid
    assert "longer" in state.problem


def test_a_seal_of_another_file_does_not_fit(
    sealed: bytes, original: bytes, identity: SealIdentity, tmp_path: Path
) -> None:
    other = sealed_copy(tmp_path, original, identity)
    start, end = gap_of(sealed)
    mixed = sealed[:start] + other[slice(*gap_of(other))].ljust(end - start)[: end - start] + sealed[end:]
    assert mixed != sealed
    assert not check_seal(mixed).valid


@given(st.binary(max_size=300))
def test_anything_else_has_no_valid_seal(content: bytes) -> None:
    assert not check_seal(content).valid
    assert not check_seal(b"/ByteRange [0 9 99 999]" + content).valid
    assert not check_seal(b"/ByteRange [0 30 %d 40]" % (30 + len(content)) + content + b" " * 47).valid


# Others read it the same way


def test_an_independent_library_finds_the_signature_sound(sealed: bytes) -> None:
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    [signature] = PdfFileReader(io.BytesIO(sealed)).embedded_signatures
    context = ValidationContext(trust_roots=[signature.signer_cert], allow_fetching=False)
    status = validate_pdf_signature(signature, context)
    assert status.intact
    assert status.valid
    assert status.trusted
    assert status.coverage.name == "ENTIRE_FILE"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_the_container(sealed: bytes, tmp_path: Path) -> None:
    start, end = gap_of(sealed)
    padded = bytes.fromhex(sealed[start + 1 : end - 1].decode())
    (tmp_path / "seal.der").write_bytes(padded[: _cms.first_length(padded)])
    (tmp_path / "content").write_bytes(sealed[:start] + sealed[end:])
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "seal.der", "-content", "content", "-binary"]
    done = subprocess.run([*command, "-noverify", "-out", "out"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "content").write_bytes(sealed[:start] + b"x" + sealed[end:])
    assert subprocess.run([*command, "-noverify"], cwd=tmp_path, capture_output=True, check=False).returncode != 0


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="needs poppler's pdfsig")
def test_poppler_finds_the_signature_sound(sealed: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(sealed)
    command = ["pdfsig", "-nocert", "report.pdf"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "Signature is Valid" in text
    assert "Total document signed" in text
    assert "medgan-qa seal" in text


# Whose seal it is


def certificate(
    private: Any,
    name: str = "Example Imaging GmbH",
    issuer: Any = None,
    days: tuple[int, int] = (-1, 30),
    **usage: bool,
) -> x509.Certificate:
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, names = issuer or (private, own)
    builder = x509.CertificateBuilder(names, own, private.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW + dt.timedelta(days[0])).not_valid_after(NOW + dt.timedelta(days[1]))
    if usage:
        never = dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"), False
        )
        whole = {"digital_signature": False, "key_encipherment": False, **never, **usage}
        builder = builder.add_extension(x509.KeyUsage(**whole, encipher_only=False, decipher_only=False), critical=True)
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def use_p12(
    monkeypatch: pytest.MonkeyPatch, place: Path, private: Any, own: x509.Certificate, *more: x509.Certificate
) -> None:
    how = serialization.BestAvailableEncryption(b"secret")
    place.write_bytes(pkcs12.serialize_key_and_certificates(b"seal", private, own, more, how))
    monkeypatch.setenv("MEDGAN_QA_SEAL_P12", str(place))
    monkeypatch.setenv("MEDGAN_QA_SEAL_PASSWORD", "secret")


@pytest.mark.parametrize(
    "private",
    [RSA_KEY, ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP521R1())],
    ids=["rsa", "p256", "p521"],
)
def test_a_certificate_of_ones_own_with_its_chain(
    private: Any, original: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ec.generate_private_key(ec.SECP256R1())
    authority = certificate(root, "Example Root CA")
    own = certificate(private, issuer=(root, authority.subject), digital_signature=True)
    use_p12(monkeypatch, tmp_path / "seal.p12", private, own, authority)
    identity = seal_identity()
    assert identity.own
    assert identity.label == "Example Imaging GmbH"
    assert identity.signer.certificates == (own, authority)
    sealed = sealed_copy(tmp_path, original, identity)
    state = check_seal(sealed)
    assert state.valid
    assert state.own
    assert state.signer == "Example Imaging GmbH"
    assert state.fingerprint == hashlib.sha256(own.public_bytes(serialization.Encoding.DER)).hexdigest()
    # The chain's certificates lie outside what a signature covers by itself.
    start, end = gap_of(sealed)
    missed = [place for place in range(start, end) if check_seal(flipped(sealed, place)).valid]
    assert missed == []


@pytest.mark.parametrize(
    ("private", "days", "usage", "found"),
    [
        (RSA_KEY, (-30, -1), {}, "valid from"),
        (RSA_KEY, (1, 30), {}, "valid from"),
        (RSA_KEY, (-1, 30), {"key_encipherment": True}, "key usage"),
        (ed25519.Ed25519PrivateKey.generate(), (-1, 30), {}, "another kind"),
    ],
)
def test_a_certificate_that_must_not_seal(
    private: Any, days: tuple[int, int], usage: Any, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_p12(monkeypatch, tmp_path / "seal.p12", private, certificate(private, days=days, **usage))
    with pytest.raises((ConfigurationError, InputError)) as error:
        seal_identity()
    assert found in str(error.value.found)
    assert error.value.where == str(tmp_path / "seal.p12")


def test_a_file_that_holds_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(RSA_KEY)
    use_p12(monkeypatch, tmp_path / "seal.p12", RSA_KEY, own)
    for secret in ("wrong", ""):
        monkeypatch.setenv("MEDGAN_QA_SEAL_PASSWORD", secret)
        with pytest.raises(ConfigurationError, match="encrypted"):
            seal_identity()
    (tmp_path / "seal.p12").write_bytes(b"damaged")
    with pytest.raises(InputError):
        seal_identity()
    (tmp_path / "seal.p12").unlink()
    with pytest.raises(InputError):
        seal_identity()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


def test_the_key_is_made_once_and_says_what_it_is(place: Path) -> None:
    first, second = seal_identity(), seal_identity()
    assert str(place / "seal.pem") in first.note
    assert second.note == ""
    assert first.signer.certificates == second.signer.certificates
    assert stat.S_IMODE((place / "seal.pem").stat().st_mode) == 0o600
    [made] = first.signer.certificates
    assert "identity not verified" in made.subject.rfc4514_string()
    assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)
    assert not first.own


def test_the_key_is_encrypted_where_a_passphrase_is_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDGAN_QA_KEY_PASSWORD", "open sesame")
    first = seal_identity()
    assert b"ENCRYPTED" in (place / "seal.pem").read_bytes()
    assert seal_identity().signer.certificates == first.signer.certificates
    for secret in ("wrong", ""):
        monkeypatch.setenv("MEDGAN_QA_KEY_PASSWORD", secret)
        with pytest.raises((ConfigurationError, InputError)):
            seal_identity()


def test_without_a_folder_the_key_is_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, original: bytes
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "file" / "keys"))
    identity = seal_identity()
    assert "in memory only" in identity.label
    assert "in memory only" in identity.note
    state = check_seal(sealed_copy(tmp_path, original, identity))
    assert state.valid
    assert not state.own
    assert state.signer == identity.label
    (tmp_path / "manifest.json").write_text("{}")
    assert "in memory" in open_envelope(seal_manifest(tmp_path).read_bytes()).predicate["key"]
    assert seal_key().public_hex != seal_key().public_hex


# The container


def chain_of(*names: str) -> list[x509.Certificate]:
    return [certificate(RSA_KEY, name) for name in names]


def test_a_container_is_sound_for_its_digest_alone() -> None:
    digest = hashlib.sha256(b"content").digest()
    made = _cms.make(digest, RSA_KEY, chain_of("a", "b", "c"))
    assert _cms.check(made, digest).subject.rfc4514_string() == "CN=a"
    with pytest.raises(Unsound, match="changed after it was sealed"):
        _cms.check(made, hashlib.sha256(b"other").digest())


def test_a_certificate_that_was_not_signed_for_is_refused() -> None:
    digest = hashlib.sha256(b"content").digest()
    chain = [one.public_bytes(serialization.Encoding.DER) for one in chain_of("a", "b")]
    made = _cms.make(digest, RSA_KEY, chain_of("a"))
    [whole] = _cms.split(made)
    first, second = _cms._parts(made)
    forged = _cms._container(digest, [first[0], chain[1]], _cms.RSA_SHA256, second)
    assert whole.whole == made
    with pytest.raises(Unsound):
        _cms.check(forged, digest)


def test_a_container_of_another_key_is_refused() -> None:
    digest = hashlib.sha256(b"content").digest()
    private = rsa.generate_private_key(65537, 2048)
    with pytest.raises(Unsound, match="does not hold"):
        _cms.check(_cms.make(digest, private, chain_of("a")), digest)
    own = ed25519.Ed25519PrivateKey.generate()
    odd = _cms.make(digest, RSA_KEY, [certificate(own)])
    with pytest.raises(Unsound, match="not used here"):
        _cms.check(odd, digest)


@pytest.mark.parametrize(
    "content", [b"\x30", b"\x30\x80", b"\x30\x81\x01\x00", b"\x30\x82\x00\x01\x00", b"\x30\x02\x05", b"\x30\xff"]
)
def test_only_the_shortest_form_is_read(content: bytes) -> None:
    with pytest.raises(Unsound):
        _cms.split(content)


@given(st.integers(0, 255), st.binary(max_size=400))
def test_an_element_reads_back(tag: int, content: bytes) -> None:
    whole = _cms.element(tag, content)
    assert _cms.split(whole + whole) == [_cms.Element(tag, content, whole)] * 2


# The manifest


def test_the_manifest_is_sealed_with_the_tools_key(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": "medgan-qa/manifest/1", "files": {}}))
    path = seal_manifest(tmp_path, now=dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC))
    assert path == tmp_path / "manifest.dsse.json"
    signed = open_envelope(path.read_bytes())
    assert signed.predicate_type == "urn:medgan-qa:manifest:1"
    assert signed.subjects == {"manifest.json": hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()}
    assert signed.predicate["time_utc"] == "2026-11-03T12:00:00Z"
    assert signed.public_key == signing_key(None, "medgan-qa seal").public_hex
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.dsse.json", "manifest.json"]


def test_no_network_and_no_event_loop_is_needed() -> None:
    code = "import sys, medgan_qa.evidence.seal; sys.exit('pyhanko' in sys.modules or 'asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
