"""The files of a run that its PDF carries, so that the report and what it was made from stay together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from medgan_qa.errors import RecordError


class Attached(NamedTuple):
    """A file inside the PDF."""

    name: str
    type: str
    """Its media type."""
    relationship: Literal["Source", "Data"]
    """Source: the report was made from it. Data: it holds what figures and tables show."""
    description: str
    content: bytes


_FILES: tuple[tuple[str, str, Literal["Source", "Data"], str], ...] = (
    ("record.json", "application/json", "Source", "Record of the run"),
    ("criteria.json", "application/json", "Data", "Content of the acceptance criteria"),
    ("criteria.toml", "application/toml", "Source", "Criteria file as it was given"),
    ("criteria.lock.json", "application/json", "Data", "Lock of criteria and data"),
    ("cases.csv", "text/csv", "Data", "One row a case and audit"),
)


def attachments(folder: Path) -> list[Attached]:
    """The files of a run's folder that go into the PDF: those of the list that the folder holds.

    Raises:
        RecordError: one of them cannot be read.
    """
    return [
        _attached(folder / name, kind, relationship, description)
        for name, kind, relationship, description in _FILES
        if (folder / name).is_file()
    ]


def _attached(path: Path, kind: str, relationship: Literal["Source", "Data"], description: str) -> Attached:
    try:
        return Attached(path.name, kind, relationship, description, path.read_bytes())
    except OSError as error:
        raise RecordError(
            f"{path.name} cannot be put into the PDF",
            expected="a file that can be read",
            found=error.strerror or type(error).__name__,
            where=path,
            todo="correct the permissions, and render again",
        ) from error
