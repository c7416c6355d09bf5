"""A volume as a file stores it: three axes, where they point in the patient, and a way to read one plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.readers._common import Spacing

Affine = NDArray[np.float64]


class PlaneReader(Protocol):
    """Reads one plane of a stack."""

    def __call__(self, axis: int, index: int, as_mask: bool, /) -> NDArray[Any]:
        """The plane across `axis` at `index`: (C, a, b), the remaining axes in their order."""


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume in the order of its file."""

    path: Path
    shape: tuple[int, int, int]
    plane: PlaneReader
    affine: Affine | None = None
    """(4, 4): (i, j, k, 1) in storage order to mm in the patient (LPS); None where the file does not tell."""
    spacing_mm: Spacing | None = None
    """(dy, dx) of the slices across axis 0, where there is no `affine` but so much is known."""
    slice_mm: float | None = None
    """Distance of neighbouring slices across axis 0, where there is no `affine` but so much is known."""
    any_axis: bool = False
    """`plane` reads across every axis; else across the first alone."""
    quotes_headers: bool = False
    """The library's messages may quote the header, and so a patient's name."""
    notes: tuple[str, ...] = ()
    """What had to be assumed."""


def step_lengths(affine: Affine) -> tuple[float, float, float]:
    """Distances in mm of neighbouring elements along the three axes."""
    first, second, third = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return first, second, third
