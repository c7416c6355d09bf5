"""The comparison of a gate in Markdown: criteria with their margins, units that got worse, and subgroups."""

from __future__ import annotations

from collections.abc import Iterator

from medgan_qa import quantities
from medgan_qa.evidence._changed_units import told
from medgan_qa.evidence._markdown_text import code, escaped, marked, table
from medgan_qa.evidence.checks import CLOSES
from medgan_qa.evidence.withheld import WITHHELD
from medgan_qa.record import Change, Comparison, Record, Verdict

MOST_SUBGROUPS = 12


def comparison_lines(comparison: Comparison, record: Record, *, is_bare: bool) -> list[str]:
    """Lines of the section.

    Args:
        comparison: the outcome of the gate.
        record: the Record that holds it; its reason is not said again.
        is_bare: the numbers are withheld.
    """
    modification = " ".join(str(comparison.modification.get(key) or "") for key in ("id", "description")).strip()
    told = [str(comparison.baseline.get(key) or "") for key in ("name", "version", "run")]
    accepted = " ".join(part for part in told if part) or "the accepted model"
    lines = [f"### Compared with {escaped(accepted)}: {comparison.verdict.replace('_', ' ')}", ""]
    lines += [escaped(comparison.reason), ""] if not record.reason.startswith(comparison.reason) else []
    lines += [f"Modification: {escaped(modification)}", ""] if modification else []
    columns = ("criterion", "measurement", "accepted", "candidate", "worse by", "margin", "verdict")
    lines += table(columns, (_change_row(change, is_bare) for change in comparison.changes))
    lost = list(_units(comparison, is_bare))
    lines += ["", *lost] if lost else []
    # Which subgroups got worse is a finding like any number.
    return lines if is_bare else [*lines, *_subgroups(comparison)]


def _change_row(change: Change, is_bare: bool) -> list[str]:
    names = [code(change.criterion) if change.criterion else "-", code(change.measurement)]
    unit = quantities.of_difference(change.unit)
    margin = "-" if change.margin is None else _short(quantities.declared(change.margin, unit))
    return [*names, *_numbers(change, is_bare=is_bare), margin, _mark(change.verdict)]


def _numbers(change: Change, *, is_bare: bool) -> list[str]:
    """Accepted, candidate, and how much worse with its interval."""
    if is_bare:
        return [WITHHELD] * 3
    values = [quantities.with_interval(v, None, change.unit) for v in (change.baseline, change.candidate)]
    limits = () if change.margin is None else (change.margin,)
    unit = quantities.of_difference(change.unit)
    worse = quantities.with_interval(change.worsening, change.interval, unit, limits)
    return [*map(escaped, values), _short(worse)]


def _short(text: str) -> str:
    return escaped(quantities.short(text))


def _mark(verdict: Verdict) -> str:
    return "reported" if verdict is Verdict.NOT_APPLICABLE else marked(verdict)


def _units(comparison: Comparison, is_bare: bool) -> Iterator[str]:
    """Under its criterion, what the comparison's reason leaves out: why it did not pass, and the units that changed."""
    for change in comparison.changes:
        is_told = change.verdict not in CLOSES or change.reason[1:] in comparison.reason
        listed = told(change) if change.worsened and not is_bare else ""
        text = f"{'' if is_told else change.reason} {listed}".strip()
        if text:
            yield f"- {code(f'{change.criterion} {change.measurement}'.strip())}: {escaped(text)}"


def _subgroups(comparison: Comparison) -> list[str]:
    """The subgroups that got worse or lost a unit, the worst first; those that are judged stand among the criteria."""
    judged = {(change.criterion, change.measurement) for change in comparison.changes}
    others = [change for change in comparison.subgroups if (change.criterion, change.measurement) not in judged]
    worse = [change for change in others if (change.worsening or 0) > 0 or change.worsened]
    if not worse:
        return []
    columns = ("subgroup", "accepted", "candidate", "worse by", "newly worse / better", "verdict")
    rows = (_subgroup_row(change) for change in worse[:MOST_SUBGROUPS])
    lines = ["", "Subgroups, the worst first:", "", *table(columns, rows)]
    left = len(others) - len(worse[:MOST_SUBGROUPS])
    return [*lines, "", f"{left} more in `report.pdf`."] if left else lines


def _subgroup_row(change: Change) -> list[str]:
    moved = "-" if change.worsened is None else f"{change.worsened} / {change.improved} of {change.n}"
    return [code(change.measurement), *_numbers(change, is_bare=False), moved, _mark(change.verdict)]
