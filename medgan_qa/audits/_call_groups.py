"""Area, sensitivity and specificity by group of patients, their largest gap and its test, a part of DIS-004."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._level_gaps import largest_gap
from medgan_qa.audits._scores import area_of
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.numbers import ALPHA, identifier, plain, rate
from medgan_qa.audits.subgroups import Attribute
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.uneven_areas import equal_areas_p
from medgan_qa.metrics.uneven_rates import equal_rates_p
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import FEWEST_CLUSTERS

CODE = "DIS-004"

Bool = NDArray[np.bool_]


class Claim(NamedTuple):
    """What may be worse in one group than in another."""

    name: str
    """`auc`, `sensitivity` or `specificity`."""
    label: str
    chosen: Bool
    """(N,) the run's cases that it is about."""
    right: Bool | None
    """(N,) whether each case is called what it is; None for the area."""
    void: str | None
    """Why it cannot be measured; None if it can."""


class Contrast(NamedTuple):
    """One attribute under one claim."""

    claim: Claim
    attribute: str
    levels: dict[str, Estimate]
    """By level, the one with the fewest patients first."""
    readable: list[str]
    """Levels with enough patients to be compared."""
    p: float
    reason: str | None
    """Why it could not be tested; None if it was."""
    several: int
    """Patients with cases at several levels."""


def contrast_of(
    run: ClassificationRun, claim: Claim, attribute: Attribute, level_of: Mapping[str, str | None]
) -> Contrast:
    """A claim by level, and the test that levels are alike; patients whose cases have several levels are not tested."""
    at = np.array([level_of[item.case.case_id] or "" for item in run.items])
    people = np.array(run.patients)
    chosen = claim.chosen & (at != "")
    held = {level: set(people[chosen & (at == level)].tolist()) for level in sorted(set(at[chosen].tolist()))}
    order = sorted(held, key=lambda level: (len(held[level]), level))
    levels = {level: _estimate(run, claim, attribute.name, level, chosen & (at == level)) for level in order}
    readable = [level for level in order if _enough(levels[level], held[level])]
    reason = claim.void
    if reason is None and len(readable) < 2:
        reason = _too_small(attribute.name, claim, levels)
    several = {p for p in people[chosen].tolist() if sum(p in ids for ids in held.values()) > 1}
    tested = chosen & np.isin(at, readable) & ~np.isin(people, sorted(several))
    p = 1.0 if reason else _p_value(run, claim, attribute.name, tested, at)
    return Contrast(claim, attribute.name, levels, readable, p, reason, len(several))


def _estimate(run: ClassificationRun, claim: Claim, attribute: str, level: str, chosen: Bool) -> Estimate:
    stratum = f"{attribute} {level}"
    if claim.right is None:
        return area_of(run, CODE, claim.name, claim.label, run.logits, chosen=chosen, stratum=stratum)
    items = [item for item, keep in zip(run.items, chosen, strict=True) if keep]
    return rate(
        identifier(CODE, claim.name, stratum),
        claim.label,
        claim.right[chosen].tolist(),
        [item.case.patient_id for item in items],
        unit_of_analysis="image",
        better="higher",
        stratum=stratum,
        void=claim.void,
        units=[item.case.case_id for item in items],
    )


def _enough(estimate: Estimate, people: set[str]) -> bool:
    """Whether a level can be compared: patients, and for an area patients of both classes."""
    m = estimate.measurement
    return len(people) >= FEWEST_CLUSTERS and m.value is not None and (m.clusters or 0) >= FEWEST_CLUSTERS


def _p_value(run: ClassificationRun, claim: Claim, attribute: str, tested: Bool, at: NDArray[np.str_]) -> float:
    patients = np.array(run.patients)[tested].tolist()
    generator = rng.child(run.seed, "equal groups", claim.name, attribute)
    if claim.right is None:
        return equal_areas_p(run.logits[tested], run.positive[tested], patients, at[tested].tolist(), generator)
    return equal_rates_p(claim.right[tested], patients, at[tested].tolist(), generator)


def _too_small(name: str, claim: Claim, levels: Mapping[str, Estimate]) -> str:
    held = ", ".join(f"{level} has {e.measurement.clusters}" for level, e in levels.items())
    of = "patients of either class" if claim.right is None else "patients"
    return f"Two levels of {name} need at least {FEWEST_CLUSTERS} {of} each; {held or 'there is none'}."


def gap_of(contrast: Contrast) -> Estimate:
    """The largest difference between two levels; its bounds hold for all pairs together (Bonferroni)."""
    levels = [contrast.levels[level] for level in contrast.readable]
    values = [e.measurement.value for e in levels if e.measurement.value is not None]
    void = contrast.reason is not None

    def at(alpha: float) -> Interval:
        return largest_gap(levels, alpha, "MOVER, Bonferroni over pairs of levels")

    measurement = Measurement(
        id=identifier(CODE, f"{contrast.claim.name}_gap", contrast.attribute),
        label=f"{contrast.claim.label}, largest difference between two groups",
        value=None if void else max(values) - min(values),
        unit="1" if contrast.claim.right is None else "fraction",
        interval=None if void else at(ALPHA),
        n=sum(e.measurement.n for e in levels),
        unit_of_analysis="image",
        better="lower",
        stratum=contrast.attribute,
        clusters=sum(e.measurement.clusters or 0 for e in levels),
        reason=contrast.reason,
    )
    return Estimate(measurement, None if void else at)


def p_value_of(contrast: Contrast, adjusted: float) -> Estimate:
    """The p-value of a contrast, corrected."""
    return plain(
        identifier(CODE, f"{contrast.claim.name}_p", contrast.attribute),
        f"{contrast.claim.label}, p-value of equal groups after Holm's correction",
        None if contrast.reason else adjusted,
        n=sum(e.measurement.n for e in contrast.levels.values()),
        unit="1",
        unit_of_analysis="image",
        better="none",
        stratum=contrast.attribute,
        reason=contrast.reason,
    )
