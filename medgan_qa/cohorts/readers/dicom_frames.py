"""Multi-frame DICOM objects as stacks: frames in order of position where they have one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import Spacing, refused
from medgan_qa.cohorts.readers.dicom import frames_of, read_frame, read_header
from medgan_qa.cohorts.readers.dicom_geometry import ordered
from medgan_qa.cohorts.readers.dicom_groups import place_of, spacing_of
from medgan_qa.cohorts.readers.stack import Stack

if TYPE_CHECKING:
    from pydicom import Dataset

_FRAME_ORDER = "The frames carry no positions: their order is that of the file, and their distance is not known."


def open_frames(path: Path) -> Stack | None:
    """A DICOM file as a stack of frames in order of position; None for one frame."""
    header = read_header(path)
    frames = frames_of(path, header)
    if frames == 1:
        return None
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if groups is not None and len(groups) != frames:
        found = f"{frames} frames and the functional groups of {len(groups)}"
        raise refused(path, "functional groups for every frame", found, "Export the file again.")
    # A position at the top of the header is not that of every frame.
    placed = [place_of(header, index) if groups else None for index in range(frames)]
    order, affine = ordered(path, placed, "frame") if all(placed) else (list(range(frames)), None)

    def plane(axis: int, index: int, as_mask: bool) -> NDArray[Any]:
        return read_frame(path, order[index], as_mask, header)

    return Stack(
        path,
        (frames, int(header.Rows), int(header.Columns)),
        plane,
        affine,
        _common_spacing(path, header, frames),
        quotes_headers=True,
        notes=() if affine is not None else (_FRAME_ORDER,),
    )


def _common_spacing(path: Path, header: Dataset, frames: int) -> Spacing | None:
    found = {spacing_of(header, index) for index in range(frames)}
    carried = np.array([spacing for spacing in found if spacing is not None])
    if len(found) > 1 and (len(carried) < len(found) or np.ptp(carried, axis=0).max() > 1e-3 * carried.min()):
        raise refused(path, "one pixel spacing for all frames", f"{len(found)} different ones", "Save them apart.")
    return next(iter(found))
