"""The comparison of a gate in Markdown: criteria with their margins, units that got worse, and subgroups."""

from __future__ import annotations

from collections.abc import Iterator

from medgan_qa import quantities
from medgan_qa.evidence._changed_units import counts, has_lost, parts
from medgan_qa.evidence.checks import CLOSES
from medgan_qa.evidence.markdown import code, escaped, marked, table
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
    lost = list(_units(comparison))
    lines += ["", *lost] if lost else []
    return [*lines, *_subgroups(comparison, is_bare)]


def _change_row(change: Change, is_bare: bool) -> list[str]:
    names = [code(change.criterion) if change.criterion else "-", code(change.measurement)]
    unit = quantities.of_difference(change.unit)
    margin = "-" if change.margin is None else _short(quantities.declared(change.margin, unit))
    return [*names, *_numbers(change, is_bare), margin, _mark(change.verdict)]


def _numbers(change: Change, is_bare: bool) -> list[str]:
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


def _units(comparison: Comparison) -> Iterator[str]:
    """Under its criterion, what the comparison's reason leaves out: why it did not pass, and the units that changed."""
    for change in comparison.changes:
        clause, moved = parts(change.reason)
        is_told = change.verdict not in CLOSES or clause[1:] in comparison.reason
        text = f"{'' if is_told else clause} {moved if has_lost(change.reason) else ''}".strip()
        if text:
            yield f"- {code(f'{change.criterion} {change.measurement}'.strip())}: {escaped(text)}"


def _subgroups(comparison: Comparison, is_bare: bool) -> list[str]:
    """The subgroups that got worse or lost a unit, the worst first."""
    judged = {(change.criterion, change.measurement) for change in comparison.changes}
    others = [change for change in comparison.subgroups if (change.criterion, change.measurement) not in judged]
    worse = [c for c in others if (c.worsening or 0) > 0 or has_lost(c.reason)]
    if not worse:
        return []
    columns = ("subgroup", "accepted", "candidate", "worse by", "newly worse / better", "verdict")
    left = len(others) - len(worse[:MOST_SUBGROUPS])
    further = [f"{left} more in the report and in `record.json`."] if left else []
    rows = (_subgroup_row(change, is_bare) for change in worse[:MOST_SUBGROUPS])
    return ["", "Subgroups, the worst first:", "", *table(columns, rows), *(["", *further] if further else [])]


def _subgroup_row(change: Change, is_bare: bool) -> list[str]:
    found = counts(change.reason)
    unit_counts = "-" if found is None else f"{found.worse} / {found.better} of {change.n}"
    cells = [*_numbers(change, is_bare), WITHHELD if is_bare else unit_counts]
    return [code(change.measurement), *cells, _mark(change.verdict)]
