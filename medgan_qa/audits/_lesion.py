"""One annotated lesion before and after translation, and the words and limits that its fate is told in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.translation import Item

Status = Literal["kept", "weakened", "lost", "inverted", "not read in reference"]
STATUSES: tuple[Status, ...] = ("kept", "weakened", "lost", "inverted", "not read in reference")
REMOVED: tuple[Status, ...] = ("lost", "inverted")

FLAT = 0.1
"""Below this share of its contrast a lesion is gone, whatever a detector says."""
WEAK = 0.5
"""Below this share of its contrast a lesion that is still found is weakened."""
INVERTED = -0.2
"""At or below this signed share it is dark where it should be bright, or the other way round."""
DIVISIBLE = 3.0
"""A reference contrast of fewer than this many standard errors is too weak to divide by."""

DIAMETERS_MM = (5.0, 10.0, 20.0)
CONTRASTS = (0.15, 0.30)
"""Edges of the strata; contrast in unit range."""
LARGEST_MM = (20.0, 40.0)
"""Edges between groups of images, by the diameter of the largest lesion."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """One annotated lesion, before and after translation."""

    item: Item
    """The image that shows it; of a volume, the slice with its largest cross-section."""
    number: int
    """In its image or its stack of slices, from 1."""
    mask: NDArray[np.bool_]
    """Its pixels in `item`, (h, w), in a window around them: a long list of lesions stays small that way."""
    diameter_mm: float
    """Of the disc with its area, or of the ball with its volume."""
    contrast_reference: float | None
    contrast_output: float | None
    recovery: float | None
    """Signed contrast of the output over that of the reference; None where the reference's is too weak to divide by."""
    found_reference: bool | None = None
    found_output: bool | None = None
    """None without a detector."""
    spanned: tuple[Item, ...] = ()
    """Of a volume: every slice that shows it, in the order of their places."""
    marked_reference: tuple[float, ...] = ()
    """Of a volume: the share of its pixels that the detector marks in each of them; empty if not read."""
    marked_output: tuple[float, ...] = ()

    corner: tuple[int, int] = (0, 0)
    """First row and column of that window."""

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the centroid of its pixels in `item`."""
        y, x = (np.argwhere(self.mask) + self.corner).mean(axis=0)
        return float(y), float(x)

    @property
    def items(self) -> tuple[Item, ...]:
        """Every image that shows it."""
        return self.spanned or (self.item,)

    @property
    def lesion_id(self) -> str:
        """Unique in a run."""
        return f"{self.item.case.case_id}/{self.number}"

    @property
    def patient(self) -> str:
        """Its patient."""
        return self.item.case.patient_id

    @property
    def status(self) -> Status:
        """What became of it; a flat or inverted lesion is not kept because something is marked there."""
        if self.found_reference is False:
            return "not read in reference"
        if self.recovery is not None and self.recovery <= INVERTED:
            return "inverted"
        if self.found_output is False or (self.recovery is not None and self.recovery < FLAT):
            return "lost"
        if self.recovery is not None and self.recovery < WEAK:
            return "weakened"
        return "kept"

    @property
    def size_stratum(self) -> str:
        """By equivalent diameter."""
        return f"diameter {stratum(self.diameter_mm, DIAMETERS_MM, ' mm')}"

    @property
    def contrast_stratum(self) -> str:
        """By absolute contrast in the reference."""
        value = self.contrast_reference
        return f"contrast {'unknown' if value is None else stratum(abs(value), CONTRASTS)}"


def stratum(value: float, edges: Sequence[float], unit: str = "") -> str:
    """The half-open bin [low, high) that a value falls in, in words."""
    for low, high in zip((0.0, *edges), edges, strict=False):
        if low <= value < high:
            return f"{low:g}-{high:g}{unit}" if low else f"under {high:g}{unit}"
    return f"{edges[-1]:g}{unit} or more"
