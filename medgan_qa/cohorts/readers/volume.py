"""Volumes slice by slice, in the planes of the patient.

Where a file tells how it lies in the patient (NIfTI, DICOM with positions), its axes are reordered and turned round to
the closest directions of the patient, as nibabel's `as_closest_canonical` does, and never interpolated. Slices, rows
and columns then run (L: to the patient's left, P: posterior, S: superior):

| plane | slices | rows, from the top | columns, from the left |
| --- | --- | --- | --- |
| axial | inferior to superior | anterior to posterior | right to left |
| coronal | anterior to posterior | superior to inferior | right to left |
| sagittal | left to right | superior to inferior | anterior to posterior |

That is the radiological convention, in which the patient's right is on the left of the picture, and the order that
DICOM gives axial slices. Files that do not tell (TIFF, NumPy, HDF5, zarr, DICOM without positions) have their slices
along their first axis, in the order of the file, and can only be read so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.declared import Plane
from medgan_qa.cohorts.readers._common import (
    LARGEST_VOLUME,
    Spacing,
    T,
    as_image,
    as_mask,
    guarded,
    refuse_size,
    refused,
)
from medgan_qa.cohorts.readers.cache import ArrayCache
from medgan_qa.cohorts.readers.stack import Affine, Stack, step_lengths

_SHOWN: dict[Plane, tuple[tuple[int, int], ...]] = {
    "axial": ((2, 1), (1, 1), (0, 1)),
    "coronal": ((1, 1), (2, -1), (0, 1)),
    "sagittal": ((0, -1), (2, -1), (1, 1)),
}
"""For slices, rows and columns: the LPS axis that they run along, and in which direction."""
_SHEAR = 0.01  # cosine between steps of a stack that is cut across its slices
AXIAL: Plane = "axial"


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume as it is shown. Made by `open_volume`; several threads may read it."""

    stack: Stack
    axes: tuple[int, int, int]
    """The storage axes that slices, rows and columns run along."""
    turned: tuple[bool, bool, bool]
    """Whether they run against the order of the file."""
    cache: ArrayCache = field(repr=False)

    @property
    def path(self) -> Path:
        """The file or folder."""
        return self.stack.path

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, H and W."""
        first, second, third = (self.stack.shape[axis] for axis in self.axes)
        return first, second, third

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def affine(self) -> Affine | None:
        """(4, 4): (slice, row, column, 1) to mm in the patient (LPS); None where the file does not tell."""
        if self.stack.affine is None:
            return None
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for shown, (axis, turned) in enumerate(zip(self.axes, self.turned, strict=True)):
            turn[axis, shown] = -1 if turned else 1
            turn[axis, 3] = self.stack.shape[axis] - 1 if turned else 0
        return np.asarray(self.stack.affine @ turn)

    @property
    def spacing_mm(self) -> Spacing | None:
        """Distances (dy, dx) of neighbouring pixels of a slice; None where not known."""
        if self.affine is None:
            return self.stack.spacing_mm
        return step_lengths(self.affine)[1:]

    @property
    def slice_mm(self) -> float | None:
        """Distance of neighbouring slices along their normal; None where not known, and for a single slice."""
        if len(self) == 1:
            return None
        if self.affine is None:
            return self.stack.slice_mm
        normal = np.cross(self.affine[:3, 1], self.affine[:3, 2])
        return float(abs(self.affine[:3, 0] @ normal) / np.linalg.norm(normal))

    def read(self, index: int) -> NDArray[np.float32]:
        """One slice (C, H, W), the numbers that the file stands for.

        Raises:
            DatasetError: it cannot be read, or holds NaN or infinity.
        """
        return self._guarded(lambda: as_image(self._slice(index, False), self.path))

    def read_mask(self, index: int) -> NDArray[np.bool_]:
        """One slice (H, W) as a mask: True where the stored element is not zero.

        Raises:
            DatasetError: as `read`, and for more than one channel.
        """
        return self._guarded(lambda: as_mask(self._slice(index, True), self.path))

    def _guarded(self, read: Callable[[], T]) -> T:
        return guarded(self.path, read, quotes_headers=self.stack.quotes_headers)

    def _slice(self, index: int, mask: bool) -> NDArray[Any]:
        across, down, right = self.axes
        at = len(self) - 1 - index if self.turned[0] else index
        plane = self._plane(across, at, mask)
        if down > right:
            plane = np.swapaxes(plane, 1, 2)
        rows, columns = (slice(None, None, -1) if turned else slice(None) for turned in self.turned[1:])
        return plane[:, rows, columns]

    def _plane(self, axis: int, at: int, mask: bool) -> NDArray[Any]:
        if axis == 0 or self.stack.any_axis:
            return self.stack.plane(axis, at, mask)
        voxels = self.cache.get((self.path, "whole", mask), lambda: self._whole(mask))
        return np.asarray(np.take(voxels, at, axis=1 + axis))

    def _whole(self, mask: bool) -> NDArray[Any]:
        """All slices of a stack in one array (C, slices, H, W), where only those across its first axis can be read."""
        first = self.stack.plane(0, 0, mask)
        kind = first.dtype if first.dtype.itemsize <= 4 else np.dtype(np.float32)
        shape = (first.shape[0], self.stack.shape[0], *first.shape[1:])
        if int(np.prod(shape, dtype=object)) * kind.itemsize > LARGEST_VOLUME:
            refuse_size(self.path, f"a series of shape {shape} to be cut across its slices")
        out = np.empty(shape, kind)
        for index in range(shape[1]):
            out[:, index] = first if index == 0 else self.stack.plane(0, index, mask)
        return out


def shown(stack: Stack, plane: Plane, cache: ArrayCache) -> Volume:
    """A stack along a plane of the patient.

    Raises:
        DatasetError: the file does not tell how it lies in the patient, and another plane than its own is asked for; or
            its slices are shifted against each other and would be cut across.
    """
    if stack.affine is None:
        if plane != AXIAL:
            found = "a file that does not tell how it lies in the patient"
            todo = "Take plane out of [volumes], so that slices are taken as they are stored, or convert to NIfTI."
            raise refused(stack.path, f"an orientation, to find the {plane} plane by", found, todo)
        return Volume(stack, (0, 1, 2), (False, False, False), cache)
    axes, turned = _oriented(stack.affine, plane)
    _require_straight(stack, axes[0], plane)
    return Volume(stack, axes, turned, cache)


def _oriented(affine: Affine, plane: Plane) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which storage axes slices, rows and columns run along, and which of them are turned round."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # The assignment that follows the patient's axes best as a whole; ties go to the order of the file.
    best = max(itertools.permutations(range(3)), key=lambda order: sum(abs(directions[i, order[i]]) for i in range(3)))
    axes = [best[patient] for patient, _ in _SHOWN[plane]]
    signs = [bool(directions[patient, best[patient]] * way < 0) for patient, way in _SHOWN[plane]]
    return (axes[0], axes[1], axes[2]), (signs[0], signs[1], signs[2])


def _require_straight(stack: Stack, axis: int, plane: Plane) -> None:
    assert stack.affine is not None
    if axis == 0 and not stack.any_axis:
        return
    directions = stack.affine[:3, :3] / np.linalg.norm(stack.affine[:3, :3], axis=0)
    cosines = np.abs(directions.T @ directions)[np.triu_indices(3, 1)]
    if cosines.max() > _SHEAR:
        found = f"axes at {np.degrees(np.arccos(cosines.max())):.1f} degrees, as with a tilted gantry"
        raise refused(stack.path, f"axes at right angles, to cut {plane} slices", found, "Resample the volume.")
