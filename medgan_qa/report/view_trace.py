"""Hazard traceability: from the hazard over its control to the criterion, its result and the files that show it."""

from __future__ import annotations

import re
from typing import NamedTuple

from medgan_qa.record import Hazard, Record
from medgan_qa.report.marks import Mark
from medgan_qa.report.view_criteria import NO_HAZARD, CriterionRow

_SHOWN = 12


class TraceRow(NamedTuple):
    """A criterion in its hazard's chain."""

    criterion: CriterionRow
    evidence: list[tuple[str, str]]
    """Files, each with the first digits of its SHA-256."""


class HazardView(NamedTuple):
    """A hazard with the criteria that verify its control."""

    id: str
    name: str
    situation: str
    control: str
    rows: list[TraceRow]


def hazard_views(record: Record, rows: list[CriterionRow]) -> list[HazardView]:
    """Every hazard that the Record or a criterion names, in the order of ids; criteria without one stand last."""
    known = {hazard.id: hazard for hazard in record.hazards}
    groups: dict[str, list[CriterionRow]] = {name: [] for name in known}
    for row in rows:
        groups.setdefault(_identifier(row.hazard, known), []).append(row)
    ordered = sorted(groups, key=lambda name: (name == NO_HAZARD, name))
    return [_view(name, known.get(name), groups[name], record) for name in ordered]


def _identifier(named: str, known: dict[str, Hazard]) -> str:
    """The hazard's id: `HZ-03` of `HZ-03 pathology removed`, or the text as it stands."""
    first = named.split(" ", 1)[0].rstrip(":,;")
    return first if first in known or re.fullmatch(r"[A-Z]+-\d+", first) else named


def _view(name: str, hazard: Hazard | None, rows: list[CriterionRow], record: Record) -> HazardView:
    own = next((row.hazard[len(name) :].lstrip(" :,;") for row in rows), "")
    traced = [TraceRow(row, _evidence(row.audit, record)) for row in rows]
    if hazard is None:
        return HazardView(name, own, "", "", traced)
    return HazardView(name, hazard.name or own, hazard.situation, hazard.control, traced)


def _evidence(code: str, record: Record) -> list[tuple[str, str]]:
    own = [name for name in record.files if code in name]
    both = [*own, *(name for name in ("cases.csv", "observations.csv") if name in record.files)]
    return [(name, record.files[name][:_SHOWN]) for name in both]


def worst(view: HazardView) -> list[Mark]:
    """The marks of a hazard's criteria that did not pass."""
    return [row.criterion.mark for row in view.rows if row.criterion.mark.name != "pass"]
