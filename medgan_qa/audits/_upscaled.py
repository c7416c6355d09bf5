"""What audits of super-resolution share: the upscaled images side by side, and paired differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.numbers import ALPHA, identifier, mean, observed
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import FEWEST_CLUSTERS, PairedDifference, paired_mean, paired_median

Float = NDArray[np.float32]

MODEL, PLAIN = "model", "bicubic"
"""The image under audit, and the plain interpolation that it is held against."""
IMAGES = (MODEL, PLAIN, "nearest")
"""What is measured beside each other, in the order of tables and figures."""
ONE_GRID = "At scale 1 both comparators are the model's input itself."


def images_of(run: SuperResolutionRun, item: Item) -> dict[str, Float]:
    """The output and the comparators of a case, (H, W) each, by the names in `IMAGES`."""
    return {MODEL: item.output, **{name: run.comparators[name][item.case.case_id] for name in IMAGES[1:]}}


def difference(
    measurement_id: str,
    label: str,
    pairs: Mapping[str, tuple[float, float]],
    patients: Sequence[str],
    *,
    statistic: Literal["mean", "median"],
    unit: str,
    better: Any,
    stratum: str | None = None,
    void: str | None = None,
    unit_of_analysis: str = "image",
) -> Estimate:
    """The model less plain interpolation on the same cases, with an interval clustered by patient.

    Args:
        measurement_id: its id.
        label: its name in words.
        pairs: by case id, of the model and of plain interpolation.
        patients: (N,) the patient of each case.
        statistic: mean over cases (Student t), or median over patients (order statistics, exact).
        unit: unit of the values.
        better: which way is better.
        stratum: the subset.
        void: why no value may be given although there are cases.
        unit_of_analysis: what the units are.
    """
    changes = np.array([model - plain for model, plain in pairs.values()])
    of = paired_mean if statistic == "mean" else paired_median

    def found(alpha: float) -> PairedDifference:
        return of(changes, patients, alpha, sided=1)

    def at(alpha: float) -> Interval:
        d = found(alpha)
        return Interval(low=d.low, high=d.high, level=1 - alpha, method=d.method, sided=1)

    def shortfall(declared: Declared, alpha: float) -> str | None:
        clusters = len(set(patients))
        return None if clusters >= FEWEST_CLUSTERS else f"{clusters} patients are too few for an interval"

    value = None if void else found(ALPHA).difference
    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=value,
        unit=unit,
        interval=None if value is None else at(ALPHA),
        n=len(pairs),
        unit_of_analysis=unit_of_analysis,
        better=better,
        stratum=stratum,
        clusters=len(set(patients)),
        reason=None if value is not None else void or f"There is no {unit_of_analysis} to measure.",
    )
    if value is None:
        return Estimate(measurement)
    return Estimate(measurement, at, shortfall, observed(statistic, list(pairs), patients, changes.tolist()))


def stratum_mean(
    run: SuperResolutionRun,
    code: str,
    name: str,
    label: str,
    stratum: str,
    values: Mapping[str, float],
    patient: Mapping[str, str],
    void: str = "",
) -> Estimate:
    """The mean over cases of a number in [0, 1] where more is better, by case id; `void` says why none may be given."""
    held = {} if void else values
    made = mean(
        identifier(code, name, stratum),
        label,
        list(held.values()),
        [patient[c] for c in held],
        unit="1",
        unit_of_analysis="image",
        better="higher",
        seed=run.seed,
        missing=void,
        units=list(held),
    )
    return made._replace(measurement=made.measurement.model_copy(update={"stratum": stratum}))
