"""ROB-003: what comes out when the input is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medgan_qa import rng
from medgan_qa.audits._foreign_images import CODE, FEATURELESS, KINDS, WITHOUT_TISSUE, Float, Foreign, Normal, asked_of
from medgan_qa.audits._passes import LesionRule, Sample, not_sampled, objection_to_reader, rows_of, sampled
from medgan_qa.audits.catalogue import Findings, Row, stack
from medgan_qa.audits.exhibits import forest, sheet
from medgan_qa.audits.lesions import matching_rule
from medgan_qa.audits.numbers import identifier, median, rate
from medgan_qa.audits.run import grey
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import input_monitor
from medgan_qa.metrics.input_monitor import Monitor, alarms_across_halves, calibrated_monitor
from medgan_qa.metrics.perturbations import tissue_structure

FEWEST_PATIENTS = 2 * input_monitor.FEWEST_PATIENTS
"""Half of them have to calibrate the monitor that the others are shown."""


def foreign_input(
    run: TranslationRun,
    *,
    cases: int = 32,
    guard_false_alarm: float = 0.01,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_mark_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    shown: int = 4,
) -> Findings:
    """What comes out when the input is not of the domain.

    Question. Given an image that it was never made for, does the model say so, or does it invent a patient?

    What it measures. From cases drawn by patient, images are made that are not of the source domain: noise, air, a
    checkerboard, the contrast inverted, a quarter turn, blocks exchanged, and the real image of the target domain. A
    model refuses when it raises an error or returns NaN or infinity; the model formats carry no other way to say so,
    and most models never refuse. What comes out otherwise is measured: the share of pixels that look like tissue (its
    intensity, near an edge of its steepness, three pixels wide) where noise or air went in, beside the same share in
    normal outputs; lesions that the detector marks in outputs of noise, air and checkerboard and, for the most part,
    not in these inputs themselves; and how far the output's intensities lie from those of normal outputs. A monitor of
    the input alone (histogram, an 8 x 8 thumbnail, edges at three scales) is calibrated on the test inputs at a
    false-alarm rate of `guard_false_alarm`; its detection rate says which of these inputs a simple guard before the
    model would stop. Its own false alarms are counted on patients that it was not calibrated on.

    Why it matters. In use, images are turned, mislabelled, empty or of another sequence, and a network answers all of
    them. A brain painted on an empty slice looks like any other brain. A guard on the input is the recommended control;
    this says what it can be trusted with.

    Known limits. The kinds are made by rule and stand for no frequency in use; a model or guard that passes them may
    fail on others, above all on another anatomy or scanner. Images of one kind resemble each other, so an interval
    describes further draws of that kind, not of all foreign images. A model that amplifies noise strongly makes
    structure of it at the scale that is looked at, and is counted as inventing. With fewer than 99 test inputs the
    guard's false-alarm rate is 1 / (n + 1), which the notes say.

    Method and source. Cohen et al. 2018 (features that a translator invents); Hendrycks and Gimpel 2017 (detection
    rates at a fixed false-alarm rate); Vovk et al. 2005 (threshold from order statistics of calibration scores);
    Mahalanobis 1936; bounds by patient as PAT-001.
    """
    findings = Findings()
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    how = LesionRule(rule, min_mark_pixels, detector_sensitivity_min, detector_false_alarm_max)
    void = objection_to_reader(run, CODE, how)
    sample = sampled(run, CODE, cases)
    guard = _guard(run, guard_false_alarm, findings.notes)
    normal = Normal(run.items)
    foreign = {kind: asked_of(run, sample, kind, normal, guard, None if void else how) for kind in KINDS}
    findings.estimates = [e for kind in KINDS for e in _of_kind(kind, foreign[kind], void)]
    findings.estimates += [*_of_normal(sample, normal), _false_alarms(run, guard_false_alarm)]
    every = [f for kind in KINDS for f in foreign[kind]]
    findings.rows = _rows(run, sample, every)
    findings.tables[f"exhibits/{CODE}-images.csv"] = [f.row for f in every]
    findings.excluded = not_sampled(run, sample)
    findings.notes[:0] = [_said(every), *_why(every)]
    findings.exhibits.append(
        forest(
            f"{CODE}-guard",
            "Inputs that a simple guard stops, by kind",
            "Share of foreign inputs that the monitor of the input raises an alarm on. Ends are one-sided 95 % bounds.",
            [e for e in findings.estimates if e.measurement.id.startswith(f"{CODE}.guard")],
            x=(0.0, 1.0),
            label=lambda m: m.stratum or "the domain's own inputs (false alarms)",
        )
    )
    _show(findings, run, foreign, shown)
    return findings


def _guard(run: TranslationRun, false_alarm: float, notes: list[str]) -> Monitor | None:
    people = [item.case.patient_id for item in run.items]
    if len(set(people)) < FEWEST_PATIENTS:
        notes.append(f"A guard needs inputs of at least {FEWEST_PATIENTS} patients to be calibrated and tried.")
        return None
    monitor = calibrated_monitor([item.source for item in run.items], people, false_alarm)
    notes.append(
        f"The guard was calibrated on {monitor.n} test inputs of {len(set(people))} patients at a nominal false-alarm "
        f"rate of {monitor.rate:.2%}."
    )
    return monitor


def _of_kind(kind: str, asked: Sequence[Foreign], void: str | None) -> list[Estimate]:
    out = [
        _rate("refused_rate", "Foreign inputs that the model refuses", kind, asked, lambda f: f.is_refused, "higher"),
        _rate("guard_detection_rate", "Foreign inputs that the guard stops", kind, asked, lambda f: f.seen, "higher"),
        _median("output_distance", "Output intensities away from normal outputs", kind, asked, lambda f: f.distance),
    ]
    if kind in FEATURELESS:
        label = "Share of pixels with invented tissue-like structure"
        out.append(_median("invented_tissue_share", label, kind, asked, lambda f: f.tissue, "fraction"))
    if kind in WITHOUT_TISSUE:
        label = "Foreign inputs in whose output a lesion was invented"
        out.append(_rate("invented_lesion_rate", label, kind, asked, lambda f: f.has_invented, void=void))
    return out


def _rate(
    name: str,
    label: str,
    kind: str,
    asked: Sequence[Foreign],
    event: Callable[[Foreign], bool | None],
    better: str = "lower",
    void: str | None = None,
) -> Estimate:
    held = [(f, e) for f in asked if (e := event(f)) is not None]
    return rate(
        identifier(CODE, name, kind),
        label,
        [e for _, e in held],
        [f.item.case.patient_id for f, _ in held],
        unit_of_analysis="foreign input",
        better=better,
        stratum=kind,
        void=void,
        units=[f.item.case.case_id for f, _ in held],
    )


def _median(
    name: str,
    label: str,
    kind: str,
    asked: Sequence[Foreign],
    value: Callable[[Foreign], float | None],
    unit: str = "unit range",
) -> Estimate:
    held = [(f, v) for f in asked if (v := value(f)) is not None]
    return median(
        identifier(CODE, name, kind),
        f"{label}, median patient",
        [v for _, v in held],
        [f.item.case.patient_id for f, _ in held],
        unit=unit,
        unit_of_analysis="foreign input",
        better="lower" if name == "invented_tissue_share" else "none",
        stratum=kind,
        units=[f.item.case.case_id for f, _ in held],
    )


def _of_normal(sample: Sample, normal: Normal) -> list[Estimate]:
    """The same numbers of the domain's own inputs, to read the others beside."""
    values = {
        "normal_tissue_share": ("Share of pixels with tissue-like structure in normal outputs", "fraction"),
        "output_distance": ("Output intensities away from normal outputs", "unit range"),
    }
    measured = {
        "normal_tissue_share": [float(tissue_structure(i.output, normal.look).mean()) for i in sample.items],
        "output_distance": [normal.distance(i.output) for i in sample.items],
    }
    return [
        median(
            identifier(CODE, name, "normal" if name == "output_distance" else None),
            f"{label}, median patient",
            measured[name],
            sample.patients,
            unit=unit,
            unit_of_analysis="image",
            better="none",
            stratum="normal" if name == "output_distance" else None,
            units=sample.case_ids,
        )
        for name, (label, unit) in values.items()
    ]


