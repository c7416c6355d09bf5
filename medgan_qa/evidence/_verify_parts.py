"""What verification is made of: checks, and where the files of a run are read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from medgan_qa.errors import IntegrityError, MedganQAError
from medgan_qa.evidence._run_files import inside

State = Literal["ok", "failed", "not_checked"]


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    """What was checked, e.g. `manifest seal`."""
    state: State
    """`not_checked`: something that is needed was not given or is not there."""
    detail: str
    """What was found."""
    file: str = ""
    """The file concerned, relative to the folder."""


class Source(NamedTuple):
    """Where the files of a run are read from: its folder, or what is attached to its PDF."""

    read: Callable[[str], bytes]
    """Bytes by name; raises FileNotFoundError for one that is not there and IntegrityError for one that is not read."""
    complete: bool
    """A file that is not there is missing; False: it may lie elsewhere."""


def folder_source(folder: Path) -> Source:
    """The files of a run's folder."""
    return Source(lambda name: inside(folder, name).read_bytes(), complete=True)


def attached_source(files: dict[str, bytes]) -> Source:
    """The files that are attached to a PDF."""

    def read(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return Source(read, complete=False)


def ok(name: str, detail: str, file: str = "") -> Check:
    """Nothing wrong."""
    return Check(name, "ok", detail, file)


def failed(name: str, detail: str, file: str = "") -> Check:
    """Something changed, is missing, or cannot be read."""
    return Check(name, "failed", detail, file)


def not_checked(name: str, detail: str, file: str = "") -> Check:
    """What the check needs is not there."""
    return Check(name, "not_checked", detail, file)


def guarded(name: str, file: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks of `look`; what a damaged file makes it raise is a failed check of that file."""
    try:
        return list(look())
    except FileNotFoundError:
        return [failed(name, "missing", file)]
    except IntegrityError as error:
        return [failed(name, error.found or error.problem, file)]
    except MedganQAError as error:
        return [failed(name, " ".join(filter(None, [error.problem, error.found])), file)]
    except Exception as error:  # damage ends in whatever reading it runs into, and must end in a verdict
        first = (str(error).splitlines() or [""])[0]
        return [failed(name, f"cannot be read: {type(error).__name__}: {first}"[:300], file)]
