"""Keys: made once, private, one a name, and never outside their folder."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import key_folder, new_file
from medgan_qa.errors import ConfigurationError, InputError, OutputError
from medgan_qa.evidence.keys import key_file_name, signing_key, trusted_keys

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("MEDGAN_QA_KEY_PASSWORD", raising=False)
    return tmp_path / "keys"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def pem_of(private: object, secret: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    return private.private_bytes(PEM, PKCS8, how)  # type: ignore[attr-defined]


def test_a_key_is_made_once_and_is_readable_by_its_owner_alone(place: Path) -> None:
    first, second = signing_key(None, "Ada"), signing_key(None, "Ada")
    assert first.made
    assert str(first.path) in first.note
    assert not second.made
    assert second.note == ""
    assert first.public_hex == second.public_hex
    assert mode(place) == 0o700
    assert first.path is not None
    assert mode(first.path) == 0o600
    raw = first.private.public_key().public_bytes_raw()
    assert first.public_hex == raw.hex()
    assert first.keyid == hashlib.sha256(raw).hexdigest()[:16]
    assert sorted(p.name for p in place.iterdir()) == [first.path.name, f"{first.path.stem}.pub.pem"]


def test_different_names_have_different_keys(place: Path) -> None:
    names = ["Ada", "ada", "Åda", "李雷", "李磊", "../../etc/passwd", "a/b", "a b", "", ".", "x" * 5000]
    made = [signing_key(None, name) for name in names]
    assert len({key.public_hex for key in made}) == len(names)
    assert all(key.path is not None and key.path.parent == place for key in made)


@given(st.text())
def test_a_name_never_leaves_the_folder(name: str) -> None:
    file = key_file_name(name)
    assert Path(file).name == file
    assert len(file.encode()) < 100
    assert file.isascii()


def test_one_name_in_two_unicode_forms_is_one_signer() -> None:
    assert key_file_name("Zoe\u0308") == key_file_name("Zo\u00eb") != key_file_name("Zoe")


def test_first_use_from_many_sides_makes_one_key(place: Path) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def use() -> None:
        start.wait()
        found.append(signing_key(None, "Ada").public_hex)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_key_is_made_where_the_file_system_has_no_links(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    key = signing_key(None, "Ada")
    assert key.path is not None
    assert mode(key.path) == 0o600
    assert signing_key(None, "Ada").public_hex == key.public_hex
    assert not new_file.write_new(key.path, b"other")


def test_a_passphrase_encrypts_new_keys(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = signing_key(None, "Plain")
    monkeypatch.setenv("MEDGAN_QA_KEY_PASSWORD", "open sesame")
    key = signing_key(None, "Ada")
    assert key.path is not None
    assert b"ENCRYPTED" in key.path.read_bytes()
    assert signing_key(None, "Ada").public_hex == key.public_hex
    assert signing_key(None, "Plain").public_hex == plain.public_hex  # one without a passphrase is opened all the same

    for other, found in (("wrong", "another passphrase"), (None, "no passphrase")):
        monkeypatch.setenv("MEDGAN_QA_KEY_PASSWORD", other) if other else monkeypatch.delenv("MEDGAN_QA_KEY_PASSWORD")
        with pytest.raises(ConfigurationError, match="encrypted") as error:
            signing_key(None, "Ada")
        assert error.value.found == found
        assert "MEDGAN_QA_KEY_PASSWORD" in str(error.value.todo)


def test_a_key_of_ones_own(place: Path, tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    (tmp_path / "own.pem").write_bytes(pem_of(private))
    ssh = private.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    (tmp_path / "id_ed25519").write_bytes(ssh)
    for file in ("own.pem", "id_ed25519"):
        key = signing_key(tmp_path / file, "Ada")
        assert key.public_hex == private.public_key().public_bytes_raw().hex()
        assert not key.made
    assert not place.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "ECPrivateKey"),
        (b"", ""),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ""),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", ""),
        (b"\xff\x00", ""),
        (None, "No such file"),
    ],
)
def test_a_file_that_holds_no_ed25519_key(tmp_path: Path, content: bytes | None, found: str) -> None:
    file = tmp_path / "own.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match="signing key") as error:
        signing_key(file, "Ada")
    assert found in str(error.value.found)
    assert error.value.where == str(file)


def test_a_damaged_key_in_the_folder_is_an_error_and_not_replaced(place: Path) -> None:
    key = signing_key(None, "Ada")
    assert key.path is not None
    key.path.write_bytes(b"damaged")
    with pytest.raises(InputError):
        signing_key(None, "Ada")
    assert key.path.read_bytes() == b"damaged"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "file" / "keys"))
    with pytest.raises(OutputError) as error:
        signing_key(None, "Ada")
    assert "MEDGAN_QA_KEYS" in str(error.value.todo)
    assert "--key" in str(error.value.todo)


def test_the_usual_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEDGAN_QA_KEYS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_folder.keys_folder() == tmp_path / ".local/share/medgan-qa/keys"


def test_trusted_keys_are_pem_or_hexadecimal(place: Path, tmp_path: Path) -> None:
    ada, bob = signing_key(None, "Ada"), signing_key(None, "Bob")
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "ada.pem").write_bytes(next(place.glob("ada*.pub.pem")).read_bytes())
    (folder / "bob.hex").write_text(f"{bob.public_hex.upper()}\n")
    (folder / ".DS_Store").write_bytes(b"\0")
    assert trusted_keys(folder) == {ada.public_hex: "ada.pem", bob.public_hex: "bob.hex"}


@pytest.mark.parametrize("content", [b"", b"ab" * 31, b"not a key", pem_of(Ed25519PrivateKey.generate())])
def test_a_list_with_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError, match="trusted keys") as error:
        trusted_keys(tmp_path)
    assert error.value.where == str(tmp_path / "key")


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="trusted keys"):
            trusted_keys(folder)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        new_file.write_new(tmp_path / "a", b"a")
    assert list(tmp_path.iterdir()) == []