def _false_alarms(run: TranslationRun, false_alarm: float) -> Estimate:
    """Alarms on the domain's own inputs, each half of the patients shown to a monitor calibrated on the other."""
    people = [item.case.patient_id for item in run.items]
    shown = run.items if len(set(people)) >= FEWEST_PATIENTS else []
    events: Sequence[bool] = []
    if shown:
        halves = rng.child(run.seed, CODE, "halves")
        events = alarms_across_halves([i.source for i in shown], people, false_alarm, halves).tolist()
    return rate(
        f"{CODE}.guard_false_alarm_rate",
        "False alarms of the guard on inputs of patients that it was not calibrated on",
        events,
        [i.case.patient_id for i in shown],
        unit_of_analysis="image",
        units=[i.case.case_id for i in shown],
    )


def _said(every: Sequence[Foreign]) -> str:
    refused = sum(f.is_refused for f in every)
    if refused:
        return f"The model refused {refused} of {len(every)} foreign inputs."
    return (
        f"The model answered all {len(every)} foreign inputs with an image. Its format has no way to say that an input "
        "is foreign but to raise an error or to return NaN, and it did neither."
    )


def _why(every: Sequence[Foreign]) -> list[str]:
    reasons = Counter(f.answer for f in every if isinstance(f.answer, str))
    return [f"{n} were refused so: {text}." for text, n in reasons.most_common(3)]


