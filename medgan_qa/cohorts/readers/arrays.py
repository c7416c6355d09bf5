"""NumPy files: `.npy`, and `.npz` with one array, or one named `image` or `mask`. Nothing is ever unpickled.

An array is one image as `channel_first` says, or a volume of axes (slices, H, W), or four with the slices in front.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import (
    ADD_VOLUMES,
    Decoded,
    channel_first,
    damaged,
    holds_slices,
    refused,
    require_size,
    require_volume_size,
)
from medgan_qa.cohorts.readers.cache import ArrayCache
from medgan_qa.cohorts.readers.stack import Stack


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    length: int  # bytes of the header

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_npy(path: Path, as_mask: bool) -> Decoded:
    """A bare array that is one image."""
    header = _npy_header(path)
    _require_image(path, header.shape)
    with path.open("rb") as file:
        return Decoded(channel_first(npy.read_array(file, allow_pickle=False)))


def open_npy(path: Path) -> Stack | None:
    """A bare array of slices, of which only those asked for are read; None where it is one image."""
    header = _npy_header(path)
    if not holds_slices(header.shape):
        return None
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    return stack_of(path, stored.shape, lambda index: np.asarray(np.load(path, mmap_mode="r")[index]))


def read_npz(path: Path, as_mask: bool) -> Decoded:
    """An archived array that is one image."""
    with zipfile.ZipFile(path) as archive:
        name, header = _member(path, archive, as_mask)
        _require_image(path, header.shape)
        with archive.open(name) as file:
            return Decoded(channel_first(_whole(path, file)))


def open_npz(path: Path, as_mask: bool, cache: ArrayCache) -> Stack | None:
    """An archived array of slices; None where it is one image. It is unpacked as a whole, and kept in the cache."""
    with zipfile.ZipFile(path) as archive:
        name, header = _member(path, archive, as_mask)
    if not holds_slices(header.shape):
        return None
    key = (path, name)
    return stack_of(path, header.shape, lambda index: np.asarray(cache.get(key, lambda: _unpacked(path, name))[index]))


def stack_of(path: Path, shape: tuple[int, ...], read: Any) -> Stack:
    """A stack of the slices along the first axis of an array.

    Args:
        path: the file.
        shape: of the whole array; three axes, or four with channels.
        read: an index to the slice there, as stored.
    """
    require_size(path, shape[1:])
    rows, columns = channel_first(np.broadcast_to(np.zeros((), np.uint8), shape[1:])).shape[1:]

    def plane(axis: int, index: int, as_mask: bool) -> NDArray[Any]:
        return channel_first(read(index))

    return Stack(path, (shape[0], rows, columns), plane)


def _require_image(path: Path, shape: tuple[int, ...]) -> None:
    if holds_slices(shape):
        raise refused(path, "one image (H, W), (C, H, W) or (H, W, C)", f"an array of shape {shape}", ADD_VOLUMES)
    require_size(path, shape)


def _npy_header(path: Path) -> _Header:
    with path.open("rb") as file:
        header = _header(path, file)
    if path.stat().st_size < header.length + header.size:
        raise damaged(path, f"{path.stat().st_size} bytes, where an array of shape {header.shape} takes more")
    return header


def _header(path: Path, file: IO[bytes]) -> _Header:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise refused(path, "a .npy file of version 1 or 2", f"version {version}", "Save it again with numpy.save.")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise refused(
            path, "numbers", "Python objects, which are never unpickled (allow_pickle=False)", "Save numbers."
        )
    return _Header(tuple(shape), dtype, file.tell())


def _member(path: Path, archive: zipfile.ZipFile, as_mask: bool) -> tuple[str, _Header]:
    """The array that is meant by what it is read for, and its header."""
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    wanted = "mask" if as_mask else "image"
    chosen = names[0] if len(names) == 1 else wanted
    if names.count(chosen) != 1:
        listed = ", ".join(names[:10]) or "none"
        raise refused(path, f"one array, or one named {wanted}", f"arrays {listed}", "Keep one array in the file.")
    info = archive.infolist()[names.index(chosen)]
    with archive.open(info) as file:
        header = _header(path, file)
    packed = info.compress_size if info.compress_type == zipfile.ZIP_DEFLATED else None
    require_volume_size(path, header.size, packed)
    if info.file_size != header.length + header.size or info.compress_type not in (0, zipfile.ZIP_DEFLATED):
        raise damaged(path, f"{info.file_size} bytes, where an array of shape {header.shape} takes {header.size}")
    return info.filename, header


def _unpacked(path: Path, name: str) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        return _whole(path, file)


def _whole(path: Path, file: IO[bytes]) -> NDArray[Any]:
    """The array of a member, read to its end so that the archive's checksum is looked at."""
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    if file.read(1):
        raise damaged(path, "more bytes than its array has")
    return array
