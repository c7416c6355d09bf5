"""ANA-001: samples whose measured anatomy no real patient has, and measures that are distributed otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._measures import MASK, measure_sets, measured, quantities_of
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import ALPHA, identifier, plain, rate, resampled
from medgan_qa.audits.real_range import (
    REAL,
    Judged,
    judge,
    list_samples,
    measures_beyond,
    outside_rates,
    show_samples,
    split_of,
    taken,
    too_few,
)
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import distribution_distance, half_sample_distances
from medgan_qa.metrics.reference_range import Quantity, Table
from medgan_qa.record import Exhibit, Interval

CODE = "ANA-001"
SMALLEST = 16
DISTANCES = {
    "ks": "Largest difference of the distribution functions",
    "wasserstein": "Area between the distribution functions, in real standard deviations",
}


class _Side(NamedTuple):
    """Images that stand against the test images."""

    real: bool
    table: Table
    halves: NDArray[np.bool_]
    clusters: int


def measured_anatomy(
    run: SynthesisRun, *, measures: str = "auto", false_alarm: float = 0.01, worst: int = 8, random: int = 4
) -> Findings:
    """Measured anatomy.

    Question. Do the samples show anatomy that occurs, and as often as it does?

    What it measures. Every image is measured without a trained network, by the sets of measures that are named: counts,
    areas, shapes and holes of what is brighter than each of three thresholds (generic), areas of head, brain and
    central fluid, symmetry, bright blobs and gaps of the bright outer ring (brain), components and areas of what the
    segmenter given by --detector marks (mask), and those that installed packages add. A sample is out of range when it
    lies outside the joint range of the training images, whose limits a further real image leaves with a known
    probability (false_alarm). The share is given overall, by measure, and for real test images by the same limits.
    Between samples and test images the distribution of every measure is compared, beside that of training images.

    Why it matters. A third kidney, a rib that ends, ventricles of the wrong size are seen by nobody who reads a
    distance between feature distributions, and a model that is trained on them learns that they occur.

    Known limits. The measures are thresholds and shapes: they are wrong in the same way on real and on generated
    images, and mean something only beside real ones. What they do not measure is not seen. The setting auto takes
    generic, brain where the contrast is FLAIR or T1 (heads are assumed: name the measures for another part of the
    body), and mask with a segmenter. Real patients who are rarer than false_alarm are out of range as well; what is
    expected by chance stands beside it. Several slices of a patient count as exchangeable.

    Method and source. Thresholds: Otsu 1979, Liao et al. 2001. Range: smallest tail share over the
    measures (Tippett 1931; Pickands 1975), with the limit set by held-out scores of real images (Vovk 2015), after the
    constraint of Zamzmi et al. 2025. Distances: Kolmogorov and
    Smirnov; Vaserstein 1969. Shares: Clopper and Pearson 1934, clustered by patient; distances: half samples by patient
    (Shao and Wu 1989), cut at 0.
    """
    findings = Findings()
    sets = measure_sets(CODE, measures, run)
    split = split_of(run)
    findings.missing = too_few(CODE, run, split, false_alarm)
    height, width = run.reference.grey.shape[1:]
    if min(height, width) < SMALLEST:
        findings.missing = (
            f"Images of {height} x {width} pixels; {SMALLEST} on each side are needed to measure anatomy."
        )
    if run.detector is None and MASK in [kind.name for kind in sets]:
        findings.missing = "The measures mask need a segmenter: --detector FILE, a model of the task segmentation."
    if findings.missing:
        return findings
    images = {"generated": run.generated, "reference": run.reference}
    if run.train is not None:
        images["train"] = run.train
    tables = {name: measured(run, sets, pictures, "Measuring anatomy") for name, pictures in images.items()}
    quantities = quantities_of(sets, taken(tables[split.limits_from], split.limits))
    judged = judge(tables, split, quantities, false_alarm)
    overall = outside_rates(CODE, "out_of_range_rate", "Samples with anatomy out of the real range", run, judged)
    single = _by_measure(run, judged, quantities)
    distances = _distances(run, tables)
    findings.estimates = [*overall, *single.values(), *distances]
    findings.notes = [
        f"Measures: {', '.join(kind.name for kind in sets)}.",
        split.describe(judged.samples.expected_rate),
    ]
    findings.exhibits.append(_table(tables, quantities, {**single, **_by_id(distances)}))
    list_samples(findings, CODE, run, tables["generated"], judged, lambda k: _described(judged, k))
    show_samples(findings, CODE, run, judged, lambda k: _label(judged, tables["generated"], k), (worst, random))
    return findings


def _by_measure(run: SynthesisRun, judged: Judged, quantities: Mapping[str, Quantity]) -> dict[str, Estimate]:
    return {
        name: rate(
            identifier(CODE, "out_of_range_rate", name),
            "Samples out of the real range in one measure",
            measures_beyond(judged.samples, {name}).tolist(),
            run.generated.patients,
            unit_of_analysis="sample",
            stratum=name,
        )
        for name in quantities
    }


def _distances(run: SynthesisRun, tables: Mapping[str, Table]) -> list[Estimate]:
    """Both distances of every measure, of samples and of training images to the test images."""
    people = len(set(run.reference.patients))
    sides = [_Side(False, tables["generated"], run.halves["generated"], min(people, len(run.generated)))]
    if run.train is not None and run.null is not None:
        others = len({run.train.patients[k] for k in run.null})
        sides.append(_Side(True, taken(tables["train"], run.null), run.halves["null"], min(people, others)))
    found = []
    for name, real in tables["reference"].items():
        if name.endswith(".no_body"):
            # A mark of whether there is anything to measure; its rate says all there is.
            continue
        for side in sides:
            found += _both(name, real, side, run.halves["reference"])
    return found


def _both(name: str, real: NDArray[np.float64], side: _Side, halves: NDArray[np.bool_]) -> list[Estimate]:
    values = side.table[name]
    whole = distribution_distance(real, values)
    parts = half_sample_distances(real, values, halves, side.halves)
    return [
        _distance(short, name, side, float(value), replicates)
        for short, value, replicates in zip(DISTANCES, whole, parts, strict=True)
    ]


def _distance(short: str, name: str, side: _Side, value: float, replicates: NDArray[np.float64]) -> Estimate:
    stratum = f"{name}, {REAL}" if side.real else name
    measurement, n = identifier(CODE, short, stratum), len(side.table[name])
    unit_of_analysis, better = ("image", "none") if side.real else ("sample", "lower")
    if not np.isfinite(value):
        return plain(
            measurement,
            DISTANCES[short],
            None,
            n=n,
            unit="1",
            unit_of_analysis=unit_of_analysis,
            better=better,
            stratum=stratum,
            reason="The measure does not vary among the real images, so there is no standard deviation to count in.",
        )
    estimate = resampled(
        measurement,
        DISTANCES[short],
        value,
        replicates,
        clusters=side.clusters,
        n=n,
        unit="1",
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
    )
    return _within(estimate, 1.0 if short == "ks" else np.inf)


def _within(estimate: Estimate, largest: float) -> Estimate:
    """The same, its ends cut to what a distance can be."""
    interval_at = estimate.interval_at
    assert interval_at is not None

    def at(alpha: float) -> Interval:
        interval = interval_at(alpha)
        if interval.low is None or interval.high is None:
            return interval
        return interval.model_copy(update={"low": max(0.0, interval.low), "high": min(largest, interval.high)})

    measurement = estimate.measurement.model_copy(update={"interval": at(ALPHA)})
    return Estimate(measurement, at, estimate.shortfall)


def _by_id(estimates: list[Estimate]) -> dict[str, Estimate]:
    return {estimate.measurement.id: estimate for estimate in estimates}


def _table(tables: Mapping[str, Table], quantities: Mapping[str, Quantity], found: Mapping[str, Estimate]) -> Exhibit:
    """One row a measure."""
    rows = []
    for name, quantity in quantities.items():
        outside = found[name].measurement
        ks = [_value(found.get(identifier(CODE, "ks", stratum))) for stratum in (name, f"{name}, {REAL}")]
        rows.append(
            [
                f"{name} ({quantity.unit})" if quantity.unit != "1" else name,
                *_spread(tables["reference"][name]),
                *_spread(tables["generated"][name]),
                *ks,
                f"{round((outside.value or 0.0) * outside.n)} of {outside.n}",
            ]
        )
    return Exhibit(
        id=f"{CODE}-measures",
        kind="counts",
        title="Measures of real images and of samples",
        caption="Median with the range from 5 to 95 %, and mean, of test images and of samples. KS: largest difference "
        "of the distribution functions, of samples and of training images to test images. Outside: samples beyond the "
        "limits of the measure.",
        data={
            "columns": ["measure", "real", "mean", "samples", "mean", "KS", "KS real", "outside"],
            "rows": rows,
        },
    )


def _spread(values: NDArray[np.float64]) -> tuple[str, str]:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return f"{_short(middle)} [{_short(low)} to {_short(high)}]", _short(float(values.mean()))


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _value(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.measurement.value is None else f"{estimate.measurement.value:.3f}"


def _described(judged: Judged, sample: int) -> Row:
    return {
        "score": round(float(judged.samples.scores[sample]), 3),
        "beyond": ", ".join(judged.samples.measures[sample]),
    }


def _label(judged: Judged, table: Table, sample: int) -> str:
    """The measure that is farthest out, with its value and limits."""
    beyond = judged.samples.measures[sample]
    if not beyond:
        return "within the range"
    low, high = judged.samples.limits[beyond[0]]
    ends = " to ".join("-" if end is None else _short(end) for end in (low, high))
    return f"{beyond[0]} {_short(float(table[beyond[0]][sample]))} (real {ends})"
