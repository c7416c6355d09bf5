"""Lesions in a stack of slices: taking them apart, matching them with a reading, and their contrast to the tissue.

As `medgan_qa.metrics.lesions`, in three dimensions and by the same named rules. A stack is (D, H, W) bool, slices of
one volume in the order of their positions, each next to the one before; its spacing is (dz, dy, dx) in mm. A lesion is
held as the box around it, so that a volume with hundreds of them costs no more than their voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import ROUNDING, BoolMask, Spacing3d, mask3d, spacing3d
from medgan_qa.metrics.lesions import MatchingRule, contrast, contrast_noise, surround

NEIGHBOURS = np.ones((3, 3, 3))
"""26 of them: voxels that share a face, an edge or a corner."""
FEWEST_AROUND = 3
"""Pixels that a mean of the tissue around a lesion can be taken from, at least."""
RING_REACH = 8
"""Pixels around a lesion that its ring is looked for in: more than the gap and the width of `surround` together."""


@dataclass(frozen=True, eq=False)
class Box:
    """A region of a stack, held as the smallest box around it."""

    start: tuple[int, int, int]
    """First slice, row and column of the box in the stack."""
    mask: BoolMask
    """(d, h, w), with a voxel on each of its six faces."""

    @property
    def slices(self) -> range:
        """The slices of the stack that it lies in; none is left out, as its voxels are neighbours."""
        return range(self.start[0], self.start[0] + self.mask.shape[0])

    @property
    def voxels(self) -> int:
        """How many."""
        return int(np.count_nonzero(self.mask))

    @property
    def window(self) -> tuple[slice, slice, slice]:
        """Where the box lies in the stack."""
        z, y, x = (slice(first, first + size) for first, size in zip(self.start, self.mask.shape, strict=True))
        return z, y, x

    @property
    def largest(self) -> int:
        """The slice of the stack with its largest cross-section; the first of several."""
        return self.start[0] + int(np.count_nonzero(self.mask, axis=(1, 2)).argmax())

    def section(self, z: int, shape: tuple[int, int]) -> BoolMask:
        """Its cross-section with a slice of the stack, (H, W); empty where it does not reach that slice."""
        whole = np.zeros(shape, dtype=bool)
        if z in self.slices:
            whole[self.window[1:]] = self.mask[z - self.start[0]]
        return whole


def components3d(stack: Any, min_voxels: int = 1) -> list[Box]:
    """The 26-connected components of a stack, in raster order of their first voxel.

    Args:
        stack: (D, H, W) bool.
        min_voxels: components with fewer voxels are left out, >= 1.

    Returns:
        One box a component; an empty list for an empty stack.

    Raises:
        TypeError: the stack is not bool.
        ValueError: it is not three-dimensional, or `min_voxels` is below 1.
    """
    array = mask3d(stack, "stack")
    if min_voxels < 1:
        raise ValueError(f"min_voxels must be at least 1, got {min_voxels!r}")
    if not array.any():
        return []
    # Labels take four bytes a voxel, so only what lies around the marks is labelled.
    z, y, x = _reach(array)
    labels: NDArray[np.int32] = ndimage.label(array[z, y, x], structure=NEIGHBOURS)[0]
    corner = (z.start, y.start, x.start)
    boxes = [
        Box(_shifted(corner, window), labels[window] == number)
        for number, window in enumerate(ndimage.find_objects(labels), start=1)
    ]
    return sorted((box for box in boxes if box.voxels >= min_voxels), key=_first)


def equivalent_diameter3d(voxels: int, spacing_mm: Spacing3d) -> float:
    """Diameter in mm of the ball with the volume of so many voxels; 0 for none.

    Args:
        voxels: how many, >= 0.
        spacing_mm: voxel spacing (dz, dy, dx) in mm.

    Raises:
        ValueError: a negative number, or a spacing that is not positive.
    """
    if voxels < 0:
        raise ValueError(f"voxels must be >= 0, got {voxels!r}")
    return math.cbrt(6.0 * voxels * math.prod(spacing3d(spacing_mm)) / math.pi)


def section_shares(lesion: Box, reading: Any) -> tuple[float, ...]:
    """Share of a lesion's pixels that a reading (D, H, W) marks in each of its slices, in [0, 1]."""
    sections = np.count_nonzero(lesion.mask, axis=(1, 2))
    marked = np.count_nonzero(lesion.mask & reading[lesion.window], axis=(1, 2))
    return tuple(float(share) for share in marked / sections)


