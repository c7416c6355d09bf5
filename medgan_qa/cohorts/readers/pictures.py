"""PNG and TIFF files.

- `.png`: 8 or 16 bit grey, 8 bit RGB, or the colours of a palette. Carries no spacing.
- `.tif`, `.tiff`: grey (zero is black) or RGB, any numeric type; several pages are slices in the order of the file.
  Resolution tags are not taken for spacing. Files that belong to a set of several (OME, MicroManager) are read alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import (
    ADD_VOLUMES,
    AS_GREY_OR_RGB,
    DEFLATE_RATIO,
    LARGEST_VOLUME,
    Decoded,
    damaged,
    refused,
    require_size,
)
from medgan_qa.cohorts.readers._quiet import errors_logged
from medgan_qa.cohorts.readers.stack import Stack

if TYPE_CHECKING:
    from PIL import Image
    from tifffile import TiffFile, TiffPage

_PNG_HEADER = struct.Struct(">8sI4sIIBB")
_DEFLATE = (8, 32946, 50013)
_PAGES = 100_000  # more than any scanner writes into one file


def read_png(path: Path, as_mask: bool) -> Decoded:
    """A PNG file."""
    from PIL import Image as pil

    bits = _png_bits(path)
    with pil.open(path, formats=["PNG"]) as picture:
        if getattr(picture, "n_frames", 1) > 1:
            found = f"{getattr(picture, 'n_frames', 0)} frames"
            raise refused(path, "one picture", found, "Export one file per slice.")
        if picture.mode == "P" and "transparency" not in picture.info:
            return _of_palette(path, picture, as_mask)
        allowed = {"L", "I;16", "I", "F", "RGB"} | ({"1"} if as_mask else set())
        # Pillow silently drops RGB to 8 bits and stretches 2 and 4 bit grey, so neither would be what is stored.
        altered = (picture.mode == "RGB" and bits != 8) or (picture.mode == "L" and bits != 8 and not as_mask)
        if picture.mode not in allowed or altered:
            raise refused(path, "grey or 8 bit RGB", f"mode {picture.mode}, {bits} bits a channel", AS_GREY_OR_RGB)
        array = np.asarray(picture)
    return Decoded(np.moveaxis(array, 2, 0) if array.ndim == 3 else array[None])


def _of_palette(path: Path, picture: Image.Image, as_mask: bool) -> Decoded:
    """The colours of a palette; one channel where all of them are grey. For a mask the numbers as stored."""
    stored = np.asarray(picture)
    if as_mask:
        return Decoded(stored[None])
    colours = np.zeros((256, 3), np.uint8)
    given = np.array(picture.getpalette() or (), np.uint8).reshape(-1, 3)
    if stored.size and int(stored.max()) >= len(given):
        found = f"{len(given)} colours, and a pixel of colour {int(stored.max()) + 1}"
        raise damaged(path, found)
    colours[: len(given)] = given
    shown = np.moveaxis(colours[stored], 2, 0)
    return Decoded(shown[:1] if (colours == colours[:, :1]).all() else shown)


def _png_bits(path: Path) -> int:
    """Bits a channel, after a look at the size that the header declares."""
    with path.open("rb") as file:
        header = file.read(_PNG_HEADER.size)
    if len(header) < _PNG_HEADER.size or not header.startswith(b"\x89PNG\r\n\x1a\n"):
        raise damaged(path, "no PNG header")
    _, _, _, width, height, bits, colour = _PNG_HEADER.unpack(header)
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    require_size(path, (height, width, channels))
    declared = height * ((width * channels * bits + 7) // 8)
    if declared > DEFLATE_RATIO * path.stat().st_size:
        raise damaged(path, f"{width} x {height} pixels in {path.stat().st_size} bytes, which cannot be")
    return int(bits)


def read_tiff(path: Path, as_mask: bool) -> Decoded:
    """A TIFF file of one page."""
    with _opened(path) as file:
        if len(file.pages) != 1:
            raise refused(path, "one page", f"{len(file.pages)} pages", ADD_VOLUMES)
        series = file.series[0]
        _require_kind(path, file.pages.first, as_mask)
        if series.axes not in ("YX", "YXS", "SYX"):
            raise refused(
                path, "one slice", f"axes {series.axes} of shape {series.shape}", "Save each slice as a page."
            )
        array, axes = series.asarray(maxworkers=1), series.axes
    return Decoded(_channels(array, axes))


def open_tiff(path: Path) -> Stack | None:
    """The pages of a TIFF file as slices; None for one page."""
    with _opened(path) as file:
        pages = len(file.pages)
        if pages == 1:
            return None
        if pages > _PAGES:
            raise refused(path, f"at most {_PAGES} pages", f"{pages} pages", "Check the file; it is damaged.")
        first = file.pages.first
        if len(file.series) != 1 or {page.shape for page in file.pages} != {first.shape}:
            raise refused(path, "pages of one size and type", f"{len(file.series)} kinds", "Save alike slices alone.")
        rows, columns = int(first.imagelength), int(first.imagewidth)

    def page(axis: int, index: int, as_mask: bool) -> NDArray[Any]:
        with _opened(path) as again:
            one: Any = again.pages[index]
            _require_kind(path, one, as_mask)
            return _channels(one.asarray(maxworkers=1), one.axes)

    return Stack(path, (pages, rows, columns), page)


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    import tifffile

    before = errors_logged()
    # What follows a broken link between pages is dropped with no more than a line in the log.
    with tifffile.TiffFile(path, is_ome=False, is_mmstack=False, _multifile=False) as file:
        if len(file.pages) == 0 or errors_logged() > before:
            raise damaged(path, "links between its pages that lead nowhere or in a circle")
        yield file


def _require_kind(path: Path, page: TiffPage, as_mask: bool) -> None:
    kind = getattr(page.photometric, "name", str(page.photometric))
    if kind not in ("MINISBLACK", "RGB") or page.samplesperpixel != {"MINISBLACK": 1, "RGB": 3}[kind]:
        found = f"{kind} with {page.samplesperpixel} samples a pixel"
        raise refused(path, "grey where zero is black, or RGB", found, AS_GREY_OR_RGB)
    if page.bitspersample == 1 and not as_mask:
        raise refused(path, "at least 8 bits a pixel", "1 bit", AS_GREY_OR_RGB)
    require_size(path, page.shape)
    _require_honest_segments(path, page)


def _require_honest_segments(path: Path, page: TiffPage) -> None:
    """Refuse deflated parts that unpack to far more than their place in the picture."""
    if page.compression not in _DEFLATE or sum(page.databytecounts) * DEFLATE_RATIO <= LARGEST_VOLUME // 4:
        return
    room = 16 * int(np.prod(page.chunks, dtype=np.int64)) + 2**16
    with path.open("rb") as file:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            if len(zlib.decompressobj().decompress(file.read(count), room + 1)) > room:
                raise damaged(path, "a part that unpacks to more than its place in the picture")


def _channels(array: NDArray[Any], axes: str) -> NDArray[Any]:
    if axes.endswith("YX") and array.ndim == 2:
        return array[None]
    return np.moveaxis(array, 2, 0) if axes == "YXS" else array
