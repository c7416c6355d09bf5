"""Values of a DICOM header that stand at its top or, in enhanced objects, in functional groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from medgan_qa.cohorts.readers._common import Spacing, positive_pair
from medgan_qa.cohorts.readers.dicom_geometry import Placed, plane_of

if TYPE_CHECKING:
    from pydicom import Dataset


class Rescale(NamedTuple):
    """How the stored numbers of a frame become those of the modality."""

    slope: float
    intercept: float


def functional_groups(header: Dataset, index: int) -> Iterator[Dataset]:
    """The groups that hold for a frame, its own before those that all share."""
    for name, at in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        sequence = header.get(name) or ()
        if at < len(sequence):
            yield sequence[at]


def _macro(header: Dataset, index: int, name: str) -> Dataset:
    """The item of a functional group macro, of the frame or shared; the top of the header where there is none."""
    for group in functional_groups(header, index):
        if group.get(name):
            item: Dataset = group[name].value[0]
            return item
    return header


def rescale_of(header: Dataset, index: int) -> Rescale | None:
    """Rescale slope and intercept that functional groups give a frame; None where they give none."""
    item = _macro(header, index, "PixelValueTransformationSequence")
    if item is header:
        return None
    return Rescale(float(item.get("RescaleSlope", 1)), float(item.get("RescaleIntercept", 0)))


def spacing_of(header: Dataset, index: int) -> Spacing | None:
    """Pixel spacing (dy, dx) of a frame in mm; None where there is none, or no two positive numbers."""
    values: Any = _macro(header, index, "PixelMeasuresSequence").get("PixelSpacing")
    try:
        return positive_pair([float(value) for value in values or ()])
    except (TypeError, ValueError):
        return None


def place_of(header: Dataset, index: int) -> Placed | None:
    """Where a frame lies; None where the header does not tell."""
    return plane_of(
        _macro(header, index, "PlanePositionSequence").get("ImagePositionPatient"),
        _macro(header, index, "PlaneOrientationSequence").get("ImageOrientationPatient"),
        spacing_of(header, index),
    )
