"""The lesion ledger: what became of every annotated lesion, and whether the detector may judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.audits._lesion import (
    DIVISIBLE,
    FLAT,
    INVERTED,
    LARGEST_MM,
    REMOVED,
    STATUSES,
    WEAK,
    Lesion,
    Status,
    stratum,
)
from medgan_qa.audits._volume_lesions import lesions_in
from medgan_qa.audits._volumes import stacks
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

Bool = NDArray[np.bool_]


def lesions_of(run: TranslationRun, rule: MatchingRule, min_pixels: int, *, read: bool) -> list[Lesion]:
    """Every annotated lesion of the paired cases, in the order of the cases; one of several slices stands once.

    Args:
        run: the run.
        rule: when a reading finds a lesion.
        min_pixels: components of a mask with fewer pixels, or voxels, are not counted as lesions.
        read: use the detector's readings.
    """
    out: list[Lesion] = []
    for stack in stacks(run.paired):
        if stack.is_volume:
            out += lesions_in(run, stack, rule, min_pixels, read=read)
        elif stack.items[0].annotation == "lesions":
            out += _in_image(run, stack.items[0], rule, min_pixels, read=read)
    return out


def _in_image(run: TranslationRun, item: Item, rule: MatchingRule, min_pixels: int, *, read: bool) -> list[Lesion]:
    masks = components(item.lesion, min_pixels)
    reading = run.readings[item.case.case_id] if read else None
    return [_lesion(item, number, mask, masks, reading, rule) for number, mask in enumerate(masks, start=1)]


def _lesion(
    item: Item,
    number: int,
    mask: Bool,
    masks: list[Bool],
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
    window = ndimage.find_objects(mask.view(np.uint8))[0]
    return Lesion(
        item=item,
        number=number,
        mask=mask[window],
        diameter_mm=equivalent_diameter(mask, item.spacing_mm),
        contrast_reference=before,
        contrast_output=after,
        recovery=recovery,
        found_reference=None if reading is None else found(mask, reading.reference, rule, item.spacing_mm),
        found_output=None if reading is None else found(mask, reading.output, rule, item.spacing_mm),
        corner=(window[0].start, window[1].start),
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
    """Lesions by case id; one of several slices stands with each."""
    groups: dict[str, list[Lesion]] = {}
    for lesion in lesions:
        for item in lesion.items:
            groups.setdefault(item.case.case_id, []).append(lesion)
    return groups


def excluded(run: TranslationRun, groups: Mapping[str, Sequence[Lesion]]) -> dict[str, str]:
    """The cases that no lesion was followed in, with the reason."""
    return {item.case.case_id: not_judged(item) for item in run.items if item.case.case_id not in groups}


def not_judged(item: Item) -> str:
    """Why a case has no lesion to follow."""
    if item.lesion is None or not item.lesion.any():
        return item.annotation
    return "no reference" if item.reference is None else "lesion too small"


def false_alarms(item: Item, marked: Bool, known: Any, rule: MatchingRule, min_pixels: int) -> list[Bool]:
    """Components of a reading that no annotated lesion explains, nor a mark the detector makes on the real image."""
    lesions = [] if item.lesion is None else components(item.lesion)
    return unmatched(marked, lesions, known=known, rule=rule, spacing_mm=item.spacing_mm, min_pixels=min_pixels)


__all__ = [
    "DIVISIBLE",
    "FLAT",
    "INVERTED",
    "LARGEST_MM",
    "REMOVED",
    "STATUSES",
    "WEAK",
    "Lesion",
    "Status",
    "by_case",
    "excluded",
    "false_alarms",
    "lesions_of",
    "matching_rule",
    "not_judged",
    "site_stratum",
    "stratum",
    "unseen_in_target",
    "worst_status",
]
