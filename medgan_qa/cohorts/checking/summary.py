"""The outcome of a check in words, for the terminal, the page and the contact sheet."""

from __future__ import annotations

from medgan_qa.cohorts.checking.findings import Checked, PartitionFacts, most

HEADINGS = (
    *("cases", "patients", "volumes", "size", "spacing, mm", "stored numbers", "with lesion", "annotated"),
    *("with reference", "labels", "sites", "scanners"),
)
"""Of the values in `cells`."""


def cells(facts: PartitionFacts) -> tuple[str, ...]:
    """One text for each of `HEADINGS`; empty where there is nothing to say."""
    sizes = ", ".join(facts.sizes[:3]) + (f", {len(facts.sizes) - 3} more" if len(facts.sizes) > 3 else "")
    return (
        str(facts.cases),
        str(facts.patients),
        str(facts.volumes),
        sizes,
        _spacing(facts),
        "" if facts.found_range is None else f"{facts.found_range[0]:g} to {facts.found_range[1]:g}",
        str(facts.lesions),
        str(facts.annotated),
        str(facts.targets),
        most(facts.labels),
        most(facts.sites),
        most(facts.scanners),
    )


def _spacing(facts: PartitionFacts) -> str:
    if facts.spacing_mm is None:
        return ""
    low_y, high_y, low_x, high_x = facts.spacing_mm
    if low_y == high_y and low_x == high_x:
        return f"{low_y:.4g} x {low_x:.4g}"
    return f"{low_y:.4g} to {high_y:.4g} x {low_x:.4g} to {high_x:.4g}"


def declared(checked: Checked) -> str:
    """The declared range in words; empty where none could be read."""
    if checked.declared_range is None:
        return ""
    low, high = checked.declared_range
    return f"window {low:g} to {high:g}, clipped" if checked.windowed else f"value_range {low:g} to {high:g}"


def verdict(checked: Checked) -> str:
    """Whether the data can be used, in one sentence."""
    warnings = _number(len(checked.warnings), "warning")
    if not checked.errors:
        return f"usable, {warnings}" if checked.warnings else "usable, nothing to remark"
    more = "" if checked.complete else "; images were not looked at"
    return f"not usable: {_number(len(checked.errors), 'error')}, {warnings}{more}"


def _number(count: int, name: str) -> str:
    return f"{count} {name}" + ("" if count == 1 else "s")
