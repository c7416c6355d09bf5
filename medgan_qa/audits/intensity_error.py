"""INT-001: whether the output's intensities are those of the real image, overall and by tissue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medgan_qa.audits._stored import UNIT_RANGE, Scale, scale_of
from medgan_qa.audits._tissue_error import FEWEST_PIXELS, Measured, Patient, by_patient, class_rule, compare, tissue_of
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pick, forest, panels, random_picks
from medgan_qa.audits.numbers import identifier, median, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.calibration_line import CalibrationLine
from medgan_qa.metrics.intensity_classes import LEVELS, Window
from medgan_qa.record import Exhibit

CODE = "INT-001"
# name, label, better
CLASS_MEASURES = (
    ("bias", "Mean error, output minus reference", "none"),
    ("absolute_error", "Mean absolute error", "lower"),
    ("spread", "Standard deviation of the error within a patient", "lower"),
)


def intensity_error(
    run: TranslationRun,
    *,
    unit: str = "auto",
    classes: int = 4,
    tolerance: float = 0.03,
    tolerance_stored: float = 20.0,
    edge_px: int = 2,
    lesion_margin_px: int = 2,
    worst: int = 3,
    random: int = 3,
) -> Findings:
    """Intensity error.

    Question. Are the output's intensities those of the real image: is there an offset, a wrong slope, or one tissue
    that is too bright or too dark?

    What it measures. Over the body, annotated lesions with a margin of two pixels and the outline left out, a straight
    line of output on reference is fitted for every patient: slope, offset (output where the reference reads 0) and
    correlation, given as the median over patients with an exact interval. The error by class of tissue, away from
    edges: mean (bias), mean absolute error and standard deviation within a patient, the median over patients with exact
    intervals, and the share of patients whose mean error lies within the tolerance in every class, and in each. Numbers
    are in the dataset's stored unit where its value range says that it is Hounsfield units (on both sides of 0, wider
    than 500) or the unit is named, else in unit range. Classes are windows in HU (air, lung, fat, soft tissue, bone),
    otherwise intensity classes of the reference images together; a pixel's class comes from the reference alone.

    Why it matters. Dose, attenuation correction and density are computed from numbers, not from looks. An offset of 50
    HU is invisible in a window and wrong in a treatment plan. A similarity index hardly sees a constant offset.

    Known limits. It needs paired, registered images. Intensities of MR have no unit: there a slope other than 1 may be
    another receiver gain of the reference, which is a property of the data. A gamma curve shows in the classes as well
    as in the slope. A blur counts where structures are few pixels wide: on head slices 0.7 pixels make a slope of 0.94
    with pixels of 3.5 mm, 0.97 with 1.75 mm. Such structures have no interior, and their class is not measured. Lesions
    that nobody annotated are counted as tissue. The offset is the output at 0, which may lie far from the tissue.
    Patients are taken as independent.

    Method and source. Equivariant Passing-Bablok line (Passing and Bablok 1983; Bablok et al. 1988) on images smoothed
    within the tissue, pairs weighted by distance (Sievers 1978): reference and output both carry noise, so least
    squares and Theil-Sen, which take the reference as exact, give too small a slope, and Deming's line, which does not,
    follows outliers. Classes: Otsu 1979, several thresholds after Liao et al. 2001; windows of fat and muscle after
    Aubrey et al. 2014. Medians by order statistics; shares after Clopper and Pearson 1934.
    """
    findings = Findings()
    if not run.paired:
        findings.not_applicable = "No case has a paired reference image (column target)."
        return findings
    _check(classes, tolerance, tolerance_stored, edge_px, lesion_margin_px)
    scale = scale_of(run.cohort, unit)
    allowed = tolerance if scale.unit == UNIT_RANGE else tolerance_stored
    regions = {item.case.case_id: tissue_of(item, lesion_margin_px) for item in run.paired}
    rule = class_rule(run.paired, regions, scale, classes)
    windows = rule.windows

    def measure(item: Item) -> Measured:
        return compare(item, regions[item.case.case_id], scale, rule, edge_px)

    measured = run.engine.map(measure, run.paired, label="Comparing intensities")
    cases = {item.case.case_id: result for item, result in zip(run.paired, measured, strict=True)}
    patients = by_patient(run.paired, cases)
    lines = {name: p.line for name, p in patients.items() if p.line is not None}
    if not lines:
        findings.missing = "No reference image has ten pixels of tissue with different intensities to fit a line to."
        return findings
    findings.estimates = [*_lines(lines, scale), *_within(patients, windows, allowed)]
    by_class = {measure: _classes(patients, windows, scale, *measure) for measure in CLASS_MEASURES}
    findings.estimates += [estimate for group in by_class.values() for estimate in group]
    findings.rows = [_row(item, cases.get(item.case.case_id), patients, scale) for item in run.items]
    findings.excluded = _excluded(run.items, cases, patients)
    findings.tables[f"exhibits/{CODE}-patients.csv"] = [_patient_row(p, windows) for p in patients.values()]
    findings.notes = _notes(run.paired, windows, scale, allowed)
    findings.exhibits.append(_scatter(patients, scale, allowed))
    if by_class[CLASS_MEASURES[0]]:
        findings.exhibits.append(_forest(by_class[CLASS_MEASURES[0]], scale, allowed))
    _show(findings, run, patients, scale, worst, random)
    return findings


def _check(classes: int, tolerance: float, stored: float, edge: int, margin: int) -> None:
    if classes in LEVELS and tolerance > 0 and stored > 0 and edge >= 0 and margin >= 0:
        return
    raise ConfigurationError(
        f"The parameters of {CODE} cannot be used.",
        expected=f"classes of {', '.join(map(str, LEVELS))}; tolerance and tolerance_stored above 0; edge_px and "
        "lesion_margin_px of 0 or more",
        found=f"classes {classes}, tolerance {tolerance:g}, tolerance_stored {stored:g}, edge_px {edge}, "
        f"lesion_margin_px {margin}",
        where=f'[parameters."{CODE}"] of the criteria file',
        todo=f"`medgan-qa explain {CODE}` lists the parameters.",
    )


def _lines(lines: Mapping[str, CalibrationLine], scale: Scale) -> list[Estimate]:
    names = list(lines)

    def over(name: str, label: str, values: list[float], unit: str, better: str) -> Estimate:
        return median(
            f"{CODE}.{name}", label, values, names, unit=unit, unit_of_analysis="patient", better=better, units=names
        )

    held = list(lines.values())
    at_zero = f"Offset of output on reference (at 0 {scale.unit})"
    return [
        over("slope", "Slope of output on reference", [line.slope for line in held], "1", "nearer_one"),
        over("offset", at_zero, [line.offset for line in held], scale.unit, "none"),
        over("correlation", "Correlation of output with reference", [x.correlation for x in held], "1", "higher"),
    ]


def _within(patients: Mapping[str, Patient], windows: Mapping[str, Window], allowed: float) -> list[Estimate]:
    every = {name: [abs(c["bias"]) <= allowed for c in p.classes.values()] for name, p in patients.items()}
    found = [_share({name: all(held) for name, held in every.items() if held}, None)]
    for label in windows:
        held = {n: abs(p.classes[label]["bias"]) <= allowed for n, p in patients.items() if label in p.classes}
        found += [_share(held, label)] if held else []
    return found


def _share(held: Mapping[str, bool], stratum: str | None) -> Estimate:
    names = list(held)
    where = "in their mean error" if stratum else "in the mean error of every class"
    return rate(
        identifier(CODE, "within_tolerance", stratum),
        f"Patients within tolerance {where}",
        list(held.values()),
        names,
        unit_of_analysis="patient",
        better="higher",
        stratum=stratum,
        units=names,
    )


def _classes(
    patients: Mapping[str, Patient], windows: Mapping[str, Window], scale: Scale, name: str, label: str, better: str
) -> list[Estimate]:
    found = []
    for stratum in windows:
        held = {p.name: p.classes[stratum][name] for p in patients.values() if stratum in p.classes}
        if held:
            found.append(
                median(
                    identifier(CODE, name, stratum),
                    label,
                    list(held.values()),
                    list(held),
                    unit=scale.unit,
                    unit_of_analysis="patient",
                    better=better,
                    stratum=stratum,
                    units=list(held),
                )
            )
    return found


def _row(item: Item, measured: Measured | None, patients: Mapping[str, Patient], scale: Scale) -> Row:
    if measured is None:
        return {**item.row, "status": "no reference"}
    line = patients[item.case.patient_id].line
    errors = {
        f"bias_{name.replace(' ', '_')}": _short(sums.error / sums.pixels) if sums.pixels >= FEWEST_PIXELS else None
        for name, sums in measured.sums.items()
    }
    ends = {f"patient_{name}": line and _short(getattr(line, name)) for name in ("slope", "offset")}
    return {
        **item.row,
        **ends,
        **errors,
        "unit": scale.unit,
        "status": "not measurable" if line is None else "measured",
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _patient_row(patient: Patient, windows: Mapping[str, Window]) -> Row:
    line = patient.line
    row: dict[str, Any] = {"patient_id": patient.name}
    row |= {name: None if line is None else _short(getattr(line, name)) for name in ("slope", "offset", "correlation")}
    for label in windows:
        held = patient.classes.get(label, {})
        row |= {f"{m}_{label.replace(' ', '_')}": _short(held[m]) if held else None for m, _, _ in CLASS_MEASURES}
    return row


def _excluded(items: Sequence[Item], cases: Mapping[str, Any], patients: Mapping[str, Patient]) -> dict[str, str]:
    found = {i.case.case_id: "no reference" for i in items if i.case.case_id not in cases}
    unmeasured = {name for name, p in patients.items() if p.line is None and not p.classes}
    return found | {i.case.case_id: "no tissue to compare" for i in items if i.case.patient_id in unmeasured}


def _notes(items: Sequence[Item], windows: Mapping[str, Window], scale: Scale, allowed: float) -> list[str]:
    ranges = ", ".join(f"{name} {_range(window)}" for name, window in windows.items())
    notes = [f"Classes by the reference's intensity in {scale.unit}: {ranges or 'none could be told apart'}."]
    notes.append(f"Tolerance of a patient's mean error in a class: {allowed:g} {scale.unit}.")
    unknown = sum(item.lesion is None for item in items)
    if unknown:
        notes.append(f"In {unknown} of {len(items)} cases nobody annotated lesions; there they count as tissue.")
    return notes


def _range(window: Window) -> str:
    low, high = window
    if not np.isfinite(low):
        return f"below {high:.3g}"
    return f"from {low:.3g}" if not np.isfinite(high) else f"{low:.3g} to {high:.3g}"


def _scatter(patients: Mapping[str, Patient], scale: Scale, allowed: float) -> Exhibit:
    points = [
        {"x": _short(held["reference"]), "y": _short(held["bias"]), "group": label, "case_id": patient.name}
        for patient in patients.values()
        for label, held in patient.classes.items()
    ]
    heights = [allowed, *(abs(held["bias"]) for patient in patients.values() for held in patient.classes.values())]
    return Exhibit(
        id=f"{CODE}-error",
        kind="scatter",
        title="Mean error against intensity",
        caption="One mark a patient and class: mean of output minus reference against the mean of the reference.",
        data={
            "x_label": f"Reference ({scale.unit})",
            "y_label": f"Output minus reference ({scale.unit})",
            "points": points,
            "lines": [
                {"y": allowed, "label": "tolerance"},
                {"y": 0.0, "label": "no error"},
                {"y": -allowed, "label": "tolerance"},
            ],
            "y_range": [-1.1 * max(heights), 1.1 * max(heights)],
        },
    )


def _forest(estimates: Sequence[Estimate], scale: Scale, allowed: float) -> Exhibit:
    measurements = [estimate.measurement for estimate in estimates]
    ends = [e for m in measurements if m.interval for e in (m.interval.low, m.interval.high) if e is not None]
    widest = 1.1 * max([allowed, *map(abs, ends), *(abs(m.value) for m in measurements if m.value is not None)])
    return forest(
        f"{CODE}-classes",
        f"Mean error by class ({scale.unit})",
        "Median over patients of the mean of output minus reference. Ends are one-sided 95 % bounds.",
        estimates,
        x=(-widest, widest),
    )


def _show(
    findings: Findings, run: TranslationRun, patients: Mapping[str, Patient], scale: Scale, worst: int, random: int
) -> None:
    """The first case of the patients with the largest mean error in a class, and cases drawn by seed beside them."""
    largest = {n: max((abs(c["bias"]) for c in p.classes.values()), default=0.0) for n, p in patients.items()}
    first: dict[str, Item] = {}
    for item in run.paired:
        first.setdefault(item.case.patient_id, item)
    order = sorted(first, key=lambda name: (-largest[name], name))
    picks = [Pick(first[name], _label(patients[name], scale), "worst") for name in order[:worst]]
    taken = {pick.item.case.case_id for pick in picks}
    rest = random_picks(run, CODE, list(first.values()), random, taken)
    picks += [Pick(item, _label(patients[item.case.patient_id], scale), "random") for item in rest]
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random patients",
        f"A case of the {len(taken)} patients with the largest mean error in a class, and of {len(rest)} drawn at "
        "random.",
        picks,
        reading=False,
    )


def _label(patient: Patient, scale: Scale) -> str:
    if not patient.classes:
        return "no class measured"
    name, held = max(patient.classes.items(), key=lambda entry: abs(entry[1]["bias"]))
    return f"{name} off by {held['bias']:+.3g} {scale.unit}"
