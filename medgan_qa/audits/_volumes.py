"""Slices of one volume put together again: what the lesion audits follow in three dimensions.

Slices stand on each other where the table says that they belong to one volume and their places follow each other. A
missing slice, one without a reference or one that nobody annotated separates what lies on its two sides: what is there
is not known. A slice without a neighbour stands by itself and is read as a single image is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.translation import Item
from medgan_qa.metrics import components
from medgan_qa.metrics._arrays import Spacing3d
from medgan_qa.metrics.lesions3d import Box, components3d

Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Stack:
    """Neighbouring slices of one volume in the order of their places, or one image by itself."""

    items: tuple[Item, ...]

    @property
    def is_volume(self) -> bool:
        """More than one slice."""
        return len(self.items) > 1

    @property
    def spacing_mm(self) -> Spacing3d:
        """(dz, dy, dx) of its voxels."""
        first = self.items[0]
        assert first.slice_mm is not None
        return (first.slice_mm, *first.spacing_mm)

    @cached_property
    def boxes(self) -> list[Box]:
        """The annotated regions of a volume, 26-connected."""
        return components3d(np.stack([i.lesion for i in self.items if i.lesion is not None]))


def stacks(items: Sequence[Item], *, paired: bool = True) -> list[Stack]:
    """All items in stacks, in the order of the first item of each.

    Items stand in one stack if they are annotated, of one patient and volume, of one size and spacing, with a known
    distance of slices, and with places that follow each other.

    Args:
        items: the cases.
        paired: a slice without a reference is as good as missing.
    """
    volumes: dict[tuple[str, str | None], list[Item]] = {}
    for item in items:
        if _stands_in_volume(item) and (item.reference is not None or not paired):
            volumes.setdefault(_volume(item), []).append(item)
    held: dict[str, tuple[Item, ...]] = {}
    for slices in volumes.values():
        for run in _runs(slices):
            held.update({item.case.case_id: tuple(run) for item in run})
    found, taken = [], set()
    for item in items:
        name = item.case.case_id
        if name not in taken:
            stack = held.get(name, (item,))
            taken |= {one.case.case_id for one in stack}
            found.append(Stack(stack))
    return found


def _stands_in_volume(item: Item) -> bool:
    case = item.case
    placed = case.volume is not None and case.slice_index is not None and item.slice_mm is not None
    return placed and item.lesion is not None


def _runs(slices: Sequence[Item]) -> list[list[Item]]:
    """Slices of one volume, parted wherever one is not next to the one before."""
    runs: list[list[Item]] = []
    for item in sorted(slices, key=_place):
        if runs and _next_to(runs[-1][-1], item):
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


def _place(item: Item) -> int:
    assert item.case.slice_index is not None
    return item.case.slice_index


def _next_to(before: Item, item: Item) -> bool:
    same = (before.output.shape, before.body.shape, before.spacing_mm, before.slice_mm)
    return _place(item) - _place(before) == 1 and same == (
        item.output.shape,
        item.body.shape,
        item.spacing_mm,
        item.slice_mm,
    )


class Section(NamedTuple):
    """A lesion where it is looked at in one image: a volume's in the slice with its largest cross-section."""

    number: int
    """In its image or its stack of slices, from 1."""
    mask: Bool
    """(H, W)"""


class Sections:
    """Annotated lesions by the image that they are looked at in, each once.

    Args:
        items: the cases.
        min_pixels: components with fewer pixels, or voxels, are no lesions.
        paired: a slice without a reference is as good as missing.
    """

    def __init__(self, items: Sequence[Item], min_pixels: int, *, paired: bool = True) -> None:
        self.min_pixels = min_pixels
        volumes = [stack for stack in stacks(items, paired=paired) if stack.is_volume]
        self._place = {item.case.case_id: (stack, z) for stack in volumes for z, item in enumerate(stack.items)}

    def of(self, item: Item) -> tuple[list[Section], list[Bool]]:
        """The lesions that are looked at in a case, and the masks (H, W) of all that it shows."""
        place = self._place.get(item.case.case_id)
        if place is not None:
            return self._in_volume(*place)
        masks = [] if item.lesion is None else components(item.lesion, self.min_pixels)
        return [Section(number, mask) for number, mask in enumerate(masks, start=1)], masks

    def _in_volume(self, stack: Stack, z: int) -> tuple[list[Section], list[Bool]]:
        shape = stack.items[z].body.shape
        boxes = [box for box in stack.boxes if box.voxels >= self.min_pixels]
        largest = [(number, box) for number, box in enumerate(boxes, start=1) if box.largest == z]
        shown = [box.section(z, shape) for box in boxes if z in box.slices]
        return [Section(number, box.section(z, shape)) for number, box in largest], shown


def volume_notes(items: Sequence[Item]) -> list[str]:
    """What a reader has to know about how volumes were read; nothing where no two cases are of one volume."""
    sizes = Counter(_volume(item) for item in items if item.case.volume is not None)
    whole = {key for key, slices in sizes.items() if slices > 1}
    every = [stack for stack in stacks(items) if _volume(stack.items[0]) in whole]
    joined = [stack for stack in every if stack.is_volume]
    pieces = Counter(_volume(stack.items[0]) for stack in every)
    blind = {_volume(item) for item in items if item.slice_mm is None} & whole
    notes = []
    if joined:
        notes.append(
            f"{sum(len(s.items) for s in joined)} slices of {_counted({_volume(s.items[0]) for s in joined})} are read "
            "together: a lesion is one 26-connected region over neighbouring slices and is counted once, its diameter "
            "is that of the ball with its volume, and distances of the matching rule run in all three directions."
        )
    if blind:
        notes.append(
            f"{_counted(blind)} without a known distance of slices: lesions there are read slice by slice, so one that "
            "spans several is counted several times. Give the distance in the dataset."
        )
    parted = {key for key, number in pieces.items() if number > 1} - blind
    if parted:
        notes.append(
            f"{_counted(parted)} with missing slices, or with slices that have no reference or no annotation: lesions "
            "are not followed across these."
        )
    return notes


def _volume(item: Item) -> tuple[str, str | None]:
    return item.case.patient_id, item.case.volume


def _counted(volumes: Collection[object]) -> str:
    return f"{len(volumes)} volume" + ("" if len(volumes) == 1 else "s")
