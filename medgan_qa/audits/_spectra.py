"""Power spectra of samples beside those of real images, a part of FID-002: what no single image shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import sheet
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.audits.real_range import REAL
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import mean_power_spectrum
from medgan_qa.metrics._power import FLOOR
from medgan_qa.metrics.reference_range import Table
from medgan_qa.record import Exhibit
from medgan_qa.stats import FEWEST_CLUSTERS

CODE = "FID-002"
Mask = NDArray[np.bool_]
GRIDS = {"period_2": None, "period_4": "period 4", "nyquist_lines": "Nyquist lines"}
"""Measures of a grid, and the stratum that each is reported in."""


class Measured(NamedTuple):
    """Everything that is measured of the images of one origin."""

    table: Table
    """(N,) by measure; pixels that are not finite count as 0."""
    finite: Mask
    """(N,) images without NaN or infinity."""
    frequency: NDArray[np.float64]
    """(F,) cycles per pixel; empty for images too small for a spectrum."""
    radial: NDArray[np.float64]
    """(N, F) log10 of the relative power."""


class _Side(NamedTuple):
    """Images that stand against the test images."""

    real: bool
    measured: Measured
    rows: NDArray[np.intp]
    """Finite images."""
    halves: Mask
    clusters: int


def compare_spectra(run: SynthesisRun, findings: Findings, measured: Mapping[str, Measured]) -> None:
    """Add mean power at grid frequencies and at high ones, samples against test images, with the spectra themselves."""
    reference, generated = measured["reference"], measured["generated"]
    finite = np.flatnonzero(generated.finite)
    people = len(set(run.reference.patients))
    if len(finite) < len(run.sampled):
        findings.notes.append(
            f"Spectra are of the {len(finite)} samples that are finite; the other {len(run.sampled) - len(finite)} are "
            "gross failures."
        )
    if len(finite) < max(FEWEST_CLUSTERS, len(run.sampled) // 4):
        # Half samples of the rest would hold next to none.
        findings.estimates += _nothing(len(finite))
        return
    sides = [_Side(False, generated, finite, run.halves["generated"][:, finite], min(people, len(finite)))]
    if run.train is not None and run.null is not None:
        others = len({run.train.patients[k] for k in run.null})
        sides.append(_Side(True, measured["train"], run.null, run.halves["null"], min(people, others)))
    for measure, stratum in GRIDS.items():
        findings.estimates += [_excess(run, reference, side, measure, stratum) for side in sides]
    findings.estimates += [_high_band(run, reference, side) for side in sides]
    findings.exhibits.append(_curves(reference, generated, finite))
    _mean_spectra(run, findings, finite)


def _nothing(n: int) -> list[Estimate]:
    reason = f"Only {n} samples are finite, too few for a mean spectrum."
    names = [("checkerboard_excess", stratum, "1") for stratum in GRIDS.values()] + [("high_band_ratio", None, "1")]
    return [
        plain(
            identifier(CODE, name, stratum),
            "Spectra of the samples",
            None,
            n=n,
            unit=unit,
            unit_of_analysis="sample",
            better="none",
            stratum=stratum,
            reason=reason,
        )
        for name, stratum, unit in names
    ]


def _stratum(side: _Side, stratum: str | None) -> str | None:
    return ", ".join(part for part in (stratum, REAL if side.real else None) if part) or None


def _means(values: NDArray[np.float64], halves: Mask) -> NDArray[np.float64]:
    """(B,) of each half."""
    means: NDArray[np.float64] = (halves @ values) / np.maximum(halves.sum(axis=1), 1)
    return means


def _excess(run: SynthesisRun, reference: Measured, side: _Side, measure: str, stratum: str | None) -> Estimate:
    real, values = reference.table[measure], side.measured.table[measure][side.rows]
    name = _stratum(side, stratum)
    return resampled(
        identifier(CODE, "checkerboard_excess", name),
        f"Mean excess of power at {_where(measure)} over that of test images, log10",
        float(values.mean() - real.mean()),
        _means(values, side.halves) - _means(real, run.halves["reference"]),
        clusters=side.clusters,
        n=len(values),
        unit="1",
        unit_of_analysis="image" if side.real else "sample",
        better="none" if side.real else "lower",
        stratum=name,
    )


def _where(measure: str) -> str:
    return {"period_2": "grids of period 2", "period_4": "grids of period 4"}.get(measure, "the highest frequency")


def _high_band(run: SynthesisRun, reference: Measured, side: _Side) -> Estimate:
    real, values = 10.0 ** reference.table["high_band"], 10.0 ** side.measured.table["high_band"][side.rows]
    name = _stratum(side, None)
    return resampled(
        identifier(CODE, "high_band_ratio", name),
        "Power at high frequencies, mean share over that of test images",
        float(values.mean() / real.mean()),
        _means(values, side.halves) / _means(real, run.halves["reference"]),
        clusters=side.clusters,
        n=len(values),
        unit="1",
        unit_of_analysis="image" if side.real else "sample",
        better="nearer_one",
        stratum=name,
        positive=True,
    )


def _curves(reference: Measured, generated: Measured, finite: NDArray[np.intp]) -> Exhibit:
    series = []
    for name, curves in (("samples", generated.radial[finite]), ("real test images", reference.radial)):
        low, middle, high = np.quantile(curves, (0.05, 0.5, 0.95), axis=0)
        ends = {"y": middle, "low": low, "high": high}
        series.append({"name": name, "x": _short(reference.frequency), **{k: _short(v) for k, v in ends.items()}})
    return Exhibit(
        id=f"{CODE}-spectrum",
        kind="curves",
        title="Power by spatial frequency",
        caption="Mean power in a ring of the spectrum over the mean of all frequencies, log10; medians over the images "
        "with the range from 5 to 95 %. White noise is 0 everywhere.",
        data={
            "x_label": "frequency (cycles per pixel)",
            "y_label": "log10 of relative power",
            "series": series,
        },
    )


def _short(values: NDArray[np.float64]) -> list[float]:
    return [round(float(v), 4) for v in values]


def _mean_spectra(run: SynthesisRun, findings: Findings, finite: NDArray[np.intp]) -> None:
    spectra = [mean_power_spectrum(images) for images in (run.sampled.grey[finite], run.reference.grey)]
    low, high = np.quantile(spectra[1], (0.01, 0.99))
    shown = [np.clip((s - low) / max(high - low, FLOOR), 0, 1)[None].astype(np.float32) for s in spectra]
    sheet(
        findings,
        f"{CODE}-mean-spectrum",
        "Mean power spectra",
        "Mean over the images of the power at each frequency, log10, on the grey scale of the real images; the zero "
        "frequency is in the middle. A grid shows as bright points at the ends or half way to them.",
        {"samples": shown[0], "real test images": shown[1]},
        columns=5,
    )
