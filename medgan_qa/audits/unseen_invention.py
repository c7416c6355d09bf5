"""CON-002: detail that the output invents where the input cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from medgan_qa.audits._unseen import (
    Compared,
    Invented,
    Look,
    Threshold,
    invented,
    planted_seen,
    thresholds,
    unseen_energy,
)
from medgan_qa.audits.catalogue import Findings, Row, stack
from medgan_qa.audits.data_inconsistency import NO_OPERATOR
from medgan_qa.audits.exhibits import forest, random_picks
from medgan_qa.audits.numbers import by_stratum, identifier, median, rate
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.degradation import Degradation
from medgan_qa.record import Exhibit

CODE = "CON-002"
AMPLITUDES = (0.05, 0.1)
"""Of planted texture: root mean square, unit range."""
SEES_ALL = 1e-6
"""Share of noise that an operator may leave unseen and still see everything."""
SHOWN = 2.0
"""Thresholds that a map runs to."""


def unseen_invention(
    run: SuperResolutionRun,
    *,
    tolerated: float = 0.5,
    floor: float = 0.005,
    false_alarm: float = 0.01,
    worst: int = 4,
    random: int = 4,
) -> Findings:
    """Detail invented in the null space of the degradation operator.

    Question. Does the output show detail that neither the input nor the truth holds?

    What it measures. The operator that the card declares splits every image into a part that it sees and one that
    leaves no trace in the input. The unseen part of the output is compared with that of the truth. In every
    neighbourhood, a share of the truth's detail (from none to all of it) is taken out of the output's; what is left was
    invented. It is divided by the truth's own noise, which a second acquisition would not repeat, and half of the
    truth's own detail. Where the quotient exceeds a threshold over a connected area of at least the size of a pixel of
    the input, an invented object is counted. The threshold is set in this run: 1 % of second acquisitions of the truths
    of half of the patients exceed it; those of the other half say how often it is exceeded in fact, and texture that is
    planted into them says what it finds. Beside the share of cases with an invented object, with exact bounds by
    patient, stand the energy of the invented detail, the share of the truth's detail that was recovered, and how much
    of the whole error is unseen.

    Why it matters. What the operator does not see cannot be checked against the input: an output can agree with it to
    the last digit and show anything. A model that was trained to look sharp fills this space with what was frequent in
    its training data.

    Known limits. It needs the truth, on the grid of the output and aligned with it to a fraction of a pixel. Detail
    that is missing is measured and is no invention. An invention fainter than the truth's noise, or than half of an
    edge that it lies on, is not told from them. What the operator sees but should not have changed is a matter of
    CON-001. Where lines or pixels are missing besides blur, singular values below 1 % of the largest count as unseen.
    Slices of a volume are judged one by one, and those of a patient are one cluster.

    Method and source. Null-space hallucination maps and the objects of specific maps: Bhadra S, Kelkar VA, Brooks FJ,
    Anastasio MA, On hallucinations in tomographic image reconstruction, IEEE Trans Med Imaging 2021. Changed from
    there: missing detail is told from invented detail, and a threshold calibrated on second acquisitions takes the
    place of the largest 5 % of each map, which mark something in every image. Noise after Immerkaer 1996.
    """
    findings = Findings()
    operator = run.operator
    if operator is None:
        findings.missing = NO_OPERATOR
        return findings
    look = Look(operator, tolerated, floor)
    height, width = run.items[0].output.shape
    if operator.unseen_share((height, width)).max() < SEES_ALL:
        findings.not_applicable = "The declared operator sees everything, so there is nothing to invent unseen."
        return findings
    own = _own_energy(run, operator)
    findings.estimates = [own]
    findings.missing = None if run.paired else "No test case has a truth (column target), so nothing shows as invented."
    cases = [Compared(item, look) for item in run.paired]
    limit = None if findings.missing else thresholds(run, CODE, cases, false_alarm)
    if limit is None:
        findings.missing = findings.missing or (
            "Fewer than two patients have a truth: one half of the patients sets the threshold, the other measures it."
        )
        return findings
    found = run.engine.map(lambda case: invented(case, limit.value), cases, label="Looking for invented detail")
    overall, strata = _rate(found, None), by_stratum(found, lambda f: f.case.item.annotation)
    rates = [overall, *(_rate(group, name) for name, group in strata.items() if len(strata) > 1)]
    alarms, power = _alarms(limit), [_power(run, limit, amplitude) for amplitude in AMPLITUDES]
    findings.estimates = [*rates, *_medians(found), own, alarms, *power]
    by_case = {f.case.item.case.case_id: f for f in found}
    findings.rows = [_row(item, by_case.get(item.case.case_id)) for item in run.items]
    findings.excluded = {i.case.case_id: "no reference" for i in run.items if i.reference is None}
    findings.notes = [operator.sentence(), *_notes(look, limit, found, power)]
    findings.exhibits = [
        _scatter(found),
        forest(
            f"{CODE}-rates",
            "Cases with invented objects: outputs, and second acquisitions of the truth",
            "Ends are one-sided 95 % bounds, clustered by patient.",
            [*rates, alarms],
            x=(0.0, 1.0),
            label=lambda m: m.label + (f", {m.stratum}" if m.stratum else ""),
        ),
    ]
    _maps(findings, run, found, limit.value, worst, random)
    return findings


def _own_energy(run: SuperResolutionRun, operator: Degradation) -> Estimate:
    """How much of the output's detail the input does not carry; needs no truth."""
    return _median(
        "output_unseen_energy",
        "Share of the output's energy that the operator does not see",
        [(item, unseen_energy(operator, item)) for item in run.items],
        better="none",
    )


