"""Judging: every declared criterion against its measurement, at the error rate that it has a right to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medgan_qa.criteria.content import Criteria, Declared, Estimate
from medgan_qa.criteria.outcomes import Level, Outcome, interval_of, meets, outcome
from medgan_qa.criteria.strata import Entry, expanded
from medgan_qa.record import Criterion
from medgan_qa.stats import holm


def judge(criteria: Criteria, estimates: Mapping[str, Estimate]) -> list[Criterion]:
    """Hold every declared criterion, in every stratum that it names, against its measurement.

    With `multiplicity = "holm"` every criterion that gates and is judged on a bound is tested at the error rate that
    Holm's step-down procedure leaves it, its p-value being the smallest error rate at which it would pass; one that is
    only reported is tested at the whole rate and takes none from the others. With `bound = "two-sided"` the rate is
    half of alpha throughout.

    Args:
        criteria: what was declared.
        estimates: what was measured, by measurement id.

    Returns:
        One criterion with its verdict for each declared one, in the declared order, each followed by its strata.
    """
    entries = [entry for declared in criteria.declared for entry in expanded(declared, estimates)]
    two_sided = criteria.bound == "two-sided"
    levels = _levels(criteria, criteria.alpha / 2 if two_sided else criteria.alpha, entries, estimates)
    return [
        _criterion(
            entry.declared,
            estimates.get(entry.declared.measurement),
            outcome(entry, estimates, level),
            two_sided=two_sided,
        )
        for entry, level in zip(entries, levels, strict=True)
    ]


def _levels(
    criteria: Criteria, alpha: float, entries: Sequence[Entry], estimates: Mapping[str, Estimate]
) -> list[Level]:
    levels = [Level(alpha, True)] * len(entries)
    if criteria.multiplicity == "holm":
        # A criterion that could not be measured stays in the family with p = 1: leaving it out must not help the
        # others.
        family = [k for k, e in enumerate(entries) if e.declared.severity == "gate" and e.declared.judged_on != "value"]
        steps = holm([_p_value(entries[k].declared, estimates) for k in family], alpha)
        for k, step in zip(family, steps, strict=True):
            levels[k] = Level(step.alpha_tested, step.rejected)
    return levels


def _p_value(declared: Declared, estimates: Mapping[str, Estimate]) -> float:
    """The smallest one-sided error rate in [1e-6, 0.499] at which the criterion passes, 1 if there is none.

    Found by bisection on a logarithmic scale: intervals shrink as the error rate grows.
    """
    interval_at = interval_of(declared, estimates)
    if interval_at is None:
        return 1.0
    low, high = 1e-6, 0.499
    if meets(declared, interval_at(low)):
        return low
    if not meets(declared, interval_at(high)):
        return 1.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if meets(declared, interval_at(middle)) else (middle, high)
    return high


def _criterion(declared: Declared, estimate: Estimate | None, found: Outcome, *, two_sided: bool) -> Criterion:
    m = None if estimate is None else estimate.measurement
    return Criterion(
        id=declared.id,
        measurement=declared.measurement,
        limit=declared.limit,  # type: ignore[arg-type]  # keys were checked when the file was read
        judged_on=declared.judged_on,
        value=found.bound,
        verdict=found.verdict,
        reason=_with_sides(found) if two_sided else found.reason,
        rationale=declared.rationale,
        hazard=declared.hazard,
        requirement=declared.requirement,
        estimate=None if m is None else m.value,
        n=None if m is None else m.n,
        clusters=None if m is None else m.clusters,
        unit_of_analysis=None if m is None else m.unit_of_analysis,
        interval=found.interval,
        adjusted_alpha=found.alpha,
        severity=declared.severity,
        optional=declared.optional,
        claim=declared.claim,
        margin=declared.margin,
    )


def _with_sides(found: Outcome) -> str:
    if found.alpha is None:
        return found.reason
    level, alpha = f"{1 - 2 * found.alpha:.4g}", f"{found.alpha:.3g}"
    return (
        f"{found.reason.rstrip('.')}. The bound is an end of a two-sided interval at level {level}, judged at {alpha}."
    )
