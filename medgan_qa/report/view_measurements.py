"""Tables of measurements: one row a number, its null between real images beside it, its method in a key below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from medgan_qa.record import AuditResult, Measurement
from medgan_qa.report import numbers

_NULLS = ("real against real", "real test images", "real images", "real")
"""Strata that say what real images give: the null of the measurement whose stratum stands before."""


class MeasurementRow(NamedTuple):
    """A measurement, every cell as text; `missing` says why there is no value."""

    label: str
    id: str
    stratum: str
    value: str
    interval: str
    method: str
    sample: str
    note: str
    missing: str
    real: str = ""
    """The same between real images, where it was measured."""
    again: bool = False
    """Another stratum of the row before: the label is not said again, nor is a sample that is the same."""


class Measured(NamedTuple):
    """The table of an audit."""

    rows: list[MeasurementRow]
    methods: list[tuple[str, str]]
    """The letter that stands in the rows, and the level and method of the interval."""
    has_real: bool
    """Some rows carry the same between real images."""


def measurement_row(item: Measurement, limits: Sequence[float] = ()) -> MeasurementRow:
    """One line of a table of measurements; `limits` are what its numbers are judged against."""
    found = item.interval
    return MeasurementRow(
        label=item.label,
        id=item.id,
        stratum=item.stratum or "",
        value="" if item.value is None else numbers.against(item.value, limits, item.unit),
        interval=numbers.interval(found, item.unit, limits),
        method="" if found is None else f"{numbers.level(found)}; {found.method}",
        sample=numbers.sample(item.n, item.unit_of_analysis, item.clusters),
        note=item.reason or "" if item.value is not None else "",
        missing=f"not obtained: {item.reason}" if item.value is None else "",
    )


def measured(audit: AuditResult) -> Measured:
    """A row a measurement; its null between real images stands beside it and not below."""
    rows = _rows(audit)
    methods = list(dict.fromkeys(row.method for row in rows if row.method))
    letters = {method: _letter(place) for place, method in enumerate(methods)}
    lettered = [row._replace(method=letters.get(row.method, "")) for row in rows]
    return Measured(lettered, [(letters[m], m) for m in methods], any(_null_of(item) for item in audit.measurements))


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else f"{_letter(place // 26 - 1)}{_letter(place % 26)}"


def _null_of(item: Measurement) -> str | None:
    """The stratum whose null this is; None for a measurement that stands for itself."""
    stratum = item.stratum or ""
    ending = next((e for e in _NULLS if stratum == e or stratum.endswith(f", {e}")), None)
    return None if ending is None else stratum.removesuffix(ending).removesuffix(", ")


def _base(item: Measurement) -> str:
    return item.id.partition("[")[0]


def _rows(audit: AuditResult) -> list[MeasurementRow]:
    own = {(_base(item), item.stratum or "") for item in audit.measurements}
    nulls = {(_base(item), _null_of(item) or ""): item for item in audit.measurements if _null_of(item) is not None}
    first = {base: k for k, base in reversed(list(enumerate(map(_base, audit.measurements))))}
    rows: list[MeasurementRow] = []
    before, sample = None, ""
    for item in sorted(audit.measurements, key=lambda one: first[_base(one)]):
        null = _null_of(item)
        if null is not None and (_base(item), null) in own:
            continue
        beside = nulls.get((_base(item), item.stratum or ""))
        real = "" if beside is None or beside.value is None else numbers.against(beside.value, (), beside.unit)
        row = measurement_row(item, limits_of(audit, item))
        again = _base(item) == before and bool(item.stratum)
        said = "" if again and row.sample == sample else row.sample
        rows.append(row._replace(real=real, again=again, id=_shown_id(item, again), sample=said))
        before, sample = _base(item), row.sample
    return rows


def _shown_id(item: Measurement, again: bool) -> str:
    """The id; below a row of the same measurement nothing where the stratum in brackets is all that it adds."""
    return "" if again and item.id == f"{_base(item)}[{item.stratum}]" else item.id


def limits_of(audit: AuditResult, item: Measurement) -> list[float]:
    """What an audit's criteria hold a measurement against."""
    return [
        value for criterion in audit.criteria if criterion.measurement == item.id for value in criterion.limit.values()
    ]
