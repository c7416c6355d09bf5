"""Files that other projects ship: each is read, or refused with a whole message; how many is fixed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medgan_qa.cohorts.readers import kind_of, open_volume, read_image, read_mask
from medgan_qa.errors import DatasetError

PYDICOM = Path(pydicom.__file__).parent / "data"
NIBABEL = Path(nib.__file__).parent / "tests" / "data"
ITK = Path("/usr/share/doc/insighttoolkit5-examples/examples/Data")


def read(path: Path) -> str:
    """`image`, `volume`, or what was found where something else was expected."""
    try:
        volume = open_volume(path)
        if volume is None:
            assert np.isfinite(read_image(path)[0]).all()
            return "image"
        for index in range(len(volume)):
            assert volume.read(index).shape[1:] == volume.shape[1:]
    except DatasetError as error:
        told = error
    else:
        return "volume"
    assert all((told.problem, told.expected, told.found, told.where, told.todo))
    return str(told.found)


def outcomes(files: Iterable[Path]) -> tuple[Counter[str], dict[str, str]]:
    found = {path.name: read(path) for path in sorted(files)}
    return Counter(found.values()), found


def test_pydicoms_own_files() -> None:
    """Those that come with the package; what is refused has no pixels, no meta information, or is damaged."""
    pytest.importorskip("openjpeg")
    pytest.importorskip("gdcm")
    files = [path for path in PYDICOM.rglob("*") if path.is_file() and kind_of(path) == ".dcm"]
    counts, found = outcomes(files)
    images, volumes = counts.pop("image"), counts.pop("volume")
    assert images >= 60
    assert volumes >= 7
    assert {name for name, what in found.items() if what == "volume"} >= {"rtdose.dcm", "SC_rgb_rle_2frame.dcm"}
    expected = ("without rows and columns", "no DICOM file", "no pixels that can be decoded", "bytes", "frame 1 of")
    refused = {name: what for name, what in found.items() if what not in ("image", "volume")}
    others = {name for name, what in refused.items() if not any(text in what for text in expected)}
    assert others <= {"badVR.dcm"}
    assert "12-bit precision" in found["JPGExtended.dcm"]


@pytest.mark.parametrize("name", ["MR_small.dcm", "CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "image_dfl.dcm"])
def test_numbers_are_those_that_pydicom_reads(name: str) -> None:
    from pydicom.pixels.processing import apply_modality_lut

    path = next(PYDICOM.rglob(name))
    dataset = pydicom.dcmread(path)
    np.testing.assert_array_equal(read_image(path)[0][0], apply_modality_lut(dataset.pixel_array, dataset))


def test_nibabels_own_files() -> None:
    if not NIBABEL.is_dir():
        pytest.skip("this nibabel comes without its test data")
    counts, found = outcomes(path for path in NIBABEL.iterdir() if path.is_file() and kind_of(path) is not None)
    assert {name for name, what in found.items() if what == "volume"} == {
        "anatomical.nii",
        "reoriented_anat_moved.nii",
        "standard.nii.gz",
    }
    assert counts["image"] == 2  # two DICOM files
    refused = {name: what for name, what in found.items() if what not in ("image", "volume")}
    assert set(refused) == {
        "example4d.nii.gz",
        "example_nifti2.nii.gz",
        "functional.nii",
        "resampled_anat_moved.nii",
        "row_major.dconn.nii",
    }
    assert "NaN" in refused.pop("resampled_anat_moved.nii")
    assert all("an array of shape" in what for what in refused.values())


def test_a_real_volume_lies_where_nibabel_says() -> None:
    path = NIBABEL / "anatomical.nii"
    if not path.is_file():
        pytest.skip("this nibabel comes without its test data")
    canonical: Any = nib.as_closest_canonical(nib.load(path))
    array, volume = canonical.get_fdata(), open_volume(path)
    assert volume is not None
    for k in range(len(volume)):
        np.testing.assert_allclose(volume.read(k)[0], array[::-1, ::-1, k].T, rtol=1e-6)


def test_brain_slices_of_the_insight_toolkit() -> None:
    if not ITK.is_dir():
        pytest.skip("insighttoolkit5-examples is not installed")
    files = sorted(ITK.glob("Brain*.png"))
    _, found = outcomes(files)
    assert len(found) >= 10
    refused = {name for name, what in found.items() if what != "image"}
    assert refused == {"BrainProtonDensitySliceBorder20Mask.png"}  # of one bit: a mask
    assert read_mask(ITK / refused.pop()).any()
    image, spacing = read_image(ITK / "BrainProtonDensitySlice.png")
    assert image.shape == (1, 217, 181)
    assert spacing is None
