"""Marks of a detector that no annotated lesion explains, by case; one over several slices of a volume is one mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medgan_qa.audits._volumes import Stack, stacks
from medgan_qa.audits.lesions import false_alarms
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.metrics import MatchingRule, equivalent_diameter
from medgan_qa.metrics.lesions3d import equivalent_diameter3d, unmatched3d


@dataclass(frozen=True, eq=False)
class Mark:
    """A connected group of marked pixels; the same object stands with every slice that it reaches."""

    diameter_mm: float
    """Of the disc with its area, or of the ball with its volume."""
    cases: tuple[str, ...]
    """The cases that show it."""


def false_marks(
    run: TranslationRun,
    wanted: Sequence[Item],
    rule: MatchingRule,
    min_pixels: int,
    *,
    of: Literal["reference", "output"],
) -> dict[str, list[Mark]]:
    """Unexplained marks in each of some cases.

    In the output, a mark that the detector makes at the same place in the real image is explained by that.

    Args:
        run: the run, with a detector.
        wanted: paired and annotated cases.
        rule: how near a mark has to be to a lesion to belong to it.
        min_pixels: marks with fewer pixels, or voxels, are left out.
        of: which reading.

    Returns:
        By case id, every wanted case in it.
    """
    names = {item.case.case_id for item in wanted}
    found: dict[str, list[Mark]] = {name: [] for name in names}
    for stack in stacks(run.paired):
        if names.isdisjoint(item.case.case_id for item in stack.items):
            continue
        marks = _in_volume if stack.is_volume else _in_image
        for mark in marks(run, stack, rule, min_pixels, of):
            for name in names.intersection(mark.cases):
                found[name].append(mark)
    return found


def _in_image(run: TranslationRun, stack: Stack, rule: MatchingRule, min_pixels: int, of: str) -> list[Mark]:
    item = stack.items[0]
    reading = run.readings[item.case.case_id]
    known = reading.reference if of == "output" else None
    marks = false_alarms(item, getattr(reading, of), known, rule, min_pixels)
    return [Mark(equivalent_diameter(mark, item.spacing_mm), (item.case.case_id,)) for mark in marks]


def _in_volume(run: TranslationRun, stack: Stack, rule: MatchingRule, min_pixels: int, of: str) -> list[Mark]:
    names = [item.case.case_id for item in stack.items]
    readings = [run.readings[name] for name in names]
    explained = np.stack([item.lesion for item in stack.items if item.lesion is not None])
    if of == "output":
        explained |= np.stack([reading.reference for reading in readings])
    marked = np.stack([getattr(reading, of) for reading in readings])
    boxes = unmatched3d(marked, explained, rule=rule, spacing_mm=stack.spacing_mm, min_voxels=min_pixels)
    return [
        Mark(equivalent_diameter3d(box.voxels, stack.spacing_mm), tuple(names[z] for z in box.slices)) for box in boxes
    ]
