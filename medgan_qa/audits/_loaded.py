"""A team's loader read several times and held against the dataset's own reading: what HYG-004 reports.

Nothing that the loader calls an image is ever printed: what it names is matched with the cohort's cases, and what
matches none is known by its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._partitions import PartitionedRun, pixel_digest
from medgan_qa.audits.run import grey
from medgan_qa.cohorts.cohort import Case, Cohort, subset
from medgan_qa.cohorts.loaders import LoadedItem, Loader
from medgan_qa.cohorts.pseudonyms import Pseudonyms
from medgan_qa.metrics.image_change import ImageChange, image_change

Float = NDArray[np.float32]

KEPT_BYTES = 2**28
"""Images of the first reading that are kept, so that a change can be named."""
NAMED = 20
"""Images whose shift or crop is searched for."""
SHOWN = 12
"""Images that are kept to be shown."""

_PSEUDONYM = re.compile(r"[CV]-[0-9a-f]{8,64}(?:/.*)?")


@dataclass(eq=False)
class Seen:
    """Two images that should be one."""

    key: str
    """The case's id, or the item's place."""
    change: ImageChange
    one: Float
    """(H, W)"""
    other: Float


@dataclass(eq=False)
class Loaded:
    """What came of reading a loader."""

    items: int = 0
    """Items of one reading."""
    cases: dict[str, Case] = field(default_factory=dict)
    """Test cases that it handed out, by the key of the item."""
    others: int = 0
    """Items that are cases of other partitions."""
    unmatched: list[str] = field(default_factory=list)
    """Keys of items that are no case of the cohort, or cannot be told."""
    by_place: bool = False
    """Items have no names and were matched by their place in the table."""
    changed: dict[str, str] = field(default_factory=dict)
    """What gives one reading from the other, by key, of items that differ."""
    reordered: bool = False
    """Unnamed items came in another order, and otherwise as before."""
    compared: dict[str, ImageChange] = field(default_factory=dict)
    """What the loader made of the file's image, by case id."""
    changed_seen: list[Seen] = field(default_factory=list)
    altered_seen: list[Seen] = field(default_factory=list)


def read_loader(run: PartitionedRun, loader: Loader) -> Loaded:
    """Read a loader twice in its own order and, where it has an index, once in another.

    Args:
        run: its cohort's test partition is what the loader is held against.
        loader: the team's.

    Raises:
        InputError: the loader breaks, or hands out something that is no image.
    """
    reader = _Reader(run, loader)
    reader.first()
    reader.again(loader.reading)
    if loader.has_index:
        order = rng.child(run.seed, "HYG-004", "loader").permutation(loader.length or 0).tolist()
        reader.again(lambda: loader.by_index(order))
    return reader.loaded


class _Reader:
    """Readings of one loader, the first of which the others are held against."""

    def __init__(self, run: PartitionedRun, loader: Loader) -> None:
        self.run, self.loader, self.loaded = run, loader, Loaded()
        self._cases = subset(run.cohort.cases, "test")
        self._find = known_as(run.cohort)
        self._places: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self._kept: dict[str, Float] = {}
        self._unnamed = True
        self._left = KEPT_BYTES
        self._named = NAMED
        self._like: ImageChange | None = None

    def first(self) -> None:
        """Every item held against its file."""
        self.loaded.by_place = self.loader.length == len(self._cases)

        def look(item: LoadedItem) -> None:
            key = self._key(item)
            if key is None:
                return
            self.loaded.items += 1
            image = grey(item.image)
            self._digests[key] = pixel_digest(item.image)
            self._left -= image.nbytes
            if self._left >= 0:
                self._kept[key] = image
            case = self.loaded.cases.get(key)
            if case is None:
                self.loaded.unmatched.append(key)
            else:
                self._compare(case, image)

        self._each(self.loader.reading, look, "Reading through the loader")

    def again(self, reading: Callable[[], Iterable[LoadedItem]]) -> None:
        """Another reading: items that differ from the first."""
        digests: dict[str, str] = {}
        differing: dict[str, Float] = {}

        def look(item: LoadedItem) -> None:
            key = self._key(item)
            if key is None:
                return
            digests[key] = pixel_digest(item.image)
            if digests[key] != self._digests.get(key) and key not in self.loaded.changed and len(differing) < NAMED:
                differing[key] = grey(item.image)

        self._each(reading, look, "Reading through the loader again")
        if self._unnamed and digests != self._digests and sorted(digests.values()) == sorted(self._digests.values()):
            self.loaded.reordered = True
            return
        for key in {**self._digests, **digests}:
            if digests.get(key) != self._digests.get(key) and key not in self.loaded.changed:
                self.loaded.changed[key] = self._change(key, digests, differing.get(key))

    def _each(
        self, reading: Callable[[], Iterable[LoadedItem]], look: Callable[[LoadedItem], None], label: str
    ) -> None:
        items = iter(reading())
        count = self.loader.length

        def step(_: int) -> bool:
            item = next(items, None)
            if item is None:
                return False
            look(item)
            return True

        if count is not None:
            self.run.engine.map(step, range(count), label=label)
        while step(0):
            pass

    def _key(self, item: LoadedItem) -> str | None:
        """What an item is known by; None for a case of another partition."""
        if item.case_id is None:
            key = f"item {item.place}"
            if self.loaded.by_place and item.place < len(self._cases):
                self.loaded.cases[key] = self._cases[item.place]
            return key
        self.loaded.by_place = self._unnamed = False
        case = self._find(item.case_id)
        if case is None:
            # By its name, as its place may be another one in the next reading.
            return f"item {self._places.setdefault(item.case_id, len(self._places))}"
        if case.partition != "test":
            self.loaded.others += 1
            return None
        self.loaded.cases[case.case_id] = case
        return case.case_id

    def _compare(self, case: Case, image: Float) -> None:
        file = grey(self.run.cohort.load(case).image)
        if not np.isfinite(image).all() or not np.isfinite(file).all() or np.ptp(file) == 0:
            return
        found = image_change(file, image, like=self._like, search=self._named > 0)
        self._like = found if found.place is not None else self._like
        self._named -= not found.in_place
        self.loaded.compared[case.case_id] = found
        if not found.in_place and len(self.loaded.altered_seen) < SHOWN:
            self.loaded.altered_seen.append(Seen(case.case_id, found, file, image))

    def _change(self, key: str, digests: dict[str, str], image: Float | None) -> str:
        """In words what became of an item in another reading."""
        if key not in digests or key not in self._digests:
            return "handed out in one reading and not in the other"
        before = self._kept.get(key)
        if before is None or image is None:
            return "changed"
        if not np.isfinite(before).all() or not np.isfinite(image).all():
            return "not finite"
        found = image_change(before, image)
        if len(self.loaded.changed_seen) < SHOWN:
            self.loaded.changed_seen.append(Seen(key, found, before, image))
        return found.words


def known_as(cohort: Cohort) -> Callable[[str], Case | None]:
    """What finds the case that a loader means by a name: by its id, or by the id that a pseudonym stands for."""
    by_id = {case.case_id: case for case in cohort.cases}
    protected = any(_PSEUDONYM.fullmatch(name) for name in by_id)
    names = Pseudonyms() if protected else None

    def find(name: str) -> Case | None:
        if name in by_id or names is None:
            return by_id.get(name)
        volume, _, place = name.rpartition("/")
        sliced = f"{names.of('volume', volume)}/{place}" if volume else ""
        return by_id.get(names.of("case", name)) or by_id.get(sliced)

    return find
