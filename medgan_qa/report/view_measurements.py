"""Tables of measurements: one row a number, its null between real images beside it, its method in a key below.

Paper holds every measurement with its judged strata and, of the other strata, a bounded number, the worst ones;
report.html and the Record hold all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from medgan_qa.record import AuditResult, Measurement
from medgan_qa.report import limits, numbers

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
    paper: bool = True
    """Goes on paper, and not only on the screen."""


class Measured(NamedTuple):
    """The table of an audit."""

    rows: list[MeasurementRow]
    methods: list[tuple[str, str]]
    """The letter that stands in the rows, and the level and method of the interval."""
    remarks: list[tuple[str, str]]
    """The sign that stands in the rows, and a remark that several of them share."""
    has_real: bool
    """Some rows carry the same between real images."""
    left: str
    """What of it paper leaves out."""


def measurement_row(item: Measurement, held_against: Sequence[float] = ()) -> MeasurementRow:
    """One line of a table of measurements; `held_against` are the limits that its numbers are judged against."""
    found = item.interval
    return MeasurementRow(
        label=item.label,
        id=item.id,
        stratum=item.stratum or "",
        value="" if item.value is None else numbers.against(item.value, held_against, item.unit),
        interval=numbers.interval(found, item.unit, held_against),
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
    shared = [note for note, count in Counter(row.note for row in rows if row.note).items() if count > 1]
    signs = {note: str(place) for place, note in enumerate(shared, 1)}
    keyed = [
        row._replace(
            method=" ".join(filter(None, (letters.get(row.method), signs.get(row.note)))),
            note="" if row.note in signs else row.note,
        )
        for row in rows
    ]
    return Measured(
        keyed,
        [(letters[method], method) for method in methods],
        [(signs[note], note) for note in shared],
        any(_null_of(item) is not None for item in audit.measurements),
        _left([row for row in rows if not row.paper]),
    )


def _left(rows: Sequence[MeasurementRow]) -> str:
    if not rows:
        return ""
    without = sum(bool(row.missing) for row in rows)
    also = f", {without} of them without a value," if without else ""
    return (
        f"{numbers.counted(len(rows), 'more row')} of strata{also} in report.html and record.json; of each measurement "
        "the worst strata are printed, or the first where no direction is better."
    )


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
    ordered = sorted(audit.measurements, key=lambda one: (first[_base(one)], bool(one.stratum)))
    listed = [item for item in ordered if _null_of(item) is None or (_base(item), _null_of(item)) not in own]
    printed = _printed(audit, listed)
    rows: list[MeasurementRow] = []
    before = ""
    # What the row above says of its sample: on screen, and on paper, where some rows are missing.
    above = {True: "", False: ""}
    for item in listed:
        beside = nulls.get((_base(item), item.stratum or "")) if _null_of(item) is None else None
        real = "" if beside is None or beside.value is None else numbers.against(beside.value, (), beside.unit)
        row = measurement_row(item, limits_of(audit, item))
        again, on_paper = _base(item) == before and bool(item.stratum), item.id in printed
        alike = again and set(above.values()) <= {row.sample}
        row = row._replace(real=real, again=again, paper=on_paper, id=_shown_id(item, again))
        above |= {False: row.sample} | ({True: row.sample} if on_paper else {})
        rows.append(row._replace(sample="") if alike else row)
        before = _base(item)
    return rows


def _printed(audit: AuditResult, listed: Sequence[Measurement]) -> set[str]:
    """Ids of the measurements that go on paper."""
    judged = {criterion.measurement for criterion in audit.criteria}
    groups: dict[str, list[Measurement]] = {}
    for item in listed:
        groups.setdefault(_base(item), []).append(item)
    printed: set[str] = set()
    for items in groups.values():
        ids = {item.id for item in items}
        most = limits.PAPER_STRATA_JUDGED if ids & judged else limits.PAPER_STRATA_OTHER
        # The first of a group carries its name; what is said of all comes before any stratum.
        printed |= {items[0].id} | (ids & judged) | {item.id for item in items if not item.stratum}
        others = [item for item in items if item.id not in printed]
        printed |= {item.id for item in sorted(others, key=_rank)[:most]}
    return printed


def _rank(item: Measurement) -> tuple[bool, float]:
    """Worst first; those without a value last; in the order of the Record where no direction is better."""
    if item.value is None:
        return True, 0.0
    sizes = {"lower": -item.value, "higher": item.value, "nearer_one": -abs(item.value - 1.0), "none": 0.0}
    return False, sizes[item.better]


def _shown_id(item: Measurement, again: bool) -> str:
    """The id; below a row of the same measurement nothing where the stratum in brackets is all that it adds."""
    return "" if again and item.id == f"{_base(item)}[{item.stratum}]" else item.id


def limits_of(audit: AuditResult, item: Measurement) -> list[float]:
    """What an audit's criteria hold a measurement against."""
    return [
        value for criterion in audit.criteria if criterion.measurement == item.id for value in criterion.limit.values()
    ]
