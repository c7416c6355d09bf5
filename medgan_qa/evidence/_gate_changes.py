"""Criteria and subgroups of a gate: each measurement's worsening, held against its margin."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from medgan_qa import quantities
from medgan_qa.evidence._changed_units import SHOWN
from medgan_qa.evidence._gate_run import Run
from medgan_qa.evidence._gate_worsening import Worsening, alpha_of, pair, worsening
from medgan_qa.record import Change, Criterion, Verdict
from medgan_qa.stats import required_pairs

NO_MARGIN = "No margin declared: judged by the absolute criterion alone."
UNIT_COLUMNS = ("measurement", "unit", "patient_id", "baseline", "candidate")
NEITHER = "Optional, and its audit applies to neither run."
ONLY_REPORTED = "Reported only (severity report), so it decides nothing."


class _Judged(NamedTuple):
    verdict: Verdict
    reason: str


def changes(candidate: Run, baseline: Run, *, same_bytes: bool, same_data: bool) -> list[Change]:
    """One change a criterion of the candidate's run, in the order of its Record.

    Args:
        candidate: the run of the retrained model.
        baseline: the run of the accepted one.
        same_bytes: it is the same model, which cannot be worse than itself.
        same_data: both ran on the same cases, so a unit that only the baseline measured is missing from the candidate.
    """
    return [
        _change(candidate, baseline, c, same_bytes=same_bytes, same_data=same_data) for c in candidate.criteria.values()
    ]


def _change(candidate: Run, baseline: Run, criterion: Criterion, *, same_bytes: bool, same_data: bool) -> Change:
    w = worsening(criterion.measurement, candidate, baseline, criterion)
    found = _judge(w, criterion, candidate)
    if _applies_to_neither(criterion, baseline):
        found = _Judged(Verdict.NOT_APPLICABLE, NEITHER)
    if found.verdict is Verdict.PASS and same_data and w.pairs is not None and w.pairs.only_baseline:
        lacking = f"the candidate has no value for {w.pairs.only_baseline} units that the baseline has one for"
        found = _Judged(Verdict.INCONCLUSIVE, f"The margin is met, but {lacking}.")
    if criterion.margin is not None and criterion.severity == "report":
        found = _Judged(Verdict.NOT_APPLICABLE, f"{ONLY_REPORTED} {found.reason}")
    elif criterion.margin is not None and same_bytes:
        found = _Judged(Verdict.PASS, "The same model: no change.")
    return _as_change(criterion.measurement, candidate, baseline, w, found, criterion)


def _applies_to_neither(criterion: Criterion, baseline: Run) -> bool:
    """An optional criterion whose audit applied to neither run; one that applied to the accepted model is missed."""
    if not criterion.optional or criterion.verdict is not Verdict.NOT_APPLICABLE:
        return False
    before = baseline.criteria.get((criterion.id, criterion.measurement))
    return before is not None and before.verdict is Verdict.NOT_APPLICABLE


def _judge(w: Worsening, criterion: Criterion, candidate: Run) -> _Judged:
    margin = criterion.margin
    if margin is None:
        return _Judged(Verdict.NOT_APPLICABLE, NO_MARGIN)
    if w.value is None:
        return _Judged(Verdict.INCONCLUSIVE, f"Not compared: {w.missing}.")
    m = candidate.measurements[criterion.measurement]
    if m.unit == "count" and w.interval is None:
        words = f"A count: worse by {quantities.against(w.value, [margin], 'count')}, where {margin:g} is allowed."
        return _Judged(Verdict.PASS if w.value <= margin else Verdict.FAIL, words)
    return _judge_interval(w, margin, quantities.of_difference(m.unit), alpha_of(candidate.record))


def _judge_interval(w: Worsening, margin: float, unit: str, alpha: float) -> _Judged:
    low, high = (None, None) if w.interval is None else (w.interval.low, w.interval.high)
    of = f"the margin of {quantities.declared(margin, unit)}"
    if high is not None and high <= margin:
        return _Judged(Verdict.PASS, f"{_at_most(high, margin, unit)}, within {of}.")
    if low is not None and low > margin:
        return _Judged(Verdict.FAIL, f"At least {quantities.against(low, [margin], unit)} worse, beyond {of}.")
    missing = w.missing or _shortfall(w, margin, alpha)
    return _Judged(Verdict.INCONCLUSIVE, f"The interval straddles {of}: {missing}.")


def _at_most(high: float, margin: float, unit: str) -> str:
    if high < 0:
        return f"At least {quantities.against(-high, [-margin], unit)} better"
    return f"At most {quantities.against(high, [margin], unit)} worse"


def _shortfall(w: Worsening, margin: float, alpha: float) -> str:
    """What an inconclusive comparison lacks."""
    assert w.value is not None
    if w.value >= margin:
        return "the estimate itself is at or beyond the margin, so more cases alone will not carry this claim"
    if not w.paired or w.clusters is None:
        return "the cases are not paired here, and the two intervals are too wide"
    head = f"{len(w.worsened)} of {w.n} units got worse and {w.improved} better, in {w.clusters} patients"
    needed = _patients_needed(w, margin, alpha)
    if needed is None or needed <= w.clusters:
        return head
    return f"{head}; with such changes about {needed} patients are needed, {needed - w.clusters} more"


def _patients_needed(w: Worsening, margin: float, alpha: float) -> int | None:
    assert w.value is not None
    if w.statistic == "share":
        worsened, improved = len(w.worsened) / w.n, w.improved / w.n
        return required_pairs(margin, worsened, improved, alpha) if 0 < margin < 1 else None
    if w.interval is None or w.interval.high is None or w.clusters is None:
        return None
    # The width of an interval shrinks with the root of the patients.
    return math.ceil(w.clusters * ((w.interval.high - w.value) / (margin - w.value)) ** 2)


def subgroups(candidate: Run, baseline: Run, judged: list[Change]) -> list[Change]:
    """Every stratum of every measurement that a criterion asks for, worst first.

    A stratum takes the verdict of the criterion with a margin that is declared for it, and has none otherwise.
    """
    bases = {c.measurement.split("[")[0] for c in candidate.criteria.values()}
    names = [name for name in candidate.measurements if "[" in name and name.split("[")[0] in bases]
    own = {change.measurement: change for change in judged if change.margin is not None}
    found = [own.get(name) or _subgroup(name, candidate, baseline) for name in names]
    return sorted(found, key=lambda c: (c.worsening is None, -(c.worsening or 0.0)))


def _subgroup(name: str, candidate: Run, baseline: Run) -> Change:
    w = worsening(name, candidate, baseline, None)
    said = f"Not compared: {w.missing}." if w.value is None else ""
    return _as_change(name, candidate, baseline, w, _Judged(Verdict.NOT_APPLICABLE, said), None)


def _as_change(
    name: str, candidate: Run, baseline: Run, w: Worsening, found: _Judged, criterion: Criterion | None
) -> Change:
    after, before = candidate.measurements.get(name), baseline.measurements.get(name)
    measured = after or before
    return Change(
        criterion=criterion.id if criterion else "",
        measurement=name,
        label=measured.label if measured else name,
        unit=measured.unit if measured else "",
        better=measured.better if measured else "none",
        stratum=measured.stratum if measured else None,
        baseline=before.value if before else None,
        candidate=after.value if after else None,
        worsening=w.value,
        interval=w.interval,
        margin=criterion.margin if criterion else None,
        n=w.n,
        clusters=w.clusters,
        paired=w.paired,
        **_moved(w),
        verdict=found.verdict,
        reason=" ".join(part for part in (found.reason, _left_over(w)) if part),
    )


def _left_over(w: Worsening) -> str:
    """Units that only one of the runs holds."""
    if w.pairs is None or not w.pairs.only_candidate + w.pairs.only_baseline:
        return ""
    alone = (
        f"{w.pairs.only_candidate} units are in the candidate's run alone, {w.pairs.only_baseline} in the baseline's"
    )
    return f"{len(w.pairs.units)} units are paired; {alone}." if w.paired else f"Not paired, as {alone}."


def _moved(w: Worsening) -> dict[str, Any]:
    if w.statistic != "share" or not w.paired:
        return {}
    return {"worsened": len(w.worsened), "improved": w.improved, "newly_worse": list(w.worsened[:SHOWN])}


def changed_units(candidate: Run, baseline: Run) -> list[dict[str, Any]]:
    """One row a unit whose result changed, for every measurement that a criterion asks for."""
    rows = []
    for name in dict.fromkeys(c.measurement for c in candidate.criteria.values()):
        m = candidate.measurements.get(name)
        pairs = pair(candidate.observations.get(name), baseline.observations.get(name))
        if m is None or pairs is None:
            continue
        columns = (pairs.units, pairs.patients, pairs.baseline, pairs.candidate)
        by = pairs.worsening(m.better) if m.better != "none" else pairs.candidate - pairs.baseline
        rows += [
            {**dict(zip(UNIT_COLUMNS, (name, unit, patient, float(b), float(c)), strict=True)), "worsening": float(d)}
            for unit, patient, b, c, d in zip(*columns, by, strict=True)
            if b != c
        ]
    return rows
