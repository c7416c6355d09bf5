"""What partitions may share: patients, studies, volumes, sites, scanners and days of acquisition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from medgan_qa.cohorts.cohort import Case

FACTORS = {
    "patients": "patient",
    "studies": "study",
    "volumes": "volume",
    "sites": "site",
    "scanners": "scanner",
    "dates": "day of acquisition",
}
"""What may be shared, and what one of them is called."""
_FIELDS = {
    "patients": "patient_id",
    "studies": "study",
    "volumes": "volume",
    "sites": "site",
    "scanners": "scanner",
    "dates": "acquired",
}
DAY = 10
"""Characters of a day, YYYY-MM-DD."""


class Shared(NamedTuple):
    """One factor, in test against the other partitions."""

    values: frozenset[str]
    """Those that both hold."""
    of: int
    """Different ones in test."""
    known: bool
    """Test and the others each have at least one case that says its own."""
    unknown: int
    """Cases of any partition that do not say theirs, or whose date is too coarse to be told from another's."""


def holder_of(factor: str, case: Case) -> str | None:
    """The patient, study, ... of a case; None where it is not given."""
    value: str | None = getattr(case, _FIELDS[factor])
    return value


def shared(factor: str, test: Sequence[Case], others: Sequence[Case]) -> Shared:
    """What of a factor test shares with the other partitions."""
    ours, theirs = ([holder_of(factor, case) for case in cases] for cases in (test, others))
    here, there = ({value for value in values if value is not None} for values in (ours, theirs))
    known = bool(here and there)
    missing = ours.count(None) + theirs.count(None)
    if factor != "dates":
        return Shared(frozenset(here & there), len(here), known, missing)
    both = {day for day in here & there if len(day) == DAY}
    coarse = sum(_may_be_shared(value, there) for value in ours) if any(len(v) < DAY for v in here | there) else 0
    return Shared(frozenset(both), len(here), known, missing + coarse)


def _may_be_shared(value: str | None, there: set[str]) -> bool:
    """A date that one of the others may be, as one of the two is a month or a year."""
    return value is not None and any(
        (value.startswith(other) or other.startswith(value)) and min(len(value), len(other)) < DAY for other in there
    )


def acquired_late(acquired: str | None, day: str) -> bool | None:
    """Whether an image was acquired after a day; None where that cannot be told from what is given."""
    if acquired is None:
        return None
    if len(acquired) == DAY:
        return acquired > day
    # A month or a year is after the day if it begins after it, and not if it ends before it or with it.
    if acquired != day[: len(acquired)]:
        return acquired > day[: len(acquired)]
    return False if _last_day(acquired) <= day else None


def _last_day(part: str) -> str:
    """The last day of a year, or a day that no day of a month is after."""
    return f"{part}-12-31" if len(part) == 4 else f"{part}-31"
