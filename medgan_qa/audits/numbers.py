"""Turning counts and values into estimates: one place for intervals, strata and what is missing to a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.record import Interval, Measurement, Observations
from medgan_qa.stats import (
    FEWEST_CLUSTERS,
    ClusteredProportion,
    cluster_bootstrap,
    cluster_median,
    clustered_proportion,
    half_sample_interval,
    half_sample_share,
    required_n,
)

ALPHA = 0.05
"""One-sided error rate of the intervals that are printed; criteria may be judged at another."""


class Noise(NamedTuple):
    """Units in which the reader contradicted itself in the direction that no model can cause."""

    events: Sequence[bool]
    patients: Sequence[str]


def identifier(code: str, name: str, stratum: str | None) -> str:
    """`PAT-001.removal_rate`, with its stratum in brackets."""
    return f"{code}.{name}" + (f"[{stratum}]" if stratum else "")


def rate(
    measurement_id: str,
    label: str,
    events: Sequence[bool],
    patients: Sequence[str],
    *,
    unit_of_analysis: str,
    better: Any = "lower",
    stratum: str | None = None,
    noise: Noise | None = None,
    void: str | None = None,
    units: Sequence[str] = (),
) -> Estimate:
    """A share of units, with one-sided exact bounds clustered by patient.

    Args:
        measurement_id: its id.
        label: its name in words.
        events: (N,) whether each unit shows the event.
        patients: (N,) the patient of each unit.
        unit_of_analysis: what the units are.
        better: which way is better.
        stratum: the subset.
        noise: units in which the reader went the other way (missed in the reference, found in the output). That is pure
            inconsistency of the reader; it is taken off before anything is charged to the model, so it lowers the lower
            end, and never the upper one.
        void: why no value may be given although there are units (an unqualified detector).
        units: (N,) names of the units that are the same in every run on these data; none where there are no such.
    """
    n, clusters = len(events), len(set(patients))

    def at(alpha: float) -> Interval:
        p = clustered_proportion(np.asarray(events, bool), patients, alpha=alpha, sided=1)
        low, method = p.low, p.method
        if noise is not None and any(noise.events):
            # Each part at half the error rate, so the difference holds at the whole of it (Bonferroni).
            half = clustered_proportion(np.asarray(events, bool), patients, alpha=alpha / 2, sided=1)
            reader = clustered_proportion(np.asarray(noise.events, bool), noise.patients, alpha=alpha / 2, sided=1)
            low = max(0.0, half.low - reader.high)
            method += f"; lower end less the reader's own inconsistency ({reader.k} of {reader.n})"
        return Interval(low=low, high=p.high, level=1 - alpha, method=method, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return _more_patients(declared, clustered_proportion(np.asarray(events, bool), patients, alpha=alpha), alpha)

    value: float | None = None if void or n == 0 else float(np.mean(events))
    reason = void or (f"There is no {unit_of_analysis} to count." if n == 0 else None)
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=value,
        unit="fraction",
        interval=at(ALPHA) if value is not None else None,
        n=n,
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
        clusters=clusters,
        reason=reason,
    )
    seen = observed("share", units, patients, events) if value is not None else None
    return Estimate(measurement, at if value is not None else None, shortfall, seen)


def observed(
    statistic: Literal["share", "mean", "median"],
    units: Sequence[str],
    patients: Sequence[str],
    values: Sequence[float | bool],
) -> Observations | None:
    """What an estimate was computed from; None where the units have no names that another run would give them too."""
    if not units:
        return None
    return Observations(
        statistic=statistic, units=list(units), patients=list(patients), values=[float(value) for value in values]
    )


def _more_patients(declared: Declared, p: ClusteredProportion, alpha: float) -> str | None:
    """How many more independent units the claim needs if the rate stays what it was.

    A rate that may not be too low is the rate of units without the event that may not be too high.
    """
    side = _unmet(declared, p)
    if side is None or p.value is None:
        return None
    limit, head = declared.limit[side], f"{p.k} of {p.n}" + (f" in {p.clusters} patients" if p.clusters != p.n else "")
    if p.value >= limit if side == "max" else p.value <= limit:
        where = "above" if side == "max" else "below"
        return f"{head}; the estimate itself is at or {where} the limit, so more cases alone will not carry this claim"
    against, few = (p.k, limit) if side == "max" else (p.n - p.k, 1 - limit)
    needed = required_n(few, alpha, against)
    more = needed - int(p.effective_n)
    # With events the effective sample may already be that large and only the rate be too near the limit.
    if more <= 0:
        return head
    counted = f"{against}" if side == "max" else f"{against} exception{'s' * (against != 1)}"
    return f"{head}; {needed} independent ones are needed for this claim with {counted}, {more} more"


def _unmet(declared: Declared, p: ClusteredProportion) -> Literal["max", "min"] | None:
    """The limit that the bound does not meet; None where no number of patients could be named for it."""
    high, low = declared.limit.get("max"), declared.limit.get("min")
    if high is not None and 0 < high < 1 and (low is None or p.high > high):
        return "max"
    return "min" if low is not None and 0 < low < 1 else None


def median(
    measurement_id: str,
    label: str,
    values: Sequence[float],
    patients: Sequence[str],
    *,
    unit: str,
    unit_of_analysis: str,
    better: Any,
    stratum: str | None = None,
    units: Sequence[str] = (),
) -> Estimate:
    """The median over patients with an exact interval by order statistics; `units` as in `rate`."""
    clusters = len(set(patients))

    def at(alpha: float) -> Interval:
        m = cluster_median(np.asarray(values, float), patients, alpha=alpha, sided=1)
        method = "order statistics of the patients' medians (exact)"
        return Interval(low=m.low, high=m.high, level=1 - alpha, method=method, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return None if clusters >= 8 else f"{clusters} patients are too few for a bound on a median at this level"

    value = cluster_median(np.asarray(values, float), patients, alpha=ALPHA).value
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=value,
        unit=unit,
        interval=None if value is None else at(ALPHA),
        n=len(values),
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
        clusters=clusters,
        reason=None if value is not None else f"There is no {unit_of_analysis} to measure.",
    )
    seen = observed("median", units, patients, values) if value is not None else None
    return Estimate(measurement, at if value is not None else None, shortfall, seen)


def mean(
    measurement_id: str,
    label: str,
    values: Sequence[float],
    patients: Sequence[str],
    *,
    unit: str,
    unit_of_analysis: str,
    better: Any,
    seed: int,
    missing: str = "",
    units: Sequence[str] = (),
) -> Estimate:
    """The mean over units with a percentile interval that resamples patients; `units` as in `rate`."""

    def at(alpha: float) -> Interval:
        generator = rng.child(seed, "bootstrap", measurement_id)
        interval = cluster_bootstrap(np.asarray(values, float), patients, np.mean, alpha, generator)
        method = f"percentile bootstrap by patient, {interval.resamples} resamples"
        return Interval(low=interval.low, high=interval.high, level=1 - alpha, method=method, sided=1)

    value = float(np.mean(values)) if len(values) else None
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=value,
        unit=unit,
        interval=None if value is None else at(ALPHA),
        n=len(values),
        unit_of_analysis=unit_of_analysis,
        better=better,
        clusters=len(set(patients)),
        reason=None if value is not None else missing or f"There is no {unit_of_analysis} to measure.",
    )
    seen = observed("mean", units, patients, values) if value is not None else None
    return Estimate(measurement, at if value is not None else None, None, seen)


def resampled(
    measurement_id: str,
    label: str,
    value: float,
    replicates: NDArray[np.float64],
    *,
    clusters: int,
    n: int,
    unit: str,
    unit_of_analysis: str,
    better: Any,
    stratum: str | None = None,
    share: bool = False,
    positive: bool = False,
    reason: str | None = None,
) -> Estimate:
    """An estimate whose interval comes from half samples by patient.

    Args:
        measurement_id: its id.
        label: its name in words.
        value: on all of the data.
        replicates: (B,) the same on each half sample.
        clusters: independent units on the smaller side.
        n: units of analysis.
        unit: unit of `value`.
        unit_of_analysis: what the units are.
        better: which way is better.
        stratum: the subset or feature space.
        share: it is a share of the units, so its interval is binomial at the effective sample size.
        positive: it is a ratio, so its interval is symmetric on the logarithm.
        reason: what limits it, printed beside it.
    """
    log = positive and value > 0 and bool((replicates > 0).all())

    def at(alpha: float) -> Interval:
        if share:
            r = half_sample_share(value, replicates, clusters=clusters, units=n, alpha=alpha, sided=1)
        elif log:
            r = half_sample_interval(math.log(value), np.log(replicates), clusters=clusters, alpha=alpha, sided=1)
        else:
            r = half_sample_interval(value, replicates, clusters=clusters, alpha=alpha, sided=1)
        low, high = (None if end is None else math.exp(end) if log else end for end in (r.low, r.high))
        return Interval(
            low=low, high=high, level=1 - alpha, method=r.method + (", of the logarithm" if log else ""), sided=1
        )

    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=value,
        unit=unit,
        interval=at(ALPHA),
        n=n,
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
        clusters=clusters,
        reason=reason,
    )

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return None if clusters >= FEWEST_CLUSTERS else f"{clusters} independent units are too few for an interval"

    return Estimate(measurement, at, shortfall)


def plain(
    measurement_id: str,
    label: str,
    value: float | None,
    *,
    n: int,
    unit: str,
    unit_of_analysis: str,
    better: Any,
    stratum: str | None = None,
    reason: str | None = None,
) -> Estimate:
    """A number without an interval, for reading beside others."""
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=value,
        unit=unit,
        n=n,
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
        reason=reason,
    )
    return Estimate(measurement)


def count(
    measurement_id: str,
    label: str,
    value: int,
    *,
    n: int,
    unit_of_analysis: str,
    better: Any,
    stratum: str | None = None,
) -> Estimate:
    """A plain count."""
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=float(value),
        unit="count",
        n=n,
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
    )
    return Estimate(measurement)


def by_stratum(units: Sequence[Any], key: Callable[[Any], str | None]) -> dict[str, list[Any]]:
    """Units by stratum, strata in alphabetical order; None is left out."""
    groups: dict[str, list[Any]] = {}
    for unit in units:
        name = key(unit)
        if name is not None:
            groups.setdefault(name, []).append(unit)
    return dict(sorted(groups.items()))
