"""What INT-003 reads from images: a detector's lesion masks and tissue by intensity, on the truth and on each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._stored import Scale
from medgan_qa.audits._tissue_error import FEWEST_PIXELS
from medgan_qa.audits._upscaled import IMAGES, MODEL, images_of
from medgan_qa.audits.run import NotFiniteError, for_detector
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.metrics import components
from medgan_qa.metrics.dice import dice
from medgan_qa.metrics.intensity_classes import Window, class_masks, flat_tissue
from medgan_qa.metrics.upsampling import bicubic, repeated

Bool = NDArray[np.bool_]

TRUTH = "truth"
READ = (TRUTH, *IMAGES)
"""What the detector reads, in the order of tables and figures."""
ANNOTATED = "annotated"
WAYS = {"bicubic": bicubic, "nearest": repeated}


class Lesions(NamedTuple):
    """One annotated case, by image."""

    dice: dict[str, float]
    """Overlap with the annotation."""
    area: dict[str, float]
    """What is marked in mm2; `annotated` is the mask's own area."""
    marked: dict[str, bool]
    """Whether something of the least size is marked."""


class Tissue(NamedTuple):
    """One case: overlap with the truth's classes and area in mm2, by image and class; the truth has areas only."""

    dice: dict[str, dict[str, float]]
    area: dict[str, dict[str, float]]


@dataclass
class Read:
    """Everything that was read, by case id."""

    lesions: dict[str, Lesions] = field(default_factory=dict)
    """Annotated cases."""
    tissue: dict[str, Tissue] = field(default_factory=dict)
    windows: Mapping[str, Window] = field(default_factory=dict)
    absent: str = ""
    """Why there is no lesion part."""

    @property
    def classes(self) -> list[str]:
        """The classes that some true image holds."""
        return [name for name in self.windows if any(name in one.area[TRUTH] for one in self.tissue.values())]

    def tissue_dice(self, image: str) -> dict[str, float]:
        """Mean over the classes of a case, by case id."""
        return {c: sum(one.dice[image].values()) / len(one.dice[image]) for c, one in self.tissue.items()}

    def lesion_dice(self, image: str, items: Sequence[Item]) -> dict[str, float]:
        """By case id, of the cases with an annotated lesion that were read in this image."""
        wanted = (item.case.case_id for item in items if item.annotation == "lesions")
        return {c: self.lesions[c].dice[image] for c in wanted if c in self.lesions and image in self.lesions[c].dice}


def lesion_readings(run: SuperResolutionRun, items: Sequence[Item]) -> dict[str, dict[str, Bool]]:
    """By case id and image, what the detector marks, (H, W); comparators are left out for a detector of other channels.

    Raises:
        NotFiniteError: the detector returned NaN or infinity.
    """
    detector = run.detector
    assert detector is not None
    unread: list[str] = []

    def read(item: Item) -> dict[str, Bool]:
        case_id = item.case.case_id
        own = {TRUTH: run.readings[case_id].reference, MODEL: run.readings[case_id].output}
        channels = detector.card.channels_in
        # A detector of several channels reads those of the input; with others than its own it cannot be asked.
        if channels not in (1, len(run.inputs[case_id])):
            return own
        given = {name: for_detector(way(run.inputs[case_id], run.scale), detector) for name, way in WAYS.items()}
        logits = detector.read(np.stack(list(given.values())))
        if not np.isfinite(logits).all():
            unread.append(case_id)
        return own | {name: one > 0 for name, one in zip(given, logits, strict=True)}

    found = run.engine.map(read, items, label="Reading lesions in interpolated inputs")
    if unread:
        raise NotFiniteError(
            f"The detector returned NaN or infinity in {len(unread)} of {len(items)} interpolated inputs.",
            expected="finite lesion logits",
            found=f"first in {', '.join(unread[:5])}",
            where=detector.path,
            todo="Repair the detector, or give another with --detector.",
        )
    return {item.case.case_id: masks for item, masks in zip(items, found, strict=True)}


def lesions_of(item: Item, readings: Mapping[str, Bool], min_pixels: int) -> Lesions:
    """Overlap and areas of one annotated case; marks of fewer pixels count in both, and are no mark by themselves."""
    assert item.lesion is not None
    pixel = item.spacing_mm[0] * item.spacing_mm[1]
    areas = {name: pixel * float(np.count_nonzero(mask)) for name, mask in readings.items()}
    return Lesions(
        {name: dice(mask, item.lesion) for name, mask in readings.items()},
        {**areas, ANNOTATED: pixel * float(np.count_nonzero(item.lesion))},
        {name: bool(components(mask, min_pixels)) for name, mask in readings.items()},
    )


def tissue_by_class(
    run: SuperResolutionRun, item: Item, scale: Scale, windows: Mapping[str, Window], region: Bool
) -> Tissue:
    """Classes of one case within a region, by the same windows in the truth and in every image.

    A class is measured where the truth holds enough pixels of it.
    """
    assert item.reference is not None
    pixel = item.spacing_mm[0] * item.spacing_mm[1]

    def classes(image: NDArray[np.float32]) -> dict[str, Bool]:
        smooth, inside = flat_tissue(scale.of(image), region, np.inf, 0)
        return class_masks(smooth, inside, windows)

    truth = {name: mask for name, mask in classes(item.reference).items() if mask.sum() >= FEWEST_PIXELS}
    held = {image: classes(pixels) for image, pixels in images_of(run, item).items()}
    areas = {name: {c: pixel * float(masks[c].sum()) for c in truth} for name, masks in {TRUTH: truth, **held}.items()}
    return Tissue({image: {c: dice(masks[c], truth[c]) for c in truth} for image, masks in held.items()}, areas)


def patient_areas(
    items: Sequence[Item], output: Mapping[str, float], reference: Mapping[str, float]
) -> tuple[list[str], list[float], list[float]]:
    """Patients, and their mean areas over the slices that have one."""
    slices: dict[str, list[tuple[float, float]]] = {}
    for item in items:
        case_id = item.case.case_id
        if case_id in output:
            slices.setdefault(item.case.patient_id, []).append((output[case_id], reference[case_id]))
    means = [np.mean(pairs, axis=0) for pairs in slices.values()]
    return list(slices), [float(m[0]) for m in means], [float(m[1]) for m in means]
