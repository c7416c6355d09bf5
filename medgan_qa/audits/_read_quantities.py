"""What INT-002 reads from images: areas, shares and means, by thresholds of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._stored import Scale
from medgan_qa.audits.translation import Item
from medgan_qa.metrics import components
from medgan_qa.metrics._arrays import dilated
from medgan_qa.metrics.agreement import Agreement, bland_altman
from medgan_qa.metrics.intensity_classes import HOUNSFIELD
from medgan_qa.metrics.regions import (
    body_pixels,
    body_threshold,
    dark_pixels,
    dark_rule,
    lesion_core,
    lesion_pixels,
    window_pixels,
)

LESION_MARGIN_PX = 2

Values = dict[str, tuple[float, float]]
"""By quantity: of the output, of the reference."""


class Held(NamedTuple):
    """A quantity over the patients in whom it was measured."""

    name: str
    unit: str
    patients: list[str]
    output: list[float]
    reference: list[float]
    agreement: Agreement


def quantities_of(item: Item, scale: Scale, min_pixels: int) -> Values:
    """Every quantity of one case; one that cannot be measured is absent."""
    assert item.reference is not None
    area = item.spacing_mm[0] * item.spacing_mm[1]
    lesion = np.zeros_like(item.body) if item.lesion is None else item.lesion
    threshold = body_threshold(item.reference)
    if threshold is None:
        return {}
    bodies = body_pixels(item.output, threshold), body_pixels(item.reference, threshold)
    found: Values = {"body area": (area * bodies[0], area * bodies[1])}
    found |= _hounsfield(item, scale, area) if scale.hounsfield else _dark(item, lesion, bodies, area)
    return found | _lesions(item, lesion, scale, min_pixels, area)


def _dark(item: Item, lesion: NDArray[np.bool_], bodies: tuple[int, int], area: float) -> Values:
    rule = dark_rule(item.reference, item.body, dilated(lesion, LESION_MARGIN_PX))
    if rule is None:
        return {}
    dark = dark_pixels(item.output, rule), dark_pixels(item.reference, rule)
    found: Values = {"dark area": (area * dark[0], area * dark[1])}
    # An output without a body has no share; its body area says so.
    if min(bodies) > 0:
        found["dark share"] = (dark[0] / bodies[0], dark[1] / bodies[1])
    return found


def _hounsfield(item: Item, scale: Scale, area: float) -> Values:
    images = scale.of(item.output), scale.of(item.reference)
    found: Values = {}
    for name in ("lung", "fat", "soft tissue", "bone"):
        after, before = (area * window_pixels(image, HOUNSFIELD[name], item.body) for image in images)
        found[f"{name} area"] = (after, before)
    totals = [found["fat area"][k] + found["soft tissue area"][k] for k in (0, 1)]
    if min(totals) > 0:
        found["fat share"] = (found["fat area"][0] / totals[0], found["fat area"][1] / totals[1])
    return found


def _lesions(item: Item, lesion: NDArray[np.bool_], scale: Scale, min_pixels: int, area: float) -> Values:
    """Area and mean of all lesions of a slice together; none where the slice has no lesion."""
    masks = components(lesion, min_pixels)
    if not masks:
        return {}
    inside = np.logical_or.reduce([lesion_core(mask) for mask in masks])
    means = [float(scale.of(image[inside]).mean()) for image in (item.output, item.reference) if image is not None]
    found: Values = {"lesion mean": (means[0], means[1])}
    counted = [lesion_pixels((item.reference, item.output), mask, item.body, lesion) for mask in masks]
    sizes = [pair for pair in counted if pair is not None]
    if sizes:
        found["lesion area"] = (area * sum(after for _, after in sizes), area * sum(before for before, _ in sizes))
    return found


def patient_means(items: Sequence[Item], measured: Sequence[Values], scale: Scale) -> list[Held]:
    """Every quantity, with a mean over the slices of each patient in whom it was measured."""
    names = list(dict.fromkeys(name for values in measured for name in values))
    found = []
    for name in names:
        slices: dict[str, list[tuple[float, float]]] = {}
        for item, values in zip(items, measured, strict=True):
            if name in values:
                slices.setdefault(item.case.patient_id, []).append(values[name])
        means = [np.mean(pairs, axis=0) for pairs in slices.values()]
        output, reference = [float(m[0]) for m in means], [float(m[1]) for m in means]
        if any(output) or any(reference):
            unit = "mm2" if name.endswith("area") else "fraction" if name.endswith("share") else scale.unit
            found.append(Held(name, unit, list(slices), output, reference, bland_altman(output, reference)))
    return found
