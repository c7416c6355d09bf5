"""Small datasets written to disk with the libraries that write such files elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

Nifti1Image: Any = nib.Nifti1Image  # nibabel's constructors are not annotated


def _write_dicom(path: Path, array: NDArray[Any], spacing: tuple[float, float] | None = None, **tags: object) -> Path:
    """Write a classic single-frame object; `tags` replace or add elements."""
    array = np.ascontiguousarray(array)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = array.shape[:2]
    dataset.SamplesPerPixel = 3 if array.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        dataset.PlanarConfiguration = 0
    bits = array.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    if spacing is not None:
        dataset.PixelSpacing = [str(value) for value in spacing]
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _write_nifti(path: Path, array: NDArray[Any], spacing: tuple[float, float] | None = None, unit: str = "mm") -> Path:
    """Write one slice (H, W) as the (H, W, 1) volume that converters make of it."""
    picture = Nifti1Image(array[..., None], np.diag([*(spacing or (1.0, 1.0)), 1.0, 1.0]))
    picture.header.set_xyzt_units(unit)
    nib.save(picture, path)
    return path


def _write_file(path: Path, array: NDArray[Any], spacing: tuple[float, float] | None = None) -> Path:
    """Write (H, W) or (H, W, 3) in the format that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        _write_nifti(path, array, spacing)
    elif path.suffix == ".dcm":
        _write_dicom(path, array, spacing)
    elif path.suffix == ".png":
        Image.fromarray(array).save(path)
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, array)
    else:
        tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack")
    return path


class DatasetOnDisk:
    """A valid dataset of four cases of three patients; a test changes what it is about and calls `save`."""

    def __init__(self, folder: Path, suffix: str = ".npy") -> None:
        self.folder = folder
        self.content: dict[str, Any] = {
            "schema": "medgan-qa/dataset/1",
            "name": "site-A test set",
            "cases": "cases.csv",
            "value_range": [0, 200],
            "source_domain": "T1",
            "target_domain": "FLAIR",
            "lesion_in": ["source", "target"],
        }
        self.spacing: dict[str, tuple[float, float]] = {}
        """What the files carry, by name."""
        generator = np.random.default_rng(7)
        self.images = {
            f"images/{kind}{number}{suffix}": generator.integers(0, 200, (12, 10)).astype(np.uint8)
            for kind in ("t1_", "flair_")
            for number in range(4)
        }
        mask = np.zeros((12, 10), np.uint8)
        mask[3:5, 6:9] = 255
        self.images[f"masks/0{suffix}"] = mask
        self.rows = [
            {
                "case_id": f"00{number}",
                "patient_id": patient,
                "partition": partition,
                "image": f"images/t1_{number}{suffix}",
                "target": f"images/flair_{number}{suffix}",
                "lesion_mask": f"masks/0{suffix}" if number == 0 else "",
                "annotated": "true" if number < 2 else "false",
                "site": "A" if number else "",
                "synthetic": "",
                "attr.sex": "F" if number else "",
            }
            for number, (patient, partition) in enumerate(
                [("007", "test"), ("007", "test"), ("008", "train"), ("009", "test")]
            )
        ]

    def path(self, name: str) -> Path:
        """A file of the dataset."""
        return self.folder / name

    def save(self) -> Path:
        """Write everything and return the TOML file."""
        for name, array in self.images.items():
            _write_file(self.folder / name, array, self.spacing.get(name))
        table = self.folder / self.content.get("cases", "cases.csv")
        if table.suffix == ".parquet":
            pd.DataFrame(self.rows).to_parquet(table)
        else:
            with table.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
                writer.writeheader()
                writer.writerows(self.rows)
        path = self.folder / "dataset.toml"
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in self.content.items()), "utf-8")
        return path


@pytest.fixture
def on_disk(tmp_path: Path) -> DatasetOnDisk:
    """A dataset of `.npy` files in `tmp_path`, not written yet."""
    return DatasetOnDisk(tmp_path)


@pytest.fixture
def write_file() -> Callable[..., Path]:
    """Writes an array in the format that the name asks for."""
    return _write_file


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    """Writes a DICOM file with the tags given."""
    return _write_dicom


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Writes a NIfTI slice with spacing in the unit given."""
    return _write_nifti
