"""Estimates and pictures that the audits of classifiers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings, Row, stack
from medgan_qa.audits.classification import ClassificationRun, Scored, Threshold
from medgan_qa.audits.exhibits import sheet
from medgan_qa.audits.numbers import ALPHA, identifier, rate
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import clustered_proportion, required_n
from medgan_qa.stats.roc import RocArea, roc_area

POINTS = 200
"""Most points of a curve that is shown."""
PER_GROUP = 10
"""Most images of one group that are shown."""

Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


def area_estimate(
    measurement_id: str,
    label: str,
    area_at: Callable[[float], RocArea],
    *,
    better: Any = "higher",
    stratum: str | None = None,
    reason: str | None = None,
) -> Estimate:
    """An area, or a difference of areas, as it comes out at any one-sided error rate.

    Args:
        measurement_id: its id.
        label: its name in words.
        area_at: error rate to area.
        better: which way is better.
        stratum: the subset.
        reason: what limits it.
    """
    shown = area_at(ALPHA)

    def at(alpha: float) -> Interval:
        area = area_at(alpha)
        return Interval(low=area.low, high=area.high, level=1 - alpha, method=area.method, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return more_patients(shown, area_at(alpha), declared.limit, alpha)

    people = f"{shown.positive_clusters} patients with and {shown.negative_clusters} without it"
    lacking = reason or (f"Both classes are needed; there are {people}." if shown.value is None else None)
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=shown.value,
        unit="1",
        interval=None if shown.value is None else at(ALPHA),
        n=shown.positives + shown.negatives,
        unit_of_analysis="image",
        better=better,
        stratum=stratum,
        clusters=min(shown.positive_clusters, shown.negative_clusters),
        reason=lacking,
    )
    return Estimate(measurement, None if shown.value is None else at, shortfall)


def more_patients(shown: RocArea, area: RocArea, limit: dict[str, float], alpha: float) -> str | None:
    """How many more patients a claim on an area, or on a difference of areas, needs if the value stays what it is."""
    few, value = min(shown.positive_clusters, shown.negative_clusters), shown.value
    if area.low is None or area.high is None or value is None:
        return f"{few} patients in the smaller class are too few for an interval"
    # The end nearer to being broken, as a distance from the value.
    sides = [("max", area.high - value, 1), ("min", value - area.low, -1)]
    room, half = min((sign * (limit[key] - value), half) for key, half, sign in sides if key in limit)
    if room <= 0:
        return "the estimate itself is at or beyond the limit, so more cases alone will not carry this claim"
    needed = math.ceil(few * (half / room) ** 2)
    if room < 1:
        # However well all pairs agree, so many are needed before a disagreement of this size can be excluded.
        needed = max(needed, math.ceil(math.log(alpha) / math.log1p(-room)))
    return f"{few} patients in the smaller class; about {needed} are needed for this claim" if needed > few else None


def area_of(
    run: ClassificationRun,
    code: str,
    name: str,
    label: str,
    logits: Vector,
    *,
    chosen: Bool | None = None,
    stratum: str | None = None,
    better: Any = "higher",
) -> Estimate:
    """The area of a score over the run's cases, or over those that are chosen."""
    chosen = np.ones(len(logits), bool) if chosen is None else chosen
    patients = [p for p, keep in zip(run.patients, chosen, strict=True) if keep]

    def at(alpha: float) -> RocArea:
        return roc_area(logits[chosen], run.positive[chosen], patients, alpha=alpha)

    return area_estimate(identifier(code, name, stratum), label, at, stratum=stratum, better=better)


def rightly_called(
    code: str,
    name: str,
    label: str,
    items: Sequence[Scored],
    threshold: Threshold | None,
    void: str,
    stratum: str | None,
) -> Estimate:
    """The share of cases of one class that are called what they are; says how many more patients a claim needs."""
    right = [called(item.logit, threshold) == item.positive for item in items]
    patients = [item.case.patient_id for item in items]
    estimate = rate(
        identifier(code, name, stratum),
        label,
        right,
        patients,
        unit_of_analysis="image",
        better="higher",
        stratum=stratum,
        void=void if threshold is None else None,
        units=[item.case.case_id for item in items],
    )

    def shortfall(declared: Declared, alpha: float) -> str | None:
        least = declared.limit.get("min")
        p = clustered_proportion(np.logical_not(right), patients, alpha=alpha)
        if least is None or p.value is None or not 0 < least < 1:
            return None
        head = f"{p.n - p.k} of {p.n} in {p.clusters} patients"
        if p.value >= 1 - least:
            return (
                f"{head}; the estimate itself is at or below the limit, so more cases alone will not carry this claim"
            )
        needed = required_n(1 - least, alpha, p.k)
        more = needed - int(p.effective_n)
        return f"{head}; {needed} independent ones are needed with {p.k} wrong, {more} more" if more > 0 else head

    return estimate._replace(shortfall=shortfall)


def called(logit: float, threshold: Threshold | None) -> bool:
    """Whether a case with this logit is called positive; nothing is without a threshold."""
    return threshold is not None and logit >= threshold.logit


def score_row(item: Scored, threshold: Threshold | None) -> Row:
    """A case with its score and what became of it."""
    row = {**item.row, "logit": round(item.logit, 5), "probability": round(item.probability, 5)}
    if threshold is None:
        return {**row, "status": "no threshold"}
    return {**row, "status": fate(item, threshold)}


def fate(item: Scored, threshold: Threshold) -> str:
    """What the threshold makes of a case: `hit`, `missed`, `false alarm` or `rightly passed`."""
    if called(item.logit, threshold):
        return "hit" if item.positive else "false alarm"
    return "missed" if item.positive else "rightly passed"


def thinned(values: Vector, most: int = POINTS) -> NDArray[np.intp]:
    """Places of at most `most` points of a curve, both ends among them."""
    return np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(np.intp))


def failures(
    findings: Findings, run: ClassificationRun, code: str, threshold: Threshold, names: tuple[str, str]
) -> None:
    """Add the worst errors on either side, and right calls drawn at random beside them."""
    by_fate: dict[str, list[Scored]] = {}
    for item in sorted(run.items, key=lambda i: (i.logit, i.case.case_id)):
        by_fate.setdefault(fate(item, threshold), []).append(item)
    negative, positive = names
    groups = {
        f"{positive}, missed, least probable first": by_fate.get("missed", [])[:PER_GROUP],
        f"{negative}, called {positive}, most probable first": by_fate.get("false alarm", [])[::-1][:PER_GROUP],
        f"{positive}, called, at random": drawn(run, f"{code} hit", by_fate.get("hit", [])),
        f"{negative}, passed, at random": drawn(run, f"{code} passed", by_fate.get("rightly passed", [])),
    }
    counts = {name: len(by_fate.get(name, [])) for name in ("missed", "false alarm")}
    sheet(
        findings,
        f"{code}-cases",
        "Wrong calls, and right ones beside them",
        f"The worst of {counts['missed']} missed cases and {counts['false alarm']} false alarms.",
        {label: stack([item.grey for item in items]) for label, items in groups.items() if items},
    )


def drawn(run: ClassificationRun, purpose: str, items: Sequence[Scored], count: int = PER_GROUP) -> list[Scored]:
    """`count` cases drawn by the run's seed, in the order given."""
    if len(items) <= count:
        return list(items)
    chosen = rng.child(run.seed, "exhibit", purpose).choice(len(items), size=count, replace=False)
    return [items[k] for k in sorted(chosen)]
