"""Statistical methods, told from what the Record says was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from medgan_qa.record import Criterion, Interval, Record
from medgan_qa.report import numbers
from medgan_qa.report.declared import table
from medgan_qa.report.facts import plain

_CORRECTIONS = {
    "holm": "Holm's step-down correction over the criteria that open the gate: each is tested at the error rate that "
    "the procedure leaves it, which stands beside its limit, so that the chance of any false pass stays at alpha.",
    "none": "No correction: the run passes only if every criterion does, so that testing each at alpha keeps the "
    "chance of a false pass of the run at alpha (intersection-union test).",
}


class MethodRow(NamedTuple):
    """An interval method of the run."""

    method: str
    level: str
    used_for: str


class Methods(NamedTuple):
    """What was done, in words."""

    unit: list[str]
    bounds: list[str]
    intervals: list[MethodRow]
    multiplicity: str
    missing: list[str]


def methods(record: Record) -> Methods:
    """The statistical methods of a run."""
    return Methods(_unit(record), _bounds(record), _intervals(record), _multiplicity(record), _missing(record))


def _criteria(record: Record) -> list[Criterion]:
    return [item for audit in record.audits for item in audit.criteria]


def _unit(record: Record) -> list[str]:
    items = [item for audit in record.audits for item in audit.measurements]
    units = list(dict.fromkeys(item.unit_of_analysis for item in items))
    clustered = sorted({item.unit_of_analysis for item in items if item.clusters is not None} - {"patient"})
    declared = table(record, "statistics").get("cluster")
    told = [f"Counted or averaged were: {', '.join(units)}." if units else "Nothing was measured."]
    if clustered:
        told.append(f"The independent unit is the patient: intervals of {', '.join(clustered)} cluster by patient.")
    return [*told, *([f"Declared cluster: {plain(declared)}."] if declared else [])]


def _bounds(record: Record) -> list[str]:
    judged = Counter(numbers.judged(item.judged_on) for item in _criteria(record))
    declared = table(record, "statistics").get("bound")
    told = [
        "A criterion is judged on the bound of its interval on the unfavourable side: pass, if the bound meets the "
        "limit; fail, if the whole interval lies beyond it; otherwise inconclusive."
    ]
    told += [f"Judged on: {', '.join(f'{side} ({count})' for side, count in judged.items())}."] if judged else []
    return [*told, *([f"Bounds are {plain(declared)}, as declared."] if declared else [])]


def _intervals(record: Record) -> list[MethodRow]:
    found: dict[tuple[str, str], Counter[str]] = {}
    for audit in record.audits:
        made = [*(m.interval for m in audit.measurements), *(c.interval for c in audit.criteria)]
        for key in (_method(interval) for interval in made if interval is not None):
            found.setdefault(key, Counter())[audit.code] += 1
    return [MethodRow(method, level, _codes(codes)) for (method, level), codes in found.items()]


def _method(interval: Interval) -> tuple[str, str]:
    return interval.method, numbers.level(interval)


def _codes(codes: Iterable[str]) -> str:
    return ", ".join(codes)


def _multiplicity(record: Record) -> str:
    lock = record.criteria_lock
    named = str(lock.get("multiplicity") or "")
    words = _CORRECTIONS.get(named, f"Correction: {named or 'not stated'}.")
    return f"Alpha is {plain(lock.get('alpha'))}. {words}"


def _missing(record: Record) -> list[str]:
    items = [item for audit in record.audits for item in audit.measurements]
    without = sum(item.value is None for item in items)
    return [
        "No value is put in the place of a missing one. A number that could not be obtained carries its reason, and a "
        "criterion on it, or on a measurement that was not made, is inconclusive: it never passes.",
        f"Measurements without a value: {without} of {len(items)}. Cases left out stand in section 6.",
    ]
