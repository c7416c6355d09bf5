"""COV-001: how much of the population the samples reach, and how many of them stay within it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.numbers import identifier, resampled
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import (
    clipped_density_coverage_of,
    density_coverage_of,
    expected_coverage,
    neighbourhood,
    precision_recall_of,
)
from medgan_qa.metrics.neighbours import KEEP_FOR_HALVES, Neighbourhood

CODE = "COV-001"
REAL = "real against real"
Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Kind(NamedTuple):
    """One statistic of neighbours."""

    name: str
    label: str
    share_of: str
    """`image` or `sample` for a share of them; empty for a number that is none."""


KINDS = (
    Kind("clipped_coverage", "Clipped coverage", ""),
    Kind("clipped_density", "Clipped density", ""),
    Kind("coverage", "Coverage", "image"),
    Kind("density", "Density", ""),
    Kind("recall", "Recall", "image"),
    Kind("precision", "Precision", "sample"),
)


def mode_coverage(run: SynthesisRun, *, k: int = 5, k_precision: int = 3) -> Findings:
    """Coverage of the population.

    Question. How much of the real population do the samples reach, and how many samples lie within it?

    What it measures. Every real test image has a ball that reaches to its k-th nearest other test image. Coverage is
    the share of balls that hold a sample, density the mean number of balls a sample lies in over k. The clipped forms
    count no more than k of either and are calibrated so that images of the same distribution give 1 and a share s of
    good ones gives s. Precision and recall use balls of three neighbours around real images (samples within: precision)
    and around samples (real images within: recall). Each stands beside what training images give against test images.

    Why it matters. A generator that leaves kinds of patients out can be as realistic as any in what it makes. Low
    recall or coverage is the sign of it, before the missing kinds are named (COV-002).

    Known limits. Neighbourhoods see what the features see. All of these depend on the numbers of images; equal numbers
    are used, and the expected coverage is said. Recall does not see weights: a few samples in a mode cover it; clipped
    coverage sees them in part, COV-004 is for them. A generator that copies its training patients covers them, so a run
    that finds copies lets none of this pass. Balls of outliers are large and make recall and precision generous; the
    clipped forms bound that.

    Method and source. Precision and recall: Kynkäänniemi et al. 2019. Density and coverage: Naeem et al. 2020. Clipped
    forms: Salvy et al. 2026. Radii and memberships are decided in float64; a point on the sphere is inside. Intervals
    from half samples by patient (Shao and Wu 1989), binomial at the effective sample size where the value is a share.
    """
    findings = Findings()
    people, samples = len(set(run.reference.patients)), len(run.sampled)
    least = 4 * (k + 1)
    if min(people, samples) < least:
        findings.missing = (
            f"{people} test patients and {samples} samples; {least} of each are needed for {k} neighbours."
        )
        return findings
    for name in run.extractors:
        found = _against(run, name, k, k_precision)
        findings.estimates += found
        findings.exhibits.append(
            forest(
                f"{CODE}-{name}".replace("/", "-").replace(":", "-"),
                f"Coverage and fidelity by neighbours, features {name}",
                "Ends are one-sided 95 % bounds from half samples by patient. Beside each, the same of real training "
                "images against real test images.",
                found,
                x=(0.0, 1.5),
                label=lambda m: f"{m.label}{', real' if (m.stratum or '').endswith(REAL) else ''}",
            )
        )
    n, m = len(run.reference), samples
    findings.notes.append(
        f"Coverage expected of {m} samples of the population of {n} images with k = {k}: "
        f"{expected_coverage(n, m, k):.3f}."
    )
    return findings


def near(run: SynthesisRun, name: str, *, null: bool = False) -> Neighbourhood:
    """Neighbours of the test images and the samples (or the training images of the null); found once a run."""
    key = f"neighbours {name} {null}"
    if key not in run.shared:
        space = run.space(name)
        other = space.generated
        if null:
            assert space.train is not None
            other = space.train[run.null]
        run.shared[key] = neighbourhood(space.reference, other, keep=KEEP_FOR_HALVES)
    found: Neighbourhood = run.shared[key]
    return found


def _against(run: SynthesisRun, name: str, k: int, k_precision: int) -> list[Estimate]:
    reference, halves = run.halves["reference"], run.halves
    people = len(set(run.reference.patients))
    sides = [(name, near(run, name), halves["generated"], min(people, len(run.sampled)), len(run.sampled))]
    if run.null is not None and run.train is not None:
        others = len({run.train.patients[i] for i in run.null})
        stratum = f"{name}, {REAL}"
        sides.append((stratum, near(run, name, null=True), halves["null"], min(people, others), len(run.null)))
    found: list[Estimate] = []
    values = [_values(pairs, reference, held, k, k_precision) for _, pairs, held, _, _ in sides]
    for kind in KINDS:
        for (stratum, _, _, clusters, n), measured in zip(sides, values, strict=True):
            value, replicates = measured[kind.name]
            found.append(
                resampled(
                    identifier(CODE, kind.name, stratum),
                    kind.label,
                    value,
                    replicates,
                    clusters=clusters,
                    n=n if kind.share_of != "image" else len(run.reference),
                    unit="fraction" if kind.share_of else "1",
                    unit_of_analysis=kind.share_of or "image",
                    better="higher",
                    stratum=stratum,
                    share=bool(kind.share_of),
                )
            )
    return found


def _values(
    pairs: Neighbourhood, real: Mask, generated: Mask, k: int, k_precision: int
) -> dict[str, tuple[float, Float]]:
    """Every statistic on all images and on each half sample."""
    whole, parts = (None, None), (real, generated)
    found: dict[str, tuple[float, Float]] = {}
    for function, fields, neighbours in (
        (clipped_density_coverage_of, ("clipped_density", "clipped_coverage"), k),
        (density_coverage_of, ("density", "coverage"), k),
        (precision_recall_of, ("precision", "recall"), k_precision),
    ):
        all_of, halves = function(pairs, *whole, k=neighbours), function(pairs, *parts, k=neighbours)
        for field, one, many in zip(fields, all_of, halves, strict=True):
            found[field] = (float(one[0]), many)
    return found
