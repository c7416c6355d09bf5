"""HDF5 files and zarr folders: an array inside, `set.h5#images` or `set.zarr#ct/images`, or a slice of it, `[17]`.

Only the slices asked for are read. Nothing outside the file or folder is followed: no links in HDF5, no virtual or
external storage, no zarr store that is not a local folder; and no codec that could run code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import (
    ADD_VOLUMES,
    LARGEST_SLICE,
    Decoded,
    channel_first,
    holds_slices,
    refuse_size,
    refused,
    require_size,
)
from medgan_qa.cohorts.readers.arrays import stack_of
from medgan_qa.cohorts.readers.cells import Cell
from medgan_qa.cohorts.readers.stack import Stack

if TYPE_CHECKING:
    import h5py

_LARGEST_CHUNK = 8 * LARGEST_SLICE  # bytes that are unpacked at once
_ARRAY_CODECS = {"bytes", "transpose", "sharding_indexed", "crc32c", "shuffle", "delta", "bitround"}
_ZARR_CODECS = _ARRAY_CODECS | {"gzip", "zstd", "blosc", "zlib", "bz2", "lzma", "lz4"}
_ZARR_METADATA = 2**20  # bytes of one description
Reader = Callable[[int | None], NDArray[Any]]


def read_contained(path: Path, cell: Cell) -> Decoded:
    """One image of a container: the array, or the slice of it that the cell names."""
    shape, read = _opened(path, cell)
    if cell.slice_index is None:
        if holds_slices(shape):
            todo = f"Name one as [0]. {ADD_VOLUMES}"
            raise refused(path, "one image, or an index", f"an array of shape {shape}", todo)
        require_size(path, shape)
        return Decoded(channel_first(read(None)))
    if len(shape) < 3 or not cell.slice_index < shape[0]:
        raise refused(
            path, f"at least {cell.slice_index + 1} slices", f"an array of shape {shape}", "Correct the index."
        )
    require_size(path, shape[1:])
    return Decoded(channel_first(read(cell.slice_index)))


def open_contained(path: Path, cell: Cell) -> Stack | None:
    """An array of slices; None where the cell names one image."""
    shape, read = _opened(path, cell)
    if cell.slice_index is not None or not holds_slices(shape):
        return None
    return stack_of(path, shape, read)


def _opened(path: Path, cell: Cell) -> tuple[tuple[int, ...], Reader]:
    """Shape of the array, and a way to read one slice of it, or all (None)."""
    if cell.inner is None:
        found = "the container alone"
        raise refused(path, "an array inside it, as in set.h5#images", found, "Write # and the array's name behind it.")
    if path.name.lower().endswith(".zarr"):
        return _zarr(path, cell.inner)
    return _hdf5(path, cell.inner)


def _hdf5(path: Path, inner: str) -> tuple[tuple[int, ...], Reader]:
    with _dataset(path, inner) as found:
        shape = tuple(int(side) for side in found.shape)

    def read(index: int | None) -> NDArray[Any]:
        with _dataset(path, inner) as again:
            return np.asarray(again[()] if index is None else again[index])

    return shape, read


@contextmanager
def _dataset(path: Path, inner: str) -> Iterator[h5py.Dataset]:
    import h5py

    with h5py.File(path, "r") as file:
        place: Any = file
        for part in inner.split("/"):
            if not isinstance(place, h5py.Group) or part not in place:
                listed = ", ".join(sorted(place)[:10]) if isinstance(place, h5py.Group) else "no group"
                raise refused(path, f"an array named {inner}", f"{listed or 'nothing'}", "Correct the array's name.")
            if not isinstance(place.get(part, getlink=True), h5py.HardLink):
                raise refused(path, "an array in this file", "a link to another place", "Store the array itself.")
            place = place[part]
        if not isinstance(place, h5py.Dataset) or place.shape is None:
            raise refused(path, "an array of numbers", "something else of that name", "Correct the array's name.")
        if place.is_virtual or place.external:
            raise refused(path, "an array in this file", "one stored in other files", "Store the array itself.")
        _require_chunk(path, place.chunks, place.dtype)
        yield place


def _zarr(path: Path, inner: str) -> tuple[tuple[int, ...], Reader]:
    import zarr

    folder = path.joinpath(*inner.split("/"))
    if not folder.resolve().is_relative_to(path.resolve()):
        raise refused(path, "an array inside it", "a path that leaves it", "Correct the array's name.")
    _require_harmless(path, folder)
    array: Any = zarr.open_array(str(folder), mode="r")
    shape = tuple(int(side) for side in array.shape)
    _require_chunk(path, array.chunks, array.dtype)

    def read(index: int | None) -> NDArray[Any]:
        return np.asarray(array[...] if index is None else array[index])

    return shape, read


def _require_harmless(path: Path, folder: Path) -> None:
    """Refuse an array whose description names a codec or a type that is not on the list: some of them unpickle."""
    found = next((folder / name for name in ("zarr.json", ".zarray") if (folder / name).is_file()), None)
    if found is None:
        raise refused(path, "a zarr array of that name", "none", "Correct the array's name.")
    if found.stat().st_size > _ZARR_METADATA:
        refuse_size(path, f"a description of {found.stat().st_size} bytes")
    content = json.loads(found.read_bytes())
    foreign = sorted(set(_codecs(content)) - _ZARR_CODECS)
    kind = str(content.get("data_type", content.get("dtype", "")))
    if foreign or "O" in kind or content.get("storage_transformers"):
        found_text = f"codecs {', '.join(foreign)[:80]}" if foreign else f"elements of type {kind[:20]}"
        expected = f"numbers, with codecs among {', '.join(sorted(_ZARR_CODECS))}"
        raise refused(path, expected, found_text, "Store the array again.")


def _codecs(content: dict[str, Any]) -> Iterator[str]:
    """Names of all codecs of an array, those inside shards included; in zarr 2 its filters and its compressor."""
    for codec in [*(content.get("codecs") or []), *(content.get("filters") or []), content.get("compressor")]:
        if isinstance(codec, str):
            yield codec
        elif codec is not None:
            yield str(codec.get("name", codec.get("id")))
            inner = codec.get("configuration") or {}
            yield from _codecs({"codecs": [*(inner.get("codecs") or []), *(inner.get("index_codecs") or [])]})


def _require_chunk(path: Path, chunks: tuple[int, ...] | None, dtype: np.dtype[Any]) -> None:
    if chunks is not None and math.prod(chunks) * dtype.itemsize > _LARGEST_CHUNK:
        refuse_size(path, f"parts of {math.prod(chunks) * dtype.itemsize} bytes that are packed together")
