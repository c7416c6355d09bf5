"""What a proposal needs of the headers of DICOM files, series by series."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from medgan_qa.cohorts.readers._quiet import quiet

TAGS = (
    *("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality"),
    *("SeriesDescription", "ImageType", "Manufacturer", "ManufacturerModelName", "InstitutionName", "StudyDate"),
    *("AcquisitionDate", "SeriesDate", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber", "Rows"),
    *("NumberOfFrames", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelSpacing"),
    *("BurnedInAnnotation", "PhotometricInterpretation", "SharedFunctionalGroupsSequence", "RescaleType"),
)


class Instance(NamedTuple):
    """One file with pixels or without."""

    path: PurePosixPath
    place: float
    """Along the normal of the slices, in mm; the number of the instance where no position is given."""
    frames: int
    bits: int
    signed: bool
    rescaled: bool
    spacing: bool


class Series(NamedTuple):
    """All files of one series, in order of position."""

    uid: str
    patient: str
    """The patient's number, else the name, else the study: whatever the headers hold first."""
    patient_known: bool
    """The headers hold a number or a name."""
    study: str
    modality: str
    description: str
    """Without parts of the patient's name or number."""
    scanner: str
    institution: str
    acquired: str
    kinds: frozenset[str]
    """The values of ImageType."""
    instances: tuple[Instance, ...]

    @property
    def slices(self) -> int:
        """How many images it holds."""
        return sum(instance.frames for instance in self.instances)


def read_series(folder: Path, paths: Iterable[PurePosixPath]) -> tuple[list[Series], int]:
    """Group files by series; the second value counts those that cannot be read as DICOM."""
    groups: dict[tuple[str, str], list[tuple[PurePosixPath, Any]]] = defaultdict(list)
    broken = 0
    for path in paths:
        header = _header(folder / path)
        if header is None:
            broken += 1
        else:
            groups[_text(header, "StudyInstanceUID"), _text(header, "SeriesInstanceUID")].append((path, header))
    return [_series(files) for files in groups.values()], broken


def _header(path: Path) -> Any:
    import pydicom

    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            return header if _text(header, "Modality") or "Rows" in header else None
    # pydicom raises whatever the damage leads to.
    except Exception:
        return None


def _text(header: Any, name: str) -> str:
    value = header.get(name)
    return "" if value is None else str(value).strip()


def _series(files: Sequence[tuple[PurePosixPath, Any]]) -> Series:
    header = files[0][1]
    number, name = _text(header, "PatientID"), _text(header, "PatientName")
    study = _text(header, "StudyInstanceUID")
    instances = tuple(sorted((_instance(path, one) for path, one in files), key=lambda one: (one.place, one.path)))
    return Series(
        uid=_text(header, "SeriesInstanceUID") or str(files[0][0]),
        patient=number or name or study or str(files[0][0]),
        patient_known=bool(number or name),
        study=study,
        modality=_text(header, "Modality").upper(),
        description=_without(_text(header, "SeriesDescription"), f"{name} {number}"),
        scanner=" ".join(part for k in ("Manufacturer", "ManufacturerModelName") if (part := _text(header, k))),
        institution=_text(header, "InstitutionName"),
        acquired=_date(header),
        kinds=frozenset(str(kind).upper() for kind in header.get("ImageType") or ()),
        instances=instances,
    )


def _instance(path: PurePosixPath, header: Any) -> Instance:
    return Instance(
        path=path,
        place=_place(header),
        frames=int(_number(header, "NumberOfFrames", 1)) if "Rows" in header else 0,
        bits=int(_number(header, "BitsStored", 16)),
        signed=_number(header, "PixelRepresentation", 0) == 1,
        rescaled=(_number(header, "RescaleSlope", 1), _number(header, "RescaleIntercept", 0)) != (1, 0),
        spacing=bool(header.get("PixelSpacing")) or "SharedFunctionalGroupsSequence" in header,
    )


def _number(header: Any, name: str, default: float) -> float:
    try:
        return float(header.get(name) or default)
    except (TypeError, ValueError):
        return default


def _place(header: Any) -> float:
    try:
        position = np.array([float(v) for v in header.ImagePositionPatient])
        across = np.array([float(v) for v in header.ImageOrientationPatient])
        return float(position @ np.cross(across[:3], across[3:]))
    # A header without them, or with something else in their place.
    except Exception:
        return _number(header, "InstanceNumber", 0)


def _date(header: Any) -> str:
    for name in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", _text(header, name))
        if match:
            return "-".join(match.groups())
    return ""


def _without(text: str, person: str) -> str:
    """A description without words that are parts of a person's name or number."""
    parts = {part for part in re.split(r"[\W_]+", person.lower()) if len(part) > 2}
    shown = re.sub(r"[A-Za-z0-9]+", lambda word: "***" if word[0].lower() in parts else word[0], text)
    return re.sub(r"\d{6,}", "***", shown)
