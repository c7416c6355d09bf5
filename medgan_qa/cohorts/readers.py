"""Image and mask files, one slice a file: numbers as they are stored, never rescaled for display.

- `.png`: 8 or 16 bit grey, 8 bit RGB. Carries no spacing.
- `.tif`, `.tiff`: one page, grey (zero is black) or RGB, any numeric type. Resolution tags are not taken for spacing.
- `.npy`, `.npz`: real numbers, axes as `channel_first` says; an archive holds one, or one named `image` or `mask`.
- `.nii`, `.nii.gz`: the file's first axis is rows, its second columns, neither transposed nor reoriented; slope and
  intercept applied; spacing from the header, in mm.
- `.dcm`: one classic frame; the modality rescale is applied, MONOCHROME1 is inverted within the range of its stored
  bits; spacing from PixelSpacing. A mask is read as stored, without either.

Images come back as float32, which holds integers exactly up to 2**24. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import DatasetError, MissingDependencyError

if TYPE_CHECKING:
    import nibabel as nib
    from pydicom import Dataset

Spacing = tuple[float, float]
_T = TypeVar("_T")

_ONE_SLICE = "Export one file per slice; volumes and multi-frame files are not read yet."
_AS_GREY_OR_RGB = "Save it as 8 or 16 bit grey, as 8 bit RGB, or as .npy."


class _Decoded(NamedTuple):
    array: NDArray[Any]  # (C, H, W), the numbers that the file stands for
    spacing_mm: Spacing | None = None


def read_image(path: Path) -> tuple[NDArray[np.float32], Spacing | None]:
    """Read one image slice.

    Args:
        path: a file with one of `SUFFIXES`.

    Returns:
        The stored numbers (C, H, W), and the pixel spacing (dy, dx) in mm where the file carries one.

    Raises:
        DatasetError: the file is missing, damaged, of a kind that is not read, or holds NaN or infinity.
        MissingDependencyError: the library for this format is not installed.
    """
    array, spacing = _decode(path, as_mask=False)
    if array.dtype.kind not in "uif":
        raise _refused(path, "real numbers", f"elements of type {array.dtype}", _AS_GREY_OR_RGB)
    with np.errstate(over="ignore"):
        image = array.astype(np.float32)
    _require_finite(image, path)
    return image, spacing


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read one mask (H, W): True where the stored element is not zero.

    Raises:
        DatasetError: as `read_image`, and for more than one channel.
        MissingDependencyError: the library for this format is not installed.
    """
    array, _ = _decode(path, as_mask=True)
    if array.dtype.kind not in "buif":
        raise _refused(path, "numbers or booleans", f"elements of type {array.dtype}", _AS_GREY_OR_RGB)
    if array.shape[0] != 1:
        raise _refused(path, "a mask with one channel", f"{array.shape[0]} channels", "Save it as grey or .npy.")
    _require_finite(array, path)
    return np.asarray(array[0] != 0)


def read_spacing(path: Path) -> Spacing | None:
    """The pixel spacing (dy, dx) in mm of the file's header, None where it carries none; pixels are not read.

    Raises:
        DatasetError: the file is missing or its header is damaged.
        MissingDependencyError: the library for this format is not installed.
    """
    reader = _HEADERS.get(suffix_of(path) or "")
    return None if reader is None else _guarded(path, lambda: reader(path))


