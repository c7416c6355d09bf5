"""The files that a table lists: whether they are there and inside the dataset's folder, and which they all are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from medgan_qa.cohorts._problems import collected
from medgan_qa.cohorts.description import Description
from medgan_qa.cohorts.readers import CONTAINERS, SUFFIXES, kind_of, parsed, series_files
from medgan_qa.cohorts.table import FILE_COLUMNS, Row
from medgan_qa.errors import DatasetError

_OUTSIDE = "leads out of the dataset's folder"


def require_files(description: Description, rows: Sequence[Row]) -> None:
    """Check that everything that the rows name is there, of a kind that is read, and inside the dataset's folder.

    Symbolic links and `..` are followed no further than the folder of the dataset file.

    Raises:
        DatasetError: one error that counts the files that cannot be used and shows the first ten.
    """
    place = _Place(description.path.parent)
    problems = [
        f"row {row.number}, column {column}: {problem}"
        for row in rows
        for column in FILE_COLUMNS
        if column in row.cells and (problem := place.problem(row.cells[column])) is not None
    ]
    if problems:
        raise collected(
            f"{len(problems)} file(s) that {description.table.name} lists are missing or cannot be used",
            problems,
            expected="files and folders of series below the folder of the dataset file, each in a format that is read",
            where=description.table.name,
            todo="Put the files in place, or correct the paths.",
        )


class _Place:
    """The folder of a dataset; looks at each of its folders once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, Path(os.path.realpath(folder))
        self._inside: dict[Path, bool] = {}

    def problem(self, cell: str) -> str | None:
        """What is wrong with a cell, None for nothing."""
        file, inner, _ = parsed(cell)
        path = self._folder / file
        try:
            if not self._is_inside(path):
                return _OUTSIDE
            if not path.exists():
                return "nothing there"
            kind = kind_of(path)
            if kind is None:
                return f"ends in none of {', '.join((*SUFFIXES, *CONTAINERS))}, and is no folder with a DICOM series"
            if kind in CONTAINERS and inner is None:
                return "does not name an array inside it, as set.h5#images does"
            return self._folder_problem(path) if path.is_dir() else None
        except (OSError, RuntimeError, ValueError):  # too long a name, a NUL in it, links in a circle
            return "nothing there"

    def _folder_problem(self, path: Path) -> str | None:
        entries = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        return None if all(map(self._is_inside, entries)) else _OUTSIDE

    def _is_inside(self, path: Path) -> bool:
        parent = path.parent
        if parent not in self._inside:
            self._inside[parent] = Path(os.path.realpath(parent)).is_relative_to(self._root)
        if not self._inside[parent]:
            return False
        if path.is_symlink() or path.name in ("", ".."):
            return Path(os.path.realpath(path, strict=True)).is_relative_to(self._root)
        return True


def files_of(folder: Path, cell: str) -> Iterator[str]:
    """Every file that a cell stands for, relative to the dataset file: itself, or all of a series or zarr folder.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    file = parsed(cell).file
    path = folder / file
    try:
        if not path.is_dir():
            yield file
        elif kind_of(path) == "series":
            yield from (f"{file}/{inside.name}" for inside in series_files(path))
        else:
            inside_of = sorted(Path(top) / name for top, _, names in os.walk(path) for name in names)
            yield from (f"{file}/{inside.relative_to(path).as_posix()}" for inside in inside_of)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DatasetError:
    """The error for a file that went away, or may not be read."""
    return DatasetError(
        f"{path.name} cannot be read",
        expected="the file that the table lists",
        found=error.strerror or type(error).__name__,
        where=path,
        todo="Put the file in place; it must stay there during a run.",
    )
