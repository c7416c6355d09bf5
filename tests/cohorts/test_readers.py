from __future__ import annotations

import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from medgan_qa.cohorts.readers import SUFFIXES, channel_first, read_image, read_mask, read_spacing
from medgan_qa.errors import DatasetError, MissingDependencyError

Writer = Callable[..., Path]
Nifti1Image: Any = nib.Nifti1Image  # nibabel's constructors are not annotated
GREY8 = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
GREY16 = np.linspace(0, 65535, 12 * 10).round().astype(np.uint16).reshape(12, 10)
FLOAT = np.linspace(-1000.5, 3000.25, 12 * 10, dtype=np.float32).reshape(12, 10)
RGB = np.stack([GREY8, 255 - GREY8, GREY8 // 2], axis=-1)


def refusal(path: Path, *, mask: bool = False) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        read_mask(path) if mask else read_image(path)
    error = caught.value
    assert error.exit_code == 2
    assert error.where == str(path)
    assert all((error.expected, error.found, error.todo))
    assert path.name in str(error)
    return error


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("stored", [GREY8, GREY16], ids=["uint8", "uint16"])
def test_every_format_gives_back_what_was_stored(
    tmp_path: Path, suffix: str, stored: NDArray[Any], write_file: Writer
) -> None:
    image, _ = read_image(write_file(tmp_path / f"a{suffix}", stored))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, stored[None])


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".npz", ".nii", ".nii.gz"])
def test_float_formats_keep_negative_and_fractional_numbers(tmp_path: Path, suffix: str, write_file: Writer) -> None:
    np.testing.assert_array_equal(read_image(write_file(tmp_path / f"a{suffix}", FLOAT))[0], FLOAT[None])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".dcm"])
def test_rgb_becomes_three_channels(tmp_path: Path, suffix: str, write_file: Writer) -> None:
    np.testing.assert_array_equal(read_image(write_file(tmp_path / f"a{suffix}", RGB))[0], np.moveaxis(RGB, -1, 0))


def test_planar_rgb_tiff_becomes_three_channels(tmp_path: Path) -> None:
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], planes)


def test_16_bit_png_keeps_all_its_levels(tmp_path: Path, write_file: Writer) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image, _ = read_image(write_file(tmp_path / "a.png", levels))
    assert len(np.unique(image)) == 65536
    np.testing.assert_array_equal(image[0], levels)


def test_suffix_case_does_not_matter(tmp_path: Path, write_file: Writer) -> None:
    path = write_file(tmp_path / "a.png", GREY8).rename(tmp_path / "A.PNG")
    np.testing.assert_array_equal(read_image(path)[0][0], GREY8)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_masks_are_true_where_not_zero(tmp_path: Path, suffix: str, write_file: Writer) -> None:
    stored = np.where(GREY8 % 3 == 0, 0, GREY8).astype(np.uint8)
    mask = read_mask(write_file(tmp_path / f"a{suffix}", stored))
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, stored != 0)


def test_one_bit_png_is_a_mask_and_no_image(tmp_path: Path, write_file: Writer) -> None:
    path = write_file(tmp_path / "a.png", GREY8 > 60)
    np.testing.assert_array_equal(read_mask(path), GREY8 > 60)
    assert "mode 1, 1 bits" in str(refusal(path))


def test_boolean_array_is_a_mask_and_no_image(tmp_path: Path, write_file: Writer) -> None:
    path = write_file(tmp_path / "a.npy", GREY8 > 60)
    np.testing.assert_array_equal(read_mask(path), GREY8 > 60)
    assert "bool" in str(refusal(path))


def test_mask_with_three_channels_is_refused(tmp_path: Path, write_file: Writer) -> None:
    assert "3 channels" in str(refusal(write_file(tmp_path / "a.png", RGB), mask=True))


