"""Rates of removal and invention by group of patients, their largest gap and its test, a part of COV-010."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medgan_qa import rng
from medgan_qa.audits._level_gaps import largest_gap
from medgan_qa.audits._target_coverage import CODE
from medgan_qa.audits.numbers import ALPHA, identifier, plain, rate
from medgan_qa.audits.subgroups import Attribute
from medgan_qa.cohorts.cohort import Case
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.uneven_rates import equal_rates_p
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import FEWEST_CLUSTERS


class Unit(NamedTuple):
    """A lesion or a lesion-free case, and whether the model went wrong there."""

    name: str
    case: Case
    event: bool


class Claim(NamedTuple):
    """What may go wrong in one group more than in another."""

    name: str
    """`removal` or `invention`."""
    label: str
    unit: str
    units: list[Unit]
    void: str | None
    """Why there is no rate; None if there is."""


class Contrast(NamedTuple):
    """One attribute under one claim."""

    claim: Claim
    attribute: str
    rates: dict[str, Estimate]
    """By level, the one with the fewest patients first."""
    readable: list[str]
    """Levels with enough patients to be compared."""
    p: float
    reason: str | None
    """Why it could not be tested; None if it was."""
    several: int
    """Patients with cases at several levels."""


def contrast_of(seed: int, claim: Claim, attribute: Attribute, level_of: Mapping[str, str | None]) -> Contrast:
    """Rates by level, and the test that they are one; patients whose cases have several levels are not tested."""
    units = [(unit, level) for unit in claim.units if (level := level_of[unit.case.case_id]) is not None]
    people: dict[str, set[str]] = {}
    levels_of: dict[str, set[str]] = {}
    for unit, level in units:
        people.setdefault(level, set()).add(unit.case.patient_id)
        levels_of.setdefault(unit.case.patient_id, set()).add(level)
    order = sorted(people, key=lambda level: (len(people[level]), level))
    rates = {level: _rate(claim, attribute.name, level, [u for u, at in units if at == level]) for level in order}
    readable = [level for level in order if len(people[level]) >= FEWEST_CLUSTERS]
    tested = [(u, at) for u, at in units if at in readable and len(levels_of[u.case.patient_id]) == 1]
    reason = claim.void
    if reason is None and len(readable) < 2:
        reason = _too_small(attribute.name, claim, people)
    p = 1.0
    if reason is None:
        p = equal_rates_p(
            [u.event for u, _ in tested],
            [u.case.patient_id for u, _ in tested],
            [at for _, at in tested],
            rng.child(seed, "equal rates", claim.name, attribute.name),
        )
    several = sum(len(levels) > 1 for levels in levels_of.values())
    return Contrast(claim, attribute.name, rates, readable, p, reason, several)


def _too_small(name: str, claim: Claim, people: Mapping[str, set[str]]) -> str:
    held = ", ".join(f"{level} has {len(ids)}" for level, ids in sorted(people.items(), key=lambda x: len(x[1])))
    return (
        f"Two levels of {name} need at least {FEWEST_CLUSTERS} patients each with a {claim.unit}; "
        f"{held or 'there is none'}."
    )


def _rate(claim: Claim, attribute: str, level: str, units: Sequence[Unit]) -> Estimate:
    stratum = f"{attribute} {level}"
    return rate(
        identifier(CODE, f"{claim.name}_rate", stratum),
        claim.label,
        [u.event for u in units],
        [u.case.patient_id for u in units],
        unit_of_analysis=claim.unit,
        stratum=stratum,
        void=claim.void,
        units=[u.name for u in units],
    )


def gap_of(contrast: Contrast) -> Estimate:
    """The largest difference between two levels; its bounds hold for all pairs together (Bonferroni)."""
    rates = [contrast.rates[level] for level in contrast.readable]
    values = [e.measurement.value for e in rates]
    void = contrast.reason is not None
    value = None if void else max(v for v in values if v is not None) - min(v for v in values if v is not None)

    def at(alpha: float) -> Interval:
        return largest_gap(rates, alpha, "MOVER of exact rates, Bonferroni over pairs of levels")

    measurement = Measurement(
        id=identifier(CODE, f"{contrast.claim.name}_gap", contrast.attribute),
        label=f"Largest difference of the {contrast.claim.name} rate between two groups",
        value=value,
        unit="fraction",
        interval=None if void else at(ALPHA),
        n=sum(e.measurement.n for e in rates),
        unit_of_analysis=contrast.claim.unit,
        better="lower",
        stratum=contrast.attribute,
        clusters=sum(e.measurement.clusters or 0 for e in rates),
        reason=contrast.reason,
    )
    return Estimate(measurement, None if void else at)


def p_value_of(contrast: Contrast, adjusted: float) -> Estimate:
    return plain(
        identifier(CODE, f"{contrast.claim.name}_p", contrast.attribute),
        f"P-value of equal {contrast.claim.name} rates, after Holm's correction",
        None if contrast.reason else adjusted,
        n=sum(e.measurement.n for e in contrast.rates.values()),
        unit="1",
        unit_of_analysis=contrast.claim.unit,
        better="none",
        stratum=contrast.attribute,
        reason=contrast.reason,
    )
