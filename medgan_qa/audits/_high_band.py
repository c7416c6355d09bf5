"""High frequencies of outputs beside those of real target images, a part of CYC-001."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import high_band_energy
from medgan_qa.metrics._power import SMALLEST_SIDE
from medgan_qa.stats import draw_halves

CODE = "CYC-001"
REAL = "real against real"
RESAMPLES = 200


def high_band(run: TranslationRun) -> list[Estimate]:
    """Mean share of high frequencies, outputs over real targets; and real targets of half of the patients over others.

    One draw of patients serves both sides of a ratio, as output and target of a patient are alike.
    """
    outputs, real = (
        _energies(pairs)
        for pairs in (
            [(i.output, i.case.patient_id) for i in run.items],
            [(i.reference, i.case.patient_id) for i in run.paired],
        )
    )
    people = sorted({patient for _, patient in real})
    order = rng.child(run.seed, "high band").permutation(len(people))
    first = {people[k] for k in order[: len(people) // 2]}
    halves = [[pair for pair in real if (pair[1] in first) is side] for side in (True, False)]
    return [_band_ratio(run, outputs, real, None), _band_ratio(run, halves[0], halves[1], REAL)]


def _energies(images: Sequence[tuple[Any, str]]) -> list[tuple[float, str]]:
    return [(float(high_band_energy(i[None])[0]), patient) for i, patient in images if min(i.shape) >= SMALLEST_SIDE]


def _band_ratio(
    run: TranslationRun, one: list[tuple[float, str]], other: list[tuple[float, str]], stratum: str | None
) -> Estimate:
    name, label = identifier(CODE, "high_band_ratio", stratum), "Power at high frequencies over that of real targets"
    sides = [np.array([value for value, _ in side]) for side in (one, other)]
    clusters = min(len({patient for _, patient in side}) for side in (one, other))
    reason = _no_ratio(sides, clusters)
    if reason is not None:
        return plain(
            name, label, None, n=len(one), unit="1", unit_of_analysis="image", better="nearer_one", stratum=stratum,
            reason=reason,
        )  # fmt: skip
    patients = [patient for _, patient in (*one, *other)]
    drawn = draw_halves(patients, RESAMPLES, rng.child(run.seed, "halves", name))
    # A half without an image of one side has no ratio, nor one whose images have no power there.
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [h @ v / h.sum(axis=1) for h, v in zip(np.split(drawn, [len(one)], axis=1), sides, strict=True)]
        replicates = means[0] / means[1]
    return resampled(
        name,
        label,
        float(sides[0].mean() / sides[1].mean()),
        replicates,
        clusters=clusters,
        n=len(one),
        unit="1",
        unit_of_analysis="image",
        better="nearer_one",
        stratum=stratum,
        positive=True,
    )


def _no_ratio(sides: Sequence[NDArray[np.float64]], clusters: int) -> str | None:
    if clusters < 2:
        return (
            f"Images of at least {SMALLEST_SIDE} pixels a side of {clusters} patients on one side; two are the fewest "
            "that can be compared."
        )
    return None if sides[1].mean() > 0 else "The real target images have no power at high frequencies."
