"""DICOM files: one frame, as numbers of the modality.

The modality LUT or rescale slope and intercept are applied; MONOCHROME1 is inverted within the range of its stored
bits; YBR becomes RGB; PALETTE COLOR becomes the colours of its table. Spacing comes from PixelSpacing. A mask is read
as stored, without any of these. Compressed pixels are unpacked by whatever plugins of pydicom are installed.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._codestream import codestream_size
from medgan_qa.cohorts.readers._common import (
    ADD_VOLUMES,
    AS_GREY_OR_RGB,
    LARGEST_VOLUME,
    Decoded,
    Spacing,
    damaged,
    refuse_size,
    refused,
    require_size,
)
from medgan_qa.cohorts.readers._quiet import no_native_stderr
from medgan_qa.cohorts.readers.dicom_groups import Rescale, rescale_of, spacing_of
from medgan_qa.errors import DatasetError, MissingDependencyError

if TYPE_CHECKING:
    from pydicom import Dataset

_BECOMES_RGB = ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_KINDS = ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR")
_FRAMES = 1_000_000
_INFLATED, _INFLATES = 2**24, 100
"""A deflated object may have so many bytes, or so many times its packed ones, whichever is more: pydicom goes through
all of them element by element, which takes minutes for one that holds nothing but empty elements."""
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
PACKAGES = "pip install 'medgan-qa[dicom]' (pylibjpeg, pylibjpeg-openjpeg, pylibjpeg-rle, python-gdcm)"


def read_dicom(path: Path, as_mask: bool) -> Decoded:
    """A DICOM file of one frame."""
    with path.open("rb") as file:
        header = _header(path, file, None)
        frames = frames_of(path, header)
        if frames > 1:
            raise refused(path, "one frame", f"{frames} frames", ADD_VOLUMES)
        return Decoded(_frame(path, file, header, 0, as_mask), spacing_of(header, 0))


def dicom_spacing(path: Path) -> Spacing | None:
    """PixelSpacing of the first frame."""
    return spacing_of(read_header(path, (*GROUPS, "PixelSpacing")), 0)


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """Everything that stands before the pixels; only `tags` where given.

    Raises:
        DatasetError: no DICOM file, or one that unpacks to more than is read.
    """
    with path.open("rb") as file:
        return _header(path, file, tags)


def _header(path: Path, file: BinaryIO, tags: Sequence[str] | None) -> Dataset:
    import pydicom

    _require_small_when_inflated(path, file)
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=None if tags is None else list(tags))
    except pydicom.errors.InvalidDicomError as error:
        raise damaged(path, "no DICOM file: its prefix or its file meta information is missing") from error


def frames_of(path: Path, header: Dataset) -> int:
    """Frames of an object; 1 where it does not say.

    Raises:
        DatasetError: the object is no image, or is larger than what is read.
    """
    rows, columns = header.get("Rows"), header.get("Columns")
    if not isinstance(rows, int) or not isinstance(columns, int) or not rows * columns:
        found = f"an object of class {_class_name(header)} without rows and columns"
        raise refused(path, "an image", found, "Take it out of the table.")
    require_size(path, (rows, columns, int(header.get("SamplesPerPixel") or 1)))
    frames = header.get("NumberOfFrames") or 1
    if not isinstance(frames, int) or not 1 <= frames <= _FRAMES:
        raise refused(path, f"1 to {_FRAMES} frames", "another value", "Check the file; it is damaged.")
    return int(frames)


def _class_name(header: Dataset) -> str:
    uid = header.get("SOPClassUID")
    name = getattr(uid, "name", "")
    return name if name and name != uid else "that is not given or private"


def read_frame(path: Path, index: int, as_mask: bool, header: Dataset | None = None) -> NDArray[Any]:
    """One frame as (C, H, W): numbers of the modality, or as stored for a mask.

    Args:
        path: the file.
        index: of the frame, from 0.
        as_mask: leave the stored numbers as they are.
        header: of the file, where it was read before.
    """
    with path.open("rb") as file:
        known = _header(path, file, None) if header is None else header
        frames_of(path, known)
        return _frame(path, file, known, index, as_mask)


def _frame(path: Path, file: BinaryIO, header: Dataset, index: int, as_mask: bool) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut

    _require_decoder(path, header)
    array = _decoded(path, file, header, index)
    kind = str(header.get("PhotometricInterpretation"))
    if array.ndim == 3 and kind in _BECOMES_RGB:
        kind = "RGB"
    if kind not in _KINDS:
        raise refused(path, ", ".join((*_KINDS, "or YBR")), f"photometric interpretation {kind}", AS_GREY_OR_RGB)
    if as_mask or kind == "RGB":
        return np.moveaxis(array, 2, 0) if array.ndim == 3 else array[None]
    if kind == "PALETTE COLOR":
        return np.moveaxis(apply_color_lut(array, header)[..., :3], 2, 0)
    return _modality(header, array, kind, rescale_of(header, index))[None]


def _decoded(path: Path, file: BinaryIO, header: Dataset, index: int) -> NDArray[Any]:
    """The stored numbers of a frame, (H, W) or (H, W, 3)."""
    import pydicom
    from pydicom.pixels.utils import pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    try:
        _require_honest_codestream(path, file, header, index)
        file.seek(0)
        with no_native_stderr() if syntax in pydicom.uid.JPEG2000TransferSyntaxes else nullcontext():
            # An object that is deflated as a whole has no pixels at a place of the file.
            return np.asarray(pixel_array(pydicom.dcmread(file) if syntax.is_deflated else file, index=index))
    except (ImportError, OSError, DatasetError):
        raise
    except Exception as error:
        # Only what the decoders themselves say is passed on; other messages quote the header.
        said = " ".join(str(error).split())[:300] if isinstance(error, RuntimeError) else type(error).__name__
        raise damaged(path, f"no pixels that can be decoded from {syntax.name} ({said})") from error


def _modality(header: Dataset, stored: NDArray[Any], kind: str, rescale: Rescale | None) -> NDArray[Any]:
    values = _values(header, stored, rescale)
    if kind != "MONOCHROME1":
        return values
    # Against the full stored range, not this image's extremes, so that one density is one number in all files.
    bits = int(header.BitsStored)
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.PixelRepresentation else (0, 2**bits - 1)
    ends = np.asarray(_values(header, np.array([lowest, highest]), rescale), np.float64)
    return np.asarray(ends.sum() - values)


def _values(header: Dataset, stored: NDArray[Any], rescale: Rescale | None) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    if rescale is not None:
        return np.asarray(stored.astype(np.float64) * rescale.slope + rescale.intercept)
    return np.asarray(apply_modality_lut(stored, header))


def _require_decoder(path: Path, header: Dataset) -> None:
    """Refuse a transfer syntax that cannot be read, or not with what is installed."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise damaged(path, "no transfer syntax in its file meta information")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:  # what pydicom raises for a syntax that has no decoder, such as video
        name = syntax.name if syntax.name != syntax else "that is not of the standard"
        raise refused(path, "pixels in a transfer syntax for still images", name, "Export it uncompressed.") from error
    if not decoder.is_available:
        raise MissingDependencyError(
            f"{path.name} is compressed, and no package that unpacks it is installed",
            expected=f"a plugin of pydicom for {syntax.name}",
            found="; ".join(decoder.missing_dependencies) or "none",
            where=path,
            todo=f"{PACKAGES}, or export the file uncompressed.",
        )
    if "gdcm" in sys.modules:
        _silence_gdcm(sys.modules["gdcm"])


