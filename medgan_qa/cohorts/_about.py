"""Errors about a dataset's files, told by case, row and column: a path may hold a patient's name.

The file's own name stands beside them where the dataset's identifiers may be printed and it is made of plain words;
the folders that it lies in never do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from medgan_qa.cohorts.pseudonyms import names_nobody
from medgan_qa.cohorts.readers import parsed, suffix_of
from medgan_qa.cohorts.table import Row
from medgan_qa.errors import DatasetError, MissingDependencyError

ReadError = TypeVar("ReadError", DatasetError, MissingDependencyError)
_SHORTEST = 4  # characters: a shorter name would be found inside words
_NOUNS = {"image": "image", "target": "target", "lesion_mask": "lesion mask"}


class Told:
    """Where something went wrong.

    Args:
        folder: of the dataset file.
        table: name of the table.
        row: the row.
        column: the column that names the file.
        case_id: as outputs may show it.
        identifiers: what the dataset file says of them.
    """

    def __init__(
        self, folder: Path, table: str, row: Row, column: str, case_id: str, identifiers: str | None = "direct"
    ) -> None:
        self.path = parsed(row.cells.get(column, "")).at(folder)
        self.where = f"{table}, {place_of(row, column, identifiers)}"
        self.noun = f"{_NOUNS[column]} of case {case_id}"
        self._folder, self._cell = folder, row.cells.get(column, "")

    @contextmanager
    def told(self) -> Iterator[Path]:
        """The file's path, for a reader; its errors are rewritten as they come through."""
        try:
            yield self.path
        except DatasetError as error:
            raise self.about(error) from None
        except MissingDependencyError as error:
            raise self.about(error) from None

    def about(self, error: ReadError) -> ReadError:
        """The same error, by case, row and column, without the path."""
        problem = error.problem
        for name in (self.path.name, Path(parsed(str(self.path)).file).name):
            problem = problem.removeprefix(name)
        if problem != error.problem:
            problem = f"The {self.noun}{problem}"
        return type(error)(
            self.scrubbed(problem) or "",
            expected=self.scrubbed(error.expected),
            found=self.scrubbed(error.found),
            where=self.where,
            todo=self.scrubbed(error.todo),
        )

    def scrubbed(self, text: str | None) -> str | None:
        """A text with the path, and its parts that are long enough to be found, taken out."""
        if text is None:
            return None
        for name in _names(self._folder, self._cell):
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", f"the {self.noun}", text)
        return text


def place_of(row: Row, column: str, identifiers: str | None) -> str:
    """Row, column and, where it may be printed, the name of the file."""
    return f"row {row.number}, column {column}{name_of(row, column, identifiers)}"


def name_of(row: Row, column: str, identifiers: str | None) -> str:
    """The name of a file in brackets, without its folders; empty where it may not be printed."""
    name = Path(parsed(row.cells.get(column, "")).file).name
    stem = name.removesuffix(suffix_of(Path(name)) or "")
    hidden = identifiers == "direct" or (identifiers is None and not names_nobody(stem))
    return "" if hidden else f" ({name})"


def _names(folder: Path, cell: str) -> list[str]:
    """What a message could name the file by, the longest first."""
    file, inner, _ = parsed(cell)
    path = folder / file
    found = {str(path), str(path.absolute()), os.path.realpath(path), cell, file, inner or "", *Path(file).parts}
    return sorted((name for name in found if len(name) >= _SHORTEST), key=len, reverse=True)
