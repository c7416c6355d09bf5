"""The lesion ledger: what became of every annotated lesion, and whether the detector may judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.translation import Item, Reading, TranslationRun
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics import (
    MatchingRule,
    components,
    contrast,
    contrast_noise,
    equivalent_diameter,
    found,
    surround,
    unmatched,
)

Status = Literal["kept", "weakened", "lost", "inverted", "not read in reference"]
STATUSES: tuple[Status, ...] = ("kept", "weakened", "lost", "inverted", "not read in reference")
REMOVED: tuple[Status, ...] = ("lost", "inverted")

FLAT = 0.1
"""Below this share of its contrast a lesion is gone, whatever a detector says."""
WEAK = 0.5
"""Below this share of its contrast a lesion that is still found is weakened."""
INVERTED = -0.2
"""At or below this signed share it is dark where it should be bright, or the other way round."""
DIVISIBLE = 3.0
"""A reference contrast of fewer than this many standard errors is too weak to divide by."""

DIAMETERS_MM = (5.0, 10.0, 20.0)
CONTRASTS = (0.15, 0.30)
"""Edges of the strata; contrast in unit range."""
LARGEST_MM = (20.0, 40.0)
"""Edges between groups of images, by the diameter of the largest lesion."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """One annotated lesion, before and after translation."""

    item: Item
    number: int
    mask: NDArray[np.bool_]
    diameter_mm: float
    contrast_reference: float | None
    contrast_output: float | None
    recovery: float | None
    """Signed contrast of the output over that of the reference; None where the reference's is too weak to divide by."""
    found_reference: bool | None = None
    found_output: bool | None = None
    """None without a detector."""

    @property
    def lesion_id(self) -> str:
        """Unique in a run."""
        return f"{self.item.case.case_id}/{self.number}"

    @property
    def patient(self) -> str:
        """Its patient."""
        return self.item.case.patient_id

    @property
    def status(self) -> Status:
        """What became of it; a flat or inverted lesion is not kept because something is marked there."""
        if self.found_reference is False:
            return "not read in reference"
        if self.recovery is not None and self.recovery <= INVERTED:
            return "inverted"
        if self.found_output is False or (self.recovery is not None and self.recovery < FLAT):
            return "lost"
        if self.recovery is not None and self.recovery < WEAK:
            return "weakened"
        return "kept"

    @property
    def size_stratum(self) -> str:
        """By equivalent diameter in the slice."""
        return f"diameter {stratum(self.diameter_mm, DIAMETERS_MM, ' mm')}"

    @property
    def contrast_stratum(self) -> str:
        """By absolute contrast in the reference."""
        value = self.contrast_reference
        return f"contrast {'unknown' if value is None else stratum(abs(value), CONTRASTS)}"


def stratum(value: float, edges: Sequence[float], unit: str = "") -> str:
    """The half-open bin [low, high) that a value falls in, in words."""
    for low, high in zip((0.0, *edges), edges, strict=False):
        if low <= value < high:
            return f"{low:g}-{high:g}{unit}" if low else f"under {high:g}{unit}"
    return f"{edges[-1]:g}{unit} or more"


def lesions_of(run: TranslationRun, rule: MatchingRule, min_pixels: int, *, read: bool) -> list[Lesion]:
    """Every annotated lesion of the paired cases, in the order of the cases.

    Args:
        run: the run.
        rule: when a reading finds a lesion.
        min_pixels: smaller components of a mask are not counted as lesions.
        read: use the detector's readings.
    """
    out = []
    for item in run.paired:
        if item.lesion is None or not item.lesion.any():
            continue
        masks = components(item.lesion, min_pixels)
        reading = run.readings[item.case.case_id] if read else None
        out += [_lesion(item, number, mask, masks, reading, rule) for number, mask in enumerate(masks, start=1)]
    return out


def _lesion(
    item: Item,
    number: int,
    mask: NDArray[np.bool_],
    masks: list[NDArray[np.bool_]],
    reading: Reading | None,
    rule: MatchingRule,
) -> Lesion:
    assert item.reference is not None
    ring = surround(mask, item.body, masks)
    before = after = recovery = None
    # Three pixels are the least that a mean of tissue around a lesion can be taken from.
    if ring.sum() >= 3:
        before, after = contrast(item.reference, mask, ring), contrast(item.output, mask, ring)
        if abs(before) > DIVISIBLE * contrast_noise(item.reference, mask, ring):
            recovery = after / before
    return Lesion(
        item=item,
        number=number,
        mask=mask,
        diameter_mm=equivalent_diameter(mask, item.spacing_mm),
        contrast_reference=before,
        contrast_output=after,
        recovery=recovery,
        found_reference=None if reading is None else found(mask, reading.reference, rule, item.spacing_mm),
        found_output=None if reading is None else found(mask, reading.output, rule, item.spacing_mm),
    )


def matching_rule(code: str, matching: str, min_overlap: float, dilate_mm: float) -> MatchingRule:
    """The rule that an audit's parameters ask for.

    Raises:
        ConfigurationError: there is no such rule.
    """
    try:
        return MatchingRule(matching, min_overlap, dilate_mm)  # type: ignore[arg-type]  # the rule checks it
    except ValueError as error:
        raise ConfigurationError(
            f"The matching rule of {code} cannot be used.",
            expected="matching overlap, centroid or dilated_hit, min_overlap in (0, 1], dilate_mm >= 0",
            found=str(error),
            where=f'[parameters."{code}"] of the criteria file',
            todo=f"`medgan-qa explain {code}` lists the parameters.",
        ) from error


def unseen_in_target(cohort: Cohort) -> str | None:
    """Why lesions of this cohort cannot be looked for in target images; None if they can, or if nothing is declared."""
    if not cohort.lesion_in or "target" in cohort.lesion_in:
        return None
    return "The dataset declares that its lesions cannot be seen in the target domain."


def site_stratum(items: Iterable[Item]) -> Callable[[Item], str | None]:
    """Names the site of a case, where these cases come from more than one; else there is no stratum."""
    several = len({item.case.site for item in items}) > 1
    return lambda item: f"site {item.case.site}" if several and item.case.site else None


def worst_status(lesions: Sequence[Lesion]) -> Status:
    """The status that a case is listed under: that of its worst lesion."""
    order: tuple[Status, ...] = ("inverted", "lost", "weakened", "not read in reference", "kept")
    return min((lesion.status for lesion in lesions), key=order.index)


def by_case(lesions: Sequence[Lesion]) -> dict[str, list[Lesion]]:
    """Lesions by case id."""
    groups: dict[str, list[Lesion]] = {}
    for lesion in lesions:
        groups.setdefault(lesion.item.case.case_id, []).append(lesion)
    return groups


def excluded(run: TranslationRun, groups: Mapping[str, Sequence[Lesion]]) -> dict[str, str]:
    """The cases that no lesion was followed in, with the reason."""
    return {item.case.case_id: not_judged(item) for item in run.items if item.case.case_id not in groups}


def not_judged(item: Item) -> str:
    """Why a case has no lesion to follow."""
    if item.lesion is None or not item.lesion.any():
        return item.annotation
    return "no reference" if item.reference is None else "lesion too small"


def false_alarms(item: Item, marked: NDArray[np.bool_], known: Any, rule: MatchingRule, min_pixels: int) -> list[Any]:
    """Components of a reading that no annotated lesion explains, nor a mark the detector makes on the real image."""
    lesions = [] if item.lesion is None else components(item.lesion)
    return unmatched(marked, lesions, known=known, rule=rule, spacing_mm=item.spacing_mm, min_pixels=min_pixels)
