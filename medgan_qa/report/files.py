"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from medgan_qa.errors import OutputError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside `path` and move it into place.

    Raises:
        OutputError: the folder does not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path.name} cannot be written",
            expected="a folder that can be written to",
            found=error.strerror or type(error).__name__,
            where=path,
            todo="check that the folder exists, is writable and has room",
        ) from error