def suffix_of(path: Path) -> str | None:
    """The one of `SUFFIXES` that the name ends in, in whatever case; None if it ends in none."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


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


def _decode(path: Path, *, as_mask: bool) -> _Decoded:
    suffix = suffix_of(path)
    if suffix is None:
        raise _refused(path, "a file that ends in " + ", ".join(SUFFIXES), path.name, "Convert it to one of these.")
    decoded = _guarded(path, lambda: _DECODERS[suffix](path, as_mask))
    if decoded.array.size == 0:
        raise _refused(path, "at least one pixel", f"shape {decoded.array.shape}", "Export the file again.")
    return decoded


def _guarded(path: Path, read: Callable[[], _T]) -> _T:
    if not path.is_file():
        raise _refused(path, "a file", "nothing there", "Correct the path in the table, or put the file in place.")
    try:
        with _whole_files_only():
            return read()
    except DatasetError:
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
        raise DatasetError(
            f"{path.name} cannot be read",
            expected=f"a whole {suffix_of(path)} file",
            found=f"{type(error).__name__}: {error}",
            where=path,
            todo="Export or copy the file again.",
        ) from error


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Have Pillow refuse truncated files: WeasyPrint tells it, for the whole process, to fill them up with black."""
    from PIL import ImageFile

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _refused(path: Path, expected: str, found: str, todo: str) -> DatasetError:
    return DatasetError(f"{path.name} cannot be used", expected=expected, found=found, where=path, todo=todo)


def _require_finite(array: NDArray[Any], path: Path) -> None:
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        found = f"{bad} of {array.size} elements are NaN or infinite"
        raise _refused(path, "finite numbers (as float32)", found, "Repair the file, or remove the case.")


def _png(path: Path, as_mask: bool) -> _Decoded:
    from PIL import Image

    with path.open("rb") as file:
        header = file.read(26)
    with Image.open(path, formats=["PNG"]) as picture:
        if getattr(picture, "n_frames", 1) > 1:
            raise _refused(path, "one picture", f"{getattr(picture, 'n_frames', 0)} frames", _ONE_SLICE)
        bits = header[24]
        allowed = {"L", "I;16", "I", "F", "RGB"} | ({"1"} if as_mask else set())
        # Pillow silently drops RGB to 8 bits and stretches 2 and 4 bit grey, so neither would be what is stored.
        altered = (picture.mode == "RGB" and bits != 8) or (picture.mode == "L" and bits != 8 and not as_mask)
        if picture.mode not in allowed or altered:
            raise _refused(path, "grey or 8 bit RGB", f"mode {picture.mode}, {bits} bits a channel", _AS_GREY_OR_RGB)
        array = np.asarray(picture)
    return _Decoded(np.moveaxis(array, 2, 0) if array.ndim == 3 else array[None])


def _tiff(path: Path, as_mask: bool) -> _Decoded:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if len(file.pages) != 1:
            raise _refused(path, "one page", f"{len(file.pages)} pages", _ONE_SLICE)
        page, series = file.pages.first, file.series[0]
        kind = getattr(page.photometric, "name", str(page.photometric))
        if kind not in ("MINISBLACK", "RGB") or page.samplesperpixel != {"MINISBLACK": 1, "RGB": 3}[kind]:
            found = f"{kind} with {page.samplesperpixel} samples a pixel"
            raise _refused(path, "grey where zero is black, or RGB", found, _AS_GREY_OR_RGB)
        if page.bitspersample == 1 and not as_mask:
            raise _refused(path, "at least 8 bits a pixel", "1 bit", _AS_GREY_OR_RGB)
        array, axes = series.asarray(), series.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise _refused(path, "one slice", f"axes {axes} of shape {array.shape}", _ONE_SLICE)
    if axes == "YX":
        return _Decoded(array[None])
    return _Decoded(np.moveaxis(array, 2, 0) if axes == "YXS" else array)


def _npy(path: Path, as_mask: bool) -> _Decoded:
    with path.open("rb") as file:
        return _Decoded(channel_first(np.lib.format.read_array(file, allow_pickle=False)))


def _npz(path: Path, as_mask: bool) -> _Decoded:
    wanted = "mask" if as_mask else "image"
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise _refused(path, "an .npz archive", "a bare array", "Name the file .npy.")
        names = archive.files
        chosen = names[0] if len(names) == 1 else wanted
        if chosen not in names:
            listed = ", ".join(names) or "none"
            raise _refused(path, f"one array, or one named {wanted}", f"arrays {listed}", "Keep one array in the file.")
        return _Decoded(channel_first(archive[chosen]))


