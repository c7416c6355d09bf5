"""Bringing weights onto this machine: from a file at hand, or from their publisher. Never called by an audit.

Either way the bytes go to a temporary name in the managed folder, are hashed as they are written, and take their name
only if the digest is the known one.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from medgan_qa.errors import ConfigurationError, InputError, MissingDependencyError, OutputError
from medgan_qa.features.weights import (
    BLOCK,
    STANDARD,
    TORCHVISION,
    Located,
    Weights,
    managed_folder,
    sha256_of,
    torchvision_weights,
    weights,
    wrong_digest,
)

TIMEOUT = 30.0
"""Seconds without an answer after which a download gives up."""
Tell = Callable[[int, int], None]
"""Told the bytes that have come and those expected (0 where the server does not say)."""


def import_weights(source: Path, name: str | None = None) -> tuple[Weights, Located]:
    """Copy a weights file into the managed folder, if it is one that is known.

    Args:
        source: the file. It is recognised by its name, else by its digest.
        name: which weights it holds, where that is not left to recognition.

    Returns:
        What it is, and where it now lies.

    Raises:
        InputError: there is no such file, or it cannot be read.
        ConfigurationError: it is none of the known ones, or `name` is not.
        IntegrityError: it is not the file that its name (or `name`) says.
        OutputError: the managed folder cannot be written.
    """
    digest = sha256_of(source)
    wanted = weights(name) if name is not None else recognise(source.name, digest)
    if not wanted.matches(digest):
        raise wrong_digest(wanted, digest, source)
    target = managed_folder() / wanted.file
    if target.exists() and target.samefile(source):
        return wanted, Located(target, digest)
    with _open(source) as stream:
        return wanted, place(wanted, iter(lambda: stream.read(BLOCK), b""), str(source))


def recognise(file: str, digest: str) -> Weights:
    """Which known weights a file holds, by its name, else by its digest.

    Raises:
        ConfigurationError: none.
    """
    known = [*STANDARD.values(), *torchvision_weights().values()]
    for candidate in [*(w for w in known if w.file == file), *(w for w in known if w.matches(digest))]:
        return candidate
    raise ConfigurationError(
        "The file is none of the known weights, by its name or by its digest.",
        expected=f"a file of {', '.join(STANDARD)} or {TORCHVISION}NAME",
        found=f"{file}, SHA-256 {digest}",
        todo="`medgan-qa weights status --all` lists the files. A network of your own needs no import: give the path "
        "of its TorchScript file as the extractor.",
    )


def fetch(wanted: Weights, tell: Tell = lambda done, total: None) -> Located:
    """Download weights from their publisher into the managed folder.

    Raises:
        ConfigurationError: they come in a package and have no address.
        MissingDependencyError: the address cannot be reached, or the download broke off.
        IntegrityError: what came is another file.
        OutputError: the managed folder cannot be written.
    """
    if wanted.url is None:
        raise ConfigurationError(
            f"The weights of {wanted.name} are not offered for download; a package ships them.",
            expected="weights with an address",
            found=f"{wanted.file}, part of {(wanted.package or '').partition('/')[0]}",
            todo=wanted.remedy,
        )
    return place(wanted, _download(wanted, wanted.url, tell), wanted.url)


def _download(wanted: Weights, url: str, tell: Tell) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while block := answer.read(BLOCK):
                done += len(block)
                tell(done, total)
                yield block
    except urllib.error.HTTPError as error:
        error.close()
        raise _unreachable(wanted, url, str(error)) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        raise _unreachable(wanted, url, _reason(error)) from error
    if done < total:
        raise _unreachable(wanted, url, f"the connection ended after {done} of {total} bytes")


def _reason(error: Exception) -> str:
    return str(error.reason if isinstance(error, urllib.error.URLError) else error) or type(error).__name__


def _unreachable(wanted: Weights, url: str, found: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"The weights of {wanted.name} could not be downloaded.",
        expected=f"an answer from {url}",
        found=found,
        todo=f"On a machine that reaches that address, download {wanted.file}; bring it here and run "
        f"`medgan-qa weights import {wanted.file}`. A proxy is taken from the environment (https_proxy).",
    )


def place(wanted: Weights, blocks: Iterator[bytes], origin: str) -> Located:
    """Write blocks into the managed folder under the weights' own name, all of them or none.

    Raises:
        IntegrityError: their digest is another one.
        OutputError: the folder cannot be written.
    """
    target = managed_folder() / wanted.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{wanted.file}.")
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            digest = _written(stream, blocks, target.parent)
        if not wanted.matches(digest):
            raise wrong_digest(wanted, digest, origin)
        _move(Path(temporary), target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return Located(target, digest)


def _written(stream: IO[bytes], blocks: Iterator[bytes], folder: Path) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        try:
            stream.write(block)
        except OSError as error:
            raise _unwritable(folder, error) from error
    try:
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        raise _unwritable(folder, error) from error
    return digest.hexdigest()


def _move(temporary: Path, target: Path) -> None:
    try:
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(target.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        "The folder of weights cannot be written.",
        expected="a folder that may be written, with room for the file",
        found=error.strerror or str(error),
        where=folder,
        todo="Correct its permissions or free some space, or name another folder in MEDGAN_QA_WEIGHTS.",
    )


def _open(source: Path) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as error:
        raise InputError(
            "The weights file cannot be read.",
            expected="a file that may be read",
            found=error.strerror or str(error),
            where=source,
            todo="Check the path and its permissions.",
        ) from error
