"""What every case of a dataset turns out to be when it is read, and what is odd about it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.checking.burned_in import text_rows
from medgan_qa.cohorts.checking.findings import Finding, PartitionFacts, Thumbnail, finding
from medgan_qa.cohorts.checking.thumbnails import thumbnail
from medgan_qa.cohorts.cohort import PARTITIONS, Case, CaseImages, Cohort, Partition, from_unit, patients, subset
from medgan_qa.cohorts.prefetch import outcomes
from medgan_qa.errors import DatasetError

SHOWN_CASES = 12
"""Thumbnails a partition."""
TEXT_CASES = 300
"""Images a partition that are searched for text, evenly over all."""
EVERYWHERE = 0.95
"""Share of an image from which a mask counts as everywhere."""
NARROW = 0.05
"""Share of the declared range below which the numbers of all images together take up suspiciously little of it."""
AIR_HU = -500.0
"""A declared range that begins below this is one of Hounsfield units."""
SMALLEST_MM, LARGEST_MM = 0.01, 20.0
"""Pixel spacings beyond these are in another unit; microscopy and coarse maps lie beyond them too."""
OUTLIER = 3.0
"""How many times another spacing than the median's makes an outlier."""


class Measured(NamedTuple):
    """One case that was read."""

    case: Case
    size: tuple[int, int]
    spacing_mm: tuple[float, float]
    low: float
    high: float
    eight_bit: bool
    """All numbers are whole and within 0 to 255."""
    mask_share: float | None
    digest: str
    text: bool
    """It was searched for text, and there seems to be some."""


@dataclass
class Reading:
    """Everything that was read, and everything that could not be."""

    measured: list[Measured] = field(default_factory=list)
    errors: list[tuple[Case, DatasetError]] = field(default_factory=list)
    thumbnails: list[Thumbnail] = field(default_factory=list)
    searched: int = 0
    """Images that were searched for text."""