def _rate(found: Sequence[Invented], stratum: str | None) -> Estimate:
    return rate(
        identifier(CODE, "invented_object_rate", stratum),
        "Cases with invented unseen detail",
        [bool(f.diameters_mm) for f in found],
        [f.case.item.case.patient_id for f in found],
        unit_of_analysis="case",
        stratum=stratum,
        units=[f.case.item.case.case_id for f in found],
    )


def _medians(found: Sequence[Invented]) -> list[Estimate]:
    def of(name: str, label: str, value: Callable[[Invented], float | None], better: str, unit: str) -> Estimate:
        return _median(name, label, [(f.case.item, value(f)) for f in found], better=better, unit=unit)

    def part(name: str) -> Callable[[Invented], float | None]:
        return lambda f: None if f.detail is None else getattr(f.detail, name)

    return [
        of(
            "strongest_object", "Strongest object, in multiples of what is expected", lambda f: f.strength, "lower", "1"
        ),
        of("invented_energy", "Invented detail over the truth's unseen detail", part("invented"), "lower", "1"),
        of(
            "recovered_share",
            "Share of the truth's unseen detail that is shown",
            part("recovered"),
            "higher",
            "fraction",
        ),
        of("missing_energy", "Missing detail over the truth's unseen detail", part("missing"), "lower", "1"),
        of("detail_energy", "Unseen detail of the output over that of the truth", part("energy"), "nearer_one", "1"),
        of("detail_correlation", "Correlation of the two", part("correlation"), "higher", "1"),
        of("unseen_error_share", "Share of the error that is unseen", lambda f: f.unseen_error, "none", "fraction"),
        of("lesion_excess", "Unseen error in lesions over elsewhere", lambda f: f.lesion_excess, "nearer_one", "1"),
    ]


def _median(
    name: str, label: str, values: Sequence[tuple[Item, float | None]], *, better: str, unit: str = "fraction"
) -> Estimate:
    held = [(item.case, value) for item, value in values if value is not None]
    return median(
        f"{CODE}.{name}",
        label,
        [value for _, value in held],
        [case.patient_id for case, _ in held],
        unit=unit,
        unit_of_analysis="case",
        better=better,
        units=[case.case_id for case, _ in held],
    )


def _alarms(limit: Threshold) -> Estimate:
    return rate(
        f"{CODE}.false_alarm_rate",
        "Second acquisitions that show an object",
        limit.alarms,
        [c.item.case.patient_id for c in limit.others],
        unit_of_analysis="case",
    )


def _power(run: SuperResolutionRun, limit: Threshold, amplitude: float) -> Estimate:
    name = f"{100 * amplitude:g} % of the range"
    return rate(
        identifier(CODE, "planted_seen", name),
        f"Planted texture of {name} that is found",
        planted_seen(run, CODE, limit.others, limit.value, amplitude),
        [c.item.case.patient_id for c in limit.others],
        unit_of_analysis="planted texture",
        better="higher",
        stratum=name,
    )


