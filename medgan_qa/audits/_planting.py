"""Where lesions are planted: hosts, places, and the reference point that the data suggest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.audits.lesions import Lesion, lesions_of
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.metrics import MatchingRule
from medgan_qa.metrics.planting import disc

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

VISITS = 4
"""Lesions of one kind that one image may take, each by itself and in its own copy."""
CLEARANCE_PX = 5
"""From a planted lesion to an annotated one: the ring that contrast is measured in, and one more."""
DEPTHS = 0.1
"""Quantile of the annotated lesions' depth below the surface; nothing is planted nearer to it."""


class Cell(NamedTuple):
    """A kind of lesion."""

    diameter_mm: float
    contrast: float
    """Size of the contrast in unit range, > 0."""

    @property
    def words(self) -> str:
        """`a 6 mm lesion at 30 % contrast`."""
        article = "an" if f"{self.diameter_mm:g}".partition(".")[0] in ("8", "11", "18") else "a"
        return f"{article} {self.diameter_mm:g} mm lesion at {100 * self.contrast:g} % contrast"

    @property
    def stratum(self) -> str:
        """`diameter 6 mm, contrast 30 %`."""
        return f"diameter {self.diameter_mm:g} mm, contrast {100 * self.contrast:g} %"


class Habits(NamedTuple):
    """What the annotated lesions of the data are like."""

    point: Cell | None
    """Lower quartile of diameter and of contrast; None without lesions."""
    sign: int
    """1: bright, -1: dark."""
    depth: float
    """Depth below the surface, as a share of the image's deepest, that nearly all of them exceed."""
    lesions: int


