"""What the headers of files say without their pixels: shape, type of the numbers, slices, spacing."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import holds_slices
from medgan_qa.cohorts.readers._quiet import quiet


class Header(NamedTuple):
    """Of one image file."""

    dtype: np.dtype[Any]
    """Of the stored numbers; a float where a slope or intercept is applied to them."""
    slices: int
    spacing: bool
    """The file carries its pixel spacing."""


def header(path: Path) -> Header | None:
    """The header of an image file; None where it cannot be read, which `data check` then says in full."""
    read = next((read for suffix, (read, _) in _FORMATS.items() if path.name.lower().endswith(suffix)), None)
    try:
        with quiet():
            return None if read is None else read(path)
    # Each library raises errors of its own on damaged files.
    except Exception:
        return None


def numbers(path: Path) -> NDArray[Any] | None:
    """All numbers of an image file, in whatever axes; None where they cannot be read."""
    read = next((read for suffix, (_, read) in _FORMATS.items() if path.name.lower().endswith(suffix)), None)
    try:
        with quiet():
            return None if read is None else read(path)
    except Exception:
        return None


def _nifti(path: Path) -> Header:
    picture = _open_nifti(path)
    slope, intercept = picture.dataobj.slope, picture.dataobj.inter
    scaled = (slope, intercept) != (1.0, 0.0)
    shape = [int(n) for n in picture.shape]
    return Header(np.dtype(float) if scaled else picture.get_data_dtype(), int(np.prod(shape[2:] or [1])), spacing=True)


def _open_nifti(path: Path) -> Any:
    import nibabel as nib

    return nib.load(path, mmap=False)


def _nifti_numbers(path: Path) -> NDArray[Any]:
    return np.asanyarray(_open_nifti(path).dataobj)


def _png(path: Path) -> Header:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as picture:
        deep = picture.mode.startswith("I")
    return Header(np.dtype(np.uint16 if deep else np.uint8), 1, spacing=False)


def _png_numbers(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture)


def _tiff(path: Path) -> Header:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return Header(np.dtype(file.pages.first.dtype), len(file.pages), spacing=False)


def _tiff_numbers(path: Path) -> NDArray[Any]:
    import tifffile

    return np.asarray(tifffile.imread(path))


def _npy(path: Path) -> Header:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Header(array.dtype, array.shape[0] if holds_slices(array.shape) else 1, spacing=False)


def _npy_numbers(path: Path) -> NDArray[Any]:
    return np.asarray(np.load(path, allow_pickle=False))


def _npz(path: Path) -> Header:
    """Of the one array, or the one named `image`; only its header is unpacked."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        with archive.open(names[0] if len(names) == 1 else "image.npy") as member:
            major, _ = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
    return Header(dtype, shape[0] if holds_slices(shape) else 1, spacing=False)


def _npz_numbers(path: Path) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[archive.files[0] if len(archive.files) == 1 else "image"])


_Readers = tuple[Callable[[Path], Header], Callable[[Path], NDArray[Any]]]
_FORMATS: dict[str, _Readers] = {
    ".nii": (_nifti, _nifti_numbers),
    ".nii.gz": (_nifti, _nifti_numbers),
    ".png": (_png, _png_numbers),
    ".tif": (_tiff, _tiff_numbers),
    ".tiff": (_tiff, _tiff_numbers),
    ".npy": (_npy, _npy_numbers),
    ".npz": (_npz, _npz_numbers),
}
