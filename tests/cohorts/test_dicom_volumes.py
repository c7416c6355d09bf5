"""DICOM series and multi-frame objects: order and places, against arithmetic on what was written."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from medgan_qa.cohorts.readers import Volume, open_volume, read_image, read_spacing
from medgan_qa.errors import DatasetError
from tests.cohorts.dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    blank,
    item,
    saved,
    write_enhanced,
    write_frames,
    write_series,
)

SLICES = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4) - 50


def opened(path: Path, plane: str = "axial") -> Volume:
    volume = open_volume(path, plane)  # type: ignore[arg-type]
    assert volume is not None
    return volume


def refusal(path: Path, plane: str = "axial") -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        opened(path, plane)
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


def test_slices_are_ordered_by_position_and_not_by_name(tmp_path: Path) -> None:
    names = [f"{name:03d}" for name in (5, 1, 4, 0, 3, 2)]
    write_series(tmp_path, SLICES, names=names, InstanceNumber=1)
    volume = opened(tmp_path)
    assert volume.shape == (6, 5, 4)
    assert volume.spacing_mm == pytest.approx((0.5, 0.75))
    assert volume.slice_mm == pytest.approx(2.0)
    for k in range(6):
        np.testing.assert_array_equal(volume.read(k)[0], SLICES[k])


@pytest.mark.parametrize("step", [2.0, -2.0])
def test_axial_slices_run_from_inferior_to_superior(tmp_path: Path, step: float) -> None:
    write_series(tmp_path, SLICES, step=step)
    first = opened(tmp_path).read(0)[0]
    np.testing.assert_array_equal(first, SLICES[0 if step > 0 else 5])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL, tuple(-x for x in AXIAL)])
def test_any_plane_of_any_series_puts_every_element_where_it_was(
    tmp_path: Path, plane: str, orientation: tuple[float, ...]
) -> None:
    """The oracle is the equation of PS3.3 C.7.6.2.1.1 on the values written, and the table of directions."""
    write_series(tmp_path, SLICES, orientation=orientation)
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(along_row, along_column)
    volume = opened(tmp_path, plane)
    assert volume.affine is not None
    for k, row, column in np.ndindex(volume.shape):
        n, i, j = np.unravel_index(int(volume.read(k)[0, row, column]) + 50, SLICES.shape)
        place = np.array([-10, 20, 30]) + n * 2.0 * normal + along_column * 0.5 * i + along_row * 0.75 * j
        np.testing.assert_allclose((volume.affine @ [k, row, column, 1])[:3], place, atol=1e-4)
    step = {"axial": (2, 1, 0), "coronal": (1, -2, 0), "sagittal": (0, -2, 1)}[plane]
    down, right = volume.affine[:3, 1], volume.affine[:3, 2]
    assert np.argmax(np.abs(down)) == abs(step[1])
    assert np.argmax(np.abs(right)) == step[2]
    assert right[step[2]] > 0  # to the left of the patient, or to the back
    assert down[abs(step[1])] * (1 if plane == "axial" else -1) > 0  # to the back, or down
    assert volume.affine[step[0], 0] * (-1 if plane == "sagittal" else 1) > 0


@settings(max_examples=20)
@given(turn=st.floats(-0.7, 0.7), order=st.permutations(range(6)))
def test_prop_oblique_series_are_in_order_whatever_the_names(
    tmp_path_factory: Any, turn: float, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("oblique")
    orientation = (1, 0, 0, 0, np.cos(turn), np.sin(turn))
    write_series(folder, SLICES, orientation=orientation, names=[f"{n}" for n in order], step=3.3)
    volume = opened(folder)
    assert volume.slice_mm == pytest.approx(3.3, abs=1e-3)
    np.testing.assert_array_equal([volume.read(k)[0] for k in range(6)], SLICES)


def test_a_tilted_gantry_is_read_in_its_own_plane_only(tmp_path: Path) -> None:
    positions = [(0.0, 0.6 * k, 2.0 * k) for k in range(6)]
    write_series(tmp_path, SLICES, positions=positions)
    volume = opened(tmp_path)
    assert volume.slice_mm == pytest.approx(2.0)
    np.testing.assert_array_equal(volume.read(3)[0], SLICES[3])
    assert "73.3 degrees" in str(refusal(tmp_path, "coronal"))


def test_rescale_is_applied_slice_by_slice(tmp_path: Path) -> None:
    for k in range(3):
        dataset = blank("1.2.840.10008.5.1.4.1.1.128", SLICES[k])  # PET, whose slope differs between slices
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 4 * k], list(AXIAL)
        dataset.PixelSpacing = [1, 1]
        saved(dataset, tmp_path / f"{k}.dcm", RescaleSlope=str(k + 0.5), RescaleIntercept="-1024")
    volume = opened(tmp_path)
    for k in range(3):
        np.testing.assert_allclose(volume.read(k)[0], SLICES[k] * (k + 0.5) - 1024)
        np.testing.assert_array_equal(volume.read_mask(k), SLICES[k] != 0)


def test_without_positions_instance_numbers_give_the_order_and_it_is_said(tmp_path: Path) -> None:
    for k, number in enumerate((10, 2, 33)):
        dataset = blank("1.2.840.10008.5.1.4.1.1.7", SLICES[k])
        saved(dataset, tmp_path / f"{k}.dcm", InstanceNumber=str(number))
    volume = opened(tmp_path)
    np.testing.assert_array_equal([volume.read(k)[0] for k in range(3)], SLICES[[1, 0, 2]])
    assert (volume.affine, volume.slice_mm) == (None, None)
    assert "InstanceNumber" in volume.stack.notes[0]
    assert "coronal" in str(refusal(tmp_path, "coronal"))


def moved(k: int) -> Callable[[list[Any], Path], None]:
    def change(written: list[Any], folder: Path) -> None:
        saved(written[k], folder / f"im{k}", ImagePositionPatient=written[0].ImagePositionPatient)

    return change


def changed(k: int, **tags: object) -> Callable[[list[Any], Path], None]:
    return lambda written, folder: void(saved(written[k], folder / f"im{k}", **tags))


def void(_: object) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        (moved(3), "at a position of its own", "1 of 6 at the position of another"),
        (lambda w, f: (f / "im2").unlink(), "at an even distance", "4 mm between slices 1 and 2"),
        (changed(2, ImagePositionPatient=[-10, 20, 34.4]), "at an even distance", "2 of 5 distances differ"),
        (changed(2, ImagePositionPatient=[-9, 20, 34]), "one straight line", "1 mm off it"),
        (changed(2, SeriesInstanceUID="1.2.4"), "one series", "2 series, of 5, 1 files"),
        (changed(2, ImageOrientationPatient=list(CORONAL)), "one orientation", "2 orientations"),
        (changed(2, PixelSpacing=[0.5, 0.8]), "one pixel spacing", "0.5 x 0.75 to 0.5 x 0.8 mm"),
        (changed(2, ImagePositionPatient=None), "in every file, or in none", "1 of 6 without one"),
        (changed(2, PhotometricInterpretation="MONOCHROME1"), "one photometric", "MONOCHROME1, MONOCHROME2"),
        (lambda w, f: void((f / "notes.txt").write_text("x")), "images only", "file 7: no DICOM file"),
        (lambda w, f: (f / "more").mkdir(), "one DICOM series", "1 folder(s) inside"),
        (lambda w, f: void((f / "copy").write_bytes((f / "im1").read_bytes())), "every image once", "1 file(s)"),
        (lambda w, f: void(saved(blank("1.2.3", SLICES[0, :3]), f / "im1")), "one number of rows", "(3, 4, 1)"),
        (lambda w, f: void(write_frames(f / "im1", SLICES)), "one frame a file", "6 frames"),
    ],
)
def test_what_is_not_one_even_series_is_refused(tmp_path: Path, change: Any, expected: str, found: str) -> None:
    written = write_series(tmp_path, SLICES)
    change(written, tmp_path)
    error = refusal(tmp_path)
    assert expected in str(error.expected)
    assert found in str(error.found)


@pytest.mark.parametrize("numbers", [("1", "1", "2"), ("1", None, "2")])
def test_without_positions_or_numbers_there_is_no_order(tmp_path: Path, numbers: tuple[str | None, ...]) -> None:
    for k, number in enumerate(numbers):
        dataset = blank("1.2.840.10008.5.1.4.1.1.7", SLICES[k])
        saved(dataset, tmp_path / f"{k}.dcm", **({} if number is None else {"InstanceNumber": number}))
    assert "InstanceNumber missing or doubled in 1 of 3" in str(refusal(tmp_path))


def test_hidden_files_and_a_dicomdir_are_no_part_of_a_series(tmp_path: Path) -> None:
    write_series(tmp_path, SLICES)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "DICOMDIR").write_bytes(b"x")
    assert len(opened(tmp_path)) == 6


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "nothing" in str(refusal(tmp_path))


def test_headers_are_read_once_and_pixels_when_asked_for(tmp_path: Path) -> None:
    write_series(tmp_path, SLICES)
    volume = opened(tmp_path)
    for k in range(6):
        if k != 4:
            (tmp_path / f"im{k}").unlink()
    np.testing.assert_array_equal(volume.read(4)[0], SLICES[4])
    with pytest.raises(DatasetError, match="cannot be read"):
        volume.read(0)


# Several frames in one object


def test_enhanced_frames_are_ordered_by_position_with_a_rescale_of_their_own(tmp_path: Path) -> None:
    order = list(range(6))
    random.Random(2).shuffle(order)
    positions = [(-10.0, 20.0, 3.0 * k) for k in order]
    rescale = [(k + 1.0, -100.0 * k) for k in order]
    path = write_enhanced(tmp_path / "a.dcm", SLICES[order], positions, rescale=rescale)
    volume = opened(path)
    assert volume.spacing_mm == pytest.approx((0.5, 0.75))
    assert volume.slice_mm == pytest.approx(3.0)
    for k in range(6):
        np.testing.assert_allclose(volume.read(k)[0], SLICES[k] * (k + 1.0) - 100.0 * k)
        np.testing.assert_array_equal(volume.read_mask(k), SLICES[k] != 0)
    coronal = opened(path, "coronal")
    assert coronal.shape == (5, 6, 4)
    expected = np.stack([SLICES[k] * (k + 1.0) - 100.0 * k for k in range(6)])[::-1, 2]
    np.testing.assert_allclose(coronal.read(2)[0], expected)


def test_an_enhanced_object_of_one_frame_is_an_image(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", SLICES[:1], [(0, 0, 0)], rescale=[(2.0, 5.0)], NumberOfFrames=1)
    assert open_volume(path) is None
    image, spacing = read_image(path)
    np.testing.assert_array_equal(image[0], SLICES[0] * 2.0 + 5.0)
    assert spacing == (0.5, 0.75) == read_spacing(path)


def test_time_points_at_one_position_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", SLICES, [(0, 0, 2.0 * (k // 2)) for k in range(6)])
    assert "3 of 6 at the position of another" in str(refusal(path))


def test_groups_for_fewer_frames_than_there_are_is_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", SLICES, [(0, 0, k) for k in range(4)])
    assert "6 frames and the functional groups of 4" in str(refusal(path))


def test_frames_without_places_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", SLICES, PixelSpacing=[2, 3], ImagePositionPatient=[0, 0, 0])
    volume = opened(path)
    np.testing.assert_array_equal([volume.read(k)[0] for k in range(6)], SLICES)
    assert (volume.spacing_mm, volume.slice_mm, volume.affine) == ((2.0, 3.0), None, None)
    assert "order is that of the file" in volume.stack.notes[0]


def test_frames_of_several_spacings_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", SLICES, [(0, 0, k) for k in range(6)])
    import pydicom
    from pydicom.sequence import Sequence

    dataset = pydicom.dcmread(path)
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[2].PixelMeasuresSequence = Sequence([item(PixelSpacing=[1, 1])])
    assert "one pixel spacing" in str(refusal(saved(dataset, path, SOPInstanceUID=generate_uid())))