def found3d(lesion: Box, reading: Any, rule: MatchingRule, spacing_mm: Spacing3d) -> bool:
    """Whether a reading finds a lesion under a rule, over all of its slices together.

    `overlap` asks for a share of its voxels, `centroid` for the voxel nearest its centroid, `dilated_hit` for one
    marked voxel within a distance in mm, in any direction. All marks count together, as in `found`.

    Args:
        lesion: one annotated lesion.
        reading: (D, H, W) bool, everything that was marked in the stack.
        rule: the matching rule.
        spacing_mm: voxel spacing (dz, dy, dx) in mm.

    Raises:
        TypeError: the reading is not bool.
        ValueError: the reading is not three-dimensional, or a spacing is not positive.
    """
    marked, spacing = mask3d(reading, "reading"), spacing3d(spacing_mm)
    if rule.name == "overlap":
        inside = int(np.count_nonzero(lesion.mask & marked[lesion.window]))
        return inside >= rule.min_overlap * lesion.voxels - ROUNDING
    if rule.name == "centroid":
        return bool((_centre(lesion.mask, spacing) & marked[lesion.window]).any())
    return is_near(lesion, marked, rule.dilate_mm, spacing)


def unmatched3d(
    reading: Any, explained: Any, *, rule: MatchingRule, spacing_mm: Spacing3d, min_voxels: int = 1
) -> list[Box]:
    """Marks that nothing explains: the components of a reading of which no voxel lies near an explained one.

    Near is within `rule.dilate_mm`, whatever the rule's name, as in `unmatched`. A mark over several slices is one.

    Args:
        reading: (D, H, W) bool, everything that was marked.
        explained: (D, H, W) bool, annotated lesions and what the detector marks on the real image already.
        rule: the matching rule.
        spacing_mm: voxel spacing (dz, dy, dx) in mm.
        min_voxels: smaller components of the reading are left out, >= 1.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, a spacing is not positive, or `min_voxels` is below 1.
    """
    marked, spacing = mask3d(reading, "reading"), spacing3d(spacing_mm)
    known = mask3d(explained, "explained", marked.shape)
    return [mark for mark in components3d(marked, min_voxels) if not is_near(mark, known, rule.dilate_mm, spacing)]


def is_near(region: Box, other: BoolMask, distance_mm: float, spacing: Spacing3d) -> bool:
    """Whether a voxel of `other` (D, H, W) lies within a distance in mm of a voxel of the region, centre to centre."""
    if (region.mask & other[region.window]).any():
        return True
    reach = tuple(int(distance_mm / step + ROUNDING) for step in spacing)
    # Slice by slice: a mark that fills a volume would take distances of every voxel of it at once.
    for z in region.slices:
        window = _widened((slice(z, z + 1), *region.window[1:]), reach, other.shape)
        around = other[window]
        if not around.any():
            continue
        far = ndimage.distance_transform_edt(~around, sampling=spacing)[z - window[0].start]
        rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in _pairs(region.window[1:], window[1:]))
        if (far[rows, columns][region.mask[z - region.start[0]]] <= distance_mm + ROUNDING).any():
            return True
    return False


class Plane(NamedTuple):
    """What of a lesion lies in one slice, and the tissue around it there."""

    z: int
    window: tuple[slice, slice]
    """The part of the slice that the two masks cover."""
    lesion: BoolMask
    """(h, w)"""
    ring: BoolMask
    """(h, w), of `FEWEST_AROUND` pixels or more."""


