"""Planting lesions, reading them, and following them through the chains of PAT-001 and PAT-002."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._planting import CLEARANCE_PX, Cell, Plan
from medgan_qa.audits.lesions import REMOVED, Lesion, false_alarms, lesions_of
from medgan_qa.audits.run import NotFiniteError, for_detector
from medgan_qa.audits.translation import Item, Reading, TranslationRun
from medgan_qa.metrics import MatchingRule
from medgan_qa.metrics.planting import plant

Fault = Literal["removal", "insertion", "attenuation", "displacement"]
FAULTS: tuple[Fault, ...] = ("removal", "insertion", "attenuation", "displacement")

DIAMETERS_MM = (4.0, 6.0, 10.0, 16.0, 24.0)
CONTRASTS = (0.1, 0.2, 0.3, 0.5)
"""The grid of lesions that are planted unless others are asked for; contrast in unit range."""

BATCH = 32
"""Planted images a forward pass; fixed, so that a run repeats bit by bit on one machine."""

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Settings:
    """What is planted, and the chain that reads it."""

    rule: MatchingRule = field(default_factory=MatchingRule)
    min_pixels: int = 3
    diameters_mm: tuple[float, ...] = DIAMETERS_MM
    contrasts: tuple[float, ...] = CONTRASTS
    budget: int = 1200
    """Planted images in all, at most."""
    point_diameter_mm: float = 0.0
    """0: by the rule of `Habits`."""
    point_contrast: float = 0.0
    attenuation: float = 0.6
    """Share of the contrast that is taken."""
    displacement_mm: float = 15.0


class Planted(NamedTuple):
    """One planted lesion, and which of its faults the chain noticed; None: not tried."""

    item: Item
    cell: Cell
    place: tuple[int, int]
    seen: bool
    """The detector finds the lesion in the reference that it was planted in."""
    caught: dict[Fault, bool | None]

    @property
    def unit(self) -> str:
        """A name that any run that plants at this place gives it."""
        return f"{self.item.case.case_id}/{self.place[0]},{self.place[1]}"


def read_all(run: TranslationRun, every: list[tuple[Plan, bool]], sign: int, settings: Settings) -> list[Planted]:
    """Plant, read and judge in the order given; images of one size go through the detector together."""

    def judged(chunk: list[tuple[int, Plan, bool]]) -> list[tuple[int, Planted]]:
        return [(k, p) for (k, _, _), p in zip(chunk, _judged(run, chunk, sign, settings), strict=True)]

    batches = run.engine.map(judged, list(_chunks(every)), label="Reading planted lesions")
    found = dict(pair for batch in batches for pair in batch)
    return [found[k] for k in range(len(every))]


def _chunks(every: list[tuple[Plan, bool]]) -> Iterator[list[tuple[int, Plan, bool]]]:
    shapes: dict[tuple[int, ...], list[tuple[int, Plan, bool]]] = {}
    for k, (plan, full) in enumerate(every):
        shapes.setdefault(plan.host.reference.shape, []).append((k, plan, full))
    for group in shapes.values():
        yield from (group[k : k + BATCH] for k in range(0, len(group), BATCH))


class _Copy(NamedTuple):
    """The lesion at another place or contrast: what is drawn into the image that the detector reads."""

    plan: Plan
    cover: Float
    contrast: float


def _judged(run: TranslationRun, chunk: list[tuple[int, Plan, bool]], sign: int, settings: Settings) -> list[Planted]:
    copies: list[_Copy] = []
    index: list[dict[str, int]] = []
    for _, plan, full in chunk:
        where = {"planted": len(copies)}
        cover = plan.host.cover(plan.cell, plan.place)
        copies.append(_Copy(plan, cover, sign * plan.cell.contrast))
        if full:
            where["attenuation"] = len(copies)
            copies.append(_Copy(plan, cover, sign * plan.cell.contrast * (1 - settings.attenuation)))
        if full and plan.aside is not None:
            where["displacement"] = len(copies)
            copies.append(_Copy(plan, plan.host.cover(plan.cell, plan.aside), sign * plan.cell.contrast))
        index.append(where)
    marks = _read(run, copies)
    return [
        _planted(run, plan, {name: (copies[k], marks[k]) for name, k in where.items()}, settings)
        for (_, plan, _), where in zip(chunk, index, strict=True)
    ]


def _read(run: TranslationRun, copies: list[_Copy]) -> list[Bool]:
    detector = run.detector
    if detector is None:
        raise RuntimeError("no detector")
    images = []
    for copy in copies:
        target = copy.plan.host.item.channels[1]
        assert target is not None
        images.append(for_detector(plant(target, copy.cover, copy.contrast), detector))
    out: list[Bool] = []
    for k in range(0, len(images), BATCH):
        logits = detector.read(np.stack(images[k : k + BATCH]))
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                "The detector returned NaN or infinity.",
                expected="finite lesion logits",
                found="on an image with a planted lesion",
                where=detector.path,
                todo="Repair the detector, or give another with --detector.",
            )
        out += list(logits > 0)
    return out


def _planted(run: TranslationRun, plan: Plan, read: dict[str, tuple[_Copy, Bool]], settings: Settings) -> Planted:
    """One planted lesion through the chain of PAT-001, and the same image as an output through that of PAT-002."""
    item, reference = plan.host.item, plan.host.reference
    copy, marks = read["planted"]
    untouched = run.readings[item.case.case_id].reference
    image = plant(reference, copy.cover, copy.contrast)
    mask = copy.cover >= 0.5
    outputs: dict[Fault, tuple[Float, Bool]] = {"removal": (reference, untouched)}
    for name in FAULTS[2:]:
        if name in read:
            other, reading = read[name]
            outputs[name] = plant(reference, other.cover, other.contrast), reading
    lesions = _followed(run, item, image, mask, marks, outputs, settings)
    caught: dict[Fault, bool | None] = dict.fromkeys(FAULTS)
    for name, lesion in lesions.items():
        weak = name == "attenuation" and lesion.status == "weakened"
        caught[name] = lesion.status in REMOVED or weak
    # The same two images the other way round: the lesion stands in the output alone.
    caught["insertion"] = bool(marks.any()) and bool(
        false_alarms(item, marks, untouched, settings.rule, settings.min_pixels)
    )
    return Planted(item, plan.cell, plan.place, bool(lesions["removal"].found_reference), caught)


class _Copies(TranslationRun):
    """Planted items with their readings, for the lesion ledger to read as it reads any run."""

    def __init__(self, run: TranslationRun, items: list[Item], readings: dict[str, Reading]) -> None:
        vars(self).update(vars(run) | {"items": items, "paired": items, "readings": readings})


def _followed(
    run: TranslationRun,
    item: Item,
    image: Float,
    mask: Bool,
    marks: Bool,
    outputs: dict[Fault, tuple[Float, Bool]],
    settings: Settings,
) -> dict[Fault, Lesion]:
    """What the ledger of PAT-001 says of the planted lesion for each output."""
    window = _window(mask, item, settings.rule.dilate_mm)
    assert item.lesion is not None
    items, readings = [], {}
    for name, (output, reading) in outputs.items():
        # One image by itself: what lies in the slices beside it has nothing to do with the planted lesion.
        case = replace(item.case, case_id=f"{item.case.case_id}, {name}", volume=None, slice_index=None)
        items.append(
            replace(
                item,
                case=case,
                output=output[window],
                reference=image[window],
                lesion=mask[window],
                body=(item.body & ~item.lesion)[window],
            )
        )
        readings[case.case_id] = Reading(marks[window], reading[window])
    found = lesions_of(_Copies(run, items, readings), settings.rule, settings.min_pixels, read=True)
    return dict(zip(outputs, found, strict=True))


def _window(mask: Bool, item: Item, dilate_mm: float) -> tuple[slice, slice]:
    """The lesion with everything around it that the ledger looks at; the rest of the image changes nothing there."""
    reach = CLEARANCE_PX + int(np.ceil(dilate_mm / min(item.spacing_mm)))
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return _reaching(rows, reach), _reaching(columns, reach)


def _reaching(lines: NDArray[np.intp], reach: int) -> slice:
    return slice(max(int(lines[0]) - reach, 0), int(lines[-1]) + reach + 1)
