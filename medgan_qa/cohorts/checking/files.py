"""Files beside a dataset: those that no row names, and what DICOM headers say about text in the pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from medgan_qa.cohorts.checking.findings import Finding, finding
from medgan_qa.cohorts.proposal.walk import walk
from medgan_qa.cohorts.readers._quiet import quiet
from medgan_qa.cohorts.readers.cells import parsed

BURNED_IN = ("US", "SC", "OT", "XC", "ES", "OP", "RF", "XA")
"""Modalities whose pixels often hold text: ultrasound, captured screens, photographs, endoscopy, fluoroscopy."""
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
"""SOP classes of secondary capture begin with this."""


def unlisted(folder: Path, cells: Iterable[str]) -> list[Finding]:
    """Images in the dataset's folder that no row of the table names; a warning, told by number alone.

    Args:
        folder: the folder that the dataset file lies in.
        cells: every filled-in cell that names a file or a folder.
    """
    named = {os.path.normpath(parsed(cell).file) for cell in cells}
    found = walk(folder)
    left = {kind: sum(not _is_named(path, named) for path in paths) for kind, paths in sorted(found.kinds.items())}
    offenders = [f"{number} {kind} file(s)" for kind, number in left.items() if number]
    total = sum(left.values())
    todo = "Add them to the table, or move them away: somebody will ask why these were not used."
    listed = finding("unlisted-file", "warning", "images in the folder that no row names", offenders, todo)
    return [Finding(one.kind, one.severity, one.problem, total, one.offenders, one.todo) for one in listed]


def _is_named(path: PurePosixPath, named: set[str]) -> bool:
    return any(str(place) in named for place in (path, *path.parents))


def declared_text(folder: Path, cells: Mapping[str, str]) -> list[Finding]:
    """What DICOM headers say: text in the pixels, or a kind of image that often has it.

    Args:
        folder: the folder that the dataset file lies in.
        cells: the cell of the image by what outputs call its row.
    """
    said, likely = [], []
    for name, cell in cells.items():
        path = _first(folder / parsed(cell).file)
        if path is None:
            continue
        burned, modality = _tags(path)
        if burned:
            said.append(name)
        elif modality:
            likely.append(f"{name} ({modality})")
    todo = "Text in the pixels may name a patient, and no pseudonym replaces it. Mask it, or leave these images out."
    return [
        *finding("burned-in-annotation", "warning", "DICOM images that declare text in their pixels", said, todo),
        *finding("burned-in-modality", "warning", "DICOM images of a kind that often holds text", likely, todo),
    ]


def _first(path: Path) -> Path | None:
    """The file, or the first file of a folder with a series; None where it is no DICOM."""
    if path.is_dir() and path.suffix.lower() != ".zarr":
        files: Iterator[Path] = (one for one in sorted(path.iterdir()) if one.is_file())
        path = next(files, path)
    return path if path.is_file() and path.suffix.lower() not in (".png", ".npy", ".npz", ".gz", ".nii") else None


def _tags(path: Path) -> tuple[bool, str]:
    """Whether text is declared, and the modality where that is one that often holds some."""
    import pydicom

    tags = ["BurnedInAnnotation", "Modality", "SOPClassUID"]
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            burned = str(header.get("BurnedInAnnotation") or "").strip().upper()
            modality = str(header.get("Modality") or "").strip().upper()
            captured = str(header.get("SOPClassUID") or "").startswith(SECONDARY)
    # pydicom raises whatever the damage leads to; reading the case says what is wrong.
    except Exception:
        return False, ""
    suspect = modality if modality in BURNED_IN else "secondary capture" if captured else ""
    # A header that says NO was written by somebody who looked.
    return burned == "YES", "" if burned == "NO" else suspect
