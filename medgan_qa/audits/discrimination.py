"""DIS-001: whether the score tells the classes apart, and what it makes of them at the declared threshold."""

from __future__ import annotations

from medgan_qa.audits._scores import area_estimate, area_of, failures, rightly_called, score_row, thinned
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.classification import NO_THRESHOLD, ClassificationRun, Threshold, said
from medgan_qa.audits.numbers import plain
from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit
from medgan_qa.stats.roc import RocArea, roc_area_difference, roc_curve

CODE = "DIS-001"
NO_COMPARATOR = "There is no comparator: neither --comparator nor a key comparator of the card names one."


def discrimination(run: ClassificationRun, *, threshold: float = 0.0) -> Findings:
    """Discrimination of the classes.

    Question. Does the discriminator tell disease from its absence, and does it at the threshold that was declared?

    What it measures. Every labelled test case is scored once. The area under the ROC curve is the chance that a case
    with the disease scores higher than one without, ties counted half. Sensitivity and specificity are the shares of
    either class that are called rightly at the declared threshold, with one-sided exact bounds clustered by patient.
    The threshold is the parameter threshold of the criteria file, a probability, where it is set, else that of the
    card; it is never chosen on the test cases, and without one neither is measured. Where there is a comparator (the
    same network trained from scratch, say), the difference of the two areas is measured on the same cases.

    Why it matters. A generator that is thrown away leaves a binary classifier, and that is what it has to be validated
    as. A threshold picked where the test cases part best promises a sensitivity that the next patients will not see.

    Known limits. The area averages over thresholds at which nobody would work. Sensitivity and specificity hold for the
    severity of disease in the data; with other patients both move. Labels are taken as true. Intervals allow for images
    that share a patient, not for patients that share a site.

    Method and source. Area as the Mann-Whitney statistic (Bamber 1975); variance from placements (DeLong et al. 1988),
    clustered by patient (Obuchowski 1997), on the logit scale with Student's t. Where the classes are separated
    completely the bound is exact, from disjoint pairs of patients. Shares as PAT-001 (Clopper and Pearson 1934 on the
    effective sample size of Korn and Graubard 1998).
    """
    findings = Findings()
    findings.missing = run.objection
    findings.excluded = dict(run.unlabelled)
    if findings.missing:
        return findings
    point, names = run.threshold(CODE, threshold), run.classes
    assert names is not None
    sick, healthy = ([item for item in run.items if item.positive is kind] for kind in (True, False))
    findings.estimates = [
        area_of(run, CODE, "auc", "Area under the ROC curve", run.logits),
        rightly_called(CODE, "sensitivity", f"Cases of {names[1]} that are called", sick, point, NO_THRESHOLD, None),
        rightly_called(
            CODE, "specificity", f"Cases of {names[0]} that are not called", healthy, point, NO_THRESHOLD, None
        ),
        *_compared(run),
    ]
    findings.rows = [score_row(item, point) for item in run.items]
    findings.notes = [
        said(point),
        f"Large logits speak for {names[1]}: {len(sick)} cases of it, {len(healthy)} of {names[0]}.",
        *([] if run.comparator is None else [f"Compared with {run.comparator.card.name}."]),
    ]
    findings.exhibits.append(_curve(run, point))
    if point is not None:
        failures(findings, run, CODE, point, names)
    return findings


def _compared(run: ClassificationRun) -> list[Estimate]:
    """The comparator's area, and how far the model's lies above it."""
    other = run.compared
    label = "Area under the ROC curve, less that of the comparator"
    if other is None:
        return [
            plain(
                f"{CODE}.auc_difference",
                label,
                None,
                n=0,
                unit="1",
                unit_of_analysis="image",
                better="higher",
                reason=NO_COMPARATOR,
            )
        ]

    def at(alpha: float) -> RocArea:
        return roc_area_difference(run.logits, other, run.positive, run.patients, alpha=alpha)

    return [
        area_of(run, CODE, "auc", "Area under the ROC curve of the comparator", other, stratum="comparator"),
        area_estimate(f"{CODE}.auc_difference", label, at),
    ]


def _curve(run: ClassificationRun, point: Threshold | None) -> Exhibit:
    named = [("model", run.logits), *([] if run.compared is None else [("comparator", run.compared)])]
    series = []
    for name, logits in named:
        curve = roc_curve(logits, run.positive)
        at = thinned(curve.thresholds)
        x, y = curve.false_positives[at], curve.true_positives[at]
        series.append({"name": name, "x": x.round(4).tolist(), "y": y.round(4).tolist()})
    series.append({"name": "chance", "x": [0.0, 1.0], "y": [0.0, 1.0]})
    lines = []
    if point is not None:
        false_alarms = float((run.logits[~run.positive] >= point.logit).mean())
        lines = [{"x": round(false_alarms, 4), "label": f"threshold {point.probability:g}"}]
    return Exhibit(
        id=f"{CODE}-roc",
        kind="curves",
        title="ROC curve",
        caption="Cases of the positive class that are called over cases of the negative class that are.",
        data={
            "x_label": "1 - specificity",
            "y_label": "sensitivity",
            "series": series,
            "lines": lines,
            "x_range": [0.0, 1.0],
            "y_range": [0.0, 1.0],
        },
    )
