"""The safety check of zip archives, which most model files are.

torch reads them with a library of its own. An archive is therefore let through only if every reader must read the same
from it: one directory at the very end, members that do not overlap, names that differ by more than case and lead
nowhere else. Sizes are held against limits before anything is unpacked.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from medgan_qa.errors import ModelError
from medgan_qa.subjects.refusals import damaged

NAME = re.compile(r"[\w .\-+@$=,()#~\[\]/]+", re.ASCII)
MOST_MEMBERS = 100_000
MOST_UNPACKED = 2**30
"""Bytes that any archive may unpack to; a larger archive may unpack to `MOST_TIMES` its own size."""
MOST_TIMES = 20
END, END64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
LOCAL = struct.Struct("<4s5H3L2H")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def members_of(path: Path, *, one_folder: bool = True) -> list[zipfile.ZipInfo]:
    """The members of an archive, all of them looked at.

    Args:
        path: the archive.
        one_folder: whether all members have to stand in one folder, as torch writes them.

    Raises:
        ModelError: it is no whole archive, or one that two readers could read differently, that names other places, or
            that is out of proportion.
        OSError: it cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            objection, infos = _odd_end(stream), []
            if objection is None:
                with zipfile.ZipFile(stream) as archive:
                    infos = archive.infolist()
                objection = _odd_count(stream, len(infos)) or _odd_names(infos, one_folder)
                objection = objection or _odd_sizes(infos, _size(stream))
                objection = objection or next(filter(None, (_odd_member(stream, info) for info in infos)), None)
    # A damaged directory may hold names that are no text, or ask for a version of the format that zipfile lacks.
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, struct.error) as error:
        raise damaged(path, str(error)) from error
    if objection is not None:
        raise ModelError(
            "The model file is an archive that may not mean what it seems to hold, and was refused.",
            expected="an archive as torch writes it",
            found=objection,
            where=path,
            todo="Save the model again, and do not repack the file.",
        )
    return infos


def _size(stream: BinaryIO) -> int:
    return stream.seek(0, 2)


def _record(stream: BinaryIO, at: int, form: struct.Struct) -> tuple[Any, ...]:
    stream.seek(at)
    return form.unpack(stream.read(form.size))


def _odd_end(stream: BinaryIO) -> str | None:
    """Whether the directory ends where the record of its end begins, and that record where the file ends."""
    stop = _size(stream) - END.size
    if stop < 0:
        raise zipfile.BadZipFile("File is not a zip file")
    end = _record(stream, stop, END)
    if end[0] != b"PK\5\6":
        if zipfile.is_zipfile(stream):
            return "something behind the end of the archive"
        raise zipfile.BadZipFile("File is not a zip file")
    length, start = end[5], end[6]
    if stop >= LOCATOR.size + END64.size and (locator := _record(stream, stop - LOCATOR.size, LOCATOR))[0] == b"PK\6\7":
        stop -= LOCATOR.size + END64.size
        end64 = _record(stream, stop, END64)
        told = length in (end64[8], 2**32 - 1) and start in (end64[9], 2**32 - 1)
        if end64[0] != b"PK\6\6" or locator[2] != stop or not told:
            return "two directories that differ"
        length, start = end64[8], end64[9]
    return None if start + length == stop else "a directory that does not stand where the end of the archive says"


def _odd_count(stream: BinaryIO, listed: int) -> str | None:
    """Whether the directory lists as many members as its end says: one can be hidden in the comment of another."""
    stop = _size(stream) - END.size
    end = _record(stream, stop, END)
    told = {end[3], end[4]}
    if stop >= LOCATOR.size + END64.size and _record(stream, stop - LOCATOR.size, LOCATOR)[0] == b"PK\6\7":
        end64 = _record(stream, stop - LOCATOR.size - END64.size, END64)
        told = (told - {2**16 - 1}) | {end64[6], end64[7]}
    return None if told == {listed} else f"{listed} members where the end of the archive says {sorted(told)}"


def _odd_names(infos: list[zipfile.ZipInfo], one_folder: bool) -> str | None:
    if len(infos) > MOST_MEMBERS:
        return f"{len(infos)} members"
    names = [info.filename.lower() for info in infos]
    if len(set(names)) < len(names):
        # Two readers could then disagree on which of them they read.
        return "two members of one name"
    for info in infos:
        parts = info.filename.split("/")
        if (
            info.orig_filename != info.filename
            or NAME.fullmatch(info.filename) is None
            or ".." in parts
            or not parts[0]
        ):
            return f"a member named {info.orig_filename[:80]!r}"
    folders = {name.partition("/")[0] for name in names}
    return f"members in {len(folders)} folders" if one_folder and len(folders) > 1 else None


def _odd_sizes(infos: list[zipfile.ZipInfo], size: int) -> str | None:
    if sum(info.compress_size for info in infos) > size:
        return "members that overlap"
    unpacked = sum(info.file_size for info in infos)
    most = max(MOST_UNPACKED, MOST_TIMES * size)
    return f"{size} bytes that unpack to {unpacked}; at most {most} are allowed" if unpacked > most else None


def _odd_member(stream: BinaryIO, info: zipfile.ZipInfo) -> str | None:
    """Whether a member's own header says the same as the directory."""
    header = _record(stream, info.header_offset, LOCAL)
    name = stream.read(header[9])
    encrypted, linked = info.flag_bits & 1, stat.S_ISLNK(info.external_attr >> 16)
    if header[0] != b"PK\3\4" or name != info.filename.encode() or header[3] != info.compress_type:
        return f"a member that calls itself {name[:80]!r} where the directory says {info.filename!r}"
    if encrypted or linked or info.compress_type not in METHODS:
        kind = "encrypted" if encrypted else "a link" if linked else f"packed by method {info.compress_type}"
        return f"a member that is {kind} ({info.filename})"
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        return f"a member of two sizes ({info.filename})"
    return None
