"""Composition of the test and the train partition, property by property, with patients as units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import special

from medgan_qa import rng
from medgan_qa.audits._partitions import PartitionedRun, streamed
from medgan_qa.audits.numbers import ALPHA, count, identifier, plain
from medgan_qa.cohorts.cohort import LESION, LESION_FREE, Case, CaseImages
from medgan_qa.cohorts.pseudonyms import looks_direct
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.imbalance import Imbalance, level_imbalance, numeric_imbalance
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import holm

MOST_LEVELS = 50
"""Different values of a property above which it names persons or images and not groups of them."""
FEWEST_NUMBERS = 6
"""Different numbers from which a property counts as a number."""


class Compared(NamedTuple):
    """One property."""

    name: str
    found: Imbalance
    adjusted: float
    """P-value after Holm."""
    rejected: bool

    def verdict(self, tolerance: float) -> str:
        """`different`, `alike` (the upper end of the difference lies below `tolerance`), or `not shown`."""
        if self.rejected:
            return "different"
        high = self.found.difference - special.ndtri(ALPHA) * self.found.error
        return "alike" if high < tolerance else "not shown"

    @property
    def shown_level(self) -> str:
        """The level of the largest difference; none where it looks as if it named a person."""
        level = self.found.level or ""
        return "" if looks_direct(level) else level


@dataclass(frozen=True)
class Balance:
    """Every property that could be compared."""

    compared: tuple[Compared, ...]
    patients: tuple[int, int]
    """In test and train."""
    notes: tuple[str, ...]


def balance(
    run: PartitionedRun, test: Sequence[Case], train: Sequence[Case], skipped: set[str], alpha: float
) -> Balance:
    """Properties of the patients of test and train, compared.

    Args:
        run: names the permutations; its cohort's masks are read for cases without a label.
        test: cases.
        train: cases.
        skipped: `sites`, `scanners`: what is disjoint by declaration and so has to differ.
        alpha: family-wise error rate of the tests.
    """
    compared: dict[str, Imbalance] = {}
    notes = []
    for name, sides in _properties(run, test, train).items():
        here, there = (_by_patient(values) for values in sides)
        levels = {*here, *there}
        if not here or not there or len(levels) < 2 or f"{name}s" in skipped:
            continue
        numbers = [_numbers(values) for values in sides]
        if len(levels) >= FEWEST_NUMBERS and numbers[0] and numbers[1]:
            compared[name] = numeric_imbalance(numbers[0], numbers[1])
        elif len(levels) > MOST_LEVELS:
            notes.append(f"{name} has {len(levels)} different values and is no group of patients; it was not compared.")
        else:
            compared[name] = level_imbalance(here, there, rng.child(run.seed, "HYG-006", name))
    steps = holm([found.p for found in compared.values()], alpha)
    every = tuple(
        Compared(name, found, step.p_adjusted, step.rejected)
        for (name, found), step in zip(compared.items(), steps, strict=True)
    )
    people = (len({case.patient_id for case in test}), len({case.patient_id for case in train}))
    return Balance(every, people, tuple(notes))


def estimates_of(code: str, found: Balance) -> list[Estimate]:
    """The difference of every property with its interval and p-value, and how many differ."""
    made = [
        count(
            f"{code}.imbalanced_properties",
            "Properties that test and train patients differ in",
            sum(one.rejected for one in found.compared),
            n=len(found.compared),
            unit_of_analysis="property",
            better="lower",
        )
    ]
    for one in found.compared:
        made += [_difference(code, one), _p(code, one)]
    return made


def _difference(code: str, one: Compared) -> Estimate:
    found, n = one.found, sum(one.found.counts)
    finite = math.isfinite(found.difference)

    def at(alpha: float) -> Interval:
        reach = -float(special.ndtri(alpha)) * found.error
        low = max(0.0, found.difference - reach) if finite else 0.0
        high = found.difference + reach if finite else None
        return Interval(low=low, high=high, level=1 - alpha, method="normal (Hedges and Olkin 1985)", sided=1)

    measurement = Measurement(
        id=identifier(code, "imbalance", one.name),
        label="Standardised difference of test and train patients",
        value=found.difference if finite else None,
        unit="1",
        interval=at(ALPHA) if finite else None,
        n=n,
        unit_of_analysis="patient",
        better="lower",
        stratum=one.name,
        clusters=n,
        reason=None if finite else "The two partitions have no level in common.",
    )
    return Estimate(measurement, at if finite else None)


def _p(code: str, one: Compared) -> Estimate:
    return plain(
        identifier(code, "imbalance_p", one.name),
        f"P-value of one composition of test and train ({one.found.test}, after Holm)",
        one.adjusted,
        n=sum(one.found.counts),
        unit="p-value",
        unit_of_analysis="patient",
        better="none",
        stratum=one.name,
    )


Values = list[tuple[str, str | None]]
"""Patient and value of every case."""


def _properties(run: PartitionedRun, test: Sequence[Case], train: Sequence[Case]) -> dict[str, tuple[Values, Values]]:
    """Values of every property in test and train, by its name."""
    sides = (test, train)
    names = sorted({name for case in (*test, *train) for name in case.attributes})
    found: dict[str, tuple[Values, Values]] = {}
    lesions = tuple(_labels(run, side) for side in sides)
    found["label"] = (lesions[0], lesions[1])
    for field in ("site", "scanner"):
        one, other = ([(case.patient_id, getattr(case, field)) for case in side] for side in sides)
        found[field] = (one, other)
    for name in names:
        one, other = ([(case.patient_id, case.attributes.get(name)) for case in side] for side in sides)
        found[name] = (one, other)
    return found


def _labels(run: PartitionedRun, cases: Sequence[Case]) -> Values:
    """The label of each case: as the table gives it, else by its mask; drawn images are not looked at."""
    read = [case for case in cases if case.label is None and case.has_mask and not run.cohort.phantom]
    known = getattr(run.cohort, "has_lesion", None)
    # A dataset remembers the masks that it has read; any other cohort is read once more.
    shows = streamed(run, read, _marked, "Reading lesion masks") if known is None else [known(case) for case in read]
    by_mask = {case.case_id: LESION if any_ else LESION_FREE for case, any_ in zip(read, shows, strict=True)}
    return [(case.patient_id, _label(case, by_mask)) for case in cases]


def _marked(case: Case, images: CaseImages) -> bool:
    return images.lesion_mask is not None and bool(images.lesion_mask.any())


def _label(case: Case, by_mask: dict[str, str]) -> str | None:
    if case.label is not None:
        return case.label
    return by_mask.get(case.case_id, LESION_FREE if case.annotated and not case.has_mask else None)


def _by_patient(values: Values) -> list[str]:
    """One value a patient; of one with several all of them, joined."""
    held: dict[str, set[str]] = {}
    for patient, value in values:
        if value is not None:
            held.setdefault(patient, set()).add(value)
    return [" and ".join(sorted(several)) for several in held.values()]


def _numbers(values: Values) -> list[float]:
    """The mean of each patient's numbers; none where a value is no number."""
    held: dict[str, list[float]] = {}
    try:
        for patient, value in values:
            if value is not None:
                held.setdefault(patient, []).append(float(value))
    except ValueError:
        return []
    means = [sum(several) / len(several) for several in held.values()]
    return means if all(map(math.isfinite, means)) else []
