"""FID-002: samples with a technical fault: saturated, cut off, quantised, under a grid, or no image at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._spectra import Measured, compare_spectra
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import identifier, rate
from medgan_qa.audits.real_range import (
    BATCH,
    Judged,
    joined,
    judge,
    list_samples,
    measures_beyond,
    outside_rates,
    show_samples,
    split_of,
    too_few,
)
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import (
    high_band_energy,
    image_faults,
    radial_power_spectrum,
    spectral_peaks,
)
from medgan_qa.metrics._power import FLOOR, SMALLEST_SIDE
from medgan_qa.metrics.image_faults import FAULTS
from medgan_qa.metrics.reference_range import Quantity, Table
from medgan_qa.record import Exhibit

CODE = "FID-002"
SPECTRAL: dict[str, Quantity] = {
    "period_2": Quantity("log10", "high", 0.05, "excess of power at the frequencies of a grid of period 2"),
    "period_4": Quantity("log10", "high", 0.05, "excess of power at the frequencies of a grid of period 4"),
    "nyquist_lines": Quantity("log10", "high", 0.05, "excess of power along the lines of the highest frequency"),
    "high_band": Quantity("log10", "both", 0.02, "share of the power at 0.35 cycles per pixel and above"),
}
"""Measures of an image's spectrum."""
KINDS: dict[str, tuple[str, ...]] = {
    "not finite": ("non_finite",),
    "out of range": ("out_of_range",),
    "constant": ("no_body", "contrast"),
    "brightness": ("mean",),
    "saturated": ("at_minimum", "at_maximum", "spike_low", "spike_high"),
    "quantised": ("levels",),
    "border": ("frame_level", "frame_step", "border_edges", "body_at_border"),
    "contour": ("body_share", "body_components", "largest_component", "holes", "contour_gap", "contour_roughness"),
    "grid": ("period_2", "period_4", "nyquist_lines"),
    "blur or noise": ("high_band",),
}
"""Kinds of faults, and the measures that show them."""
SMALLEST = 16


def technical_faults(run: SynthesisRun, *, false_alarm: float = 0.01, worst: int = 8, random: int = 4) -> Findings:
    """Technical faults of the images.

    Question. How many samples have a technical fault that real images do not have?

    What it measures. Every image is measured: pixels that are no numbers or out of range, contrast, saturated pixels,
    distinct values, edges and content at the border, outline and parts of the body, and in the power spectrum the
    traces of pixel grids and the share of high frequencies. A sample is a gross failure when it lies outside the joint
    range of the training images, whose limits a further real image leaves with a known probability (false_alarm); so
    is every sample with a pixel that is not a number. The share of gross failures is given overall and by the kind of
    fault, beside the share of real test images by the same limits. The mean power at grid frequencies and the mean
    share of high frequencies are compared between samples and test images, which finds what no single image shows.

    Why it matters. A checkerboard of transposed convolutions, a border that the padding left, intensities cut at the
    end of the range or kept in 8 bits are no anatomy. A model trained on such samples learns the fault, and a
    distribution distance may not move.

    Known limits. A fault that real images have is none here, and one rarer among them than false_alarm is found in
    samples and counted; what is expected by chance stands beside it. Faulty training images widen the limits. Several
    slices of a patient count as exchangeable. Channels are averaged. Faults of content are ANA-001.

    Method and source. Range: smallest tail share over the measures (Tippett 1931; Pickands 1975), with the limit set by
    held-out scores of real images (Vovk 2015), after the constraint of Zamzmi et al. 2025. Checkerboards: Odena et al.
    2016; radial spectrum: Durall et al. 2020; mean spectrum: Wang et al. 2020. Shares: Clopper and Pearson 1934,
    clustered by patient; means: half samples by patient (Shao and Wu 1989).
    """
    findings = Findings()
    height, width = run.sampled.grey.shape[1:]
    split = split_of(run)
    findings.missing = too_few(CODE, run, split, false_alarm)
    if min(height, width) < SMALLEST:
        findings.missing = f"Images of {height} x {width} pixels; {SMALLEST} on each side are needed to measure faults."
    if findings.missing:
        return findings
    measured = faults_of(run)
    tables = {name: found.table for name, found in measured.items()}
    quantities = {name: q for name, q in {**FAULTS, **SPECTRAL}.items() if name in tables["reference"]}
    judged = judge(tables, split, quantities, false_alarm)
    overall = outside_rates(CODE, "gross_failure_rate", "Samples with a gross technical fault", run, judged)
    kinds = _kinds(run, judged, quantities)
    findings.estimates = [*overall, *kinds.values()]
    findings.notes.append(split.describe(judged.samples.expected_rate))
    findings.exhibits.append(_table(judged, kinds))
    if min(height, width) < SMALLEST_SIDE:
        findings.notes.append(
            f"Spectra were left out: images of {height} x {width} pixels, and {SMALLEST_SIDE} on each side are needed."
        )
    else:
        compare_spectra(run, findings, measured)
    list_samples(findings, CODE, run, tables["generated"], judged, lambda k: _described(judged, k))
    show_samples(findings, CODE, run, judged, lambda k: _label(judged, k), (worst, random))
    return findings


