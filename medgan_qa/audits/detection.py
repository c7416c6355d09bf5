"""What the lesion audits could have seen: lesions are planted into the real images, and the same chain reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgan_qa.audits._planted import FAULTS, Fault, Planted, Settings, read_all
from medgan_qa.audits._planting import Cell, Habits, Host, Plan, habits, plans
from medgan_qa.audits.detector import INDISCRIMINATE
from medgan_qa.audits.numbers import rate
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import MatchingRule

CODE = "PAT-005"

WITHOUT_LESIONS = Cell(10.0, 0.3)
"""The reference point where the data hold no lesion to take it from."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Every planted lesion with what was noticed."""

    settings: Settings
    habits: Habits
    point: Cell
    at_point: list[Planted]
    grid: dict[Cell, list[Planted]]
    """By diameter and contrast; a kind that fits into no image is absent."""
    marked: float
    """Share of the tissue outside lesions that the detector marks in the untouched images."""
    images: int
    """Planted images read."""

    @property
    def objection(self) -> str | None:
        """Why no power may be given; None where it may."""
        if self.marked <= INDISCRIMINATE:
            return None
        return (
            f"The detector marks {self.marked:.0%} of the tissue outside lesions in the real images, so finding a "
            "planted lesion means nothing. Give a more specific one with --detector."
        )


def detection(run: TranslationRun, settings: Settings) -> Detection:
    """What the run's detector notices of planted faults; computed once a run and settings.

    Nothing of the model under audit enters: power depends on the data, the detector and the matching rule.

    Args:
        run: with a detector; hosts are its annotated cases with a reference.
        settings: what is planted, and the chain.

    Raises:
        NotFiniteError: the detector returned NaN or infinity.
    """
    held = _held(run)
    if settings not in held:
        held[settings] = _measure(run, settings)
    return held[settings]


def detection_by(run: TranslationRun, rule: MatchingRule, min_pixels: int) -> Detection:
    """The detection with a rule that the run was measured with already, or else the one with default parameters."""
    alike = [s for s in _held(run) if (s.rule, s.min_pixels) == (rule, min_pixels)]
    return detection(run, alike[0] if alike else Settings(rule=rule, min_pixels=min_pixels))


def _held(run: TranslationRun) -> dict[Settings, Detection]:
    held: dict[Settings, Detection] = vars(run).setdefault("_detection", {})
    return held


def detection_sentence(found: Detection, fault: Fault = "removal") -> str | None:
    """What the audit would have caught at the reference point, in one sentence; None where nothing could be planted."""
    estimate = power(found, fault, found.point, found.at_point, None)
    m = estimate.measurement
    head = f"This audit would have caught the {fault} of {found.point.words}"
    if m.interval is None or m.value is None:
        return f"Whether {head[0].lower()}{head[1:]} cannot be told: {m.reason}" if found.objection else None
    blind = ": the detector is blind to it" if m.value == 0 else ""
    return f"{head} with probability {m.value:.2f} ({m.interval.low:.2f}-{m.interval.high:.2f}){blind}."


def power(found: Detection, fault: Fault, cell: Cell, planted: Sequence[Planted], stratum: str | None) -> Estimate:
    """The share of planted faults that the chain noticed, with exact bounds clustered by patient."""
    tried = [p for p in planted if p.caught[fault] is not None]
    return rate(
        f"{CODE}.{fault}_power" + (f"[{stratum}]" if stratum else ""),
        f"Power to catch the {fault} of {cell.words}{_amount(fault, found.settings)}",
        [bool(p.caught[fault]) for p in tried],
        [p.item.case.patient_id for p in tried],
        unit_of_analysis="planted lesion",
        better="higher",
        stratum=stratum,
        void=found.objection,
        units=[p.unit for p in tried],
    )


def _amount(fault: Fault, settings: Settings) -> str:
    """How much of a fault that comes in degrees was planted."""
    amounts = {
        "attenuation": f" (by {settings.attenuation:.0%})",
        "displacement": f" (by {settings.displacement_mm:g} mm)",
    }
    return amounts.get(fault, "")


def _measure(run: TranslationRun, settings: Settings) -> Detection:
    of_data = habits(run, settings.rule, settings.min_pixels)
    hosts = [Host(item, of_data.depth) for item in run.paired if item.lesion is not None]
    default = of_data.point or WITHOUT_LESIONS
    point = Cell(settings.point_diameter_mm or default.diameter_mm, settings.point_contrast or default.contrast)
    cells = [Cell(d, c) for d in settings.diameters_mm for c in settings.contrasts]

    def draw(cell: Cell, count: int, aside_mm: float | None = None) -> list[Plan]:
        return plans(
            hosts,
            cell,
            count=count,
            seed=run.seed,
            sign=of_data.sign,
            min_pixels=settings.min_pixels,
            aside_mm=aside_mm,
        )

    fitting = [cell for cell in cells if draw(cell, 1)]
    # The reference point takes three images a lesion (planted, attenuated, displaced) and twice the lesions of a cell.
    count = settings.budget // (len(fitting) + 6)
    drawn = {cell: draw(cell, count) for cell in fitting}
    at_point = draw(point, 2 * count, settings.displacement_mm)
    every = [(plan, False) for group in drawn.values() for plan in group] + [(plan, True) for plan in at_point]
    results = iter(read_all(run, every, of_data.sign, settings))
    grid = {cell: [next(results) for _ in group] for cell, group in drawn.items() if group}
    return Detection(
        settings=settings,
        habits=of_data,
        point=point,
        at_point=list(results),
        grid=grid,
        marked=_marked(run, hosts),
        images=sum(map(len, drawn.values())) + sum(2 + (plan.aside is not None) for plan in at_point),
    )


def _marked(run: TranslationRun, hosts: list[Host]) -> float:
    shares = []
    for item in (host.item for host in hosts):
        tissue = item.body & ~item.lesion if item.lesion is not None else item.body
        if tissue.any():
            shares.append(float(run.readings[item.case.case_id].reference[tissue].mean()))
    return float(np.mean(shares)) if shares else 0.0


__all__ = [
    "CODE",
    "FAULTS",
    "Detection",
    "Fault",
    "Planted",
    "Settings",
    "detection",
    "detection_by",
    "detection_sentence",
    "power",
]
