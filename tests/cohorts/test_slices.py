"""Rows that hold volumes: one case a slice, with target and mask on the same grid and in the same place."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.dataset import FileCohort, read_dataset
from medgan_qa.errors import DatasetError
from tests.cohorts.dicom_files import SAGITTAL, write_series

Nifti1Image: Any = nib.Nifti1Image  # nibabel's constructors are not annotated
G = np.random.default_rng(4)
VOXELS = G.integers(0, 1000, (6, 7, 9)).astype(np.int16)
LPS = np.diag([-0.5, -0.75, 2.0, 1.0])  # storage runs to the left, back and top


def nifti(path: Path, array: NDArray[Any], affine: NDArray[Any] = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Nifti1Image(array, affine)
    picture.header.set_xyzt_units("mm")
    nib.save(picture, path)


def moved(affine: NDArray[Any], *mm: float) -> NDArray[Any]:
    shifted = affine.copy()
    shifted[:3, 3] += mm
    return shifted


class Volumes:
    """A dataset with a NIfTI volume of nine slices, its target and its mask, to be changed and written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.toml = "value_range = [0, 2000]\n[volumes]\n"
        self.rows = [
            {"case_id": "P1", "patient_id": "P1", "partition": "test", "image": "t1.nii.gz", "target": "t2.nii.gz"}
        ]
        self.mask = VOXELS > 990
        nifti(folder / "t1.nii.gz", VOXELS)
        nifti(folder / "t2.nii.gz", VOXELS + 500)
        nifti(folder / "mask.nii.gz", self.mask.astype(np.uint8))
        self.rows[0]["lesion_mask"] = "mask.nii.gz"

    def read(self) -> FileCohort:
        """Write description and table, and read them."""
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        with (self.folder / "cases.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        head = 'schema = "medgan-qa/dataset/1"\nname = "x"\ncases = "cases.csv"\n'
        (self.folder / "dataset.toml").write_text(head + self.toml, encoding="utf-8")
        return read_dataset(self.folder / "dataset.toml")


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    """A dataset with volumes."""
    return Volumes(tmp_path)


def refusal(cohort: FileCohort, case: Case | None = None) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        cohort.load(cohort.cases[0] if case is None else case)
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


def test_every_slice_is_a_case_of_its_volume(volumes: Volumes) -> None:
    cohort = volumes.read()
    cohort.require_readable()
    assert [case.case_id for case in cohort.cases] == [f"P1/{k:03d}" for k in range(9)]
    assert {case.volume for case in cohort.cases} == {"P1"} == {case.patient_id for case in cohort.cases}
    assert [case.slice_index for case in cohort.cases] == list(range(9))
    for k, case in enumerate(cohort.cases):
        images = cohort.load(case)
        assert images.target is not None
        assert images.lesion_mask is not None
        np.testing.assert_allclose(images.image[0], VOXELS[..., k].T / 2000, atol=1e-6)
        np.testing.assert_allclose(images.target[0], (VOXELS[..., k].T + 500) / 2000, atol=1e-6)
        np.testing.assert_array_equal(images.lesion_mask, volumes.mask[..., k].T)
        assert images.spacing_mm == pytest.approx((0.75, 0.5))
        assert images.slice_mm == pytest.approx(2.0)


def test_every_and_within_choose_slices_which_keep_their_place(volumes: Volumes) -> None:
    volumes.toml += "every = 2\nwithin = [0.2, 0.9]\n"
    cohort = volumes.read()
    assert [case.slice_index for case in cohort.cases] == [2, 4, 6]
    assert cohort.load(cohort.cases[0]).slice_mm == pytest.approx(2.0)
    assert cohort.describe()["volumes"] == {
        "plane": "axial",
        "every": 2,
        "within": [0.2, 0.9],
        "volumes": 1,
        "slice_mm": {"low": pytest.approx(2.0), "high": pytest.approx(2.0)},
        "notes": [],
    }


def test_counts_and_spacing_are_those_of_the_slices(volumes: Volumes) -> None:
    found = volumes.read().describe()
    marked = int(volumes.mask.any(axis=(0, 1)).sum())
    assert 0 < marked < 9
    assert (found["partitions"]["test"]["cases"], found["partitions"]["test"]["patients"]) == (9, 1)
    assert found["partitions"]["test"]["with_lesions"] == marked
    assert found["partitions"]["test"]["annotated_lesion_free"] == 9 - marked
    assert found["spacing_mm"]["low"] == pytest.approx([0.75, 0.5])


def test_another_plane(volumes: Volumes) -> None:
    volumes.toml += 'plane = "sagittal"\n'
    cohort = volumes.read()
    assert len(cohort.cases) == 6
    images = cohort.load(cohort.cases[1])
    np.testing.assert_allclose(images.image[0], VOXELS[4].T[::-1] / 2000, atol=1e-6)
    assert images.spacing_mm == pytest.approx((2.0, 0.75))
    assert images.slice_mm == pytest.approx(0.5)


def test_without_the_table_a_volume_says_what_to_add(volumes: Volumes) -> None:
    volumes.toml = "value_range = [0, 2000]\n"
    error = refusal(volumes.read())
    assert error.where == "cases.csv, row 2, column image (t1.nii.gz)"
    assert "[volumes]" in str(error.todo)


def test_single_slices_stay_beside_volumes_and_may_say_where_they_belong(volumes: Volumes) -> None:
    np.save(volumes.folder / "one.npy", VOXELS[..., 0])
    volumes.rows.append(
        {
            "case_id": "S", "patient_id": "P2", "partition": "train", "image": "one.npy", "volume": "V", "slice": "7",
            "study": "E1", "scanner": "M1", "acquired": "2024-02",
        }
    )  # fmt: skip
    cohort = volumes.read()
    cohort.require_readable(None)
    single = cohort.cases[-1]
    assert (single.case_id, single.volume, single.slice_index) == ("S", "V", 7)
    assert (single.study, single.scanner, single.acquired) == ("E1", "M1", "2024-02")
    assert cohort.load(single).slice_mm is None
    assert cohort.volume_of(single) is None


@pytest.mark.parametrize(("column", "cell"), [("volume", "V"), ("slice", "3")])
def test_a_volume_is_no_slice_of_another(volumes: Volumes, column: str, cell: str) -> None:
    volumes.rows[0] |= {"volume": "P1", column: cell}
    with pytest.raises(DatasetError) as caught:
        volumes.read()
    assert f"row 2: {column} is given" in str(caught.value.found)


def test_masks_in_another_storage_order_land_on_the_image(volumes: Volumes) -> None:
    turned = Nifti1Image(volumes.mask.astype(np.uint8), LPS).as_reoriented([[2, 1], [0, -1], [1, -1]])
    nib.save(turned, volumes.folder / "mask.nii.gz")
    cohort = volumes.read()
    for k in (0, 4, 8):
        np.testing.assert_array_equal(cohort.load(cohort.cases[k]).lesion_mask, volumes.mask[..., k].T)


def test_a_dicom_series_and_a_nifti_mask_meet_in_the_patient(volumes: Volumes) -> None:
    # The series is sagittal: slices to the right, rows down, columns to the back.
    stored = np.stack([VOXELS[5 - n].T[::-1] for n in range(6)])
    corner = np.array([2.5, 0.0, 16.0])  # LPS of the first pixel of the first slice
    write_series(
        volumes.folder / "series",
        stored,
        positions=[corner - [0.5 * n, 0, 0] for n in range(6)],
        orientation=SAGITTAL,
        spacing=(2.0, 0.75),
    )
    volumes.rows[0]["image"] = "series"
    for plane, count in (("axial", 9), ("sagittal", 6)):
        volumes.toml = f'value_range = [0, 2000]\n[volumes]\nplane = "{plane}"\n'
        cohort = volumes.read()
        assert len(cohort.cases) == count
        for case in cohort.cases:
            images = cohort.load(case)
            assert images.target is not None
            np.testing.assert_allclose(images.image * 2000 + 500, images.target * 2000, atol=1e-3)
            np.testing.assert_array_equal(images.lesion_mask, images.image[0] * 2000 > 990.5)


@pytest.mark.parametrize(
    ("column", "change", "found"),
    [
        ("target", lambda a: moved(a, 0.2, 0.2, 0.2), "0.346 mm apart"),
        ("lesion_mask", lambda a: a @ np.diag([1.1, 1, 1, 1]), "0.25 mm apart"),
        ("lesion_mask", lambda a: np.diag([-1.0, 1, 1, 1]) @ a, "2.5 mm apart"),
    ],
)
def test_how_far_off_a_partner_lies_is_told(volumes: Volumes, column: str, change: Any, found: str) -> None:
    array = VOXELS if column == "target" else volumes.mask.astype(np.uint8)
    nifti(volumes.folder / "off.nii.gz", array, change(LPS))
    volumes.rows[0][column] = "off.nii.gz"
    error = refusal(volumes.read())
    assert error.where == f"cases.csv, row 2, column {column}"
    assert error.found == found


def test_rounding_in_a_header_is_no_other_place(volumes: Volumes) -> None:
    nifti(volumes.folder / "near.nii.gz", volumes.mask.astype(np.uint8), LPS + 0.001)
    volumes.rows[0]["lesion_mask"] = "near.nii.gz"
    volumes.read().require_readable()


def test_another_grid_is_refused(volumes: Volumes) -> None:
    nifti(volumes.folder / "short.nii.gz", VOXELS[..., :8])
    volumes.rows[0]["target"] = "short.nii.gz"
    error = refusal(volumes.read())
    assert error.expected == "9 slices of 7 rows x 6 columns"
    assert error.found == "8 slices of 7 rows x 6 columns"


def test_a_partner_that_does_not_tell_where_it_lies_is_refused(volumes: Volumes) -> None:
    np.save(volumes.folder / "mask.npy", np.moveaxis(volumes.mask, 2, 0).swapaxes(1, 2))
    volumes.rows[0]["lesion_mask"] = "mask.npy"
    assert "none, while the image has one" in str(refusal(volumes.read()).found)


def test_arrays_without_places_meet_by_their_order(volumes: Volumes) -> None:
    stored = np.moveaxis(VOXELS, 2, 0)
    np.savez(volumes.folder / "set.npz", image=stored, mask=stored > 990)
    volumes.rows[0] |= {"image": "set.npz", "target": "", "lesion_mask": "set.npz"}
    cohort = volumes.read()
    for k, case in enumerate(cohort.cases):
        images = cohort.load(case)
        np.testing.assert_allclose(images.image[0], stored[k] / 2000, atol=1e-6)
        np.testing.assert_array_equal(images.lesion_mask, stored[k] > 990)


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_a_finer_target_covers_the_same_field(volumes: Volumes, shift: float) -> None:
    finer = VOXELS.repeat(2, 0).repeat(2, 1)
    affine = LPS @ np.diag([0.5, 0.5, 1, 1])
    affine[:2, 3] += np.array([0.5, 0.75]) / 4 * (1 - 4 * shift)
    nifti(volumes.folder / "fine.nii.gz", finer, affine)
    volumes.rows[0] |= {"target": "fine.nii.gz", "lesion_mask": ""}
    volumes.toml = "scale = 2\n" + volumes.toml
    cohort = volumes.read()
    images = cohort.load(cohort.cases[4])
    assert images.target is not None
    np.testing.assert_allclose(images.target[0], finer[..., 4].T / 2000, atol=1e-6)
    nifti(volumes.folder / "fine.nii.gz", finer, moved(affine, 1.0, 0.0, 0.0))
    assert "lies elsewhere" in refusal(volumes.read()).problem


def test_every_file_of_a_series_counts_in_digest_and_inventory(volumes: Volumes) -> None:
    folder = volumes.folder / "series"
    write_series(folder, np.moveaxis(VOXELS, 2, 0))
    volumes.rows[0] = {"case_id": "P1", "patient_id": "P1", "partition": "test", "image": "series"}
    before = volumes.read()
    assert set(before.inventory().files) == {f"P1, image (series), file {n}" for n in range(1, 10)}
    assert list(before.inventory().rows) == ["P1"]
    content = (folder / "im3").read_bytes()
    (folder / "im3").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    after = volumes.read()
    assert after.digest() != before.digest()
    assert after.file_digest(after.cases[0]) != before.file_digest(before.cases[0])
    old, new = before.inventory().files, after.inventory().files
    assert [name for name in old if old[name] != new[name]] == ["P1, image (series), file 4"]


def test_slices_of_containers_are_read_lazily(volumes: Volumes) -> None:
    h5py: Any = pytest.importorskip("h5py")
    stored = np.moveaxis(VOXELS, 2, 0)
    with h5py.File(volumes.folder / "set.h5", "w") as file:
        file["t1"], file["masks"] = stored, stored > 990
    volumes.rows = [
        {"case_id": "all", "patient_id": "A", "partition": "test", "image": "set.h5#t1", "lesion_mask": "set.h5#masks"},
        {"case_id": "one", "patient_id": "B", "partition": "test", "image": "set.h5#t1[3]", "lesion_mask": ""},
    ]
    cohort = volumes.read()
    cohort.require_readable()
    assert len(cohort.cases) == 10
    np.testing.assert_array_equal(cohort.load(cohort.cases[3]).image, cohort.load(cohort.cases[9]).image)
    assert set(cohort.inventory().files) == {
        "all, image (set.h5)",
        "all, lesion_mask (set.h5)",
        "one, image (set.h5)",
    }


def test_a_range_that_is_missing_is_shown_by_the_middle_slice(volumes: Volumes) -> None:
    volumes.toml = "[volumes]\n"
    with pytest.raises(DatasetError) as caught:
        volumes.read()
    middle = VOXELS[..., 4]
    assert f"the middle slice of the first volume spans {middle.min()} to {middle.max()}" in str(caught.value.found)


def test_real_identifiers_reach_no_case(volumes: Volumes) -> None:
    volumes.rows[0] |= {"case_id": "Doe^Jane", "patient_id": "19580312", "study": "1.2.840.113619.2.55.3"}
    volumes.rows[0]["target"] = "nothing.nii.gz"
    with pytest.raises(DatasetError) as caught:
        volumes.read()
    assert "Doe" not in str(caught.value)
    volumes.rows[0]["target"] = ""
    cohort = volumes.read()
    summary = f"{cohort.cases} {cohort.describe()} {cohort.inventory()}"
    assert not any(text in summary for text in ("Doe", "1958", "113619"))
    assert cohort.cases[3].case_id == f"{cohort.cases[3].volume}/003"
    (volumes.folder / "t1.nii.gz").write_bytes(b"")
    error = refusal(volumes.read())
    assert "Doe" not in str(error)
