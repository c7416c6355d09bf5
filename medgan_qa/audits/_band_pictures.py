"""Figures and the table of FID-011."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._band_measures import Measured
from medgan_qa.audits._upscaled import IMAGES, MODEL
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.record import Exhibit

SAME = 1.01
"""Nyquist frequencies within this ratio of each other share an axis in cycles per mm."""
FAINTEST_DB = -30.0


class Curve(NamedTuple):
    """What is drawn over frequency."""

    name: str
    title: str
    y_label: str
    caption: str
    y_range: tuple[float, float]
    perfect: float


CURVES = (
    Curve(
        "correlation",
        "Correlation with the truth by frequency",
        "Correlation",
        "1: the detail is the truth's. 0: what is there is not.",
        (-0.2, 1.2),
        1.0,
    ),
    Curve(
        "power_ratio",
        "Power by frequency",
        "Power over the truth's (dB)",
        "0 dB: as much detail as the truth, right or wrong. Below: blur.",
        (FAINTEST_DB, 10.0),
        0.0,
    ),
)


def table(code: str, rows: list[list[str]]) -> Exhibit:
    """Every number of the model beside those of the comparators."""
    return Exhibit(
        id=f"{code}-table",
        kind="counts",
        title="The model beside plain interpolation",
        caption="Means over images; in regions of the frequency plane, medians over patients. Acquired: up to the "
        "input's Nyquist frequency; beyond: above it.",
        data={"columns": ["measure", *IMAGES, "perfect"], "rows": rows},
    )


def plane(code: str, run: TranslationRun, cases: Mapping[str, Measured], *, learned: bool) -> Exhibit:
    """Perception against distortion: one mark a patient and image."""
    name, label = ("lpips", "LPIPS") if learned else ("sharpness_distance", "difference in local sharpness")
    points: list[dict[str, Any]] = []
    for image in IMAGES:
        slices: dict[str, list[tuple[float, float]]] = {}
        for item in run.paired:
            values = cases[item.case.case_id].images[image].values
            if name in values:
                slices.setdefault(item.case.patient_id, []).append((values["rmse"], values[name]))
        means = {patient: np.mean(held, axis=0) for patient, held in slices.items()}
        points += [
            {"x": float(f"{x:.4g}"), "y": float(f"{y:.4g}"), "group": image, "case_id": patient}
            for patient, (x, y) in means.items()
        ]
    return Exhibit(
        id=f"{code}-plane",
        kind="scatter",
        title="Perception against distortion",
        caption="One mark a patient and image; the truth is at the lower left. An image can look better (lower) and be "
        "further from the truth (right) at once.",
        data={
            "x_label": "Distortion: root mean square error, body (unit range)",
            "y_label": f"Perception: {label}",
            "points": points,
            "x_range": [0.0, 1.05 * max([p["x"] for p in points], default=1.0) or 1.0],
            "y_range": [0.0, 1.05 * max([p["y"] for p in points], default=1.0) or 1.0],
        },
    )


def curve_exhibits(code: str, results: Sequence[Measured]) -> list[Exhibit]:
    """Correlation and power over frequency, in every direction of the first case; medians over images."""
    first = next((m.directions for m in results if m.directions), [])
    found = []
    for k, way in enumerate(first):
        alike = [m for m in results if len(m.directions) > k and m.directions[k].frequency.shape == way.frequency.shape]
        alike = [m for m in alike if m.directions[k].name == way.name]
        found += [_curves(code, curve, k, alike) for curve in CURVES]
    return [exhibit for exhibit in found if exhibit.data["series"]]


def _curves(code: str, curve: Curve, k: int, results: Sequence[Measured]) -> Exhibit:
    way = results[0].directions[k]
    limits = [m.directions[k].nyquist for m in results]
    same = max(limits) <= SAME * min(limits)
    x, limit = (way.frequency, way.nyquist) if same else (way.frequency / way.nyquist, 1.0)
    unit = "cycles per mm" if same else "multiples of the input's Nyquist frequency"
    along = "" if way.name == "all directions" else f" along {way.name}"
    ends = x[-1] + (x[1] - x[0]) / 2
    series = [s for name in IMAGES if (s := _series(curve, name, k, x, results))]
    # A power that runs off the top would look like one that stays there.
    top = max([curve.y_range[1], *(1.05 * max(s.get("high", s["y"])) for s in series)])
    lines: list[dict[str, Any]] = [{"y": curve.perfect, "label": "truth"}]
    if limit < 0.99 * ends:
        lines.append({"x": float(f"{limit:.5g}"), "label": "Nyquist of the input"})
    return Exhibit(
        id=f"{code}-{curve.name.replace('_', '-')}{along.replace(' ', '-')}",
        kind="curves",
        title=curve.title + along,
        caption=f"Medians over images; the band of the model holds 80 % of them. {curve.caption}",
        data={
            "x_label": f"Frequency{along} ({unit})",
            "y_label": curve.y_label,
            "series": series,
            "lines": lines,
            "x_range": [0.0, float(ends)],
            "y_range": [curve.y_range[0], top],
        },
    )


def _series(
    curve: Curve, name: str, k: int, x: NDArray[np.float64], results: Sequence[Measured]
) -> dict[str, Any] | None:
    """One line; bands in which no truth has power are left out."""
    values = np.array([getattr(m.images[name].curves[k], curve.name) for m in results])
    held = ~np.isnan(values).all(axis=0)
    if not held.any():
        return None
    values = values[:, held]
    if curve.name == "power_ratio":
        values = np.maximum(10 * np.log10(np.maximum(values, 1e-12)), FAINTEST_DB)
    low, middle, high = np.nanquantile(values, (0.1, 0.5, 0.9), axis=0)
    series: dict[str, Any] = {"name": name, "x": _list(x[held]), "y": _list(middle)}
    return series | ({"low": _list(low), "high": _list(high)} if name == MODEL else {})


def _list(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{v:.5g}") for v in values]