class Host:
    """An image that lesions can be planted in.

    Args:
        item: annotated, with a reference.
        depth: as in `Habits`.
    """

    def __init__(self, item: Item, depth: float) -> None:
        assert item.reference is not None
        assert item.lesion is not None
        self.item, self.reference, self.depth = item, item.reference, depth

    @cached_property
    def _room(self) -> Float:
        """Radius in mm of the largest disc around each pixel that stays inside the body and clear of lesions."""
        item = self.item
        assert item.lesion is not None
        pixel = max(item.spacing_mm)
        # The image's border is a border of the body too.
        room = ndimage.distance_transform_edt(np.pad(item.body, 1), sampling=item.spacing_mm)[1:-1, 1:-1] - pixel
        room[room < self.depth * room.max()] = -np.inf
        if item.lesion.any():
            clear = ndimage.distance_transform_edt(~item.lesion, sampling=item.spacing_mm) - CLEARANCE_PX * pixel
            room = np.minimum(room, clear)
        largest: Float = room.astype(np.float32)
        return largest

    @cached_property
    def _level(self) -> Float:
        level: Float = ndimage.uniform_filter(self.reference, 3, mode="nearest")
        return level

    def seats(self, cell: Cell, sign: int) -> NDArray[np.intp]:
        """Flat indices of the pixels that a lesion fits around and that it does not take out of the value range."""
        after = self._level + np.float32(sign * cell.contrast)
        return np.flatnonzero((self._room >= cell.diameter_mm / 2) & (after >= 0) & (after <= 1))

    def place(self, cell: Cell, sign: int, share: float) -> tuple[int, int] | None:
        """The seat at a share of the way through the list of seats; None where there is none."""
        seats = self.seats(cell, sign)
        if not len(seats):
            return None
        y, x = np.unravel_index(seats[int(share * len(seats))], self.reference.shape)
        return int(y), int(x)

    def cover(self, cell: Cell, place: tuple[float, float]) -> Float:
        """The lesion's share of each pixel, (H, W)."""
        return disc(self.reference.shape, place, cell.diameter_mm, self.item.spacing_mm)

    def shows(self, cell: Cell, min_pixels: int) -> bool:
        """Whether a lesion of that size has enough pixels to count as one in this image."""
        height, width = self.reference.shape
        return int((self.cover(cell, (height // 2, width // 2)) >= 0.5).sum()) >= min_pixels


def habits(run: TranslationRun, rule: MatchingRule, min_pixels: int) -> Habits:
    """What the annotated lesions of a run are like."""
    lesions = lesions_of(run, rule, min_pixels, read=False)
    contrasts = [lesion.contrast_reference for lesion in lesions if lesion.contrast_reference is not None]
    if not contrasts:
        return Habits(None, 1, 0.0, 0)
    diameter = float(np.quantile([lesion.diameter_mm for lesion in lesions], 0.25))
    contrast = float(np.quantile(np.abs(contrasts), 0.25))
    return Habits(
        point=Cell(round(diameter, 1 if diameter < 10 else 0), max(round(contrast, 2), 0.01)),
        sign=-1 if np.median(contrasts) < 0 else 1,
        depth=float(np.quantile([_depth(lesion) for lesion in lesions], DEPTHS)),
        lesions=len(lesions),
    )


def _depth(lesion: Lesion) -> float:
    below = ndimage.distance_transform_edt(np.pad(lesion.item.body, 1))[1:-1, 1:-1]
    y, x = (round(middle) for middle in lesion.centre)
    return float(below[y, x] / below.max())


class Plan(NamedTuple):
    """One lesion to plant."""

    host: Host
    cell: Cell
    place: tuple[int, int]
    aside: tuple[int, int] | None
    """Where it goes when it is displaced; None where it is not, or where there is no room."""


def plans(
    hosts: Sequence[Host], cell: Cell, *, count: int, seed: int, sign: int, min_pixels: int, aside_mm: float | None
) -> list[Plan]:
    """At most `count` lesions of a kind, spread over patients first, then over their images, then within an image.

    Places are drawn by diameter, image and visit, so that contrasts are compared at the same places.
    """
    visits = _visits(hosts, rng.child(seed, "planted patients", f"{cell.diameter_mm:g}"))
    drawn: list[Plan] = []
    taken: set[tuple[str, tuple[int, int]]] = set()
    for host, visit in visits:
        if len(drawn) == count:
            break
        if not host.shows(cell, min_pixels):
            continue
        g = rng.child(seed, "planted", f"{cell.diameter_mm:g}", host.item.case.case_id, visit)
        place = host.place(cell, sign, g.random())
        # In a small image a later visit may draw a place again; the same lesion twice is not two of them.
        if place is not None and (host.item.case.case_id, place) not in taken:
            taken.add((host.item.case.case_id, place))
            aside = None if aside_mm is None else _aside(host, cell, sign, place, aside_mm, g)
            drawn.append(Plan(host, cell, place, aside))
    return drawn


def _visits(hosts: Sequence[Host], g: np.random.Generator) -> Iterator[tuple[Host, int]]:
    """Hosts with the number of the visit: patients take turns, and so do the images of one patient."""
    patients: dict[str, list[Host]] = {}
    for host in hosts:
        patients.setdefault(host.item.case.patient_id, []).append(host)
    groups = [patients[name] for name in np.array(sorted(patients), object)[g.permutation(len(patients))]]
    for turn in range(VISITS * max(map(len, groups), default=0)):
        for group in groups:
            if turn < VISITS * len(group):
                yield group[turn % len(group)], turn // len(group)


def _aside(
    host: Host, cell: Cell, sign: int, place: tuple[int, int], distance_mm: float, g: np.random.Generator
) -> tuple[int, int] | None:
    """A seat about `distance_mm` from the place, in a direction drawn at random; None where there is none."""
    seats = np.stack(np.unravel_index(host.seats(cell, sign), host.reference.shape), axis=-1)
    away = np.hypot(*((seats - place) * np.asarray(host.item.spacing_mm)).T)
    near = seats[np.abs(away - distance_mm) <= max(host.item.spacing_mm)]
    if not len(near):
        return None
    y, x = near[int(g.random() * len(near))]
    return int(y), int(x)
