"""Proposing a dataset file from a folder: what `medgan-qa data init` finds, guesses and leaves open."""

from __future__ import annotations

from pathlib import Path

from medgan_qa.cohorts.proposal import containers, dicom, folders
from medgan_qa.cohorts.proposal.content import Proposal, Range, Wishes
from medgan_qa.cohorts.proposal.text import description, rows_text
from medgan_qa.cohorts.proposal.walk import walk
from medgan_qa.errors import InputError

__all__ = ["Proposal", "Range", "Wishes", "description", "propose", "rows_text"]

_LAYOUTS = {
    "dicom": "DICOM series",
    "nifti": "NIfTI files",
    "array": "arrays in HDF5 or zarr",
    "image": "PNG, TIFF, NPY or NPZ files",
}


def propose(folder: Path, wishes: Wishes | None = None) -> Proposal:
    """Look through a folder and propose a dataset: cases, patients, partitions, masks, range.

    The kind of which there are most files is taken; the others are counted. Nothing is invented: what no file, folder
    or header says stays open, and what is concluded from names is called a guess.

    Raises:
        InputError: there is no such folder, it holds no images, or none of those that were asked for.
        MissingDependencyError: the library for the format is not installed.
    """
    wishes = wishes or Wishes()
    if not folder.is_dir():
        raise _nothing(folder, "a file" if folder.exists() else "nothing there")
    files = walk(folder)
    kinds = {kind: len(files.kinds.get(kind, ())) for kind in _LAYOUTS}
    kind = max(kinds, key=lambda name: kinds[name])
    if not kinds[kind]:
        listed = ", ".join(f"{number} {suffix}" for suffix, number in files.others.most_common(6)) or "no files"
        raise _nothing(folder, listed)
    paths = files.kinds[kind]
    if kind == "dicom":
        proposal = dicom.propose(folder, paths, wishes)
    elif kind == "array":
        proposal = containers.propose(folder, paths, wishes)
    else:
        proposal = folders.propose(folder, paths, wishes, _LAYOUTS[kind])
    if not proposal.rows:
        listed = ", ".join(f"{number} {reason}" for reason, number in proposal.left_out.most_common(6))
        raise _nothing(folder, listed or "files that no image could be made of")
    for other, number in kinds.items():
        if other != kind and number:
            proposal.left_out[_LAYOUTS[other]] += number
    return proposal


def _nothing(folder: Path, found: str) -> InputError:
    return InputError(
        "No dataset can be proposed from this folder.",
        expected="a folder with DICOM, NIfTI, PNG, TIFF, NPY, NPZ, HDF5 or zarr files of images",
        found=found,
        where=folder.name or ".",
        todo="Name the folder that the images lie in.",
    )
