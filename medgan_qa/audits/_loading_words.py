"""What HYG-004 says and shows of what it found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._loaded import Loaded, Seen
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import Pair, pairs
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.loaders import Loader
from medgan_qa.cohorts.pipelines import Found, Inspection
from medgan_qa.metrics.image_change import ImageChange

LISTED = 12
"""Transforms that are listed in a note."""

Float = NDArray[np.float32]


@dataclass(eq=False)
class Reread:
    """The test partition read a second time by the dataset's own reader."""

    changed: dict[str, str] = field(default_factory=dict)
    """What gives one reading from the other, by case id."""
    seen: list[Seen] = field(default_factory=list)


@dataclass(eq=False)
class Loading:
    """What a loader does."""

    loader: Loader
    loaded: Loaded
    inspection: Inspection
    altered: dict[str, ImageChange]
    """Cases that it hands out otherwise than their file, by case id; none where that is accepted preprocessing."""
    contrast: dict[str, ImageChange]
    """Cases that it hands out in another contrast that is no gain and offset."""
    accepted: str
    """What it does to every image alike and is accepted; empty where it does nothing."""
    idle: list[Found]
    """Random transforms that are declared not to be applied to test images."""

    @property
    def suspects(self) -> set[str]:
        """Keys of items that changed, were altered, or went through a random transform."""
        through = {*self.loaded.cases, *self.loaded.unmatched} if self.inspection.random else set()
        return {*self.loaded.changed, *self.altered, *through}


def said(loading: Loading, tests: int) -> list[str]:
    """Notes on a loader; `tests` is the number of test cases."""
    loader, loaded, inspection = loading.loader, loading.loaded, loading.inspection
    handed = len(loaded.cases)
    said = [f"{loaded.items} items were read through the loader; {handed} of {tests} test cases are among them."]
    if loaded.by_place:
        said.append(
            "Its items carry no case id; as there are as many as test cases, they were taken in the table's order."
        )
    if loaded.unmatched:
        said.append(
            f"{len(loaded.unmatched)} items are no case that the dataset knows by that name, so they were compared "
            "with each other alone and not with files."
        )
    if loaded.others:
        said.append(f"It also hands out cases of other partitions ({loaded.others} items in all readings).")
    if loading.accepted:
        said.append(f"It hands out every image as: {loading.accepted}. That is accepted as its preprocessing.")
    if loaded.reordered:
        said.append("Its order changes from one reading to the next; its images are the same.")
    if loader.shuffles:
        said.append("The DataLoader shuffles; an order is no augmentation.")
    if loading.idle:
        said.append(_some("Random transforms that not_applied declares to be for other images", loading.idle))
    return [*said, *_kinds(loading), *_transforms(inspection)]


def _kinds(loading: Loading) -> list[str]:
    said = []
    changed = Counter(_plain(words) for words in loading.loaded.changed.values())
    altered = Counter(c.kind for c in loading.altered.values())
    if changed:
        said.append(f"Between readings: {_listed(changed)}.")
    if altered:
        said.append(f"Against the files: {_listed(altered)}.")
    return said


def _plain(words: str) -> str:
    return words.split(" (")[0].split(" at ")[0]


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())


def _transforms(inspection: Inspection) -> list[str]:
    said = [_some("Random transforms", inspection.random)] if inspection.random else ["No random transform was found."]
    if inspection.draws:
        said.append(_some("Code that names a source of random numbers", inspection.draws))
    if inspection.unknown:
        said.append(_some("Not looked into", inspection.unknown))
    if not inspection.complete:
        said.append("The loader's objects are nested too deeply or too many; not all were looked at.")
    return said


def _some(head: str, found: list[Found]) -> str:
    more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"{head}: {'; '.join(map(str, found[:LISTED]))}{more}."


def show(
    findings: Findings, code: str, reread: Reread, loading: Loading | None, cases: dict[str, Case], worst: int
) -> None:
    both = [
        ("dataset", reread.seen, "Test images read twice", ("one reading", "another reading")),
        *(
            []
            if loading is None
            else [
                ("loader", loading.loaded.changed_seen, "Images of the loader, read twice", ("one reading", "another")),
                (
                    "files",
                    [seen for seen in loading.loaded.altered_seen if seen.key in loading.altered],
                    "Images of the loader and their files",
                    ("file", "loader"),
                ),
            ]
        ),
    ]
    for name, seen, title, columns in both:
        pairs(
            findings,
            f"{code}-{name}",
            title,
            f"The first {min(worst, len(seen))} that differ, each scaled from its least to its largest value.",
            [_pair(one, cases) for one in seen[:worst]],
            columns,
        )


def _pair(seen: Seen, cases: dict[str, Case]) -> Pair:
    patient = cases[seen.key].patient_id if seen.key in cases else ""
    return Pair(
        _scaled(seen.one), _on_grid(_scaled(seen.other), seen.one.shape), seen.key, patient, seen.change.words, "worst"
    )


def _scaled(image: Float) -> Float:
    low, span = float(image.min()), float(np.ptp(image))
    return np.asarray((image - low) / (span or 1.0), np.float32)


def _on_grid(image: Float, shape: tuple[int, ...]) -> Float:
    """Cut or filled with 0 at the bottom and right, as the two images of a pair have one size."""
    laid = np.zeros(shape, np.float32)
    rows, columns = (min(a, b) for a, b in zip(image.shape, shape, strict=True))
    laid[:rows, :columns] = image[:rows, :columns]
    return laid
