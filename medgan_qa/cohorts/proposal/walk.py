"""The files of a folder that may hold images, by kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

KINDS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".dcm": "dicom",
    ".png": "image",
    ".tif": "image",
    ".tiff": "image",
    ".npy": "image",
    ".npz": "image",
    ".h5": "array",
    ".hdf5": "array",
    ".zarr": "array",
}
OWN = {"dataset.toml", "cases.csv", "dataset-check.png", "dataset-check.html"}
"""Files that this tool writes there itself."""


@dataclass
class Files:
    """Relative paths, sorted, by kind (`nifti`, `dicom`, `image`, `array`), and what else there is."""

    folder: Path
    kinds: dict[str, list[PurePosixPath]] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    """Number of other files, by suffix."""


def walk(folder: Path) -> Files:
    """List a folder. Hidden files and folders are left alone, and links to folders are not followed."""
    found = Files(folder)
    for path in _paths(folder):
        name = path.name.lower()
        if name in OWN:
            continue
        kind = next((kind for suffix, kind in KINDS.items() if name.endswith(suffix)), None)
        if kind is None and "." not in name.rstrip("0123456789.") and is_dicom(folder / path):
            kind = "dicom"
        if kind is None:
            found.others[PurePosixPath(name).suffix or "no suffix"] += 1
        else:
            found.kinds.setdefault(kind, []).append(path)
    return found


def is_dicom(path: Path) -> bool:
    """Whether a file bears DICOM's mark behind its preamble."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _paths(folder: Path) -> Iterator[PurePosixPath]:
    for place, folders, files in os.walk(folder):
        inside = PurePosixPath(Path(place).relative_to(folder).as_posix())
        stores = sorted(name for name in folders if name.lower().endswith(".zarr"))
        # A zarr store is one thing to the reader, whatever files it is made of.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in stores)
        yield from (inside / name for name in sorted([*stores, *(f for f in files if not f.startswith("."))]))
