"""Where slices of a DICOM series lie: order along the normal, distances, and what must not be.

Positions and directions are in mm in the patient (LPS), as in ImagePositionPatient and ImageOrientationPatient.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import Spacing, refused
from medgan_qa.cohorts.readers.stack import Affine

_DIRECTION = 1e-3  # of a direction cosine: what rounding in the header leaves
_SPACING = 1e-3  # of the pixel spacing
_GAP = 0.05  # of the distance of neighbours
_SAME_PLACE = 1e-3  # mm
_TOGETHER = "Keep one series a folder, as the scanner made it; take the localizer and derived images out."


class Placed(NamedTuple):
    """Where one slice lies."""

    position: NDArray[np.float64]
    """(3,) centre of its first pixel."""
    along_row: NDArray[np.float64]
    """(3,) unit vector from column to column."""
    along_column: NDArray[np.float64]
    """(3,) unit vector from row to row."""
    spacing: Spacing
    """(dy, dx)."""


def plane_of(position: Any, orientation: Any, spacing: Spacing | None) -> Placed | None:
    """A slice's place from the values of its header; None where one is missing or is none."""
    where, directions = _numbers(position, 3), _numbers(orientation, 6)
    if where is None or directions is None or spacing is None:
        return None
    along_row, along_column = directions[:3], directions[3:]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(along_row @ along_column) > 0.01:
        return None
    return Placed(where, along_row / lengths[0], along_column / lengths[1], spacing)


def _numbers(values: Any, count: int) -> NDArray[np.float64] | None:
    try:
        numbers = np.array([float(value) for value in values or ()])
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def ordered(path: Path, placed: Sequence[Placed | None], what: str) -> tuple[list[int], Affine]:
    """The order of slices along their normal, and the affine of the stack in that order.

    Args:
        path: file or folder, for messages.
        placed: where each slice lies.
        what: `frame` or `file`, for messages.

    Returns:
        Indices into `placed`, and (4, 4): (slice, row, column, 1) to mm in LPS. A single slice gets a distance of 1 mm
        to neighbours that it does not have.

    Raises:
        DatasetError: directions or spacings differ, positions stand twice, or slices are missing between others.
    """
    slices = [slice_ for slice_ in placed if slice_ is not None]
    first = slices[0]
    _require_alike(path, slices, what)
    normal = np.cross(first.along_row, first.along_column)
    positions = np.array([slice_.position for slice_ in slices])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    step = _step(path, positions[order], normal, what) if len(slices) > 1 else normal
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = step, positions[order[0]]
    affine[:3, 1], affine[:3, 2] = first.along_column * first.spacing[0], first.along_row * first.spacing[1]
    return [int(index) for index in order], affine


def _require_alike(path: Path, slices: Sequence[Placed], what: str) -> None:
    rows, columns = (np.array([slice_[i] for slice_ in slices]) for i in (1, 2))
    if max(np.ptp(rows, axis=0).max(), np.ptp(columns, axis=0).max()) > _DIRECTION:
        directions = len({tuple(np.round([*slice_[1], *slice_[2]], 2)) for slice_ in slices})
        raise refused(path, f"one orientation for every {what}", f"{max(2, directions)} orientations", _TOGETHER)
    spacings = np.array([slice_.spacing for slice_ in slices])
    if (np.ptp(spacings, axis=0) > _SPACING * spacings.min(axis=0)).any():
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        found = f"{low[0]:g} x {low[1]:g} to {high[0]:g} x {high[1]:g} mm"
        raise refused(path, f"one pixel spacing for every {what}", found, _TOGETHER)


def _step(path: Path, positions: NDArray[np.float64], normal: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """From one slice to the next, in mm; `positions` are in order."""
    gaps = np.diff(positions @ normal)
    if (gaps < _SAME_PLACE).any():
        found = f"{int((gaps < _SAME_PLACE).sum())} of {len(positions)} at the position of another"
        todo = "Keep one image a position: time points, echoes and reconstructions are series of their own."
        raise refused(path, f"every {what} at a position of its own", found, todo)
    usual = float(np.median(gaps))
    uneven = np.flatnonzero(np.abs(gaps - usual) > _GAP * usual)
    if uneven.size:
        at = int(uneven[0])
        found = (
            f"{uneven.size} of {gaps.size} distances differ: {gaps[at]:g} mm between slices {at} and {at + 1} in order "
            f"of position, {usual:g} mm usually"
        )
        raise refused(path, f"every {what} at an even distance", found, "Put the missing slices back, or resample.")
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    off = np.abs(positions - positions[0] - np.arange(len(positions))[:, None] * step).max()
    if off > max(_GAP * usual, 0.1):
        raise refused(path, "positions on one straight line", f"{off:.3g} mm off it", _TOGETHER)
    return np.asarray(step)