def _silence_gdcm(gdcm: Any) -> None:
    """It writes to stderr by itself."""
    for what in ("Warning", "Error", "Debug"):
        getattr(gdcm.Trace, f"{what}Off")()


def _require_honest_codestream(path: Path, file: BinaryIO, header: Dataset, index: int) -> None:
    """Refuse a compressed frame of another size than the header declares: a decoder believes the frame."""
    import pydicom
    from pydicom.encaps import get_frame

    if not header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    file.seek(0)
    pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[])
    file.seek(12, 1)  # tag, type and length of PixelData; encapsulated pixels always have these
    found = codestream_size(get_frame(file, index, number_of_frames=int(header.get("NumberOfFrames") or 1)))
    samples = int(header.get("SamplesPerPixel") or 1)
    if found is not None and found != (header.Rows, header.Columns, samples):
        expected = f"{header.Rows} rows, {header.Columns} columns, {samples} samples, as the header says"
        raise refused(path, expected, f"frame {index + 1} of {found}", "Export the file again.")


def _require_small_when_inflated(path: Path, file: BinaryIO) -> None:
    """Refuse a deflated object that unpacks to more than is read: pydicom inflates it as a whole."""
    from pydicom.filereader import _read_file_meta_info, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    try:
        read_preamble(file, False)
        syntax = _read_file_meta_info(file).get("TransferSyntaxUID")
        if syntax == DeflatedExplicitVRLittleEndian:
            most = min(LARGEST_VOLUME // 4, max(_INFLATED, _INFLATES * path.stat().st_size))
            if _inflated(file, most) > most:
                refuse_size(path, f"more than {most} bytes when it is inflated")
    except DatasetError:
        raise
    except Exception:  # whatever else is wrong with it, reading the file says so
        return
    finally:
        file.seek(0)


def _inflated(file: BinaryIO, most: int) -> int:
    """Bytes that the rest of a file inflates to, counted no further than a limit."""
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while size <= most and (packed := inflate.unconsumed_tail or file.read(2**16)):
        size += len(inflate.decompress(packed, 2**22))
    return size
