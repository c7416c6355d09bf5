"""Proposals: what folders, files and headers say becomes rows, what they do not say stays open."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from medgan_qa.cohorts.proposal import Proposal, Wishes, description, propose, rows_text
from medgan_qa.cohorts.proposal.names import looks_coded, partition_of, patient_in, stem
from medgan_qa.cohorts.proposal.walk import walk
from medgan_qa.errors import InputError

Nifti1Image: Any = nib.Nifti1Image


def volume(path: Path, most: int = 1500, *, dtype: Any = np.int16, slices: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(len(path.name)).integers(0, most + 1, (8, 9, slices)).astype(dtype)
    array[0, 0, 0] = most
    nib.save(Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return path


def png(path: Path, write_file: Callable[..., Path], *, deep: bool = False) -> Path:
    array = np.random.default_rng(len(str(path))).integers(0, 200, (8, 8))
    return write_file(path, array.astype(np.uint16 if deep else np.uint8))


def rows_of(proposal: Proposal) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(rows_text(proposal, proposal.folder))))


def settings(proposal: Proposal) -> dict[str, Any]:
    return tomllib.loads(description(proposal, "set", "cases.csv"))


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    folder = tmp_path / "bids"
    for subject in ("01", "02"):
        for session in ("a", "b"):
            name = f"sub-{subject}_ses-{session}"
            for contrast in ("T1w", "FLAIR"):
                volume(folder / f"sub-{subject}" / f"ses-{session}" / "anat" / f"{name}_{contrast}.nii.gz")
            masks = folder / "derivatives" / "lesions" / f"sub-{subject}" / f"ses-{session}" / "anat"
            volume(masks / f"{name}_label-lesion_mask.nii.gz", 1, dtype=np.uint8)
            volume(masks / f"{name}_label-brain_mask.nii.gz", 1, dtype=np.uint8)
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\tsite\nsub-01\t44\tF\tA\nsub-02\tn/a\tM\tB\n")
    return folder


def test_bids_gives_a_pair_a_session_with_its_mask(bids: Path) -> None:
    proposal = propose(bids)
    rows = rows_of(proposal)
    assert [row["case_id"] for row in rows] == [f"sub-{s}_ses-{v}" for s in ("01", "02") for v in ("a", "b")]
    assert {row["patient_id"] for row in rows} == {"sub-01", "sub-02"}
    first = rows[0]
    assert first["image"] == "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
    assert first["target"].endswith("_FLAIR.nii.gz")
    assert first["lesion_mask"].endswith("label-lesion_mask.nii.gz")
    assert (first["site"], first["attr.age"], first["attr.sex"]) == ("A", "44", "F")
    assert rows[2]["attr.age"] == ""
    assert proposal.left_out == {"masks of anatomy, not of lesions": 4}
    found = settings(proposal)
    assert found["value_range"] == [0.0, 4095.0]
    assert found["volumes"]["plane"] == "axial"
    assert (found["source_domain"], found["target_domain"]) == ("T1", "FLAIR")
    assert "lesion_in" not in found
    assert "identifiers" not in found


def test_the_partition_is_test_and_called_a_guess_where_nothing_says_it(bids: Path) -> None:
    proposal = propose(bids)
    assert {row["partition"] for row in rows_of(proposal)} == {"test"}
    assert any("partition test" in text for text in proposal.guessed)
    assert "# guessed: partition test" in description(proposal, "set", "cases.csv")


def test_source_and_target_are_taken_as_asked(bids: Path) -> None:
    row = rows_of(propose(bids, Wishes(source="FLAIR", target="T1w")))[0]
    assert row["image"].endswith("FLAIR.nii.gz")
    assert row["target"].endswith("T1w.nii.gz")
    with pytest.raises(InputError, match="contrast") as error:
        propose(bids, Wishes(source="T2"))
    assert error.value.where == "--source"
    assert "flair" in str(error.value.expected)


def test_one_contrast_is_taken_where_there_are_three(bids: Path) -> None:
    volume(bids / "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz")
    proposal = propose(bids)
    assert len(proposal.rows) == 4
    assert not any(row["target"] for row in proposal.rows)
    assert any("--source and --target" in text for text in proposal.to_fill_in)


def test_a_mask_that_two_images_could_have_is_left_out(bids: Path) -> None:
    volume(bids / "sub-01/ses-a/anat/sub-01_ses-a_run-2_T1w.nii.gz")
    proposal = propose(bids, Wishes(source="T1w"))
    twice = [row for row in proposal.rows if "sub-01_ses-a" in row["image"]]
    assert [row["lesion_mask"] for row in twice] == ["", ""]
    assert proposal.left_out["a mask or reference that several images could have"] > 0


def test_ct_in_nifti_gets_the_window_of_hounsfield_units(tmp_path: Path) -> None:
    for number in range(2):
        volume(tmp_path / f"ct/sub-0{number}/sub-0{number}_ct.nii.gz", 900)
    assert settings(propose(tmp_path / "ct"))["window"] == [-1024.0, 3071.0]


@pytest.mark.parametrize("most", [700, 1500, 4000])
def test_the_range_is_never_the_extremes_of_the_images(tmp_path: Path, most: int) -> None:
    folder = tmp_path / "set"
    volume(folder / "sub-01_T1w.nii", most)
    span = propose(folder).span
    assert span.limits in ((0.0, 1023.0), (0.0, 4095.0))
    assert "surveyed" in span.reason


def test_floats_within_one_get_unit_range_and_signed_ones_a_symmetric_one(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    np.save(folder / "a.npy", np.linspace(0, 0.9, 64, dtype=np.float32).reshape(8, 8))
    assert propose(folder).span.limits == (0.0, 1.0)
    np.save(folder / "b.npy", np.linspace(-0.5, 0.9, 64, dtype=np.float32).reshape(8, 8))
    assert propose(folder).span.limits == (-1.0, 1.0)


def test_what_the_user_says_of_the_range_stands(bids: Path) -> None:
    text = description(propose(bids, Wishes(window=(-100.0, 300.0))), "set", "cases.csv")
    assert tomllib.loads(text)["window"] == [-100.0, 300.0]
    assert "check: the smallest" not in text


def test_a_range_that_nothing_says_stays_open(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    np.save(folder / "a.npy", np.full((8, 8), 1e9, np.float32))
    proposal = propose(folder)
    assert proposal.span.limits is None
    assert "value_range" not in settings(proposal)


def test_folders_of_png_give_partitions_masks_and_patients(tmp_path: Path, write_file: Callable[..., Path]) -> None:
    for part in ("train", "val", "test"):
        for number in (1, 2):
            png(
                tmp_path / f"set/{part}/images/patient{part[0]}0{number}_1.png".replace("patientt0", "patient00"),
                write_file,
            )
    png(tmp_path / "set/test/images/case7.png", write_file)
    png(tmp_path / "set/test/masks/case7_mask.png", write_file)
    rows = {row["image"]: row for row in rows_of(propose(tmp_path / "set"))}
    assert {row["partition"] for row in rows.values()} == {"train", "val", "test"}
    assert rows["test/images/case7.png"]["lesion_mask"] == "test/masks/case7_mask.png"
    found = settings(propose(tmp_path / "set"))
    assert found["value_range"] == [0.0, 255.0]
    assert "spacing_mm" not in found


def test_class_folders_become_labels_and_other_folders_patients(
    tmp_path: Path, write_file: Callable[..., Path]
) -> None:
    for kind in ("benign", "malignant"):
        for number in range(3):
            png(tmp_path / f"classes/{kind}/{number}.png", write_file)
            png(
                tmp_path / f"people/{kind.replace('benign', 'doe_john').replace('malignant', 'roe')}/{number}.png",
                write_file,
            )
    rows = rows_of(propose(tmp_path / "classes"))
    assert {row["label"] for row in rows} == {"benign", "malignant"}
    assert len({row["patient_id"] for row in rows}) == 6
    people = propose(tmp_path / "people")
    assert "label" not in rows_of(people)[0]
    assert {row["patient_id"] for row in people.rows} == {"doe_john", "roe"}
    assert settings(people)["identifiers"] == "direct"


def test_an_image_of_a_lesion_is_no_mask(tmp_path: Path, write_file: Callable[..., Path]) -> None:
    for number in range(2):
        png(tmp_path / f"set/tumor_{number}.png", write_file)
        png(tmp_path / f"set/normal_{number}.png", write_file)
    assert len(propose(tmp_path / "set").rows) == 4


def test_contrast_folders_make_pairs(tmp_path: Path, write_file: Callable[..., Path]) -> None:
    for number in range(2):
        for contrast in ("T1", "T2"):
            png(tmp_path / f"set/{contrast}/case{number}.png", write_file, deep=True)
    proposal = propose(tmp_path / "set")
    assert [(row["image"], row["target"]) for row in proposal.rows] == [
        (f"T1/case{n}.png", f"T2/case{n}.png") for n in range(2)
    ]
    assert proposal.span.limits == (0.0, 255.0)


@pytest.fixture
def series(tmp_path: Path, write_dicom: Callable[..., Path]) -> Callable[..., str]:
    """Writes a series of DICOM files; the number of the file runs against the position."""
    studies: dict[str, str] = {}

    def write(folder: str, patient: str, slices: int = 3, *, study: str = "1", **tags: Any) -> str:
        uid = generate_uid()
        place = tmp_path / "dicom" / folder
        place.mkdir(parents=True, exist_ok=True)
        known = {
            "PatientName": patient,
            "PatientID": f"MRN{patient}",
            "StudyInstanceUID": studies.setdefault(f"{patient}{study}", generate_uid()),
            "SeriesInstanceUID": uid,
            "Modality": "MR",
            "SeriesDescription": "t1 axial",
            "Manufacturer": "Siemens",
            "ManufacturerModelName": "Skyra",
            "InstitutionName": "St. Mary",
            "StudyDate": "20240131",
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            **tags,
        }
        for number in range(slices):
            array = np.random.default_rng(number).integers(0, 900, (8, 8)).astype(np.uint16)
            position = {"ImagePositionPatient": [0, 0, 5.0 * (slices - number)], "InstanceNumber": number}
            write_dicom(place / f"{uid[-6:]}-{number}.dcm", array, (1.0, 1.0), **known, **position)
        return str(uid)

    return write


def test_dicom_gives_a_row_a_series_with_pseudonyms(tmp_path: Path, series: Callable[..., str]) -> None:
    series("a", "DOE^JOHN")
    series("b", "ROE^JANE")
    proposal = propose(tmp_path / "dicom")
    text = rows_text(proposal, proposal.folder)
    assert {row["image"] for row in proposal.rows} == {"a", "b"}
    assert not any(word in text for word in ("DOE", "ROE", "MRN", "Mary"))
    first = rows_of(proposal)[0]
    assert first["patient_id"].startswith("P-")
    assert first["study"].startswith("S-")
    assert (first["scanner"], first["acquired"]) == ("Siemens Skyra", "2024-01-31")
    found = settings(proposal)
    assert "volumes" in found
    assert "spacing_mm" not in found


def test_series_that_share_a_folder_get_a_row_a_file_in_order_of_position(
    tmp_path: Path, series: Callable[..., str]
) -> None:
    series("a", "DOE^JOHN", study="1")
    series("a", "DOE^JOHN", study="2")
    proposal = propose(tmp_path / "dicom")
    assert len(proposal.rows) == 6
    assert [row["slice"] for row in proposal.rows] == ["0", "1", "2"] * 2
    # File 2 lies lowest.
    assert [row["image"][-5] for row in proposal.rows] == ["2", "1", "0"] * 2
    assert "volumes" not in settings(proposal)


def test_the_series_that_most_studies_have_is_proposed_and_another_can_be_asked_for(
    tmp_path: Path, series: Callable[..., str]
) -> None:
    for patient in ("A", "B"):
        series(f"{patient}1", patient)
        series(f"{patient}2", patient, 2, SeriesDescription="flair axial")
        series(f"{patient}3", patient, 1, SeriesDescription="localizer")
    proposal = propose(tmp_path / "dicom")
    assert {row["image"] for row in proposal.rows} == {"A1", "B1"}
    assert proposal.left_out["localizers"] == 2
    assert any("--series" in text for text in proposal.to_fill_in)
    assert {row["image"] for row in propose(tmp_path / "dicom", Wishes(series="flair")).rows} == {"A2", "B2"}
    pair = propose(tmp_path / "dicom", Wishes(source="t1", target="flair"))
    assert [(row["image"], row["target"]) for row in pair.rows] == [("A1", "A2"), ("B1", "B2")]
    with pytest.raises(InputError, match="No series"):
        propose(tmp_path / "dicom", Wishes(series="dwi"))


def test_segmentations_are_named_and_not_read(tmp_path: Path, series: Callable[..., str]) -> None:
    series("a", "A")
    series("s", "A", 1, Modality="SEG")
    proposal = propose(tmp_path / "dicom")
    assert any("SEG objects are not read" in text for text in proposal.to_fill_in)
    assert proposal.left_out["segmentations (SEG)"] == 1


def test_ct_needs_a_rescale_to_be_taken_for_hounsfield_units(tmp_path: Path, series: Callable[..., str]) -> None:
    series("a", "A", Modality="CT", RescaleSlope="1", RescaleIntercept="-1024")
    assert settings(propose(tmp_path / "dicom"))["window"] == [-1024.0, 3071.0]
    series("b", "B", Modality="CT")
    assert propose(tmp_path / "dicom").span.limits is None


def test_a_name_in_a_series_description_is_not_printed(tmp_path: Path, series: Callable[..., str]) -> None:
    series("a", "DOE^JOHN", SeriesDescription="t1 John Doe 1234567")
    assert not any("Doe" in text or "1234567" in text for text in propose(tmp_path / "dicom").understood)


def test_hdf5_with_patients_gives_a_row_a_slice_and_without_a_volume(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    folder = tmp_path / "set"
    folder.mkdir()
    with h5py.File(folder / "all.h5", "w") as file:
        file["images"] = np.zeros((6, 8, 8), np.uint8)
        file["masks"] = np.zeros((6, 8, 8), np.uint8)
        file["patient_id"] = [f"p{n // 2}".encode() for n in range(6)]
        file["split"] = [b"train", b"train", b"val", b"val", b"test", b"test"]
    rows = rows_of(propose(folder))
    assert [row["image"] for row in rows] == [f"all.h5#images[{n}]" for n in range(6)]
    assert rows[5]["lesion_mask"] == "all.h5#masks[5]"
    assert [(row["patient_id"], row["partition"]) for row in rows[::2]] == [
        ("p0", "train"),
        ("p1", "val"),
        ("p2", "test"),
    ]
    with h5py.File(folder / "all.h5", "a") as file:
        del file["patient_id"]
    proposal = propose(folder)
    assert [row["image"] for row in proposal.rows] == ["all.h5#images"]
    assert "volumes" in settings(proposal)


def test_zarr_is_one_thing(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    store = zarr.open_group(tmp_path / "set" / "all.zarr", mode="w")
    store.create_array("images", data=np.zeros((6, 8, 8), np.uint8))
    assert [row["image"] for row in propose(tmp_path / "set").rows] == ["all.zarr#images"]


def test_a_folder_without_images_is_refused_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"No dataset") as error:
        propose(tmp_path)
    assert "1 .txt" in str(error.value.found)
    assert str(tmp_path.parent) not in str(error.value)


def test_hidden_files_and_own_files_are_not_seen(tmp_path: Path) -> None:
    for name in (".a.png", "dataset-check.png", "b.png"):
        (tmp_path / name).touch()
    assert walk(tmp_path).kinds == {"image": [PurePosixPath("b.png")]}


def test_damaged_files_are_proposed_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    volume(folder / "sub-01_T1w.nii.gz")
    (folder / "sub-02_T1w.nii.gz").write_bytes(b"no gzip")
    assert len(propose(folder).rows) == 2


@pytest.mark.parametrize(
    ("folders", "partition"),
    [(["imagesTr"], "train"), (["a", "Validation"], "val"), (["test", "x"], "test"), (["contest"], None)],
)
def test_partitions_from_folders(folders: list[str], partition: str | None) -> None:
    assert partition_of(folders) == partition


@pytest.mark.parametrize(
    ("text", "patient"),
    [("sub-01_T1w", "sub-01"), ("x_patient007_3", "patient007"), ("P12-slice3", "P12"), ("slide12", None)],
)
def test_patients_in_names(text: str, patient: str | None) -> None:
    assert patient_in(text) == patient


@pytest.mark.parametrize("text", ["sub-01", "BraTS20_Training_001", "case_7", "TC-02", "12"])
def test_what_looks_coded(text: str) -> None:
    assert looks_coded(text)


@pytest.mark.parametrize("text", ["doe_john", "DOE_JOHN_1970", "Anna3", "control"])
def test_what_may_be_a_name(text: str) -> None:
    assert not looks_coded(text)


@given(st.text(st.characters(categories=["L", "N"], include_characters="-_. "), min_size=1))
def test_prop_any_name_is_read(name: str) -> None:
    path = PurePosixPath("images") / f"{name}.nii.gz"
    assert stem(path) == path.name.removesuffix(".nii.gz")
