"""Where every output lies and what became of the outlines of its lesions: what the geometry audits share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from medgan_qa.audits._volumes import Sections
from medgan_qa.audits.lesions import unseen_in_target
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.metrics import equivalent_diameter, surround
from medgan_qa.metrics.geometry import SMALLEST_SIDE, Placement, placement
from medgan_qa.metrics.outlines import Outline, centre_distance, lesion_outlines, outline_change

PAIR_LIMIT_MM = 2.0
PAIR_LIMIT_PX = 1.0
"""Displacement of a reference against its source beyond both of which the model cannot be held to the case."""


@dataclass(frozen=True, eq=False)
class Placed:
    """One output against its real image."""

    item: Item
    output: Placement | None
    """Against the reference, else against the source; None where the images cannot be compared."""
    pair: Placement | None
    """Reference against source; None without a reference."""

    @property
    def against(self) -> str:
        """What the output is held against."""
        return "source" if self.item.reference is None else "reference"

    def beyond(self, length_mm: float, limit_mm: float, limit_px: float) -> bool:
        """Whether a length exceeds both a limit in mm and one in pixels, of the wider spacing."""
        return length_mm > limit_mm and length_mm > limit_px * max(self.item.spacing_mm)

    @property
    def objection(self) -> str | None:
        """Why the model cannot be held to this case."""
        if self.output is None:
            return f"images differ in size or have sides under {SMALLEST_SIDE} pixels"
        if self.pair is None:
            return None if self.output.shift.found else "source and output have too little in common to be compared"
        distance = self.pair.distance_mm
        if distance is None:
            return "source and reference have too little in common to be compared"
        if self.pair.flipped or self.beyond(distance, PAIR_LIMIT_MM, PAIR_LIMIT_PX):
            return "source and reference do not lie on each other"
        return None


@dataclass(frozen=True)
class LesionShape:
    """One annotated lesion's outline, in the reference and in the output."""

    item: Item
    number: int
    diameter_mm: float
    status: str
    """`outlined`, `not clear in the reference` or `not found in the output`."""
    shift_mm: float | None = None
    change: float | None = None
    """`outline_change`, as a share of the radius."""
    area_ratio: float | None = None
    circularity: tuple[float, float] | None = None
    """In reference and output."""

    @property
    def lesion_id(self) -> str:
        """Unique in a run."""
        return f"{self.item.case.case_id}/{self.number}"

    @property
    def patient(self) -> str:
        """Its patient."""
        return self.item.case.patient_id


_PLACED: WeakKeyDictionary[TranslationRun, list[Placed]] = WeakKeyDictionary()


def placements(run: TranslationRun) -> list[Placed]:
    """Every test case placed, in the order of the cases; computed once a run."""
    if run not in _PLACED:
        _PLACED[run] = run.engine.map(_place, run.items, label="Placing outputs")
    return _PLACED[run]


def none_placed(placed: Sequence[Placed]) -> str | None:
    """Why no case can be placed, whatever the model does; None where one can, or where an output may be to blame."""
    reasons = Counter(p.objection for p in placed)
    if not placed or None in reasons or any(p.item.reference is None for p in placed):
        return None
    reason, number = reasons.most_common(1)[0]
    return f"No real pair can be placed, so no output can: {reason} ({number} of {len(placed)} cases)."


def lesion_shapes(run: TranslationRun, min_pixels: int, reach_mm: float) -> list[LesionShape]:
    """Every annotated lesion of the paired cases; none where the target domain does not show them."""
    if unseen_in_target(run.cohort):
        return []
    items = [item for item in run.paired if item.lesion is not None and item.lesion.any()]
    sections = Sections(run.paired, min_pixels)
    found = run.engine.map(lambda item: _shapes(item, sections, reach_mm), items, label="Outlining lesions")
    return [shape for shapes in found for shape in shapes]


def _place(item: Item) -> Placed:
    target = item.source if item.reference is None else item.reference
    shapes = {item.output.shape, item.source.shape, target.shape}
    if len(shapes) > 1 or min(item.output.shape) < SMALLEST_SIDE:
        return Placed(item, None, None)
    pair = None if item.reference is None else placement(item.reference, item.source, item.spacing_mm)
    return Placed(item, placement(item.output, target, item.spacing_mm), pair)


def _shapes(item: Item, sections: Sections, reach_mm: float) -> list[LesionShape]:
    assert item.reference is not None
    out = []
    lesions, masks = sections.of(item)
    for number, mask in lesions:
        ring = surround(mask, item.body, masks)
        diameter = equivalent_diameter(mask, item.spacing_mm)
        # Three pixels are the least that the level of the tissue around can be taken from.
        pair: tuple[Outline | None, Outline | None] = (None, None)
        if np.count_nonzero(ring) >= 3 and item.output.shape == item.reference.shape:
            pair = lesion_outlines(item.reference, item.output, mask, ring, item.spacing_mm, reach_mm)
        real, made = pair
        if real is None or made is None:
            status = "not clear in the reference" if real is None else "not found in the output"
            out.append(LesionShape(item, number, diameter, status))
            continue
        out.append(
            LesionShape(
                item,
                number,
                diameter,
                "outlined",
                centre_distance(made, real),
                outline_change(made, real),
                made.area / real.area,
                (real.circularity, made.circularity),
            )
        )
    return out


def changed_px(shape: LesionShape) -> float:
    """The change of an outline in pixels of the wider spacing."""
    assert shape.change is not None
    return shape.change * shape.diameter_mm / 2 / max(shape.item.spacing_mm)