def planes(lesion: Box, bodies: Sequence[BoolMask], lesions: Sequence[Box]) -> list[Plane]:
    """The slices of a lesion with the ring of tissue that `surround` finds in each.

    Args:
        lesion: one of `lesions`.
        bodies: (H, W) bool, tissue against air, for every slice of the stack.
        lesions: every lesion of the stack, which are kept out of each other's rings.

    Returns:
        Slices without room for a ring are left out; an empty list where no slice has any.
    """
    found = []
    for z in lesion.slices:
        shape = (bodies[z].shape[0], bodies[z].shape[1])
        # A ring reaches a few pixels, and what lies farther off changes nothing in it.
        window = _widened(lesion.window[1:], (RING_REACH, RING_REACH), shape)
        here = [box.section(z, shape)[window] for box in lesions if z in box.slices]
        mask = lesion.section(z, shape)[window]
        ring = surround(mask, bodies[z][window], here)
        if np.count_nonzero(ring) >= FEWEST_AROUND:
            found.append(Plane(z, (window[0], window[1]), mask, ring))
    return found


def contrast3d(images: Sequence[Any], held: Sequence[Plane]) -> float:
    """Mean of the contrasts in a lesion's slices, each weighted by the lesion's pixels in it; signed as `contrast`.

    Tissue of another slice never enters: slices of one volume may differ in level.

    Args:
        images: (H, W), for every slice of the stack.
        held: the lesion's slices, at least one, from `planes`.

    Raises:
        ValueError: no slice, or a value under a mask that is not finite.
    """
    return float(np.dot(_weights(held), [contrast(images[p.z][p.window], p.lesion, p.ring) for p in held]))


def contrast_noise3d(images: Sequence[Any], held: Sequence[Plane]) -> float:
    """Standard error of `contrast3d`, from `contrast_noise` in every slice; slices count as independent.

    Raises:
        ValueError: no slice, or a value under a mask that is not finite.
    """
    errors = [contrast_noise(images[p.z][p.window], p.lesion, p.ring) for p in held]
    return float(np.sqrt(np.sum(np.square(_weights(held) * errors))))


def _weights(held: Sequence[Plane]) -> NDArray[np.float64]:
    if not held:
        raise ValueError("the lesion has no slice with tissue around it; its contrast cannot be taken")
    sizes = np.array([np.count_nonzero(p.lesion) for p in held], dtype=np.float64)
    weights: NDArray[np.float64] = sizes / sizes.sum()
    return weights


def _centre(mask: BoolMask, spacing: Spacing3d) -> BoolMask:
    """The voxels nearest the centroid: one, or several where they are equally near."""
    points = np.argwhere(mask) * np.asarray(spacing)
    squared = np.square(points - points.mean(axis=0)).sum(axis=1)
    centre = np.zeros_like(mask)
    # ties kept, or else a mirrored volume could be judged differently
    centre[mask] = squared <= squared.min() + ROUNDING * min(spacing) ** 2
    return centre


def _reach(stack: BoolMask) -> tuple[slice, slice, slice]:
    """The smallest window that holds everything in a stack that is not empty."""
    lines = (np.flatnonzero(stack.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    z, y, x = (slice(int(line[0]), int(line[-1]) + 1) for line in lines)
    return z, y, x


def _shifted(corner: tuple[int, int, int], window: tuple[slice, ...]) -> tuple[int, int, int]:
    z, y, x = (first + int(part.start) for first, part in zip(corner, window, strict=True))
    return z, y, x


def _first(box: Box) -> tuple[int, int, int]:
    y, x = np.argwhere(box.mask[0])[0]
    return box.start[0], box.start[1] + int(y), box.start[2] + int(x)


def _widened(window: tuple[slice, ...], reach: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(part.start - by, 0), min(part.stop + by, size))
        for part, by, size in zip(window, reach, shape, strict=True)
    )


def _pairs(a: Sequence[slice], b: Sequence[slice]) -> Iterator[tuple[slice, slice]]:
    return zip(a, b, strict=True)
