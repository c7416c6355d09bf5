"""Image and mask files, one file a format: numbers as they are stored, never rescaled for display.

- `pictures`: `.png`, `.tif`. `arrays`: `.npy`, `.npz`. `nifti`: `.nii`, `.nii.gz`. `dicom`: `.dcm` and, in
  `dicom_frames` and `dicom_series`, objects of several frames and folders of files. `containers`: HDF5 and zarr.
- `volume`: whatever holds several slices, slice by slice along a plane of the patient.

Images come back as float32, which holds integers exactly up to 2**24. Nothing is ever unpickled, nothing is printed or
logged, and what would take too much memory is refused before it is taken. Every function takes a path, or a path with
`#array/path[index]` behind the name of an HDF5 file or zarr folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.declared import Plane
from medgan_qa.cohorts.readers._common import (
    ADD_VOLUMES,
    LARGEST_SLICE,
    LARGEST_VOLUME,
    Decoded,
    Spacing,
    T,
    as_image,
    as_mask,
    channel_first,
    guarded,
    refused,
    require_file,
)
from medgan_qa.cohorts.readers.arrays import open_npy, open_npz, read_npy, read_npz
from medgan_qa.cohorts.readers.cache import ArrayCache
from medgan_qa.cohorts.readers.cells import CONTAINERS, FILES, Cell, parsed, suffix_of
from medgan_qa.cohorts.readers.containers import open_contained, read_contained
from medgan_qa.cohorts.readers.dicom import dicom_spacing, read_dicom
from medgan_qa.cohorts.readers.dicom_frames import open_frames
from medgan_qa.cohorts.readers.dicom_series import open_series, series_files
from medgan_qa.cohorts.readers.nifti import nifti_spacing, open_nifti, read_nifti
from medgan_qa.cohorts.readers.pictures import open_tiff, read_png, read_tiff
from medgan_qa.cohorts.readers.stack import Stack
from medgan_qa.cohorts.readers.volume import AXIAL, Volume, shown

__all__ = [
    "CONTAINERS",
    "LARGEST_SLICE",
    "LARGEST_VOLUME",
    "SUFFIXES",
    "ArrayCache",
    "Cell",
    "Spacing",
    "Volume",
    "channel_first",
    "kind_of",
    "open_volume",
    "parsed",
    "read_image",
    "read_mask",
    "read_spacing",
    "series_files",
    "suffix_of",
]

SUFFIXES = FILES
"""The endings of image files."""

_DECODERS: dict[str, Callable[[Path, bool], Decoded]] = {
    ".png": read_png,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".npy": read_npy,
    ".npz": read_npz,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".dcm": read_dicom,
}
_HEADERS: dict[str, Callable[[Path], Spacing | None]] = {
    ".nii": nifti_spacing,
    ".nii.gz": nifti_spacing,
    ".dcm": dicom_spacing,
}


def read_image(path: Path) -> tuple[NDArray[np.float32], Spacing | None]:
    """Read one image slice.

    Args:
        path: a file with one of `SUFFIXES`, or an array in a container.

    Returns:
        The stored numbers (C, H, W), and the pixel spacing (dy, dx) in mm where the file carries one.

    Raises:
        DatasetError: the file is missing, damaged, of a kind that is not read, or holds NaN or infinity.
        MissingDependencyError: the library for this format is not installed.
    """
    array, spacing = _decode(path, mask=False)
    return as_image(array, path), spacing


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read one mask (H, W): True where the stored element is not zero.

    Raises:
        DatasetError: as `read_image`, and for more than one channel.
        MissingDependencyError: the library for this format is not installed.
    """
    return as_mask(_decode(path, mask=True).array, path)


def read_spacing(path: Path) -> Spacing | None:
    """The pixel spacing (dy, dx) in mm of the file's header, None where it carries none; pixels are not read.

    Raises:
        DatasetError: the file is missing or its header is damaged.
        MissingDependencyError: the library for this format is not installed.
    """
    reader = _HEADERS.get(kind_of(path) or "")
    if reader is None:
        return None
    require_file(path)
    return guarded(path, lambda: reader(path), quotes_headers=True)


def open_volume(
    path: Path, plane: Plane = AXIAL, cache: ArrayCache | None = None, *, mask: bool = False
) -> Volume | None:
    """Open what holds several slices; its pixels are not read yet.

    Args:
        path: a file with one of `SUFFIXES`, a folder with one DICOM series, or an array in a container.
        plane: of the patient, along which slices are taken.
        cache: keeps what can only be unpacked as a whole; None: one of its own.
        mask: it will be read as masks, which matters in an `.npz` with an image and a mask.

    Returns:
        The volume; None where the file holds one image, which `read_image` reads.

    Raises:
        DatasetError: it is missing or damaged, the slices of a series do not belong together, or the plane cannot be
            found.
        MissingDependencyError: the library for this format is not installed.
    """
    kept = ArrayCache() if cache is None else cache
    stack = _known(path, lambda: _stack(path, mask, kept))
    return None if stack is None else shown(stack, plane, kept)


def kind_of(path: Path) -> str | None:
    """How a path is read: one of `SUFFIXES` or `CONTAINERS`, or `series` for any other folder; None for neither.

    A file without a known ending that begins as DICOM files do is read as `.dcm`.
    """
    suffix = suffix_of(path)
    if suffix in CONTAINERS:
        return suffix
    if path.is_dir():
        return "series"
    return suffix if suffix is not None or not _begins_as_dicom(path) else ".dcm"


def _begins_as_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _stack(path: Path, mask: bool, cache: ArrayCache) -> Stack | None:
    kind = kind_of(path)
    if kind in CONTAINERS:
        cell = parsed(str(path))
        return open_contained(Path(cell.file), cell)
    openers: dict[str | None, Callable[[], Stack | None]] = {
        "series": lambda: open_series(path),
        ".tif": lambda: open_tiff(path),
        ".tiff": lambda: open_tiff(path),
        ".npy": lambda: open_npy(path),
        ".npz": lambda: open_npz(path, mask, cache),
        ".nii": lambda: open_nifti(path, cache),
        ".nii.gz": lambda: open_nifti(path, cache),
        ".dcm": lambda: open_frames(path),
    }
    opener = openers.get(kind)
    return None if opener is None else opener()


def _decode(path: Path, *, mask: bool) -> Decoded:
    return _known(path, lambda: _decoded(path, mask))


def _decoded(path: Path, mask: bool) -> Decoded:
    kind = kind_of(path)
    if kind in CONTAINERS:
        cell = parsed(str(path))
        return read_contained(Path(cell.file), cell)
    if kind == "series":
        raise refused(path, "a file with one image", "a folder with a DICOM series", ADD_VOLUMES)
    return _DECODERS[kind or ""](path, mask)


def _known(path: Path, read: Callable[[], T]) -> T:
    """Run a reader on something that is there and of a known kind, so that only errors of ours come out."""
    kind = kind_of(path)
    place = Path(parsed(str(path)).file)
    if kind is None and place.exists():
        todo = "Convert it to one of these."
        raise refused(path, "a folder, or a file that ends in " + ", ".join((*SUFFIXES, *CONTAINERS)), path.name, todo)
    if kind != "series" and not (kind == ".zarr" and place.is_dir()):
        require_file(place)
    return guarded(place, read, quotes_headers=kind in (".dcm", "series"))
