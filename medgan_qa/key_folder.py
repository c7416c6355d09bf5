"""The folder of this user's keys: those that sign, and the one that pseudonyms are made with."""

from __future__ import annotations

import os
from pathlib import Path

from medgan_qa.errors import OutputError
from medgan_qa.new_file import write_new

FOLDER = "MEDGAN_QA_KEYS"
"""Environment variable: the folder of the keys [~/.local/share/medgan-qa/keys]."""


def keys_folder() -> Path:
    """Where keys lie unless the user names another file.

    Raises:
        OutputError: there is no home folder.
    """
    given = os.environ.get(FOLDER)
    try:
        return Path(given) if given else Path.home() / ".local" / "share" / "medgan-qa" / "keys"
    except RuntimeError as error:
        raise _no_folder(Path("~"), str(error)) from error


def make_folder() -> Path:
    """The key folder, made if need be so that nobody else can read it.

    Raises:
        OutputError: it cannot be made.
    """
    folder = keys_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, str(error)) from error
    return folder


def store(place: Path, content: bytes) -> bool:
    """Write a secret that does not exist yet, readable by its owner alone; False if somebody else was faster.

    Raises:
        OutputError: the folder cannot be written.
    """
    make_folder()
    try:
        return write_new(place, content, 0o600)
    except OSError as error:
        raise _no_folder(place, str(error)) from error


def _no_folder(place: Path, found: str) -> OutputError:
    return OutputError(
        "The key cannot be written.",
        expected="a folder that can be written",
        found=found,
        where=place,
        todo=f"Set ${FOLDER} to a folder of yours that can be written; to sign, --key takes a key of your own.",
    )
