"""Where a run keeps its images: in memory up to a budget, and beyond it in a scratch file that is read as needed.

The scratch file has no name: it is opened and unlinked at once, so the system frees it when the run ends, however it
ends, and no image lies about on disk. It stands in the folder that `TMPDIR` names. Arrays come back bit for bit as they
were; those from the file cannot be written to.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import ConfigurationError, OutputError

MEMORY_VARIABLE: Final = "MEDGAN_QA_MEMORY_MB"
SHARE: Final = 0.25
"""Of the machine's memory, what a run's images may take unless the variable says otherwise."""
BLOCK_BYTES: Final = 1 << 30
"""What is mapped at once. The file has holes, so this takes no room by itself."""
ALIGNMENT: Final = 64
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

Array = TypeVar("Array", bound=NDArray[Any])


def memory_budget() -> int:
    """Bytes that a run's images may take in memory: `$MEDGAN_QA_MEMORY_MB`, else a quarter of the memory there is.

    Raises:
        ConfigurationError: the variable is no number >= 0.
    """
    text = os.environ.get(MEMORY_VARIABLE, "").strip()
    if not text:
        return int(SHARE * physical_memory())
    try:
        megabytes = float(text)
    except ValueError:
        megabytes = math.nan
    if not (math.isfinite(megabytes) and megabytes >= 0):
        raise ConfigurationError(
            "The memory that images may take is no size.",
            expected="a number of megabytes >= 0",
            found=text,
            where=f"environment variable {MEMORY_VARIABLE}",
            todo=f"Correct {MEMORY_VARIABLE}, or unset it for a quarter of the machine's memory.",
        )
    return int(megabytes * 1e6)


def physical_memory() -> int:
    """Bytes of memory of this machine, or of the container that this process runs in, if that has less."""
    sizes = [_machine_memory()]
    for file in CGROUP_LIMITS:
        try:
            sizes.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # no such limit, or the word `max`
    return min(sizes)


def _machine_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * 10**9  # a system that does not say; what laptops have


class Shelf:
    """Keeps the arrays of one run.

    Args:
        budget: bytes that stay in memory; `memory_budget()` if not given.

    Raises:
        ConfigurationError: `$MEDGAN_QA_MEMORY_MB` is no size.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = memory_budget() if budget is None else budget
        self.in_memory = 0
        """Bytes kept in memory."""
        self.on_disk = 0
        """Bytes kept in the scratch file."""
        self._file: _ScratchFile | None = None

    def keep(self, array: Array) -> Array:
        """The same array, or its copy in the scratch file where memory is spent.

        Raises:
            OutputError: the scratch file cannot be written.
        """
        if self._fits(array.nbytes):
            self.in_memory += array.nbytes
            return array
        kept: Array = self._place(array.shape, array.dtype).fill(array)  # type: ignore[assignment]  # same dtype
        return kept

    def series(self, count: int) -> Series:
        """An array (count, ...) that is filled image by image."""
        return Series(self, count)

    def picked(self, images: NDArray[Any], index: Iterable[int]) -> NDArray[Any]:
        """Some of the images (N, ...), in the order of `index`, as an array of their own."""
        chosen = np.asarray(list(index), dtype=np.intp)
        if self._fits(len(chosen) * images[:1].nbytes):
            return images[chosen]
        return self.series(len(chosen)).extended(images[k] for k in chosen)

    def _fits(self, size: int) -> bool:
        return self.in_memory + size <= self.budget

    def _place(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Place:
        if self._file is None:
            self._file = _ScratchFile()
        place = self._file.place(shape, dtype)
        self.on_disk += place.array.nbytes
        return place


class Series:
    """One array (N, ...) in the making; images are handed over in order, and are all of one shape and type."""

    def __init__(self, shelf: Shelf, count: int) -> None:
        self._shelf, self._count, self._done = shelf, count, 0
        self._array: NDArray[Any] | None = None
        self._place: _Place | None = None

    def append(self, image: NDArray[Any]) -> None:
        """Add the next image.

        Raises:
            OutputError: the scratch file cannot be written.
            ValueError: more images than were announced, or one of another shape than the first.
        """
        if self._done == 0:
            self._begin(image)
        if self._done >= self._count:
            raise ValueError(f"{self._count} images were announced, and there is one more")
        if self._place is not None:
            self._place.write(self._done, image)
        elif self._array is not None:
            if image.shape != self._array.shape[1:]:
                raise ValueError(f"an image of shape {image.shape} among those of {self._array.shape[1:]}")
            self._array[self._done] = image
        self._done += 1

    def extended(self, images: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """Add all images that are left, and return the array."""
        for image in images:
            self.append(image)
        return self.array

    @property
    def array(self) -> NDArray[Any]:
        """(N, ...), once every image is there.

        Raises:
            ValueError: images are missing.
        """
        if self._done != self._count or self._count == 0:
            raise ValueError(f"{self._count} images were announced, and {self._done} came")
        return self._array if self._place is None else self._place.array  # type: ignore[return-value]

    def _begin(self, image: NDArray[Any]) -> None:
        size, shape = self._count * image.nbytes, (self._count, *image.shape)
        if self._shelf._fits(size):
            self._shelf.in_memory += size
            self._array = np.empty(shape, image.dtype)
        else:
            self._place = self._shelf._place(shape, image.dtype)


class _Place:
    """Room for one array in the scratch file; `array` is what was written there."""

    def __init__(self, file: _ScratchFile, start: int, array: NDArray[Any]) -> None:
        self._file, self._start, self.array = file, start, array

    def fill(self, array: NDArray[Any]) -> NDArray[Any]:
        self._file.write(self._start, array)
        return self.array

    def write(self, k: int, image: NDArray[Any]) -> None:
        if image.shape != self.array.shape[1:] or image.dtype != self.array.dtype:
            raise ValueError(f"an image of shape {image.shape} among those of {self.array.shape[1:]}")
        self._file.write(self._start + k * image.nbytes, image)


class _ScratchFile:
    """A file without a name, written to as a file and read through a map.

    What is written through a map to a full disk ends the process without a word; a write that fails can be told.
    """

    def __init__(self) -> None:
        try:
            # Open as long as the run; what is mapped outlives it.
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="medgan-qa-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _full(error) from error
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._block: mmap.mmap | None = None
        self._first = 0
        """Where the block begins in the file."""

    def place(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Place:
        size = math.prod(shape) * dtype.itemsize
        start = -(-self._end // ALIGNMENT) * ALIGNMENT
        if self._block is None or start + size > self._first + len(self._block):
            start = self._new_block(size)
        assert self._block is not None
        self._end = start + size
        array = np.frombuffer(self._block, dtype, math.prod(shape), start - self._first).reshape(shape)
        return _Place(self, start, array)

    def write(self, start: int, array: NDArray[Any]) -> None:
        left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        try:
            self._file.seek(start)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _full(error) from error

    def _new_block(self, size: int) -> int:
        page = mmap.ALLOCATIONGRANULARITY
        self._first = -(-self._end // page) * page
        length = max(BLOCK_BYTES, size)
        try:
            self._file.truncate(self._first + length)
            self._block = mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=self._first)
        except OSError as error:
            raise _full(error) from error
        return self._first


def _full(error: OSError) -> OutputError:
    return OutputError(
        "The images of the run do not fit into memory, and the scratch file beside it cannot be written.",
        expected=f"room for them in {tempfile.gettempdir()}",
        found=error.strerror or str(error),
        where="TMPDIR",
        todo=f"Name a folder with room in TMPDIR, or let images take more memory ({MEMORY_VARIABLE}, in megabytes).",
    )
