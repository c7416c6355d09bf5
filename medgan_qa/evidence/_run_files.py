"""Reading the files of a run's folder by names that somebody else wrote."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from medgan_qa.digests import file_sha256
from medgan_qa.errors import IntegrityError, RecordError

RECORD = "record.json"


def inside(folder: Path, name: str) -> Path:
    """The regular file that a name means in a folder.

    Raises:
        IntegrityError: the name is no plain relative path, or it leads through a link; nothing was read.
        FileNotFoundError: there is no such file.
    """
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or "\0" in name or str(plain) != name or not plain.parts:
        raise _hostile(name, "a path that is absolute, leads upwards or is not in its plain form")
    place = folder
    for part in plain.parts:
        place = place / part
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(name) from error
        if stat.S_ISLNK(mode):
            raise _hostile(name, "a link")
    if not stat.S_ISREG(mode):
        raise _hostile(name, "no regular file")
    return place


def _hostile(name: str, found: str) -> IntegrityError:
    return IntegrityError(
        f"{name!r} does not name a file of the run's folder.",
        expected="a plain path below the folder, without links",
        found=found,
        where=name,
        todo="The file was not read. Ask where the folder comes from.",
    )


def file_problem(folder: Path, name: str, sha256: str) -> str:
    """What is wrong with a file whose digest is known; empty if nothing is."""
    try:
        found = file_sha256(inside(folder, name))
    except FileNotFoundError:
        return "missing"
    except IntegrityError as error:
        return f"not read: {error.found}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if found == sha256 else f"changed: SHA-256 is {found[:12]}..., expected {sha256[:12]}..."


def files_below(folder: Path) -> list[str]:
    """Every entry below a folder that is not itself a folder, as sorted relative paths; links are not followed."""
    found: list[str] = []
    left = [folder]
    while left:
        for entry in left.pop().iterdir():
            if entry.is_dir() and not entry.is_symlink():
                left.append(entry)
            else:
                found.append(entry.relative_to(folder).as_posix())
    return sorted(found)


def read_record_bytes(folder: Path) -> bytes:
    """The bytes of a run's `record.json`.

    Raises:
        RecordError: there is none that can be read.
    """
    try:
        return inside(folder, RECORD).read_bytes()
    except (OSError, IntegrityError) as error:
        raise RecordError(
            "The folder holds no Record.",
            expected=RECORD,
            found="no such file" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0],
            where=folder / RECORD,
            todo="Name the folder that `medgan-qa audit --out` wrote.",
        ) from error
