"""INT-002: whether areas and means that a user reads from the output are those of the real image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medgan_qa.audits._read_quantities import Held, Values, patient_means, quantities_of
from medgan_qa.audits._stored import scale_of
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import ALPHA, identifier, observed
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.metrics.agreement import Agreement, Ends
from medgan_qa.record import Exhibit, Interval, Measurement, Observations
from medgan_qa.stats import FEWEST_CLUSTERS

CODE = "INT-002"
T = "Student t over patients"
EXACT = "noncentral t over patients, exact for normal differences (Carkeet 2015)"
SLOPE = "least squares of difference on mean, Student t"
RATIO = "ratio of sums over patients, linearised variance, Student t"


def biased_quantity(run: TranslationRun, *, unit: str = "auto", min_lesion_pixels: int = 3) -> Findings:
    """Bias of measured quantities.

    Question. Are areas, ratios and means that somebody reads from the output those of the real image?

    What it measures. Every quantity is measured in output and reference by the same rule, with thresholds taken from
    the reference alone: the area of the body (half of Otsu's threshold, filled); the dark area deep in the body and its
    share of the body (ventricles in FLAIR and T1: half way between the body's first percentile and the median deep in
    it, partial volume counted, lesions left out), or, in Hounsfield units, the areas of lung, fat, soft tissue and bone
    within the reference's body by fixed windows, and the share of fat in fat and soft tissue, each after smoothing both
    images by 1.5 pixels; the area of annotated lesions (beyond half of their contrast) and their mean intensity inside
    the mask, one pixel off its edge. Of every quantity, a patient's mean over the slices goes into a Bland-Altman
    analysis: bias (mean of output minus reference), limits of agreement (bias plus and minus 1.96 standard deviations)
    with exact bounds, the slope of the difference on the mean (proportional bias), and bias and mean absolute
    difference relative to the reference.

    Why it matters. A ventricle that is 10 % too large is an atrophy that the patient does not have, and a lesion that
    is smaller is a response to treatment. Pixel errors that average to nothing over an image do not do so over a
    structure.

    Known limits. The measures are thresholds, not segmentations; they are meant for the comparison, not for the value.
    A blur of 0.7 pixels takes 7 % off the dark area of head slices with pixels of 1.75 mm, 13 % with 3.5 mm. The dark
    area means ventricles only where fluid is dark. Areas are those of slices and not volumes. Limits of agreement are
    exact where the differences are normal; look at the plot. Each limit has a bound of its own, not both together. The
    slope also rises where output and reference differ in spread alone. Lesions with too little contrast in the
    reference have no area.

    Method and source. Bland and Altman 1999; Carkeet 2015 (bounds of the limits, considered individually); ratio after
    Cochran 1977. Patients are the units; fewer than 8 give no bound.
    """
    findings = Findings()
    if not run.paired:
        findings.not_applicable = "No case has a paired reference image (column target)."
        return findings
    scale = scale_of(run.cohort, unit)
    measured = run.engine.map(
        lambda item: quantities_of(item, scale, max(1, min_lesion_pixels)), run.paired, label="Measuring quantities"
    )
    cases = {item.case.case_id: values for item, values in zip(run.paired, measured, strict=True)}
    quantities = patient_means(run.paired, measured, scale)
    if not quantities:
        findings.missing = "Nothing could be measured in any reference image."
        return findings
    for held in quantities:
        findings.estimates += _estimates(held)
        findings.exhibits.append(_scatter(held))
    findings.exhibits.append(_table(quantities))
    findings.rows = [_row(item, cases.get(item.case.case_id)) for item in run.items]
    findings.excluded = {
        item.case.case_id: "no reference" if item.reference is None else "nothing measurable"
        for item in run.items
        if not cases.get(item.case.case_id)
    }
    findings.tables[f"exhibits/{CODE}-patients.csv"] = _patient_rows(quantities)
    findings.notes = [
        "Thresholds are taken from the reference image of each case and applied to the output unchanged.",
        "Areas are in mm2 of a slice, averaged over a patient's slices.",
    ]
    return findings


def _estimates(held: Held) -> list[Estimate]:
    a = held.agreement
    seen = observed("mean", held.patients, held.patients, a.difference.tolist())
    relative = "The reference values do not add up to more than 0, so nothing is relative to them."
    return [
        _estimate(held, "bias", "Bias, output minus reference", a.bias, held.unit, a.bias_interval, T, seen=seen),
        _estimate(held, "limit_low", "Lower limit of agreement", a.limit("low"), held.unit, _limit(a, "low"), EXACT),
        _estimate(held, "limit_high", "Upper limit of agreement", a.limit("high"), held.unit, _limit(a, "high"), EXACT),
        _estimate(
            held,
            "proportional_slope",
            "Slope of difference on mean",
            a.proportional_slope,
            "1",
            a.slope_interval,
            SLOPE,
            reason="A slope needs three patients with different values.",
        ),
        *_relative(held, relative),
    ]


def _limit(agreement: Agreement, side: Any) -> Callable[[float], Ends]:
    return lambda alpha: agreement.limit_interval(side, alpha)


def _relative(held: Held, reason: str) -> list[Estimate]:
    # The mean of a lesion may lie on either side of 0 in HU, and a ratio to it means nothing.
    if held.name == "lesion mean":
        return []
    a = held.agreement
    return [
        _estimate(
            held,
            "relative_bias",
            "Bias relative to the reference",
            a.relative(),
            "fraction",
            a.relative_interval,
            RATIO,
            reason=reason,
        ),
        _estimate(
            held,
            "relative_error",
            "Mean absolute difference relative to the reference",
            a.relative(absolute=True),
            "fraction",
            lambda alpha: a.relative_interval(alpha, absolute=True),
            RATIO,
            better="lower",
            reason=reason,
        ),
    ]


def _estimate(
    held: Held,
    name: str,
    label: str,
    value: float | None,
    unit: str,
    ends: Callable[[float], Ends],
    method: str,
    *,
    better: Any = "none",
    reason: str | None = None,
    seen: Observations | None = None,
) -> Estimate:
    n = held.agreement.n

    def at(alpha: float) -> Interval:
        low, high = ends(alpha)
        words = method if low is not None else f"none: fewer than {FEWEST_CLUSTERS} patients"
        return Interval(low=low, high=high, level=1 - alpha, method=words, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return None if n >= FEWEST_CLUSTERS else f"{n} patients are too few for a bound; {FEWEST_CLUSTERS} are needed"

    measurement = Measurement(
        id=identifier(CODE, name, held.name),
        label=label,
        value=value,
        unit=unit,
        interval=None if value is None else at(ALPHA),
        n=n,
        unit_of_analysis="patient",
        better=better,
        stratum=held.name,
        clusters=n,
        reason=reason if value is None else None,
    )
    return Estimate(measurement, None if value is None else at, shortfall, seen)


def _row(item: Item, values: Values | None) -> Row:
    if not values:
        return {**item.row, "status": "no reference" if item.reference is None else "nothing measurable"}
    named = {
        f"{name.replace(' ', '_')}_{side}": float(f"{value:.5g}")
        for name, pair in values.items()
        for side, value in zip(("output", "reference"), pair, strict=True)
    }
    return {**item.row, **named, "status": "measured"}


def _patient_rows(quantities: Sequence[Held]) -> list[Row]:
    return [
        {
            "patient_id": patient,
            "quantity": held.name,
            "unit": held.unit,
            "output": float(f"{output:.5g}"),
            "reference": float(f"{reference:.5g}"),
            "difference": float(f"{output - reference:.5g}"),
        }
        for held in quantities
        for patient, output, reference in zip(held.patients, held.output, held.reference, strict=True)
    ]


def _scatter(held: Held) -> Exhibit:
    a = held.agreement
    low, high = a.limit("low"), a.limit("high")
    reach = [low, high, 0.0, *a.difference.tolist()]
    room = 0.05 * (max(reach) - min(reach)) or 1.0
    points = [
        {"x": float(f"{x:.5g}"), "y": float(f"{y:.5g}"), "group": "patient", "case_id": name}
        for x, y, name in zip(a.mean, a.difference, held.patients, strict=True)
    ]
    unit = "1" if held.unit == "fraction" else held.unit
    return Exhibit(
        id=f"{CODE}-{held.name.replace(' ', '-')}",
        kind="scatter",
        title=f"Agreement of {held.name}",
        caption="One mark a patient: output minus reference against the mean of both, with the bias and the limits of "
        "agreement (bias plus and minus 1.96 standard deviations).",
        data={
            "x_label": f"Mean of output and reference, {held.name} ({unit})",
            "y_label": f"Output minus reference ({unit})",
            "points": points,
            "lines": [
                {"y": high, "label": "+1.96 sd"},
                {"y": a.bias, "label": "bias"},
                {"y": low, "label": "-1.96 sd"},
            ],
            "y_range": [min(reach) - room, max(reach) + room],
        },
    )


def _table(quantities: Sequence[Held]) -> Exhibit:
    rows = []
    for held in quantities:
        a = held.agreement
        relative = a.relative() if held.name != "lesion mean" else None
        rows.append(
            [
                f"{held.name} ({'1' if held.unit == 'fraction' else held.unit})",
                f"{np.mean(held.reference):.4g}",
                f"{np.mean(held.output):.4g}",
                f"{a.bias:.3g}",
                f"{a.limit('low'):.3g} to {a.limit('high'):.3g}",
                "-" if relative is None else f"{100 * relative:.1f} %",
                str(a.n),
            ]
        )
    return Exhibit(
        id=f"{CODE}-quantities",
        kind="counts",
        title="Quantities in real images and in outputs",
        caption="Means over patients, bias (output minus reference), and limits of agreement.",
        data={
            "columns": ["quantity", "real", "output", "bias", "limits of agreement", "relative bias", "patients"],
            "rows": rows,
        },
    )
