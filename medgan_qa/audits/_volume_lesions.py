"""Lesions of a volume: one region over neighbouring slices, read, matched and measured in three dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._lesion import DIVISIBLE, Lesion
from medgan_qa.audits._volumes import Stack
from medgan_qa.audits.catalogue import Row
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.metrics import MatchingRule
from medgan_qa.metrics.lesions3d import (
    Box,
    contrast3d,
    contrast_noise3d,
    equivalent_diameter3d,
    found3d,
    planes,
    section_shares,
)

Bool = NDArray[np.bool_]


def lesions_in(run: TranslationRun, stack: Stack, rule: MatchingRule, min_pixels: int, *, read: bool) -> list[Lesion]:
    """Every annotated lesion of a stack of slices, in the order of its first voxel.

    Args:
        run: the run.
        stack: more than one slice.
        rule: when a reading finds a lesion.
        min_pixels: components with fewer voxels are not counted as lesions.
        read: use the detector's readings.
    """
    boxes = [box for box in stack.boxes if box.voxels >= min_pixels]
    readings = _stacked_readings(run, stack) if read and boxes else None
    return [_lesion3d(stack, number, box, boxes, readings, rule) for number, box in enumerate(boxes, start=1)]


def _stacked_readings(run: TranslationRun, stack: Stack) -> tuple[Bool, Bool]:
    """What the detector marks in the references and in the outputs, (D, H, W) each."""
    held = [run.readings[item.case.case_id] for item in stack.items]
    return np.stack([reading.reference for reading in held]), np.stack([reading.output for reading in held])


def _lesion3d(
    stack: Stack, number: int, box: Box, boxes: list[Box], readings: tuple[Bool, Bool] | None, rule: MatchingRule
) -> Lesion:
    held = planes(box, [item.body for item in stack.items], boxes)
    before = after = recovery = None
    if held:
        references, outputs = [item.reference for item in stack.items], [item.output for item in stack.items]
        before, after = contrast3d(references, held), contrast3d(outputs, held)
        if abs(before) > DIVISIBLE * contrast_noise3d(references, held):
            recovery = after / before
    item = stack.items[box.largest]
    seen: tuple[bool | None, ...] = (None, None)
    shares: tuple[tuple[float, ...], ...] = ((), ())
    if readings is not None:
        seen = tuple(found3d(box, marks, rule, stack.spacing_mm) for marks in readings)
        shares = tuple(section_shares(box, marks) for marks in readings)
    return Lesion(
        item=item,
        number=number,
        mask=box.mask[box.largest - box.start[0]],
        diameter_mm=equivalent_diameter3d(box.voxels, stack.spacing_mm),
        contrast_reference=before,
        contrast_output=after,
        recovery=recovery,
        found_reference=seen[0],
        found_output=seen[1],
        spanned=tuple(stack.items[z] for z in box.slices),
        marked_reference=shares[0],
        marked_output=shares[1],
        corner=box.start[1:],
    )


def lost_slices(lesion: Lesion) -> int:
    """Slices of a lesion in which the detector marks some of it in the reference and none of it in the output."""
    return sum(
        before > 0 and after == 0 for before, after in zip(lesion.marked_reference, lesion.marked_output, strict=True)
    )


def volume_columns(lesion: Lesion) -> Row:
    """What a table of lesions says of one of a volume, beside what it says of any; nothing of one in an image."""
    if not lesion.spanned:
        return {}
    first, last = lesion.spanned[0].case.slice_index, lesion.spanned[-1].case.slice_index
    row: Row = {
        "volume": lesion.item.case.volume,
        "slices": str(first) if first == last else f"{first} to {last}",
        "slice_count": len(lesion.spanned),
    }
    if lesion.marked_reference:
        row |= {
            "marked_in_reference": _shares(lesion.marked_reference),
            "marked_in_output": _shares(lesion.marked_output),
            "slices_lost": lost_slices(lesion),
        }
    return row


def _shares(values: tuple[float, ...]) -> str:
    """The marked share of a lesion in each of its slices, in their order."""
    return " ".join(f"{value:.2f}" for value in values)
