"""What a cell of the table names: a file, a folder with a DICOM series, or an array inside a container."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CONTAINERS = (".h5", ".hdf5", ".zarr")
"""Endings of files and folders that hold arrays by name; `#` and the array's path follow."""
FILES = (".png", ".tif", ".tiff", ".npy", ".npz", ".nii", ".nii.gz", ".dcm")
"""Endings of image files."""

_CONTAINED = re.compile(
    r"(?P<file>.+?\.(?:h5|hdf5|zarr))#(?P<inner>[^#\[\]]+)(?:\[(?P<index>\d{1,9})\])?", re.IGNORECASE
)


class Cell(NamedTuple):
    """A cell of the columns `image`, `target` and `lesion_mask`, taken apart."""

    file: str
    """Path of the file or folder, relative to the dataset file."""
    inner: str | None = None
    """Path of the array inside a container."""
    slice_index: int | None = None
    """The one slice that is meant, counted from 0."""

    def at(self, folder: Path) -> Path:
        """The cell as a path, with the part inside the container kept: what the readers take."""
        return folder / f"{self.file}{self.rest}"

    @property
    def rest(self) -> str:
        """`#array/path[index]`, or nothing."""
        index = "" if self.slice_index is None else f"[{self.slice_index}]"
        return "" if self.inner is None else f"#{self.inner}{index}"


def parsed(cell: str) -> Cell:
    """Take a cell apart. A `#` in the name of any other file is part of that name."""
    match = _CONTAINED.fullmatch(cell)
    if match is None:
        return Cell(cell)
    index = match["index"]
    return Cell(match["file"], match["inner"].strip("/"), None if index is None else int(index))


def suffix_of(path: Path) -> str | None:
    """The one of the known endings that the name ends in, in whatever case; None if it ends in none."""
    name = parsed(str(path)).file.lower()
    return next((suffix for suffix in (*FILES, *CONTAINERS) if name.endswith(suffix)), None)
