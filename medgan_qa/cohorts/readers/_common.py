"""What the readers of all formats share: limits, refusals, and the guard around other people's libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._quiet import quiet
from medgan_qa.errors import DatasetError, MissingDependencyError

Spacing = tuple[float, float]
T = TypeVar("T")

LARGEST_SLICE = 2**26
"""Elements that one slice may have, all channels together: 8192 x 8192. More is refused before memory is taken."""
LARGEST_VOLUME = 2**31
"""Bytes that a file may unpack to where it can only be unpacked as a whole (.nii.gz, .npz, a series cut across)."""
DEFLATE_RATIO = 1032
"""No deflate stream grows by more than this when it is unpacked (RFC 1951: 258 bytes from two bits)."""

AS_GREY_OR_RGB = "Save it as 8 or 16 bit grey, as 8 bit RGB, or as .npy."
ADD_VOLUMES = "Add the table [volumes] to the dataset file, so that every slice becomes a case, or export one a file."


class Decoded(NamedTuple):
    """One slice as a file holds it."""

    array: NDArray[Any]
    """(C, H, W), the numbers that the file stands for."""
    spacing_mm: Spacing | None = None


def refused(path: Path, expected: str, found: str, todo: str) -> DatasetError:
    """The error for a file that is whole but not of a kind that can be used."""
    return DatasetError(f"{path.name} cannot be used", expected=expected, found=found, where=path, todo=todo)


def damaged(path: Path, found: str) -> DatasetError:
    """The error for a file that is not what its name says, or not whole."""
    return DatasetError(
        f"{path.name} cannot be read",
        expected="a whole file of the kind that its name says",
        found=found,
        where=path,
        todo="Export or copy the file again.",
    )


def guarded(path: Path, read: Callable[[], T], *, quotes_headers: bool = False) -> T:
    """Run a reader so that all it can raise is an error of ours, and nothing is printed or logged.

    Args:
        path: what is read.
        read: the reader.
        quotes_headers: the library puts what stands in a header into its messages, which may be about a patient; only
            the class of its errors is passed on.

    Raises:
        DatasetError: the file is missing, damaged or refused.
        MissingDependencyError: a library is not installed.
    """
    try:
        with quiet():
            return read()
    except (DatasetError, MissingDependencyError):
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"{path.name} needs a library that is not installed",
            found=str(error),
            where=path,
            todo="Install it, or convert the file to .npy.",
        ) from error
    # What the libraries raise on damaged input is not documented and ranges from EOFError to struct.error.
    except Exception as error:
        text = "" if quotes_headers and not isinstance(error, OSError) else f": {_said(error)}"
        raise damaged(path, f"{type(error).__name__}{text}") from error


def _said(error: Exception) -> str:
    """An exception's text without the path that those of the system carry."""
    return error.strerror or "" if isinstance(error, OSError) and error.strerror else str(error)


def require_file(path: Path) -> None:
    """Refuse a path with nothing, or a folder, at it."""
    if not path.is_file():
        todo = "Correct the path in the table, or put the file in place."
        raise refused(path, "a file", "a folder" if path.is_dir() else "nothing there", todo)


def require_size(path: Path, shape: Sequence[int]) -> None:
    """Refuse a slice of more elements than are read, before any memory is taken for it."""
    if any(side < 0 for side in shape) or math.prod(shape) > LARGEST_SLICE:
        refuse_size(path, f"a slice of shape {tuple(shape)}")


def refuse_size(path: Path, found: str) -> NoReturn:
    """Refuse what would take too much memory."""
    expected = f"at most {LARGEST_SLICE} elements a slice, and {LARGEST_VOLUME} bytes where all have to be unpacked"
    raise refused(path, expected, found, "Check the file: it is damaged or not an image. Else crop or tile it.")


def require_volume_size(path: Path, size: int, packed: int | None = None) -> None:
    """Refuse to unpack a file as a whole where it says that it is too large, or larger than it can be.

    Args:
        path: the file.
        size: bytes that it says it unpacks to.
        packed: bytes that these take in the file, where they are deflated.
    """
    if size > LARGEST_VOLUME:
        refuse_size(path, f"{size} bytes when it is unpacked")
    if packed is not None and size > DEFLATE_RATIO * (packed + 64):
        raise damaged(path, f"{size} bytes said to be packed in {packed}, which cannot be")


def require_finite(array: NDArray[Any], path: Path) -> None:
    """Refuse NaN and infinity."""
    bad = 0 if array.dtype.kind in "bui" else int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        found = f"{bad} of {array.size} elements are NaN or infinite"
        raise refused(path, "finite numbers (as float32)", found, "Repair the file, or remove the case.")


def as_image(array: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Decoded numbers (C, H, W) as float32.

    Raises:
        DatasetError: they are no real numbers, there are none, or some are not finite.
    """
    _require_pixels(array, path)
    if array.dtype.kind not in "uif":
        raise refused(path, "real numbers", f"elements of type {array.dtype}", AS_GREY_OR_RGB)
    with np.errstate(over="ignore"):
        image = array.astype(np.float32)
    require_finite(image, path)
    return image


def as_mask(array: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """Decoded numbers (1, H, W) as a mask (H, W): True where not zero.

    Raises:
        DatasetError: as `as_image`, and for more than one channel.
    """
    _require_pixels(array, path)
    if array.dtype.kind not in "buif":
        raise refused(path, "numbers or booleans", f"elements of type {array.dtype}", AS_GREY_OR_RGB)
    if array.shape[0] != 1:
        raise refused(path, "a mask with one channel", f"{array.shape[0]} channels", "Save it as grey or .npy.")
    require_finite(array, path)
    return np.asarray(array[0] != 0)


def _require_pixels(array: NDArray[Any], path: Path) -> None:
    if array.size == 0:
        raise refused(path, "at least one pixel", f"shape {array.shape}", "Export the file again.")


def positive_pair(values: Sequence[float]) -> Spacing | None:
    """Two distances, None unless there are two that are finite and positive."""
    if len(values) != 2 or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    return values[0], values[1]


def channel_first(array: NDArray[Any]) -> NDArray[Any]:
    """Bring a bare array to (C, H, W).

    Two axes are (H, W). Three are channel first if the first is 1 to 4 long, channel last if the last is 1 or 3 long.

    Raises:
        ValueError: neither holds, or both do, so that the layout would be a guess.
    """
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3:
        first, last = array.shape[0] in (1, 2, 3, 4), array.shape[2] in (1, 3)
        if first != last:
            return array if first else np.moveaxis(array, 2, 0)
    raise ValueError(f"an array of shape {array.shape} is neither (H, W) nor clearly (C, H, W) or (H, W, C)")


def holds_slices(shape: Sequence[int]) -> bool:
    """Whether a bare array has an axis of slices in front: (slices, H, W), or four axes.

    Three axes that `channel_first` takes for one image, or cannot tell, are no volume.
    """
    if len(shape) == 4:
        return True
    return len(shape) == 3 and shape[0] > 4 and shape[2] not in (1, 3)
