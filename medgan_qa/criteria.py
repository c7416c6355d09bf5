"""Criteria files, and holding a measurement against a criterion.

A criterion is judged on a confidence bound, never on the estimate: `pass` when the bound meets the limit, `fail` when
the whole interval lies beyond it, `inconclusive` otherwise. Judging knows nothing about audits; audits know nothing
about limits.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Criterion, Interval, Measurement, Verdict
from medgan_qa.stats import holm

SCHEMA = "medgan-qa/criteria/1"
TOP_KEYS = ("schema", "protocol", "alpha", "multiplicity", "criterion", "parameters")
KEYS = ("id", "measurement", "limit", "judged_on", "rationale", "hazard", "requirement")
PROTOCOL_KEYS = ("id", "revision", "title")

JudgedOn = Literal["upper", "lower", "both", "value"]


@dataclass(frozen=True)
class Declared:
    """A criterion as written in a file."""

    id: str
    measurement: str
    limit: dict[str, float]
    judged_on: JudgedOn
    rationale: str = ""
    hazard: str = ""
    requirement: str = ""


class Estimate(NamedTuple):
    """A measurement, and what is needed to judge it at another error rate than it was reported at."""

    measurement: Measurement
    interval_at: Callable[[float], Interval] | None = None
    """The interval at a one-sided error rate alpha; None where there is no interval."""
    shortfall: Callable[[Declared, float], str | None] | None = None
    """Says what is missing for a claim that came out inconclusive, e.g. how many more patients."""


@dataclass(frozen=True)
class Criteria:
    """A whole criteria file."""

    protocol: dict[str, str]
    alpha: float
    multiplicity: Literal["none", "holm"]
    declared: tuple[Declared, ...]
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parameters of audits by code, replacing the suite's."""
    file: str = ""
    default: bool = False
    """These are the suite's own, set for no intended use."""

    def digest(self) -> str:
        """SHA-256 of the canonical content, independent of layout and comments."""
        content = {
            "protocol": self.protocol,
            "alpha": self.alpha,
            "multiplicity": self.multiplicity,
            "criterion": [vars(d) for d in self.declared],
            "parameters": self.parameters,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_criteria(path: Path) -> Criteria:
    """Read a criteria file.

    Raises:
        ConfigurationError: it is missing, no TOML, or says something that cannot be judged.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            "The criteria file cannot be read.",
            expected="a TOML file",
            found=str(error),
            where=path,
            todo="Check the path and the line that is named.",
        ) from error
    return parse_criteria(content, str(path))


def parse_criteria(content: Mapping[str, Any], where: str, *, default: bool = False) -> Criteria:
    """Check the content of a criteria file; every problem is found before anything is measured.

    Raises:
        ConfigurationError: unknown key, missing key, a limit that does not fit the bound, a duplicate id, or a
            parameter that JSON cannot hold.
    """
    if content.get("schema") != SCHEMA:
        raise _problem("The file is no criteria file.", f'schema = "{SCHEMA}"', repr(content.get("schema")), where)
    _known(content, TOP_KEYS, where)
    protocol = content.get("protocol", {})
    _known(protocol, PROTOCOL_KEYS, f"{where}, [protocol]")
    alpha = content.get("alpha", 0.05)
    if not isinstance(alpha, float) or not 0 < alpha < 0.5:
        raise _problem("alpha is no usable error rate.", "a number between 0 and 0.5", repr(alpha), where)
    multiplicity = content.get("multiplicity", "none")
    if multiplicity not in ("none", "holm"):
        raise _problem("multiplicity is unknown.", '"holm" or "none"', repr(multiplicity), where)
    return Criteria(
        protocol={k: str(v) for k, v in protocol.items()},
        alpha=alpha,
        multiplicity=multiplicity,
        declared=_all_declared(content.get("criterion"), where),
        parameters=_parameters(content.get("parameters", {}), where),
        file=where,
        default=default,
    )


def _problem(problem: str, expected: str, found: str, where: str) -> ConfigurationError:
    return ConfigurationError(problem, expected=expected, found=found, where=where, todo="Correct the criteria file.")


def _known(table: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise _problem("A table was expected.", f"a table with keys among {', '.join(keys)}", repr(table), where)
    for key in table:
        if key not in keys:
            raise _problem(f"Unknown key {key!r}{_hint(key, keys)}.", f"one of {', '.join(keys)}", key, where)


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _all_declared(entries: Any, where: str) -> tuple[Declared, ...]:
    if not isinstance(entries, list) or not entries:
        found = "none" if not entries else repr(entries)
        raise _problem("The file declares no criterion.", "at least one [[criterion]]", found, where)
    declared = tuple(_declared(entry, where) for entry in entries)
    ids = [d.id for d in declared]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise _problem("Two criteria have one id.", "every id once", f"{', '.join(twice)} more than once", where)
    return declared


def _parameters(tables: Any, where: str) -> dict[str, dict[str, Any]]:
    place = f"{where}, [parameters]"
    if not isinstance(tables, Mapping) or not all(isinstance(values, Mapping) for values in tables.values()):
        raise _problem("The parameters are no tables.", "one table an audit, [parameters.CODE]", repr(tables), place)
    try:
        # The digest and the Record hold them as JSON, which knows neither NaN nor dates.
        json.dumps(tables, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _problem(
            "A parameter cannot be recorded.", "finite numbers, texts, booleans and lists", str(error), place
        ) from error
    return {code: dict(values) for code, values in tables.items()}


def _declared(entry: Any, where: str) -> Declared:
    _known(entry, KEYS, f"{where}, [[criterion]]")
    place = f"{where}, criterion {entry.get('id', '(without id)')}"
    for key in ("id", "measurement", "limit", "judged_on"):
        if entry.get(key) in (None, ""):
            raise _problem(
                f"A criterion lacks {key!r}.", "id, measurement, limit and judged_on", ", ".join(entry), place
            )
    texts = {k: str(entry.get(k, "")) for k in ("rationale", "hazard", "requirement")}
    limit = _limit(entry["limit"], entry["judged_on"], place)
    return Declared(str(entry["id"]), str(entry["measurement"]), limit, entry["judged_on"], **texts)


def _limit(limit: Any, judged_on: Any, place: str) -> dict[str, float]:
    _known(limit, ("max", "min"), f"{place}, limit")
    if not limit or not all(_is_number(v) for v in limit.values()):
        raise _problem("The limit is no number.", "limit = {max = 0.05} or {min = 0.7} or both", repr(limit), place)
    if "min" in limit and "max" in limit and limit["min"] > limit["max"]:
        raise _problem("No number can meet the limit.", "min at most max", repr(limit), place)
    if judged_on not in ("upper", "lower", "both", "value"):
        raise _problem("judged_on is unknown.", "upper, lower, both or value", repr(judged_on), place)
    # A criterion must be held against the bound that is unfavourable to the model; the other one would pass on
    # ignorance.
    needs = {"upper": {"max"}, "lower": {"min"}}.get(judged_on)
    if needs is not None and set(limit) != needs:
        raise _problem(
            "The limit does not fit the bound it is judged on.",
            'max with "upper", min with "lower", either or both with "both" and "value"',
            f"{limit} judged on {judged_on!r}",
            place,
        )
    return {k: float(v) for k, v in limit.items()}


def _is_number(value: Any) -> bool:
    # TOML has nan, inf and booleans, and Python counts the last as integers.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def judge(criteria: Criteria, estimates: Mapping[str, Estimate]) -> list[Criterion]:
    """Hold every declared criterion against its measurement.

    With `multiplicity = "holm"` every criterion judged on a bound is tested at the error rate that Holm's step-down
    procedure leaves it, its p-value being the smallest error rate at which it would pass.

    Args:
        criteria: what was declared.
        estimates: what was measured, by measurement id.

    Returns:
        One criterion with its verdict for each declared one, in the declared order.
    """
    tested = [d for d in criteria.declared if _interval_of(d, estimates) is not None]
    levels = {d.id: (criteria.alpha, True) for d in tested}
    if criteria.multiplicity == "holm":
        # A criterion that could not be measured stays in the family with p = 1: leaving it out must not help the
        # others.
        unmeasured = [1.0 for d in criteria.declared if d.id not in levels and d.judged_on != "value"]
        steps = holm([*(_p_value(d, estimates) for d in tested), *unmeasured], criteria.alpha)
        levels = {d.id: (step.alpha_tested, step.rejected) for d, step in zip(tested, steps, strict=False)}
    return [_criterion(d, estimates.get(d.measurement), _outcome(d, estimates, levels)) for d in criteria.declared]


class _Outcome(NamedTuple):
    """What one criterion came to."""

    verdict: Verdict
    reason: str
    bound: float | None = None
    interval: Interval | None = None
    alpha: float | None = None


def _interval_of(declared: Declared, estimates: Mapping[str, Estimate]) -> Callable[[float], Interval] | None:
    estimate = estimates.get(declared.measurement)
    if estimate is None or estimate.measurement.value is None or declared.judged_on == "value":
        return None
    return estimate.interval_at


def _meets(declared: Declared, interval: Interval) -> bool:
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


def _p_value(declared: Declared, estimates: Mapping[str, Estimate]) -> float:
    """The smallest one-sided error rate in [1e-6, 0.499] at which the criterion passes, 1 if there is none.

    Found by bisection on a logarithmic scale: intervals shrink as the error rate grows.
    """
    interval_at = _interval_of(declared, estimates)
    assert interval_at is not None
    low, high = 1e-6, 0.499
    if _meets(declared, interval_at(low)):
        return low
    if not _meets(declared, interval_at(high)):
        return 1.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if _meets(declared, interval_at(middle)) else (middle, high)
    return high


def _outcome(
    declared: Declared, estimates: Mapping[str, Estimate], levels: Mapping[str, tuple[float, bool]]
) -> _Outcome:
    estimate = estimates.get(declared.measurement)
    if estimate is None:
        hint = _hint(declared.measurement, estimates)
        reason = f"No audit of this run produced {declared.measurement}{hint}, so the criterion could not be judged."
        return _Outcome(Verdict.INCONCLUSIVE, reason)
    m = estimate.measurement
    if m.value is None:
        return _Outcome(Verdict.INCONCLUSIVE, m.reason or "The measurement has no value.")
    if declared.judged_on == "value":
        return _outcome_of_count(declared, m, m.value)
    if estimate.interval_at is None:
        return _Outcome(Verdict.INCONCLUSIVE, m.reason or "The measurement has no interval to judge it on.")
    alpha, rejected = levels[declared.id]
    return _outcome_of_bound(declared, estimate, estimate.interval_at(alpha), alpha, rejected)


def _outcome_of_count(declared: Declared, m: Measurement, value: float) -> _Outcome:
    if m.unit != "count":
        reason = f"Only a count can be judged on its value; {m.id} is an estimate and needs a bound."
        return _Outcome(Verdict.INCONCLUSIVE, reason)
    if _meets(declared, Interval(low=value, high=value, level=0.95, method="a count, no interval", sided=1)):
        return _Outcome(Verdict.PASS, f"The count {value:g} meets the limit of {_limit_text(declared)}.", value)
    return _Outcome(Verdict.FAIL, f"The count {value:g} does not meet the limit of {_limit_text(declared)}.", value)


def _outcome_of_bound(
    declared: Declared, estimate: Estimate, interval: Interval, alpha: float, rejected: bool
) -> _Outcome:
    bound = _bound(declared, interval)
    beyond = _end_beyond(declared, interval)
    if beyond is not None:
        reason = f"The whole interval, {_ends(interval)}, lies beyond the limit of {_limit_text(declared)}."
        return _Outcome(Verdict.FAIL, reason, beyond if bound is None else bound, interval, alpha)
    if bound is not None and _meets(declared, interval):
        if rejected:
            reason = f"The bound {bound:.4g} meets the limit of {_limit_text(declared)}."
            return _Outcome(Verdict.PASS, reason, bound, interval, alpha)
        reason = "The bound meets the limit, but Holm's procedure stopped at a criterion before it."
        return _Outcome(Verdict.INCONCLUSIVE, reason, bound, interval, alpha)
    missing = estimate.shortfall(declared, alpha) if estimate.shortfall else None
    if bound is None:
        reason = missing or estimate.measurement.reason or "The sample is too small for a bound at this level."
    else:
        reason = "The interval straddles the limit" + (f": {missing}" if missing else ".")
    return _Outcome(Verdict.INCONCLUSIVE, reason, bound, interval, alpha)


def _bound(declared: Declared, interval: Interval) -> float | None:
    """The end that is held against the limit; with two limits, the one that is nearer to being broken."""
    slack = {}
    for limit, end, sign in (("max", interval.high, 1), ("min", interval.low, -1)):
        if limit in declared.limit:
            if end is None:
                return None
            slack[end] = sign * (declared.limit[limit] - end)
    return min(slack, key=lambda end: slack[end])


def _limit_text(declared: Declared) -> str:
    return " and ".join(f"{'at most' if k == 'max' else 'at least'} {v:g}" for k, v in declared.limit.items())


def _ends(interval: Interval) -> str:
    return " to ".join("no bound" if e is None else f"{e:.4g}" for e in (interval.low, interval.high))


def _criterion(declared: Declared, estimate: Estimate | None, outcome: _Outcome) -> Criterion:
    m = None if estimate is None else estimate.measurement
    return Criterion(
        id=declared.id,
        measurement=declared.measurement,
        limit=declared.limit,  # type: ignore[arg-type]  # keys were checked when the file was read
        judged_on=declared.judged_on,
        value=outcome.bound,
        verdict=outcome.verdict,
        reason=outcome.reason,
        rationale=declared.rationale,
        hazard=declared.hazard,
        requirement=declared.requirement,
        estimate=None if m is None else m.value,
        n=None if m is None else m.n,
        clusters=None if m is None else m.clusters,
        unit_of_analysis=None if m is None else m.unit_of_analysis,
        interval=outcome.interval,
        adjusted_alpha=outcome.alpha,
    )