def read_all(cohort: Cohort, partition: Partition | None, progress: Callable[[int, int], None]) -> Reading:
    """Read every case once; of the pixels only thumbnails are kept.

    Args:
        cohort: the data.
        partition: which; None: all.
        progress: told how many of how many are done.
    """
    reading = Reading()
    total = len(cohort.cases if partition is None else subset(cohort.cases, partition))
    for part in PARTITIONS if partition is None else (partition,):
        cases = subset(cohort.cases, part)
        best: dict[int, tuple[float, Thumbnail]] = {}
        for index, (case, outcome) in enumerate(outcomes(cohort, cases)):
            error = outcome.exception()
            if isinstance(error, DatasetError):
                reading.errors.append((case, error))
            else:
                images = outcome.result()
                searched = len(cases) <= TEXT_CASES or index % -(-len(cases) // TEXT_CASES) == 0
                reading.searched += searched
                reading.measured.append(_measured(case, images, cohort.value_range, searched=searched))
                _keep(best, index * SHOWN_CASES // len(cases), case, images)
            progress(len(reading.measured) + len(reading.errors), total)
        reading.thumbnails += [shown for _, (_, shown) in sorted(best.items())]
    return reading


def _keep(best: dict[int, tuple[float, Thumbnail]], place: int, case: Case, images: CaseImages) -> None:
    """One case for each stretch of the table: in two of three stretches the one with the largest lesion."""
    weight = 0.0 if images.lesion_mask is None or place % 3 == 2 else float(images.lesion_mask.mean())
    if place not in best or weight > best[place][0]:
        best[place] = weight, thumbnail(case, images)


def _measured(case: Case, images: CaseImages, value_range: tuple[float, float], *, searched: bool) -> Measured:
    image, mask = images.image, images.lesion_mask
    low, high = (float(v) for v in from_unit([image.min(), image.max()], value_range))
    stored = from_unit(image, value_range) if low > -0.5 and high < 255.5 else None
    return Measured(
        case=case,
        size=(image.shape[1], image.shape[2]),
        spacing_mm=images.spacing_mm,
        low=low,
        high=high,
        eight_bit=stored is not None and bool(np.abs(stored - np.rint(stored)).max() < 0.01),
        mask_share=float(mask.mean()) if mask is not None and case.has_mask else None,
        digest=hashlib.sha256(image.tobytes()).hexdigest(),
        text=searched and bool(text_rows(image[0])),
    )


def facts(cohort: Cohort, measured: Sequence[Measured]) -> Iterator[PartitionFacts]:
    """What each partition holds; those without a case are left out."""
    by_partition: dict[str, list[Measured]] = defaultdict(list)
    for one in measured:
        by_partition[one.case.partition].append(one)
    for partition in PARTITIONS:
        cases, read = subset(cohort.cases, partition), by_partition[partition]
        if cases:
            yield _facts(partition, cases, read)


def _facts(partition: str, cases: Sequence[Case], read: Sequence[Measured]) -> PartitionFacts:
    sizes = Counter(f"{one.size[0]} x {one.size[1]}" for one in read)
    spacing = np.array([one.spacing_mm for one in read]) if read else None
    return PartitionFacts(
        partition=partition,
        cases=len(cases),
        patients=len(patients(cases)),
        volumes=len({case.volume for case in cases if case.volume is not None}),
        sizes=tuple(name for name, _ in sizes.most_common()),
        spacing_mm=None if spacing is None else (*_ends(spacing[:, 0]), *_ends(spacing[:, 1])),
        found_range=(min(one.low for one in read), max(one.high for one in read)) if read else None,
        lesions=sum(one.mask_share is not None and one.mask_share > 0 for one in read),
        annotated=sum(case.annotated for case in cases),
        targets=sum(case.has_target for case in cases),
        labels=_counted(case.label for case in cases),
        sites=_counted(case.site for case in cases),
        scanners=_counted(case.scanner for case in cases),
    )


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _counted(values: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(value for value in values if value is not None))


def oddities(cohort: Cohort, reading: Reading, *, windowed: bool) -> list[Finding]:
    """What the cases that could be read, taken together, have that should be looked at."""
    measured = reading.measured
    return [
        *_partitions(cohort),
        *_masks(measured),
        *_pixels(cohort, measured, windowed=windowed),
        *_spacings(measured),
        *_same(measured),
        *finding(
            "burned-in-text",
            "warning",
            f"images that seem to hold text ({reading.searched} were searched)",
            [one.case.case_id for one in measured if one.text],
            "Text in the pixels may name a patient, and no pseudonym replaces it. Mask it, or leave these images out.",
        ),
    ]


def _partitions(cohort: Cohort) -> Iterator[Finding]:
    found: dict[str, set[str]] = defaultdict(set)
    for case in cohort.cases:
        found[case.patient_id].add(case.partition)
    several = [f"{patient}: {', '.join(sorted(where))}" for patient, where in found.items() if len(where) > 1]
    yield from finding(
        "shared-patients",
        "warning",
        "patients that stand in several partitions",
        several,
        "Keep each patient in one partition; HYG-001 and HYG-006 will report them.",
    )
    if not subset(cohort.cases, "test"):
        listed = [", ".join(sorted({case.partition for case in cohort.cases}))]
        todo = "Mark the held-out cases as `test`: an audit refuses data without them."
        yield from finding("no-test", "error", "no case is in partition test; there are only", listed, todo)


def _masks(measured: Sequence[Measured]) -> Iterator[Finding]:
    empty = [one.case.case_id for one in measured if one.mask_share == 0 and one.case.volume is None]
    full = [one.case.case_id for one in measured if one.mask_share is not None and one.mask_share >= EVERYWHERE]
    slices: dict[str, list[float]] = defaultdict(list)
    for one in measured:
        if one.case.volume is not None and one.mask_share is not None:
            slices[one.case.volume].append(one.mask_share)
    empty += [volume for volume, shares in slices.items() if not any(shares)]
    todo = "Right where somebody looked and found no lesion; else the mask belongs to another image or label."
    yield from finding("empty-mask", "warning", "masks without a lesion", empty, todo)
    todo = "A lesion this large is a mask that is inverted, or one of the body or of the background."
    yield from finding("full-mask", "warning", f"masks over {EVERYWHERE:.0%} and more of the image", full, todo)


def _pixels(cohort: Cohort, measured: Sequence[Measured], *, windowed: bool) -> Iterator[Finding]:
    flat = [one.case.case_id for one in measured if one.low == one.high]
    todo = "Nothing is in them: take them out, or limit volumes with `within`."
    yield from finding("constant-image", "warning", "images with the same number everywhere", flat, todo)
    low, high = cohort.value_range
    shown = [one for one in measured if one.low != one.high]
    if shown and low < AIR_HU and all(one.eight_bit for one in shown):
        found = [f"{one.case.case_id}: {one.low:g} to {one.high:g}" for one in shown]
        todo = (
            "Export Hounsfield units with 16 bits, or declare value_range = [0.0, 255.0] for a window that was applied."
        )
        yield from finding(
            "not-hounsfield", "error", "images of 8 bit numbers, declared as Hounsfield units", found, todo
        )
    elif shown and (ends := _span(shown)) < NARROW * (high - low):
        found = [f"{ends:g} of {high - low:g}"]
        todo = "Declare the range that the scanner or format defines; a model would see all images as nearly one grey."
        key = "window" if windowed else "value_range"
        yield from finding("narrow-range", "warning", f"numbers that take up little of {key}", found, todo)


def _span(measured: Sequence[Measured]) -> float:
    return max(one.high for one in measured) - min(one.low for one in measured)


def _spacings(measured: Sequence[Measured]) -> Iterator[Finding]:
    if not measured:
        return
    spacing = np.array([one.spacing_mm for one in measured])
    if (spacing == 1.0).all():
        todo = "Give spacing_mm where files carry none: sizes of lesions and shifts are told in mm."
        yield from finding("no-spacing", "warning", "pixels of exactly 1 x 1 mm", ["every image"], todo)
    middle = np.median(spacing, axis=0)
    other = [
        f"{one.case.case_id}: {one.spacing_mm[0]:g} x {one.spacing_mm[1]:g} mm"
        for one in measured
        if any(not 1 / OUTLIER < value / usual < OUTLIER for value, usual in zip(one.spacing_mm, middle, strict=True))
    ]
    todo = f"The median is {middle[0]:g} x {middle[1]:g} mm: correct the header, or tell why they differ."
    yield from finding("spacing-outlier", "warning", f"pixel spacings {OUTLIER:g} times off the median", other, todo)
    if not all(SMALLEST_MM <= value <= LARGEST_MM for value in middle):
        todo = "Metres or micrometres taken for millimetres: correct spacing_mm, or the unit in the headers."
        found = [f"median {middle[0]:g} x {middle[1]:g} mm"]
        yield from finding("spacing-unit", "warning", "pixel spacings that look like another unit", found, todo)


def _same(measured: Sequence[Measured]) -> Iterator[Finding]:
    cases: dict[str, list[Measured]] = defaultdict(list)
    for one in measured:
        if one.low != one.high:
            cases[one.digest].append(one)
    pairs = [f"{a.case.case_id} and {b.case.case_id}" for some in cases.values() for a, b in pairwise(some)]
    todo = "The same pixels twice: keep one, above all where the partitions differ."
    yield from finding("same-image", "warning", "pairs of cases with the same image", pairs, todo)
