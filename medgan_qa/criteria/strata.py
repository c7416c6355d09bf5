"""One criterion in every stratum of the kinds that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from medgan_qa.criteria.content import Declared, Estimate, Severity, Strata


class Entry(NamedTuple):
    """One thing to judge: a criterion as declared, or the same in one stratum."""

    declared: Declared
    absent: str = ""
    """Why there is no measurement for it, where that is known beforehand."""


def expanded(declared: Declared, estimates: Mapping[str, Estimate]) -> list[Entry]:
    """A criterion, and the same in every stratum that was measured, in the order of the kinds.

    A kind that no measurement of the run has stands for itself, so that a claim for subgroups is never lost.
    """
    found = [Entry(declared)]
    sides: tuple[tuple[Severity, tuple[str, ...]], ...] = (
        ("gate", declared.strata.gate),
        ("report", declared.strata.report),
    )
    for severity, kinds in sides:
        for kind in kinds:
            found += _of_kind(declared, kind, severity, estimates)
    return found


def _of_kind(declared: Declared, kind: str, severity: Severity, estimates: Mapping[str, Estimate]) -> list[Entry]:
    strata = _strata(declared.measurement, estimates)
    named = [name for name in strata if is_of_kind(name, kind)]
    if named:
        return [Entry(_within(declared, name, severity)) for name in named]
    there = f"those of this run: {', '.join(strata)}" if strata else "this run measured none"
    absent = (
        f"No stratum of kind {kind!r} was measured for {declared.measurement} ({there}), so nothing could be judged."
    )
    return [Entry(_within(declared, kind, severity), absent)]


def _strata(measurement: str, estimates: Mapping[str, Estimate]) -> list[str]:
    strata = ((e.measurement.stratum, key) for key, e in estimates.items())
    return [name for name, key in strata if name and key == f"{measurement}[{name}]"]


def _within(declared: Declared, stratum: str, severity: Severity) -> Declared:
    return replace(
        declared,
        id=f"{declared.id}[{stratum}]",
        measurement=f"{declared.measurement}[{stratum}]",
        severity=severity,
        strata=Strata(),
    )


def is_of_kind(stratum: str, kind: str) -> bool:
    """Whether `diameter 5-10 mm` is of kind `diameter`: the kind is its first word or words."""
    return stratum == kind or (stratum.startswith(kind) and not stratum[len(kind)].isalnum())