def _notes(look: Look, limit: Threshold, found: Sequence[Invented], power: Sequence[Estimate]) -> list[str]:
    count = sum(len(f.diameters_mm) for f in found)
    rows, columns = look.smoothing_px
    said = [
        f"An object counts from {limit.value:.2f} times what is expected over {look.least_pixels} connected pixels, in "
        f"neighbourhoods of {rows:g} x {columns:g} pixels; set on {limit.calibrated_on} second acquisitions.",
        f"{_objects(count)} in {sum(bool(f.diameters_mm) for f in found)} of {len(found)} cases.",
    ]
    for estimate, amplitude in zip(power, AMPLITUDES, strict=True):
        m = estimate.measurement
        if m.value is not None and m.interval is not None:
            said.append(
                f"This audit would have caught unseen texture of {100 * amplitude:g} % of the range in a spot of "
                f"{4 * rows:g} x {4 * columns:g} pixels with probability {m.value:.2f} ({m.interval.low:.2f}-"
                f"{m.interval.high:.2f})."
            )
    return said


def _objects(count: int) -> str:
    return f"{count} invented object" + ("" if count == 1 else "s")


def _row(item: Item, f: Invented | None) -> Row:
    if f is None:
        return {**item.row, "status": "no reference"}
    detail = f.detail
    return {
        **item.row,
        "objects": len(f.diameters_mm),
        "largest_mm": round(max(f.diameters_mm, default=0.0), 2),
        "strength": round(f.strength, 3),
        "invented_energy": None if detail is None else round(detail.invented, 4),
        "recovered_share": None if detail is None else round(detail.recovered, 4),
        "status": "invented objects" if f.diameters_mm else "no invented object",
    }


def _scatter(found: Sequence[Invented]) -> Exhibit:
    points = [
        {
            "x": round(f.detail.recovered, 4),
            "y": round(f.detail.invented, 4),
            "group": "invented objects" if f.diameters_mm else "no invented object",
            "case_id": f.case.item.case.case_id,
        }
        for f in found
        if f.detail is not None
    ]
    return Exhibit(
        id=f"{CODE}-scatter",
        kind="scatter",
        title="Unseen detail: recovered and invented",
        caption="One mark a case. Pixels repeated lie at the lower left: nothing is recovered and nothing invented. "
        "The truth lies at the lower right. What lies above was not in the truth.",
        data={
            "x_label": "Share of the truth's unseen detail that is shown",
            "y_label": "Invented detail over the truth's (energy)",
            "points": points,
            "lines": [],
            "x_range": [-0.05, 1.05],
            "y_range": [0.0, 1.1 * max([0.1, *(float(p["y"]) for p in points)])],
        },
    )


def _maps(
    findings: Findings, run: SuperResolutionRun, found: Sequence[Invented], limit: float, worst: int, random: int
) -> None:
    """The strongest objects, and cases drawn by seed beside them."""
    ordered = sorted(found, key=lambda f: (-f.strength, f.case.item.case.case_id))
    first = ordered[:worst]
    taken = {f.case.item.case.case_id for f in first}
    rest = {i.case.case_id for i in random_picks(run, CODE, [f.case.item for f in found], random, taken)}
    shown = [*first, *(f for f in found if f.case.item.case.case_id in rest)]
    file, target = f"exhibits/{CODE}-maps.npz", run.cohort.target_domain or "target"
    findings.arrays[file] = {
        "source": stack([np.clip(f.case.index() / (SHOWN * limit), 0.0, 1.0) for f in shown]).astype(np.float32),
        "output": stack([f.case.item.output for f in shown]).astype(np.float32),
        "reference": stack([f.case.reference for f in shown]).astype(np.float32),
    }
    findings.exhibits.append(
        Exhibit(
            id=f"{CODE}-maps",
            kind="panels",
            title="Where outputs invent what the input cannot tell",
            caption="The map is black where the output shows no detail of its own, mid-grey at the threshold of an "
            f"invented object and white at {SHOWN:g} times that. The {len(first)} cases with the strongest object, and "
            f"{len(rest)} drawn at random from the others.",
            file=file,
            data={
                "cases": [
                    {
                        "case_id": f.case.item.case.case_id,
                        "patient_id": f.case.item.case.patient_id,
                        "label": f"{_objects(len(f.diameters_mm))}, {f.strength / limit:.1f} of the threshold",
                        "rule": "worst" if k < len(first) else "random",
                    }
                    for k, f in enumerate(shown)
                ],
                "columns": {
                    "source": "invented (map)",
                    "output": f"{target} (model)",
                    "reference": f"{target} (real)",
                },
                "display": [0.0, 1.0],
            },
        )
    )
