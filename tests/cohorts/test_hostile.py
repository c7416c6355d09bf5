"""Files made to harm: what would take memory or time is refused first, and nothing is executed, printed or followed."""

from __future__ import annotations

import gzip
import io
import logging
import struct
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from medgan_qa.cohorts.readers import (
    SUFFIXES,
    _common,
    dicom,
    open_volume,
    pictures,
    read_image,
    read_mask,
    read_spacing,
)
from medgan_qa.cohorts.readers._quiet import quiet
from medgan_qa.errors import DatasetError, MedganQAError
from tests.cohorts.dicom_files import blank, saved

Nifti1Image: Any = nib.Nifti1Image  # nibabel's constructors are not annotated
LIMIT = 2**26  # bytes, in place of the real ones, so that bombs are quickly made
MOST = 2 * LIMIT  # bytes that a refusal may take
GREY = np.arange(120, dtype=np.uint8).reshape(12, 10)


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(10**5)))]
    return b"".join([*parts, chunk(b"IEND", b"")])


def npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def large_png(path: Path) -> None:
    path.write_bytes(png_of(60000, 60000))


def impossible_png(path: Path) -> None:
    path.write_bytes(png_of(8000, 8000))


def large_npy(path: Path) -> None:
    path.write_bytes(npy_header((2**20, 2**20)))


def npz_that_claims(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy_header((2**15, 2**15)) + bytes(1000))


