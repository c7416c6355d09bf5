"""A folder of DICOM files as one series: ordered by position along the normal of its slices, never by file name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import Spacing, refused
from medgan_qa.cohorts.readers.dicom import GROUPS, frames_of, read_frame, read_header
from medgan_qa.cohorts.readers.dicom_geometry import Placed, ordered
from medgan_qa.cohorts.readers.dicom_groups import place_of, spacing_of
from medgan_qa.cohorts.readers.stack import Affine, Stack
from medgan_qa.errors import DatasetError

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
    *GROUPS,
)
_BY_NUMBER = "The files carry no positions: they are ordered by InstanceNumber, and their distance is not known."
_ONE_SERIES = "Keep the files of one series in a folder of their own, and nothing else in it."
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR, which lists files and is no image


class _File(NamedTuple):
    path: Path
    series: str
    instance: str
    number: int | None
    shape: tuple[int, int, int]
    kind: str
    placed: Placed | None
    spacing: Spacing | None


def series_files(folder: Path) -> list[Path]:
    """The files of a folder that are part of its series, by name; hidden files and a DICOMDIR are not.

    Raises:
        DatasetError: there are none, or there are folders among them.
    """
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in found if path.name.upper() != "DICOMDIR"]
    if not files or any(not path.is_file() for path in files):
        inside = "nothing" if not files else f"{sum(not path.is_file() for path in files)} folder(s) inside"
        raise refused(folder, "a folder with the files of one DICOM series", inside, _ONE_SERIES)
    return files


def open_series(folder: Path) -> Stack:
    """The series in a folder; every header is read once, here.

    Raises:
        DatasetError: a file is no DICOM image, or the files are not one series on an even grid.
    """
    paths = series_files(folder)
    files = [_file(folder, number, path) for number, path in enumerate(paths, start=1)]
    _require_one_series(folder, files)
    order, affine = _order(folder, files)
    chosen = [files[index].path for index in order]

    def plane(axis: int, index: int, as_mask: bool) -> NDArray[Any]:
        return read_frame(chosen[index], 0, as_mask)

    rows, columns, _ = files[0].shape
    notes = () if affine is not None else (_BY_NUMBER,)
    return Stack(folder, (len(files), rows, columns), plane, affine, files[0].spacing, quotes_headers=True, notes=notes)


def _file(folder: Path, number: int, path: Path) -> _File:
    try:
        header = read_header(path, _TAGS)
        if header.get("SOPClassUID") == _DIRECTORY:
            raise refused(path, "an image", "a DICOMDIR", _ONE_SERIES)
        if frames_of(path, header) != 1:
            raise refused(path, "one frame a file", f"{header.NumberOfFrames} frames", "Name this file by itself.")
    except DatasetError as error:
        # The name of a file may be a patient's; its number in the order of names tells as much.
        raise refused(
            folder, f"images only: {error.expected}", f"file {number}: {error.found}", str(error.todo)
        ) from error
    return _read(path, header)


def _read(path: Path, header: Dataset) -> _File:
    return _File(
        path,
        str(header.get("SeriesInstanceUID", "")),
        str(header.get("SOPInstanceUID", "")),
        _whole_number(header.get("InstanceNumber")),
        (int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)),
        str(header.get("PhotometricInterpretation", "")),
        place_of(header, 0),
        spacing_of(header, 0),
    )


def _whole_number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _require_one_series(folder: Path, files: Sequence[_File]) -> None:
    series = Counter(file.series for file in files)
    if len(series) > 1:
        sizes = ", ".join(str(number) for _, number in series.most_common(10))
        raise refused(folder, "one series", f"{len(series)} series, of {sizes} files", _ONE_SERIES)
    if len({file.instance for file in files}) < len(files) and files[0].instance:
        again = len(files) - len({file.instance for file in files})
        raise refused(folder, "every image once", f"{again} file(s) that are copies of others", _ONE_SERIES)
    for name, found in (
        ("number of rows, columns and samples", {file.shape for file in files}),
        ("photometric interpretation", {file.kind for file in files}),
    ):
        if len(found) > 1:
            listed = ", ".join(str(value) for value in sorted(found)[:5])
            raise refused(folder, f"one {name} in all files", listed, _ONE_SERIES)


def _order(folder: Path, files: Sequence[_File]) -> tuple[list[int], Affine | None]:
    placed = [file.placed for file in files]
    if all(place is not None for place in placed):
        return ordered(folder, placed, "file")
    if any(place is not None for place in placed):
        found = f"{sum(place is None for place in placed)} of {len(files)} without one"
        raise refused(folder, "a position, an orientation and a spacing in every file, or in none", found, _ONE_SERIES)
    numbers = [file.number for file in files]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(files):
        found = f"no positions, and InstanceNumber missing or doubled in {len(files) - len(set(known))} of {len(files)}"
        raise refused(folder, "positions, or instance numbers, that give an order", found, "Export the series again.")
    return [int(index) for index in np.argsort(known, kind="stable")], None
