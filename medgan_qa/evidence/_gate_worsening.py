"""How much worse a candidate is in one measurement: on the same units where both runs hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.evidence._gate_run import Run
from medgan_qa.record import Criterion, Interval, Measurement, Observations, Record
from medgan_qa.stats import (
    Ends,
    PairedDifference,
    independent_difference,
    paired_mean,
    paired_median,
    paired_share,
)
from medgan_qa.stats.paired import MOVER

Better = Literal["lower", "higher", "nearer_one", "none"]


class Pairs(NamedTuple):
    """The units that two runs measured both."""

    units: list[str]
    patients: list[str]
    candidate: NDArray[np.float64]
    baseline: NDArray[np.float64]
    only_candidate: int
    """Units that the baseline did not measure."""
    only_baseline: int
    """Units that the candidate did not measure."""

    def worsening(self, better: Better) -> NDArray[np.float64]:
        """(N,) how much worse each unit is: positive is worse."""
        return worse(self.candidate, better) - worse(self.baseline, better)

    @property
    def same_cases(self) -> bool:
        """At least half of either run's units stand in both: two runs on other cases are not compared on the rest."""
        return len(self.units) >= max(1, self.only_candidate, self.only_baseline)


class Worsening(NamedTuple):
    """How much worse a candidate is, with its interval."""

    value: float | None
    interval: Interval | None
    n: int
    clusters: int | None
    paired: bool
    pairs: Pairs | None
    missing: str = ""
    """Why there is no interval, or only a part of one."""
    statistic: str = ""
    """`share`, `mean` or `median` of pairs; empty where nothing was paired."""
    worsened: tuple[str, ...] = ()
    """Units that got worse, where they are paired."""
    improved: int = 0
    """How many got better."""


def worse(values: NDArray[np.float64], better: Better) -> NDArray[np.float64]:
    """Values turned so that more is worse: as they are, negated, or their distance from one."""
    if better == "nearer_one":
        return np.abs(values - 1.0)
    return -values if better == "higher" else values


def alpha_of(record: Record) -> float:
    """One-sided error rate of a run's bounds: alpha of its criteria, half of it where they ask for two-sided ones."""
    alpha = float(record.criteria_lock.get("alpha") or 0.05)
    statistics = record.context.get("statistics")
    two_sided = isinstance(statistics, Mapping) and statistics.get("bound") == "two-sided"
    return alpha / 2 if two_sided else alpha


def pair(candidate: Observations | None, baseline: Observations | None) -> Pairs | None:
    """Join on unit and patient, in the candidate's order; None where a run has no observations, or of another kind."""
    if candidate is None or baseline is None or candidate.statistic != baseline.statistic:
        return None
    before = dict(zip(zip(baseline.units, baseline.patients, strict=True), baseline.values, strict=True))
    after = dict(zip(zip(candidate.units, candidate.patients, strict=True), candidate.values, strict=True))
    both = [key for key in after if key in before]
    return Pairs(
        [unit for unit, _ in both],
        [patient for _, patient in both],
        np.array([after[key] for key in both], dtype=np.float64),
        np.array([before[key] for key in both], dtype=np.float64),
        len(after) - len(both),
        len(before) - len(both),
    )


def worsening(name: str, candidate: Run, baseline: Run, criterion: Criterion | None) -> Worsening:
    """How much worse the candidate is in a measurement: positive is worse whichever way is better.

    On the units that both runs hold where at least half of either run's units are such; otherwise from the two
    intervals. With `nearer_one` the distance from one is taken of each unit, before the difference: a model that moves
    one lesion from 0.9 to 1.1 made nothing worse.
    """
    m, b = candidate.measurements.get(name), baseline.measurements.get(name)
    if m is None or b is None or m.value is None or b.value is None:
        return _nothing(_absence(name, m, b))
    if m.better == "none":
        return _nothing(f"{name} says of neither direction that it is better")
    alpha, seen = alpha_of(candidate.record), candidate.observations.get(name)
    pairs = pair(seen, baseline.observations.get(name))
    if seen is not None and pairs is not None and pairs.same_cases:
        change = _paired(seen.statistic, pairs, m.better, alpha)
        interval = Interval(low=change.low, high=change.high, level=1 - alpha, method=change.method, sided=1)
        missing = f"{change.clusters} patients are too few for a bound at this level" if change.high is None else ""
        lost = tuple(unit for unit, by in zip(pairs.units, pairs.worsening(m.better), strict=True) if by > 0)
        sizes = change.n, change.clusters, True, pairs, missing
        return Worsening(change.difference, interval, *sizes, seen.statistic, lost, change.improved)
    before = baseline.criteria.get((criterion.id, criterion.measurement)) if criterion else None
    sides = _Side(m.value, _interval(m, criterion, alpha)), _Side(b.value, _interval(b, before, alpha))
    value, interval_, missing = _independent(*sides, m, alpha)
    return Worsening(value, interval_, m.n, m.clusters, False, pairs, missing)


