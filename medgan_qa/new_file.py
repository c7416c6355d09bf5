"""Writing a file whole or not at all: one that must not exist yet, or one in another's place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_new(path: Path, content: bytes, mode: int = 0o644) -> bool:
    """Make a file with its content in one step; nobody ever sees it empty or half-written.

    Args:
        path: where it is to lie; its folder must exist.
        content: all of it.
        mode: its permissions.

    Returns:
        False if a file of that name was there already; it is left as it is.

    Raises:
        OSError: the folder does not take it.
    """
    with _temporary(path, content, mode) as temporary:
        return _place(temporary, path, content, mode)


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file under a temporary name beside `path` and move it into place, with these permissions.

    Raises:
        OSError: the folder does not take it.
    """
    with _temporary(path, content, mode) as temporary:
        temporary.replace(path)


@contextmanager
def _temporary(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A file with this content beside `path`, on the disk and not only in the system's memory; gone afterwards."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _place(temporary: Path, path: Path, content: bytes, mode: int) -> bool:
    try:
        # A link, unlike a rename, fails where the name is taken.
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError:
        return _create(path, content, mode)
    return True


def _create(path: Path, content: bytes, mode: int) -> bool:
    """The same on file systems without links."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True
