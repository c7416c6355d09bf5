"""DIS-002: whether the probabilities of the classifier are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.numbers import ALPHA, mean, plain
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.record import Exhibit, Interval, Measurement
from medgan_qa.stats import FEWEST_CLUSTERS, clustered_proportion, half_sample_interval
from medgan_qa.stats.classifier_calibration import (
    ROBUST,
    CalibrationError,
    Fitted,
    calibration_error,
    calibration_error_replicates,
    calibration_line,
)

CODE = "DIS-002"


def miscalibration(run: ClassificationRun, *, bins: int = 10, resamples: int = 200) -> Findings:
    """Calibration of the probabilities.

    Question. Of the cases to which the discriminator gives a probability of 80 %, do eight in ten have the disease?

    What it measures. Outcomes are regressed on the logits. The slope is 1 where probabilities are right, below 1 where
    they are too far from one half (overconfident) and above 1 where they are too near it. The intercept is calibration
    in the large, the shift of all logits that would make the mean right: above 0 where disease is more frequent than
    predicted. The expected calibration error is the mean distance of predicted from observed frequency over bins of
    equal mass, less what chance adds to it. The Brier score is the mean squared error of the probabilities.

    Why it matters. The output of a discriminator was trained to win a game, and nobody trained it to be a probability.
    Whoever acts on 0.99 when it means 0.8 overtreats, or stops looking, with a confidence that nothing supports. The
    area under the curve does not see it: it is the same for logits three times as large.

    Known limits. Calibration in the large, calibration error and Brier score depend on how frequent the disease is in
    the data; a test set with half of each class says nothing of them at a prevalence of one in a hundred. The slope
    depends on it less. Where the score separates the classes completely there is no finite slope, and more or harder
    cases are needed. A binned error misses what cancels within a bin, and the correction leaves some of its upward
    bias; the lower bound allows for that.

    Method and source. Cox 1958; Van Calster et al. 2019; variance by patient as Liang and Zeger 1986, Student's t. Bins
    of equal mass and correction after Broecker 2012 and Kumar et al. 2019; interval from half samples of the patients
    (Shao and Wu 1989). Brier 1950, percentile bootstrap by patient.
    """
    findings = Findings()
    findings.missing = run.objection
    findings.excluded = dict(run.unlabelled)
    if findings.missing:
        return findings
    logits, positive, patients = run.logits, run.positive, run.patients
    probabilities = special.expit(logits)
    line = calibration_line(logits, positive, patients)
    error = calibration_error(probabilities, positive, patients, max(1, bins))
    assert error is not None
    findings.estimates = [
        _coefficient(run, "slope", "Calibration slope (1 where probabilities are right)", line.slope, line.objection),
        _coefficient(
            run,
            "intercept",
            "Calibration in the large, shift of the logits",
            line.intercept,
            "The fit does not settle.",
        ),
        _error(run, error, max(1, bins), resamples),
        mean(
            f"{CODE}.brier",
            "Brier score",
            list((probabilities - positive) ** 2),
            patients,
            unit="1",
            unit_of_analysis="image",
            better="lower",
            seed=run.seed,
            units=[item.case.case_id for item in run.items],
        ),
    ]
    share = float(positive.mean())
    findings.rows = [
        {**item.row, "probability": round(item.probability, 5), "bin": int(held) + 1}
        for item, held in zip(run.items, error.bins.bin_of, strict=True)
    ]
    findings.notes = [
        f"{share:.0%} of the cases have the disease; always saying so would have a Brier score of "
        f"{share * (1 - share):.3f}.",
        f"{len(error.bins.units)} bins; calibration error {error.plain:.3f} as binned, {error.value:.3f} less what "
        "chance adds.",
    ]
    findings.exhibits.append(_diagram(run, error))
    return findings


def _coefficient(
    run: ClassificationRun, name: str, label: str, fitted: Fitted | None, objection: str | None
) -> Estimate:
    """A coefficient with its interval; with too few patients it has none."""
    identifier = f"{CODE}.{name}"
    better: Any = "nearer_one" if name == "slope" else "none"
    if fitted is None:
        return plain(
            identifier,
            label,
            None,
            n=len(run.items),
            unit="1",
            unit_of_analysis="image",
            better=better,
            reason=objection,
        )

    def at(alpha: float) -> Interval:
        low, high = fitted.interval(alpha) or (None, None)
        return Interval(low=low, high=high, level=1 - alpha, method=ROBUST, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        few = fitted.df + 1
        return None if few >= FEWEST_CLUSTERS else f"{few} patients in the smaller class are too few for an interval"

    measurement = Measurement(
        id=identifier,
        label=label,
        value=fitted.value,
        unit="1",
        interval=at(ALPHA),
        n=len(run.items),
        unit_of_analysis="image",
        better=better,
        clusters=len(set(run.patients)),
    )
    return Estimate(measurement, at, shortfall)


def _error(run: ClassificationRun, error: CalibrationError, bins: int, resamples: int) -> Estimate:
    clusters = len(set(run.patients))
    probabilities = special.expit(run.logits)
    replicates = (
        calibration_error_replicates(
            probabilities, run.positive, run.patients, max(2, resamples // 2 * 2), rng.child(run.seed, CODE), bins
        )
        if clusters >= 2
        else np.zeros(2)
    )

    def at(alpha: float) -> Interval:
        r = half_sample_interval(error.value, replicates, clusters=clusters, alpha=alpha, sided=1, bounds=(0.0, 1.0))
        low = None if r.low is None else max(0.0, r.low - error.left)
        method = f"{r.method}; lower end less the bias that chance may leave"
        return Interval(low=low, high=r.high, level=1 - alpha, method=method, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        return None if clusters >= FEWEST_CLUSTERS else f"{clusters} patients are too few for an interval"

    measurement = Measurement(
        id=f"{CODE}.ece",
        label="Expected calibration error, less what chance adds",
        value=error.value,
        unit="1",
        interval=at(ALPHA),
        n=len(run.items),
        unit_of_analysis="image",
        better="lower",
        clusters=clusters,
    )
    return Estimate(measurement, at, shortfall)


def _diagram(run: ClassificationRun, error: CalibrationError) -> Exhibit:
    bounds = []
    for k in range(len(error.bins.units)):
        held = error.bins.bin_of == k
        patients = [p for p, keep in zip(run.patients, held, strict=True) if keep]
        p = clustered_proportion(run.positive[held], patients, alpha=2 * ALPHA, sided=2)
        bounds.append((round(p.low, 4), round(p.high, 4)))
    series = [
        {
            "name": "observed, with 90 % interval by patient",
            "x": error.bins.predicted.round(4).tolist(),
            "y": error.bins.observed.round(4).tolist(),
            "low": [low for low, _ in bounds],
            "high": [high for _, high in bounds],
        },
        {"name": "right", "x": [0.0, 1.0], "y": [0.0, 1.0]},
    ]
    return Exhibit(
        id=f"{CODE}-reliability",
        kind="curves",
        title="Reliability diagram",
        caption="Observed frequency of the disease over the mean predicted probability, in bins of equal mass.",
        data={
            "x_label": "predicted probability",
            "y_label": "observed frequency",
            "series": series,
            "x_range": [0.0, 1.0],
            "y_range": [0.0, 1.0],
        },
    )
