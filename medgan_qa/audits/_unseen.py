"""Unseen detail of every case, and how strong it must be: calibrated on repeats, tried on planted texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.metrics import equivalent_diameter
from medgan_qa.metrics._arrays import dilated
from medgan_qa.metrics.degradation import Degradation
from medgan_qa.metrics.unseen_detail import (
    Detail,
    energy_ratio,
    invention_map,
    noise_level,
    objects,
    split_detail,
    strength,
)

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

LEAST_SMOOTHING_PX = 2.0
"""A neighbourhood of one pixel splits anything."""
ACQUISITIONS = 100
"""Second acquisitions that a threshold is set on, at least; cases are taken several times where there are fewer."""
NEAR_PX = 2
"""What lies this near to a lesion belongs to it."""


@dataclass(frozen=True)
class Look:
    """How maps are made."""

    operator: Degradation
    tolerated: float
    floor: float
    """Least standard deviation that the truth's noise is taken to have, unit range."""

    @property
    def smoothing_px(self) -> tuple[float, float]:
        """Of the neighbourhood: one pixel of the input."""
        rows, columns = (max(float(s), LEAST_SMOOTHING_PX) for s in self.operator.scale)
        return rows, columns

    @property
    def least_pixels(self) -> int:
        """The smallest object: the ellipse whose radii are the neighbourhood's standard deviations."""
        return round(np.pi * self.smoothing_px[0] * self.smoothing_px[1])


@dataclass(frozen=True, eq=False)
class Compared:
    """A case whose output is compared with its truth where the operator sees nothing."""

    item: Item
    look: Look

    @property
    def reference(self) -> Float:
        """(H, W) the truth."""
        assert self.item.reference is not None
        return self.item.reference.astype(np.float64)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the truth's noise."""
        return max(noise_level(self.reference, self.item.body), self.look.floor)

    def index(self) -> Float:
        """(H, W) how strongly the output invents."""
        return self.index_of(self.look.operator.unseen(self.item.output))

    def index_of(self, unseen: Float, true: Float | None = None) -> Float:
        """The map of an unseen part."""
        operator, look = self.look.operator, self.look
        sd = self.noise * np.sqrt(np.maximum(operator.unseen_share((unseen.shape[0], unseen.shape[1])), 0.0))
        return invention_map(
            unseen,
            operator.unseen(self.reference) if true is None else true,
            sd,
            self.item.body,
            smoothing_px=look.smoothing_px,
            tolerated=look.tolerated,
        )

    def repeated(self, g: np.random.Generator) -> Float:
        """The unseen part of the truth acquired a second time: its own noise and the other's."""
        again = self.reference + np.sqrt(2) * self.noise * g.standard_normal(self.reference.shape)
        return self.look.operator.unseen(again)


class Invented(NamedTuple):
    """What an output shows that neither the input nor the truth does."""

    case: Compared
    strength: float
    """Of its strongest object, in multiples of what is expected."""
    diameters_mm: list[float]
    """Of its objects, the strongest first."""
    detail: Detail | None
    unseen_error: float | None
    """Share of the error's energy inside the body that the operator does not see; None without an error."""
    lesion_excess: float | None
    """Unseen error in and around lesions over that of the rest of the body, mean square; None without lesions."""


def invented(case: Compared, threshold: float) -> Invented:
    """Measure a case."""
    item, look = case.item, case.look
    unseen, true = look.operator.unseen(item.output), look.operator.unseen(case.reference)
    index = case.index_of(unseen, true)
    error, hidden = (float(np.square(x[item.body]).sum()) for x in (item.output - case.reference, unseen - true))
    near = np.zeros_like(item.body) if item.lesion is None else dilated(item.lesion, NEAR_PX)
    return Invented(
        case=case,
        strength=strength(index, look.least_pixels),
        diameters_mm=[
            equivalent_diameter(mask, item.spacing_mm) for mask in objects(index, threshold, look.least_pixels)
        ],
        detail=split_detail(unseen, true, item.body),
        unseen_error=hidden / error if error > 0 else None,
        lesion_excess=energy_ratio(unseen, true, near, item.body & ~near),
    )


def unseen_energy(operator: Degradation, item: Item) -> float | None:
    """Share of the output's energy inside the body that the operator does not see; None for an output of zeros."""
    image = item.output.astype(np.float64)
    whole = float(np.square(image[item.body]).sum())
    return float(np.square(operator.unseen(image)[item.body]).sum()) / whole if whole > 0 else None


class Threshold(NamedTuple):
    """From which strength on an object counts as invented, and what that threshold does."""

    value: float
    calibrated_on: int
    """Second acquisitions that set it."""
    others: list[Compared]
    """Cases of the patients that measure it."""
    alarms: list[bool]
    """Whether a second acquisition of each shows an object."""


def thresholds(run: SuperResolutionRun, code: str, cases: Sequence[Compared], false_alarm: float) -> Threshold | None:
    """The threshold that `false_alarm` of second acquisitions of half of the patients exceed; None for one patient."""
    names = sorted({c.item.case.patient_id for c in cases})
    order = rng.child(run.seed, code, "halves").permutation(len(names))
    first = {names[k] for k in order[: len(names) // 2]}
    held = [[c for c in cases if (c.item.case.patient_id in first) == inside] for inside in (True, False)]
    if not all(held):
        return None

    def again(turn: tuple[Compared, int]) -> float:
        case, number = turn
        unseen = case.repeated(rng.child(run.seed, code, "again", case.item.case.case_id, number))
        return strength(case.index_of(unseen), case.look.least_pixels)

    turns = [(case, k) for case in held[0] for k in range(-(-ACQUISITIONS // len(held[0])))]
    calibration = run.engine.map(again, turns, label="Calibrating the map")
    others = run.engine.map(again, [(case, 0) for case in held[1]], label="Measuring false alarms")
    value = float(np.quantile(calibration, 1 - false_alarm, method="higher"))
    return Threshold(value, len(calibration), held[1], [s > value for s in others])


def planted_seen(
    run: SuperResolutionRun, code: str, cases: Sequence[Compared], threshold: float, amplitude: float
) -> list[bool]:
    """Whether unseen texture of an amplitude (root mean square, unit range) in a spot of each case is found.

    The spot is an ellipse of twice the neighbourhood's standard deviations about a pixel of the body, in a second
    acquisition of the truth.
    """

    def seen(case: Compared) -> bool:
        g = rng.child(run.seed, code, "planted", round(1000 * amplitude), case.item.case.case_id)
        spot = _spot(case, g)
        texture = case.look.operator.unseen(g.standard_normal(spot.shape) * spot)
        strong = float(np.sqrt(np.mean(np.square(texture[spot]))))
        unseen = case.repeated(g) + amplitude / max(strong, 1e-9) * texture
        found = objects(case.index_of(unseen), threshold, case.look.least_pixels)
        return any((mask & spot).any() for mask in found)

    return run.engine.map(seen, cases, label="Planting texture")


def _spot(case: Compared, g: np.random.Generator) -> Bool:
    body = case.item.body
    share = case.look.operator.unseen_share((body.shape[0], body.shape[1])) * body
    # Where lines or pixels are missing the operator is blind in some places and sees all in others.
    seats = np.argwhere(share > 0.5 * share.max())
    y, x = seats[g.integers(len(seats))]
    rows, columns = np.indices(body.shape)
    down, across = case.look.smoothing_px
    inside: Bool = np.hypot((rows - y) / (2 * down), (columns - x) / (2 * across)) <= 1
    return inside & body