def npz_that_unpacks(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as file:
        file.write(npy_header((12, 2**10, 2**10)))
        for _ in range(12):
            file.write(bytes(8 * 2**20))


def npz_with_more_than_its_array(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy_header((8, 8)) + bytes(10**7))


def nifti_header(shape: tuple[int, ...], offset: float = 352.0) -> bytes:
    header = Nifti1Image(np.zeros((2, 2), np.float64), np.eye(4)).header
    header.set_data_dtype(np.float64)
    header["magic"], header["vox_offset"] = b"n+1", offset
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    return bytes(header.binaryblock)


def large_nifti(path: Path) -> None:
    path.write_bytes(nifti_header((30000, 30000)) + bytes(1000))


def gzip_bomb(path: Path) -> None:
    packed = gzip.compress(nifti_header((1000, 1000, 300)) + bytes(4 + 10**7))
    path.with_suffix("").with_suffix(".nii.gz").write_bytes(packed)


def nifti_whose_voxels_begin_far_away(path: Path) -> None:
    path.with_suffix("").with_suffix(".nii.gz").write_bytes(gzip.compress(nifti_header((4, 4), 2e9) + bytes(1000)))


def nifti_with_extensions_without_end(path: Path) -> None:
    extension = b"\1\0\0\0" + struct.pack("<ii", -16, 6)
    path.write_bytes(nifti_header((4, 4), 2000.0) + extension + bytes(10))


def tiff_bomb(path: Path) -> None:
    tifffile.imwrite(path, GREY, photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        offsets, counts = tags["StripOffsets"], tags["StripByteCounts"]
        places = offsets.offset + 8, counts.offset + 8
        short = counts.dtype == 3
    packed = zlib.compressobj(9)
    bomb = b"".join(packed.compress(bytes(2**22)) for _ in range(20)) + packed.flush()
    content = bytearray(path.read_bytes())
    assert not short
    content[places[0] : places[0] + 4] = struct.pack("<I", len(content))
    content[places[1] : places[1] + 4] = struct.pack("<I", len(bomb))
    path.write_bytes(bytes(content) + bomb)


def large_tiff(path: Path) -> None:
    tifffile.imwrite(path, GREY, photometric="minisblack")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
    for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
        tag = tags[name]
        content[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, 60000)
    path.write_bytes(bytes(content))


def large_dicom(path: Path) -> None:
    saved(blank("1.2", GREY), path, Rows=60000, Columns=60000)


def dicom_of_many_frames(path: Path) -> None:
    saved(blank("1.2", GREY), path, NumberOfFrames=2**31 - 1)


def deflated_bomb(path: Path) -> None:
    dataset = blank("1.2", GREY)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    saved(dataset, path)
    content = path.read_bytes()
    meta = 132 + 12 + int.from_bytes(content[140:144], "little")
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packed.compress(bytes(2**22)) for _ in range(20)) + packed.flush()
    path.write_bytes(content[:meta] + bomb)


HARMFUL: list[tuple[str, Callable[[Path], None]]] = [
    (".png", large_png),
    (".png", impossible_png),
    (".npy", large_npy),
    (".npz", npz_that_claims),
    (".npz", npz_that_unpacks),
    (".npz", npz_with_more_than_its_array),
    (".nii", large_nifti),
    (".nii.gz", gzip_bomb),
    (".nii.gz", nifti_whose_voxels_begin_far_away),
    (".tif", tiff_bomb),
    (".tif", large_tiff),
    (".dcm", large_dicom),
    (".dcm", dicom_of_many_frames),
    (".dcm", deflated_bomb),
]


@pytest.mark.parametrize(("suffix", "make"), HARMFUL, ids=[make.__name__ for _, make in HARMFUL])
def test_what_would_fill_the_memory_is_refused_before_it_is_taken(
    tmp_path: Path, suffix: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_common, dicom, pictures):
        monkeypatch.setattr(module, "LARGEST_VOLUME", LIMIT)
    path = tmp_path / f"a{suffix}"
    make(path)
    read: Callable[[Path], object]
    for read in (read_image, read_mask, lambda p: opened(p)):
        began = time.perf_counter()
        tracemalloc.start()
        try:
            with pytest.raises(DatasetError):
                read(path)
            assert tracemalloc.get_traced_memory()[1] < MOST
        finally:
            tracemalloc.stop()
        assert time.perf_counter() - began < 30


def opened(path: Path) -> object:
    """The first slice of a volume; an error where there is none."""
    volume = open_volume(path)
    return read_image(path) if volume is None else volume.read(0)


def test_extensions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nifti_with_extensions_without_end(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_image(path)
    path.write_bytes(path.read_bytes() + bytes(3000))
    assert not read_image(path)[0].any()


# What is damaged at random


def seeds(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A whole file of every kind."""
    stored = np.random.default_rng(3).integers(0, 255, (24, 20)).astype(np.uint8)
    volume = np.random.default_rng(4).integers(0, 900, (8, 9, 10)).astype(np.int16)
    for name, array in (("a.npy", stored), ("b.npy", volume)):
        np.save(folder / name, array)
    np.savez_compressed(folder / "a.npz", image=volume)
    tifffile.imwrite(folder / "a.tif", volume, photometric="minisblack", compression="zlib")
    for suffix in ("nii", "nii.gz"):
        nib.save(Nifti1Image(volume, np.eye(4)), folder / f"a.{suffix}")
    dataset = blank("1.2", stored)
    saved(dataset, folder / "a.dcm", RescaleSlope="1", ImagePositionPatient=[0, 0, 0])
    dataset.compress("1.2.840.10008.1.2.5")
    saved(dataset, folder / "b.dcm")
    (folder / "a.png").write_bytes(png_of(100, 500))
    for path in sorted(folder.iterdir()):
        yield path.name, path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Whole files by name."""
    return dict(seeds(tmp_path_factory.mktemp("whole")))


def read_all(path: Path) -> None:
    """Everything that may be done with a file; only errors of ours come out."""
    for read in (read_image, read_mask, read_spacing, opened):
        with suppress(MedganQAError):
            read(path)  # type: ignore[operator]


@settings(max_examples=150)
@given(data=st.data())
def test_prop_damaged_files_end_in_an_error_of_ours_or_in_an_image(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(content) - 1, 700)) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(bytes(content))
    read_all(path)


@settings(max_examples=60)
@given(content=st.binary(max_size=2000), suffix=st.sampled_from(SUFFIXES))
def test_prop_noise_ends_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("noise") / f"a{suffix}"
    path.write_bytes(content)
    read_all(path)


# Nothing comes out but errors


def test_nothing_is_printed_logged_or_warned(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dataset = blank("1.2", GREY)
    path = saved(dataset, tmp_path / "a.dcm", PatientName="Doe^Jane", RescaleIntercept="123456", RescaleSlope="1")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"123456", b"Doe,J."))
    header = bytearray(nifti_header((12, 10)) + b"\0" * 2000)
    header[70:72] = struct.pack("<h", 9999)  # datatype
    (tmp_path / "a.nii").write_bytes(bytes(header))
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", description="Doe, Jane")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-60])
    (tmp_path / "a.png").write_bytes(png_of(100, 500)[:-70])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("a.dcm", "a.nii", "a.tif", "a.png"):
            with pytest.raises(DatasetError) as error:
                read_image(tmp_path / name)
            assert "Doe" not in str(error.value)
    assert caught == []
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_what_is_silenced_is_put_back() -> None:
    logger = logging.getLogger("pydicom")
    before = (list(logger.handlers), logger.propagate, list(warnings.filters))
    with quiet(), quiet():
        assert logger.propagate is False
    assert (list(logger.handlers), logger.propagate, list(warnings.filters)) == before
