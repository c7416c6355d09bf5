"""NIfTI files, one (`.nii`, `.nii.gz`): slope and intercept applied, spacing from the header, in mm.

A file of one slice, (H, W) or (H, W, 1), is read as it is stored: its first axis is rows, its second columns, neither
transposed nor reoriented. A file with three axes is a volume, whose slices are taken in the planes of the patient by
its affine (`medgan_qa.cohorts.readers.volume`).
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import (
    ADD_VOLUMES,
    Decoded,
    Spacing,
    damaged,
    positive_pair,
    refused,
    require_size,
    require_volume_size,
)
from medgan_qa.cohorts.readers.cache import ArrayCache
from medgan_qa.cohorts.readers.stack import Affine, Stack, step_lengths

_HEADER = 540  # bytes of the longer one, NIfTI-2
_FURTHEST = 2**26  # bytes before the voxels: extensions hold text, never an image
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"meter": 1e3, "micron": 1e-3}
_FLATTEST = 1e-6  # of the product of its step lengths: the least volume of an element


@dataclass(frozen=True)
class _Opened:
    """What the header says."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    zooms: tuple[float, ...]
    """In mm."""
    affine: Affine
    """Indices to mm, RAS."""

    @property
    def packed(self) -> bool:
        return self.path.name.lower().endswith(".gz")

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    @property
    def slice_shape(self) -> tuple[int, ...] | None:
        """(H, W) where the file holds one slice."""
        shape = self.shape
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
        return shape if len(shape) == 2 else None


def read_nifti(path: Path, as_mask: bool) -> Decoded:
    """A NIfTI file of one slice, as it is stored."""
    opened = _open(path)
    shape = opened.slice_shape
    if shape is None:
        raise refused(path, "one slice (H, W) or (H, W, 1)", f"an array of shape {opened.shape}", ADD_VOLUMES)
    require_size(path, shape)
    stored = _unpacked(opened) if opened.packed else np.asarray(_proxy(opened, opened.shape).get_unscaled())
    array = _scaled(stored.reshape(shape, order="F"), opened, as_mask)
    return Decoded(array[None], positive_pair(opened.zooms[:2]))


def nifti_spacing(path: Path) -> Spacing | None:
    """Distances of the first two axes."""
    return positive_pair(_open(path).zooms[:2])


def open_nifti(path: Path, cache: ArrayCache) -> Stack | None:
    """A NIfTI file as a stack; None where it holds one slice.

    Only the voxels of a plane are read from a `.nii`; a `.nii.gz` is unpacked once and kept in the cache.
    """
    opened = _open(path)
    if opened.slice_shape is not None:
        return None
    shape = opened.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        todo = "Save each time point or component as a file of its own."
        raise refused(path, "a volume with three axes", f"an array of shape {opened.shape}", todo)
    for axis in range(3):
        require_size(path, shape[:axis] + shape[axis + 1 :])
    _require_affine(opened)

    def plane(axis: int, index: int, as_mask: bool) -> NDArray[Any]:
        voxels = cache.get(path, lambda: _unpacked(opened)).reshape(shape, order="F") if opened.packed else None
        where: Any = (*(slice(None),) * axis, index, *(slice(None),) * (2 - axis))
        stored = np.asarray(_proxy(opened, shape)[where] if voxels is None else voxels[where])
        return _scaled(stored, opened, as_mask)[None]

    first, second, third = shape
    return Stack(path, (first, second, third), plane, _RAS_TO_LPS @ opened.affine, any_axis=True)


def _open(path: Path) -> _Opened:
    """Read the header and look at what it declares. Extensions, which may be of any length, are passed over."""
    import nibabel as nib

    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        raw = file.read(_HEADER)
    newer: Any = nib.Nifti2Header
    kind: Any = newer if newer.may_contain_header(raw) else nib.Nifti1Header
    if not kind.may_contain_header(raw):
        raise damaged(path, "no NIfTI header")
    header = kind(raw[: kind.template_dtype.itemsize])
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise refused(path, "header and voxels in one file", "a header alone", "Convert the pair to one .nii file.")
    slope, inter = header.get_slope_inter()
    unit = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    opened = _Opened(
        path,
        tuple(int(side) for side in header.get_data_shape()),
        header.get_data_dtype(),
        int(header.get_data_offset()),
        1.0 if slope is None else float(slope),
        0.0 if inter is None else float(inter),
        tuple(float(zoom) * unit for zoom in header.get_zooms()),
        np.diag([unit, unit, unit, 1.0]) @ np.asarray(header.get_best_affine(), np.float64),
    )
    _require_honest(opened)
    return opened


def _require_honest(opened: _Opened) -> None:
    path, size = opened.path, opened.path.stat().st_size
    if len(opened.shape) < 2 or any(side < 1 for side in opened.shape):
        raise refused(path, "an image of at least one pixel", f"an array of shape {opened.shape}", "Export it again.")
    if not 0 <= opened.offset <= _FURTHEST:
        raise damaged(path, f"voxels said to begin {opened.offset} bytes into the file")
    if opened.packed:
        require_volume_size(path, opened.offset + opened.nbytes, size)
    elif size < opened.offset + opened.nbytes:
        raise damaged(path, f"{size} bytes, where an array of shape {opened.shape} takes more")


def _require_affine(opened: _Opened) -> None:
    linear = opened.affine[:3, :3]
    lengths = step_lengths(opened.affine)
    if not np.isfinite(opened.affine).all() or abs(np.linalg.det(linear)) <= _FLATTEST * float(np.prod(lengths)):
        todo = "Repair sform or qform, or save each slice as a file."
        raise refused(opened.path, "an affine that says where voxels lie", "one that maps them onto a plane", todo)


def _proxy(opened: _Opened, shape: tuple[int, ...]) -> Any:
    """Voxels of a file that is not packed; slope and intercept are applied by us, once for every way of reading."""
    from nibabel import arrayproxy

    make: Any = arrayproxy.ArrayProxy
    return make(opened.path, (shape, opened.dtype, opened.offset, 1.0, 0.0), mmap=False)


def _unpacked(opened: _Opened) -> NDArray[Any]:
    """All voxels of a packed file, flat, in the order of the file; read to its end, where its checksum stands."""
    out = np.empty(opened.nbytes, np.uint8)
    with gzip.open(opened.path) as file:
        file.seek(opened.offset)
        view, done = memoryview(out.data), 0
        while done < len(out) and (count := file.readinto(view[done : done + 2**24])):
            done += count
        file.read(2**16)
    if done < len(out):
        raise damaged(opened.path, f"{done} bytes of voxels, where an array of shape {opened.shape} takes {len(out)}")
    return out.view(opened.dtype)


def _scaled(stored: NDArray[Any], opened: _Opened, as_mask: bool) -> NDArray[Any]:
    from nibabel.volumeutils import apply_read_scaling

    data: NDArray[Any] = np.asarray(apply_read_scaling(stored, opened.slope, opened.inter))
    if as_mask and opened.inter:
        # A float mask stored as scaled integers comes back with zeros that are off by rounding, never by half a step.
        return np.asarray(np.abs(data) > abs(opened.slope) / 2)
    return data
