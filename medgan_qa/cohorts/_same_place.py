"""Whether a target or mask lies where its image lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medgan_qa.cohorts.readers import Volume
from medgan_qa.cohorts.readers.stack import Affine
from medgan_qa.errors import DatasetError

_PLACE_TOLERANCE = 0.1  # of the image's shortest pixel distance; what rounding in headers leaves
_FINER_PLACE_TOLERANCE = 0.5  # the same for a finer grid, whose makers put it at a corner or at the centre


def require_same_place(image: Volume, other: Volume, factors: tuple[int, int] = (1, 1)) -> None:
    """Refuse a target or mask that does not lie where the image lies.

    Args:
        image: the image's volume.
        other: that of the target or mask.
        factors: how many times the rows and columns of the image it has.

    Raises:
        DatasetError: another number of slices, rows or columns; corners that lie elsewhere in the patient; or only one
            of the two tells where it lies.
    """
    slices, rows, columns = image.shape
    expected = (slices, rows * factors[0], columns * factors[1])
    if other.shape != expected:
        wanted, found = (f"{n} slices of {h} rows x {w} columns" for n, h, w in (expected, other.shape))
        todo = "Resample it to the image's grid, or correct the row."
        raise unfit(other.path, "is not on the grid of its image", wanted, found, todo)
    first, second = image.affine, other.affine
    if first is None and second is None:
        return
    if first is None or second is None:
        found = "none, while the image has one" if second is None else "one, while the image has none"
        todo = "Export both in formats that carry it, as NIfTI and DICOM do, or both without."
        raise unfit(other.path, "cannot be laid over its image", "a place in the patient for both", found, todo)
    off = _corners_apart(first, second, expected, factors)
    shortest = min(float(np.linalg.norm(first[:3, axis])) for axis in range(3) if image.shape[axis] > 1 or axis)
    allowed = (_PLACE_TOLERANCE if factors == (1, 1) else _FINER_PLACE_TOLERANCE) * shortest
    if off > allowed:
        todo = "Resample it to the image's grid, or correct its header."
        found = f"{off:.3g} mm apart"
        raise unfit(other.path, "lies elsewhere than its image", f"corners within {allowed:.3g} mm", found, todo)


def _corners_apart(image: Affine, other: Affine, shape: tuple[int, int, int], factors: tuple[int, int]) -> float:
    """The furthest that a corner element lies from where it should, in mm."""
    finer = np.diag([1.0, 1 / factors[0], 1 / factors[1], 1.0])
    finer[1, 3], finer[2, 3] = ((1 / factor - 1) / 2 for factor in factors)
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(side - 1 for side in shape), 1]
    return float(np.linalg.norm(((image @ finer - other) @ corners.T)[:3], axis=0).max())


def unfit(path: Path, problem: str, expected: str, found: str, todo: str) -> DatasetError:
    """The error for a file that is readable and does not go with its image or its dataset file."""
    return DatasetError(f"{path.name} {problem}", expected=expected, found=found, where=path, todo=todo)