def faults_of(run: SynthesisRun) -> dict[str, Measured]:
    """Measures of the samples, the test images and the training images; computed once a run."""
    if CODE not in run.shared:
        sets = {"reference": run.reference, "generated": run.sampled}
        if run.train is not None:
            sets["train"] = run.train
        run.shared[CODE] = {name: _measured(run, pictures) for name, pictures in sets.items()}
    found: dict[str, Measured] = run.shared[CODE]
    return found


def _measured(run: SynthesisRun, pictures: Pictures) -> Measured:
    grey, spacing = pictures.grey, run.reference.spacing_mm

    def measure(first: int) -> tuple[Table, NDArray[np.float64], NDArray[np.float64]]:
        images = grey[first : first + BATCH]
        table = image_faults(images)
        if min(images.shape[1:]) < SMALLEST_SIDE:
            return table, np.empty(0), np.empty((len(images), 0))
        whole = np.where(np.isfinite(images), images, 0.0)
        high = np.log10(np.maximum(high_band_energy(whole), FLOOR))
        radial = radial_power_spectrum(whole, spacing)
        return {**table, **spectral_peaks(whole), "high_band": high}, radial.frequency, radial.log_power

    parts = run.engine.map(measure, range(0, len(pictures), BATCH), label="Measuring technical faults")
    return Measured(
        joined([part[0] for part in parts]),
        np.asarray(np.isfinite(grey).all(axis=(1, 2))),
        parts[0][1],
        np.concatenate([part[2] for part in parts]),
    )


def _kinds(run: SynthesisRun, judged: Judged, quantities: dict[str, Quantity]) -> dict[str, Estimate]:
    return {
        kind: rate(
            identifier(CODE, "fault_rate", kind),
            f"Samples with a fault: {kind}",
            measures_beyond(judged.samples, set(measures)).tolist(),
            run.sampled.patients,
            unit_of_analysis="sample",
            stratum=kind,
        )
        for kind, measures in KINDS.items()
        if set(measures) & set(quantities)
    }


def _table(judged: Judged, kinds: dict[str, Estimate]) -> Exhibit:
    rows = []
    for kind, estimate in kinds.items():
        real = measures_beyond(judged.real, set(KINDS[kind]))
        samples = round((estimate.measurement.value or 0.0) * estimate.measurement.n)
        rows.append([kind, f"{samples} of {estimate.measurement.n}", f"{int(real.sum())} of {len(real)}"])
    return Exhibit(
        id=f"{CODE}-kinds",
        kind="counts",
        title="Gross failures by kind of fault",
        caption="A sample with several faults counts for each of them. Real: test images by the same limits.",
        data={"columns": ["fault", "samples", "real"], "rows": rows},
    )


def _faults(judged: Judged, sample: int) -> Sequence[str]:
    beyond = set(judged.samples.measures[sample])
    return [kind for kind, measures in KINDS.items() if beyond & set(measures)]


def _described(judged: Judged, sample: int) -> Row:
    return {
        "score": round(float(judged.samples.scores[sample]), 3),
        "faults": ", ".join(_faults(judged, sample)),
        "farthest_measure": next(iter(judged.samples.measures[sample]), ""),
    }


def _label(judged: Judged, sample: int) -> str:
    return ", ".join(_faults(judged, sample)) or "within the range"