def _nothing(missing: str) -> Worsening:
    return Worsening(None, None, 0, None, False, None, missing)


def _absence(name: str, candidate: Measurement | None, baseline: Measurement | None) -> str:
    said = []
    for who, m in (("candidate", candidate), ("baseline", baseline)):
        if m is None:
            said.append(f"the {who}'s run holds no {name}")
        elif m.value is None:
            said.append(f"the {who}'s run could not measure it ({m.reason})")
    return "; ".join(said)


def _paired(statistic: str, pairs: Pairs, better: Better, alpha: float) -> PairedDifference:
    if statistic == "share":
        # Of zeros and ones the worse is 1 where lower is better, and 0 otherwise.
        bad = 1.0 if better == "lower" else 0.0
        return paired_share(pairs.candidate == bad, pairs.baseline == bad, pairs.patients, alpha=alpha, sided=1)
    of = paired_mean if statistic == "mean" else paired_median
    return of(pairs.worsening(better), pairs.patients, alpha=alpha, sided=1)


def _turned(value: float, better: Better) -> float:
    return float(worse(np.array([value]), better)[0])


def _interval(m: Measurement, criterion: Criterion | None, alpha: float) -> Interval | None:
    """The narrowest recorded interval whose ends hold at 1 - alpha each."""
    recorded = [i for i in (m.interval, criterion.interval if criterion else None) if i is not None]
    enough = [i for i in recorded if _level(i) >= 1 - alpha - 1e-9]
    return min(enough, key=_level) if enough else None


def _level(interval: Interval) -> float:
    return interval.level if interval.sided == 1 else (1 + interval.level) / 2


class _Side(NamedTuple):
    value: float
    interval: Interval | None


def _independent(candidate: _Side, baseline: _Side, m: Measurement, alpha: float) -> tuple[float, Interval | None, str]:
    """Worsening, its interval, and what is missing."""
    value = _turned(candidate.value, m.better) - _turned(baseline.value, m.better)
    if m.unit == "count":
        return value, None, ""
    if candidate.interval is None or baseline.interval is None:
        who = "candidate" if candidate.interval is None else "baseline"
        return value, None, f"no interval at one-sided level {1 - alpha:g} was recorded for the {who}"
    found = independent_difference(
        _ends(candidate.value, candidate.interval, m.better), _ends(baseline.value, baseline.interval, m.better)
    )
    missing = "" if found.high is not None else "an interval has no end on the side that is needed"
    return value, Interval(low=found.low, high=found.high, level=1 - alpha, method=MOVER, sided=1), missing


def _ends(value: float, interval: Interval, better: Better) -> Ends:
    """An interval turned so that more is worse. Ends that do not hold their estimate are moved to it."""
    low = None if interval.low is None else min(interval.low, value)
    high = None if interval.high is None else max(interval.high, value)
    if better == "lower":
        return Ends(value, low, high)
    if better == "higher":
        return Ends(-value, None if high is None else -high, None if low is None else -low)
    # The distance from one is at most that of the farther end, and at least that of the nearer one, or none if it
    # lies between.
    farthest = None if low is None or high is None else max(1.0 - low, high - 1.0)
    nearest = max(0.0, 0.0 if low is None else low - 1.0, 0.0 if high is None else 1.0 - high)
    return Ends(abs(value - 1.0), nearest, farthest)