def _nifti(path: Path, as_mask: bool) -> _Decoded:
    picture = _open_nifti(path)
    shape = _slice_shape(path, picture)
    stored: Any = picture.dataobj
    data = np.asarray(stored).reshape(shape)
    if as_mask:
        # A float mask stored as scaled integers comes back with zeros that are off by rounding, never by half a step.
        data = np.abs(data) > abs(stored.slope) / 2 if stored.inter else data
    return _Decoded(data[None], _nifti_spacing(path))


def _open_nifti(path: Path) -> nib.Nifti1Image:
    import nibabel as nib

    picture = nib.load(path, mmap=False)
    if not isinstance(picture, nib.Nifti1Image):
        raise _refused(path, "a NIfTI file", type(picture).__name__, "Convert it to NIfTI.")
    return picture


def _slice_shape(path: Path, picture: nib.Nifti1Image) -> tuple[int, ...]:
    shape = tuple(int(n) for n in picture.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 2:
        raise _refused(path, "one slice (H, W) or (H, W, 1)", f"an array of shape {picture.shape}", _ONE_SLICE)
    return shape


def _nifti_spacing(path: Path) -> Spacing | None:
    header: Any = _open_nifti(path).header
    unit = {"meter": 1e3, "micron": 1e-3}.get(header.get_xyzt_units()[0], 1.0)
    return _spacing([float(size) * unit for size in header.get_zooms()[:2]])


def _dicom(path: Path, as_mask: bool) -> _Decoded:
    import pydicom

    dataset = pydicom.dcmread(path)
    _require_plain_dicom(path, dataset)
    array = dataset.pixel_array  # (H, W) or (H, W, 3)
    if array.ndim == 3:
        return _Decoded(np.moveaxis(array, 2, 0), _dicom_spacing(path))
    return _Decoded((array if as_mask else _modality_values(dataset, array))[None], _dicom_spacing(path))


def _require_plain_dicom(path: Path, dataset: Dataset) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise _refused(path, "one frame", f"{frames} frames", _ONE_SLICE)
    # In enhanced objects the rescale and the spacing stand in functional groups, where they would be missed.
    if "SharedFunctionalGroupsSequence" in dataset:
        raise _refused(path, "a single-frame object", f"an enhanced object ({dataset.SOPClassUID})", _ONE_SLICE)
    kind = dataset.PhotometricInterpretation
    if kind not in ("MONOCHROME1", "MONOCHROME2", "RGB"):
        raise _refused(path, "MONOCHROME1, MONOCHROME2 or RGB", f"photometric interpretation {kind}", _AS_GREY_OR_RGB)


def _modality_values(dataset: Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    values = np.asarray(apply_modality_lut(stored, dataset))
    if dataset.PhotometricInterpretation != "MONOCHROME1":
        return values
    # Against the full stored range, not this image's extremes, so that one density is one number in all files.
    bits = int(dataset.BitsStored)
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    ends = np.asarray(apply_modality_lut(np.array([lowest, highest]), dataset), np.float64)
    return np.asarray(ends.sum() - values)


def _dicom_spacing(path: Path) -> Spacing | None:
    import pydicom

    values = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PixelSpacing"]).get("PixelSpacing")
    return _spacing([float(value) for value in values or ()])


def _spacing(values: list[float]) -> Spacing | None:
    if len(values) != 2 or not all(np.isfinite(value) and value > 0 for value in values):
        return None
    return values[0], values[1]


_DECODERS: dict[str, Callable[[Path, bool], _Decoded]] = {
    ".png": _png,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".npy": _npy,
    ".npz": _npz,
    ".nii": _nifti,
    ".nii.gz": _nifti,
    ".dcm": _dicom,
}
_HEADERS: dict[str, Callable[[Path], Spacing | None]] = {
    ".nii": _nifti_spacing,
    ".nii.gz": _nifti_spacing,
    ".dcm": _dicom_spacing,
}
SUFFIXES = tuple(_DECODERS)
"""The file name endings that are read."""
