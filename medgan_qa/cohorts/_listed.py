"""The files that a table lists: whether they are there and inside the dataset's folder, and what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from medgan_qa.cohorts._about import Told, name_of, place_of
from medgan_qa.cohorts._problems import collected
from medgan_qa.cohorts.description import Description
from medgan_qa.cohorts.readers import CONTAINERS, SUFFIXES, kind_of, parsed, series_files
from medgan_qa.cohorts.table import FILE_COLUMNS, Row
from medgan_qa.digests import file_sha256
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
        f"{place_of(row, column, description.identifiers)}: {problem}"
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


class ListedFiles:
    """Every file that a table stands for, with its SHA-256; each is read once.

    Args:
        description: of the dataset.
        rows: of its table.
        names: how outputs name the rows, by number.
    """

    def __init__(self, description: Description, rows: Sequence[Row], names: Mapping[int, str]) -> None:
        self._folder, self._table, self._rows, self._names = description.path.parent, description.table, rows, names
        self._identifiers = description.identifiers

    @cached_property
    def by_path(self) -> dict[str, str]:
        """Digests by path relative to the dataset file, sorted.

        Raises:
            DatasetError: a file cannot be read; told by case, row and column.
        """
        return dict(sorted({name: found for files in self._cells.values() for name, found in files.items()}.items()))

    def of(self, cell: str) -> dict[str, str]:
        """Digests of the files that a cell stands for, by path, in the order of their names."""
        return self._cells[cell]

    def by_place(self) -> dict[str, str]:
        """Digests by row and column, with a number where they are several; sorted."""
        out = {}
        for row, column, cell in self._listed():
            files = self._cells[cell]
            place = f"{self._names[row.number]}, {column}{name_of(row, column, self._identifiers)}"
            for number, found in enumerate(files.values(), start=1):
                out[place + (f", file {number}" if len(files) > 1 else "")] = found
        return dict(sorted(out.items()))

    def _listed(self) -> Iterator[tuple[Row, str, str]]:
        return (
            (row, column, row.cells[column]) for row in self._rows for column in FILE_COLUMNS if column in row.cells
        )

    @cached_property
    def _cells(self) -> dict[str, dict[str, str]]:
        out, known = dict[str, dict[str, str]](), dict[str, str]()
        for row, column, cell in self._listed():
            if cell not in out:
                told = Told(self._folder, self._table.name, row, column, self._names[row.number], self._identifiers)
                with told.told() as path:
                    names = files_of(self._folder, cell)
                    known |= {n: _file_digest(self._folder / n, path) for n in names if n not in known}
                    out[cell] = {name: known[name] for name in names}
        return out


def files_of(folder: Path, cell: str) -> list[str]:
    """Every file that a cell stands for, relative to the dataset file: itself, or all of a series or zarr folder.

    Raises:
        DatasetError: a folder cannot be listed.
    """
    file = parsed(cell).file
    path = folder / file
    try:
        if not path.is_dir():
            return [file]
        if kind_of(path) == "series":
            return [f"{file}/{inside.name}" for inside in series_files(path)]
        inside_of = sorted(Path(top) / name for top, _, names in os.walk(path) for name in names)
    except OSError as error:
        raise _unreadable(path, error) from error
    return [f"{file}/{inside.relative_to(path).as_posix()}" for inside in inside_of]


def _file_digest(path: Path, at: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(at, error) from error


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path.name} cannot be read",
        expected="the file that the table lists",
        found=error.strerror or type(error).__name__,
        where=path,
        todo="Put the file in place; it must stay there during a run.",
    )