def _rows(run: TranslationRun, sample: Sample, every: Sequence[Foreign]) -> list[Row]:
    by_case: dict[str, list[Foreign]] = {}
    for foreign in every:
        by_case.setdefault(foreign.item.case.case_id, []).append(foreign)

    def values(k: int) -> Row:
        mine = by_case[sample.case_ids[k]]
        refused, stopped = sum(f.is_refused for f in mine), sum(bool(f.seen) for f in mine)
        counts: dict[str, Any] = {"foreign_inputs": len(mine), "refused": refused, "stopped_by_guard": stopped}
        status = "refused" if refused == len(mine) else "answered"
        return {**counts, "status": "invented lesion" if any(f.has_invented for f in mine) else status}

    return rows_of(run, sample, values)


def _show(findings: Findings, run: TranslationRun, foreign: Mapping[str, Sequence[Foreign]], shown: int) -> None:
    """Inputs and outputs of each kind, from the same cases drawn by seed."""
    groups: dict[str, Float] = {}
    for kind, asked in foreign.items():
        answered = [(f.image, f.answer) for f in asked if not isinstance(f.answer, str)]
        order = rng.child(run.seed, CODE, "shown").permutation(len(answered))[:shown]
        if answered:
            groups[f"{kind}: input"] = stack([grey(answered[k][0]) for k in order])
            groups[f"{kind}: output"] = stack([grey(answered[k][1]) for k in order])
    # One sheet holds images of one size.
    height, width = (max((g.shape[axis] for g in groups.values()), default=0) for axis in (1, 2))
    even = {
        label: np.pad(g, ((0, 0), (0, height - g.shape[1]), (0, width - g.shape[2]))) for label, g in groups.items()
    }
    sheet(
        findings,
        f"{CODE}-images",
        "Foreign inputs and what came out",
        "Inputs that are not of the domain, and below them the model's outputs, of cases drawn by the run's seed.",
        even,
        columns=max(shown, 1),
    )