@pytest.mark.parametrize("grey", [True, False])
def test_a_palette_png_gives_its_colours(tmp_path: Path, grey: bool) -> None:
    palette = np.random.default_rng(2).integers(0, 255, (256, 1 if grey else 3)).repeat(3 if grey else 1, axis=1)
    picture = Image.fromarray(GREY8, "P")
    picture.putpalette(palette.astype(np.uint8).tobytes())
    picture.save(tmp_path / "a.png")
    shown = np.moveaxis(palette[GREY8], 2, 0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], shown[:1] if grey else shown)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), GREY8 != 0)
    picture.save(tmp_path / "b.png", transparency=3)
    assert "mode P" in str(refusal(tmp_path / "b.png"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_other_png_modes_are_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    assert f"mode {mode}" in str(refusal(tmp_path / "a.png"))


def test_png_depths_that_pillow_would_alter_are_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for bits, colour, row in ((16, 2, b"\1\2\3\4\5\6"), (4, 0, b"\x50")):
        header = struct.pack(">IIBBBBB", 1, 1, bits, colour, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row))
        (tmp_path / "a.png").write_bytes(data + chunk(b"IEND", b""))
        assert f"{bits} bits a channel" in str(refusal(tmp_path / "a.png"))


def test_animated_png_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY8).save(tmp_path / "a.png", save_all=True, append_images=[Image.fromarray(255 - GREY8)])
    assert "2 frames" in str(refusal(tmp_path / "a.png"))


def test_tiff_with_pages_inverted_grey_or_alpha_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([GREY8, GREY8]), photometric="minisblack")
    assert "2 pages" in str(refusal(path))
    tifffile.imwrite(path, GREY8, photometric="miniswhite")
    assert "MINISWHITE" in str(refusal(path))
    tifffile.imwrite(path, np.dstack([RGB, GREY8]), photometric="rgb", extrasamples=["unassalpha"])
    assert "RGB with 4 samples" in str(refusal(path))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 6), (1, 5, 6)),
        ((1, 5, 6), (1, 5, 6)),
        ((4, 5, 6), (4, 5, 6)),
        ((5, 6, 3), (3, 5, 6)),
        ((5, 6, 1), (1, 5, 6)),
    ],
)
def test_channel_first_reads_clear_layouts(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    moved = channel_first(array)
    assert moved.shape == expected
    assert moved[-1, 2, 3] == (
        array[2, 3, -1] if shape[0] == 5 and len(shape) == 3 else array.reshape(expected)[-1, 2, 3]
    )


@pytest.mark.parametrize("shape", [(5,), (3, 6, 3), (1, 6, 1), (5, 6, 2), (5, 6, 7), (1, 1, 5, 6)])
def test_layouts_that_would_be_a_guess_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    assert str(shape) in str(refusal(tmp_path / "a.npy"))


def test_npz_takes_the_array_named_for_its_use(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, image=FLOAT, mask=GREY8 > 9)
    np.testing.assert_array_equal(read_image(path)[0][0], FLOAT)
    np.testing.assert_array_equal(read_mask(path), GREY8 > 9)
    np.savez(path, left=FLOAT, right=FLOAT)
    assert "arrays left, right" in str(refusal(path))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_never_loaded(tmp_path: Path, suffix: str, write_file: Writer) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    refusal(path)
    write_file(path, np.array([[Bomb()]], dtype=object))
    assert "allow_pickle=False" in str(refusal(path))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".nii.gz"])
def test_nan_and_infinity_are_counted(tmp_path: Path, suffix: str, write_file: Writer) -> None:
    broken = FLOAT.copy()
    broken[0, :2], broken[3, 3] = np.nan, np.inf
    path = write_file(tmp_path / f"a{suffix}", broken)
    for mask in (False, True):
        assert "3 of 120 elements are NaN or infinite" in str(refusal(path, mask=mask))


def test_float64_beyond_float32_is_refused(tmp_path: Path, write_file: Writer) -> None:
    assert "1 of 1 elements" in str(refusal(write_file(tmp_path / "a.npy", np.array([[1e300]]))))


def test_complex_and_empty_arrays_are_refused(tmp_path: Path, write_file: Writer) -> None:
    assert "complex64" in str(refusal(write_file(tmp_path / "a.npy", FLOAT.astype(np.complex64))))
    assert "(1, 0, 5)" in str(refusal(write_file(tmp_path / "b.npy", np.zeros((0, 5)))))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("tolerant", [False, True], ids=["as it comes", "after WeasyPrint was imported"])
