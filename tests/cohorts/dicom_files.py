"""DICOM objects made for tests with pydicom: classic slices, enhanced and multi-frame ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def blank(kind: str, array: NDArray[Any], frames: int | None = None) -> Dataset:
    """An object with pixels (H, W), (H, W, 3) or, with `frames`, one axis more, and nothing about its place."""
    array = np.ascontiguousarray(array)
    rows, columns = array.shape[1:3] if frames else array.shape[:2]
    colour = array.ndim == (4 if frames else 3)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    bits = array.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    if frames:
        dataset.NumberOfFrames = frames
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def saved(dataset: Dataset, path: Path, **tags: object) -> Path:
    """Write an object with tags replaced, added or, with None, taken out."""
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    slices: NDArray[Any],
    *,
    positions: Sequence[Sequence[float]] | None = None,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.5, 0.75),
    names: Sequence[str] | None = None,
    step: float = 2.0,
    **tags: object,
) -> list[Dataset]:
    """A CT series: slice k at `positions[k]`, or `step` mm further along the normal for each k, in files `names[k]`."""
    normal = np.cross(orientation[:3], orientation[3:])
    written = []
    for k, array in enumerate(slices):
        dataset = blank(CTImageStorage, array)
        position = (np.array([-10.0, 20.0, 30.0]) + k * step * normal).tolist() if positions is None else positions[k]
        dataset.ImagePositionPatient = [f"{value:.6g}" for value in position]
        dataset.ImageOrientationPatient = [f"{value:.6g}" for value in orientation]
        dataset.PixelSpacing = [str(value) for value in spacing]
        saved(dataset, folder / (f"im{k}" if names is None else names[k]), **tags)
        written.append(dataset)
    return written


def item(**tags: object) -> Dataset:
    """An item of a sequence."""
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def write_enhanced(
    path: Path,
    frames: NDArray[Any],
    positions: Sequence[Sequence[float]],
    *,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.5, 0.75),
    rescale: Sequence[tuple[float, float]] | None = None,
    **tags: object,
) -> Path:
    """An enhanced MR object: positions and rescale by frame, orientation and spacing shared."""
    dataset = blank(EnhancedMRImageStorage, frames, len(frames))
    shared = item(
        PlaneOrientationSequence=Items([item(ImageOrientationPatient=list(orientation))]),
        PixelMeasuresSequence=Items([item(PixelSpacing=list(spacing), SliceThickness=2.0)]),
    )
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for k, position in enumerate(positions):
        group = item(PlanePositionSequence=Items([item(ImagePositionPatient=list(position))]))
        if rescale is not None:
            slope, intercept = rescale[k]
            group.PixelValueTransformationSequence = Items([item(RescaleSlope=slope, RescaleIntercept=intercept)])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
    return saved(dataset, path, **tags)


def write_frames(path: Path, frames: NDArray[Any], **tags: object) -> Path:
    """A multi-frame secondary capture, which has no places."""
    return saved(blank(MultiFrameGrayscaleWordSecondaryCaptureImageStorage, frames, len(frames)), path, **tags)
