"""What became of the holdout slices: read one by one as the lesion audits read them, then counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.lesions import REMOVED, Lesion, by_case, false_alarms, lesions_of
from medgan_qa.audits.translation import Item, Reading, TranslationRun
from medgan_qa.metrics import MatchingRule, components
from medgan_qa.stats import ClusteredProportion, clustered_proportion

RULE = MatchingRule()
MIN_PIXELS = 3
"""Smaller lesions are not followed and smaller marks not counted, as in PAT-001 and PAT-002."""
ALPHA = 0.05

Status = Literal["kept", "removed", "clean", "inserted", "not followed"]


@dataclass(frozen=True)
class Slice:
    """One holdout slice after translation."""

    case_id: str
    patient_id: str
    tumour: bool
    """Its annotation: a tumour is seen in it."""
    marked: bool
    """The detector marks something, wherever it is."""
    status: Status
    """`kept` or `removed` with a tumour, `clean` or `inserted` without; `not followed` where the tumour is too small or
    is not read in the real image either."""
    recovery: float | None
    """Signed contrast of the largest lesion over that of the real image; None without one, or where that is too faint
    to divide by."""
    marked_real: bool
    """The detector marks something in the real target image."""
    found_real: bool | None
    """It finds a lesion of the slice there; None without one that is large enough to follow."""
    error: float
    """Mean absolute difference to the real image over the tissue outside lesions, in unit range."""


class Outcome(NamedTuple):
    """A question that is answered by a share of slices."""

    title: str
    counted: Callable[[Slice], bool]
    """Which slices are asked."""
    event: Callable[[Slice], bool]


OUTCOMES: dict[str, Outcome] = {
    "marked": Outcome("Slices in which a lesion is marked", lambda s: True, lambda s: s.marked),
    "removed": Outcome(
        "Slices with a tumour that lost it", lambda s: s.status in ("kept", "removed"), lambda s: s.status == "removed"
    ),
    "inserted": Outcome("Lesion-free slices that gained one", lambda s: not s.tumour, lambda s: s.status == "inserted"),
}

DETECTOR: dict[str, Outcome] = {
    "marked": Outcome("Real slices in which a lesion is marked", lambda s: True, lambda s: s.marked_real),
    "sensitivity": Outcome(
        "Real slices with a tumour that is found", lambda s: s.found_real is not None, lambda s: bool(s.found_real)
    ),
    "false_alarms": Outcome("Real lesion-free slices that are marked", lambda s: not s.tumour, lambda s: s.marked_real),
}
"""What the detector can tell, asked of the real target images."""


def share(slices: Sequence[Slice], outcome: Outcome) -> ClusteredProportion:
    """The share of slices that answer yes, with a two-sided exact 95 % interval clustered by patient."""
    asked = [s for s in slices if outcome.counted(s)]
    return clustered_proportion(
        np.array([outcome.event(s) for s in asked], bool), [s.patient_id for s in asked], alpha=ALPHA, sided=2
    )


def median_recovery(slices: Sequence[Slice]) -> float | None:
    """Median of the signed contrast that is left; None where there is nothing to take it from."""
    values = [s.recovery for s in slices if s.recovery is not None]
    return median(values) if values else None


def mean_error(slices: Sequence[Slice]) -> float:
    """Mean error of the tissue outside lesions, over all slices."""
    return float(np.mean([s.error for s in slices]))


def read_slices(run: TranslationRun) -> list[Slice]:
    """Every slice of a run, in the order of its cases.

    Raises:
        NotFiniteError: the translator or the detector returned NaN or infinity.
        ModelError: one of them cannot be run on the slices.
    """
    lesions = by_case(lesions_of(run, RULE, MIN_PIXELS, read=True))
    return [judge(item, run.readings[item.case.case_id], lesions.get(item.case.case_id, [])) for item in run.items]


def judge(item: Item, reading: Reading, lesions: Sequence[Lesion]) -> Slice:
    """What the reading says of one translated slice.

    A tumour counts as removed when every lesion of the slice that the detector finds in the real image is lost or
    inverted in the output (`medgan_qa.audits.lesions`); one as inserted when the detector marks a lesion-free slice
    where it marks nothing in the real image.

    Args:
        item: the slice.
        reading: what the detector marks in the real image and in the output.
        lesions: the annotated lesions of the slice.
    """
    assert item.reference is not None
    tissue = item.body if item.lesion is None else item.body & ~item.lesion
    largest = max(lesions, key=lambda lesion: lesion.diameter_mm, default=None)
    return Slice(
        case_id=item.case.case_id,
        patient_id=item.case.patient_id,
        tumour=item.annotation == "lesions",
        marked=_marked(reading.output),
        status=_status(item, reading, lesions),
        recovery=None if largest is None else largest.recovery,
        marked_real=_marked(reading.reference),
        found_real=any(lesion.found_reference for lesion in lesions) if lesions else None,
        error=float(np.abs(item.output - item.reference)[tissue].mean()),
    )


def _marked(reading: NDArray[np.bool_]) -> bool:
    return bool(components(reading, MIN_PIXELS))


def _status(item: Item, reading: Reading, lesions: Sequence[Lesion]) -> Status:
    if item.annotation == "lesion-free":
        invented = false_alarms(item, reading.output, reading.reference, RULE, MIN_PIXELS)
        return "inserted" if invented else "clean"
    followed = [lesion for lesion in lesions if lesion.found_reference]
    if not followed:
        return "not followed"
    return "removed" if all(lesion.status in REMOVED for lesion in followed) else "kept"
