"""What one criterion comes to at a given error rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from medgan_qa.criteria.content import Declared, Estimate
from medgan_qa.criteria.problems import hint
from medgan_qa.criteria.strata import Entry
from medgan_qa.quantities import against, allowed, plain, span
from medgan_qa.record import Interval, Measurement, Verdict


class Level(NamedTuple):
    """The error rate that a criterion is tested at, and whether the multiple-testing procedure lets it pass."""

    alpha: float
    rejected: bool


class Outcome(NamedTuple):
    """What one criterion came to."""

    verdict: Verdict
    reason: str
    bound: float | None = None
    interval: Interval | None = None
    alpha: float | None = None


def outcome(entry: Entry, estimates: Mapping[str, Estimate], level: Level) -> Outcome:
    """The verdict on one criterion, with its reason."""
    declared, estimate = entry.declared, estimates.get(entry.declared.measurement)
    if estimate is None:
        near = hint(declared.measurement, estimates)
        unmade = f"No audit of this run produced {declared.measurement}{near}, so the criterion could not be judged."
        return Outcome(Verdict.INCONCLUSIVE, entry.absent or unmade)
    m = estimate.measurement
    if m.value is None:
        return Outcome(Verdict.INCONCLUSIVE, m.reason or "The measurement has no value.")
    if declared.judged_on == "value":
        return _of_count(declared, m, m.value)
    if estimate.interval_at is None:
        return Outcome(Verdict.INCONCLUSIVE, m.reason or "The measurement has no interval to judge it on.")
    return _of_bound(declared, estimate, estimate.interval_at(level.alpha), level)


def interval_of(declared: Declared, estimates: Mapping[str, Estimate]) -> Callable[[float], Interval] | None:
    """The intervals that a criterion is judged on; None where it is judged on none, or there is none."""
    estimate = estimates.get(declared.measurement)
    if estimate is None or estimate.measurement.value is None or declared.judged_on == "value":
        return None
    return estimate.interval_at


def meets(declared: Declared, interval: Interval) -> bool:
    """Whether every bound that the limits ask for is there and meets its limit."""
    upper = "max" not in declared.limit or (interval.high is not None and interval.high <= declared.limit["max"])
    lower = "min" not in declared.limit or (interval.low is not None and interval.low >= declared.limit["min"])
    return upper and lower


def _end_beyond(declared: Declared, interval: Interval) -> float | None:
    """The near end of an interval that lies wholly beyond a limit; None if it does not.

    An end that is None has no bound on that side, so the other end decides.
    """
    if "max" in declared.limit and interval.low is not None and interval.low > declared.limit["max"]:
        return interval.low
    if "min" in declared.limit and interval.high is not None and interval.high < declared.limit["min"]:
        return interval.high
    return None


def _of_count(declared: Declared, m: Measurement, value: float) -> Outcome:
    if m.unit != "count":
        reason = f"Only a count can be judged on its value; {m.id} is an estimate and needs a bound."
        return Outcome(Verdict.INCONCLUSIVE, reason)
    of = f"the limit of {_limit_text(declared, m)}"
    if meets(declared, Interval(low=value, high=value, level=0.95, method="a count, no interval", sided=1)):
        return Outcome(Verdict.PASS, f"The count {value:g} meets {of}.", value)
    return Outcome(Verdict.FAIL, f"The count {value:g} does not meet {of}.", value)


def _of_bound(declared: Declared, estimate: Estimate, interval: Interval, level: Level) -> Outcome:
    bound, alpha = _bound(declared, interval), level.alpha
    beyond, m = _end_beyond(declared, interval), estimate.measurement
    if beyond is not None:
        ends = plain(span(interval.low, interval.high, m.unit, declared.limit.values()))
        reason = f"The whole interval, {ends}, lies beyond the limit of {_limit_text(declared, m)}."
        return Outcome(Verdict.FAIL, reason, beyond if bound is None else bound, interval, alpha)
    if bound is not None and meets(declared, interval):
        if level.rejected:
            shown = plain(against(bound, declared.limit.values(), m.unit))
            reason = f"The bound {shown} meets the limit of {_limit_text(declared, m)}."
            return Outcome(Verdict.PASS, reason, bound, interval, alpha)
        reason = "The bound meets the limit, but Holm's procedure stopped at a criterion before it."
        return Outcome(Verdict.INCONCLUSIVE, reason, bound, interval, alpha)
    missing = estimate.shortfall(declared, alpha) if estimate.shortfall else None
    if bound is None:
        reason = missing or estimate.measurement.reason or "The sample is too small for a bound at this level."
    else:
        reason = "The interval straddles the limit" + (f": {missing}" if missing else ".")
    return Outcome(Verdict.INCONCLUSIVE, reason, bound, interval, alpha)


def _bound(declared: Declared, interval: Interval) -> float | None:
    """The end that is held against the limit; with two limits, the one that is nearer to being broken."""
    slack = {}
    for limit, end, sign in (("max", interval.high, 1), ("min", interval.low, -1)):
        if limit in declared.limit:
            if end is None:
                return None
            slack[end] = sign * (declared.limit[limit] - end)
    return min(slack, key=lambda end: slack[end])


def _limit_text(declared: Declared, m: Measurement) -> str:
    return plain(allowed(declared.limit, m.unit))  # type: ignore[arg-type]  # keys were checked when the file was read
