"""What INT-001 takes from images: smoothed samples for a line, and sums of the error by class of tissue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.audits._stored import Scale
from medgan_qa.audits.translation import Item
from medgan_qa.metrics._arrays import dilated
from medgan_qa.metrics.calibration_line import CalibrationLine, calibration_line, smoothed_samples
from medgan_qa.metrics.intensity_classes import HOUNSFIELD, Window, class_masks, flat_tissue, otsu_windows

RIM_PX = 3
"""Pixels of the body along its outline that the line leaves out: blur mixes air into them."""
EDGE_HOUNSFIELD = 80.0
EDGE_SHARE = 0.25
"""What neighbouring pixels span at an edge: in HU, else as a share of the 5th to 95th percentile of all tissue."""
POOLED = 500
"""Pixels of each reference that the thresholds of the classes are made from."""
FEWEST_PIXELS = 25
"""Fewer pixels of a class are not measured in a patient."""


class Sums(NamedTuple):
    """Sums over the pixels of a class in one case, from which those of a patient follow."""

    pixels: int
    reference: float
    error: float
    absolute: float
    square: float


class Classes(NamedTuple):
    """How tissue is told apart."""

    windows: Mapping[str, Window]
    edge: float
    """What neighbouring pixels span at an edge."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One case: smoothed samples of reference and output, and the sums of every class."""

    points: tuple[NDArray[np.float64], NDArray[np.float64]]
    sums: dict[str, Sums]


@dataclass
class Patient:
    """One patient: the line over all slices, and the error of every class."""

    name: str
    line: CalibrationLine | None
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class: reference, bias, absolute_error, spread."""


def tissue_of(item: Item, margin: int) -> NDArray[np.bool_]:
    """The body without annotated lesions and the margin around them, where partial volume is."""
    return item.body if item.lesion is None else item.body & ~dilated(item.lesion, margin)


def class_rule(items: Sequence[Item], regions: Mapping[str, NDArray[np.bool_]], scale: Scale, classes: int) -> Classes:
    """Fixed windows in HU; otherwise classes of all references together, each with as much weight, and of no output."""
    if scale.hounsfield:
        return Classes(HOUNSFIELD, EDGE_HOUNSFIELD)
    pooled = []
    for item in items:
        assert item.reference is not None
        ranked = np.sort(item.reference[regions[item.case.case_id]])
        if ranked.size:
            pooled.append(ranked[np.linspace(0, ranked.size - 1, POOLED).round().astype(np.intp)])
    if not pooled:
        return Classes({}, 0.0)
    values = scale.of(np.concatenate(pooled))
    low, high = np.percentile(values, (5, 95))
    return Classes(otsu_windows(values, classes), EDGE_SHARE * float(high - low))


def compare(item: Item, region: NDArray[np.bool_], scale: Scale, classes: Classes, edge_px: int) -> Measured:
    assert item.reference is not None
    reference, output = scale.of(item.reference), scale.of(item.output)
    error = output - reference
    smooth, flat = flat_tissue(reference, region, classes.edge, edge_px)
    sums = {}
    for name, mask in class_masks(smooth, flat, classes.windows).items():
        e = error[mask]
        sums[name] = Sums(
            int(e.size), float(reference[mask].sum()), float(e.sum()), float(np.abs(e).sum()), float(e @ e)
        )
    inner = region & ndimage.binary_erosion(item.body, iterations=RIM_PX)
    return Measured((smoothed_samples(reference, inner), smoothed_samples(output, inner)), sums)


def by_patient(items: Sequence[Item], cases: Mapping[str, Measured]) -> dict[str, Patient]:
    """Patients by name, in the order of the cohort, each over all its slices."""
    slices: dict[str, list[Measured]] = {}
    for item in items:
        slices.setdefault(item.case.patient_id, []).append(cases[item.case.case_id])
    found = {}
    for name, measured in slices.items():
        points = [np.concatenate([m.points[k] for m in measured]) for k in (0, 1)]
        patient = Patient(name, calibration_line(*points))
        for label in measured[0].sums:
            total = Sums(*(sum(column) for column in zip(*(m.sums[label] for m in measured), strict=True)))
            if total.pixels >= FEWEST_PIXELS:
                patient.classes[label] = errors_of(total)
        found[name] = patient
    return found


def errors_of(sums: Sums) -> dict[str, float]:
    bias = sums.error / sums.pixels
    return {
        "reference": sums.reference / sums.pixels,
        "bias": bias,
        "absolute_error": sums.absolute / sums.pixels,
        "spread": float(np.sqrt(max(0.0, sums.square / sums.pixels - bias**2))),
    }