def test_truncated_files_are_named(
    tmp_path: Path, suffix: str, tolerant: bool, write_file: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # WeasyPrint sets this for the whole process when it is imported, which the command line does before it reads data.
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", tolerant)
    noise = np.random.default_rng(1).integers(0, 65535, (64, 64)).astype(np.uint16)
    path = write_file(tmp_path / f"a{suffix}", noise)
    content = path.read_bytes()
    for size in (len(content) // 2, 20, 0):
        path.write_bytes(content[:size])
        assert "cannot be read" in str(refusal(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_another_kind_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"case_id,patient_id\n1,2\n" * 100)
    refusal(path)
    refusal(path, mask=True)


def test_missing_and_unknown_files_are_refused(tmp_path: Path) -> None:
    assert "nothing there" in str(refusal(tmp_path / "a.png"))
    (tmp_path / "a.jpg").write_bytes(b"")
    assert ".nii.gz" in str(refusal(tmp_path / "a.jpg"))


def test_nifti_keeps_axes_and_takes_spacing_and_scale(tmp_path: Path, write_file: Writer) -> None:
    path = with_scale(write_file(tmp_path / "a.nii", GREY8.astype(np.int16), (0.5, 0.75)), 2.0, -1024.0)
    image, spacing = read_image(path)
    assert spacing == (0.5, 0.75) == read_spacing(path)
    np.testing.assert_array_equal(image[0], GREY8 * 2.0 - 1024.0)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)])
def test_nifti_spacing_is_converted_to_mm(tmp_path: Path, unit: str, factor: float, write_nifti: Writer) -> None:
    write_nifti(tmp_path / "a.nii", GREY8, (0.5, 2.0), unit)
    assert read_spacing(tmp_path / "a.nii") == pytest.approx((0.5 * factor, 2.0 * factor))


def with_scale(path: Path, slope: float, intercept: float) -> Path:
    """Set scl_slope and scl_inter of an uncompressed NIfTI file without touching its voxels."""
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(content)
    return path


def test_mask_in_scaled_nifti_keeps_its_zeros(tmp_path: Path, write_file: Writer) -> None:
    lesion = GREY8 > 60
    path = with_scale(write_file(tmp_path / "a.nii", np.where(lesion, 7, -3).astype(np.int16)), 0.1, 0.3)
    assert np.all(read_image(path)[0] != 0)  # 0.1 and 0.3 are rounded, so that -3 comes out next to zero
    np.testing.assert_array_equal(read_mask(path), lesion)


def test_nifti_volume_is_refused(tmp_path: Path) -> None:
    nib.save(Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    error = refusal(tmp_path / "a.nii")
    assert "(4, 5, 6)" in str(error)
    assert "[volumes]" in str(error)


def test_dicom_applies_rescale_and_takes_spacing(tmp_path: Path, write_dicom: Writer) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, GREY8.astype(np.int16), (0.7, 0.9), RescaleSlope="2", RescaleIntercept="-1024")
    image, spacing = read_image(path)
    np.testing.assert_array_equal(image[0], GREY8 * 2.0 - 1024)
    assert spacing == (0.7, 0.9) == read_spacing(path)
    np.testing.assert_array_equal(read_mask(path), GREY8 != 0)


def test_dicom_without_spacing_has_none(tmp_path: Path, write_dicom: Writer) -> None:
    write_dicom(tmp_path / "a.dcm", GREY8)
    assert read_image(tmp_path / "a.dcm")[1] is None


def test_monochrome1_is_inverted_within_its_stored_bits(tmp_path: Path, write_dicom: Writer) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, GREY16 // 16, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_image(path)[0][0], 4095 - GREY16 // 16)
    signed = GREY8.astype(np.int16) - 50
    write_dicom(path, signed, PhotometricInterpretation="MONOCHROME1", RescaleSlope="2", RescaleIntercept="10")
    np.testing.assert_array_equal(read_image(path)[0][0], 2.0 * (-1 - signed) + 10)
    np.testing.assert_array_equal(read_mask(path), signed != 0)


def test_dicom_that_is_no_plain_slice_is_refused(tmp_path: Path, write_dicom: Writer) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, GREY8, NumberOfFrames="2")
    assert "2 frames" in str(refusal(path))
    write_dicom(path, GREY8, PhotometricInterpretation="ARGB")
    assert "photometric interpretation ARGB" in str(refusal(path))
    write_dicom(path, GREY8, PhotometricInterpretation="PALETTE COLOR")
    refusal(path)  # without a palette


def test_formats_without_spacing_have_none(tmp_path: Path, write_file: Writer) -> None:
    assert read_spacing(write_file(tmp_path / "a.png", GREY8)) is None


def test_missing_library_is_told_apart_from_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_file: Writer
) -> None:
    path = write_file(tmp_path / "a.nii", GREY8)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingDependencyError, match="nibabel"):
        read_image(path)
