"""FID-001: how far samples are from patients, in every feature space, beside how far patients are from patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import sheet
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import (
    frechet_distance,
    frechet_distance_infinity,
    frechet_infinity_replicates,
    frechet_replicates,
    kernel_distance,
    kernel_replicates,
    median_bandwidth,
    sliced_wasserstein,
    sliced_wasserstein_replicates,
)
from medgan_qa.metrics.kernel_distance import KernelName

CODE = "FID-001"
FID_EXTRACTOR = "inception"
"""The one extractor whose Frechet distance is the FID."""
FEWEST = 40
"""Patients, and samples, below which a distance between distributions says nothing."""
REAL = "real against real"
RATIO = "Frechet distance over that of real images"
ROUNDING = 1e-9
"""Frechet distance, as a share of the variance of the reference (1 a feature), that is 0 but for rounding."""
PATCHED = 1000
"""Images of each side that patches are cut from, as many as the field uses; the cost grows with them."""
DIRECTIONS = 128
"""Random directions of the sliced distance. The paper's 512 cost four times as much; their error is in the interval."""
Mask = NDArray[np.bool_]


class Side(NamedTuple):
    """Features of the images that stand against the reference, with their half samples."""

    stratum: str
    features: NDArray[np.float32]
    halves: Mask
    clusters: int
    patients: tuple[str, ...]


def realism(run: SynthesisRun, *, random: int = 30) -> Findings:
    """Realism of the distribution.

    Question. Are the samples distributed as the real images are?

    What it measures. Distances between the distributions of samples and of test patients in every feature space asked
    for: the Frechet distance, its value extrapolated to infinitely many images on both sides, and kernel distances with
    a polynomial and a Gaussian kernel (unbiased); and the sliced Wasserstein distance between patches of the images.
    Beside each stands the same distance between training and test patients, as many images of each: what real images
    give. The Frechet ratio is the one over the other at equal numbers of images; 1 is as near as real images are.

    Why it matters. A distance without the real one beside it says little: with a few hundred images most of a Frechet
    distance is bias. A generator whose samples lie further from patients than patients from patients does not make
    images of that population.

    Known limits. A distance sees what its features carry; several spaces are reported because they disagree. It is not
    sensitive to rare faults, and it rewards copies of patients: a run that finds copies lets none of this pass. The
    Frechet distance is biased upwards with few images (its interval is for the value at this number of images); the
    ratio cancels most of that. It is named with its features and is the FID only with those of the Inception network.

    Method and source. Heusel et al. 2017 (Frechet distance); Chong and Forsyth 2020 (extrapolation); Binkowski et al.
    2018 (kernel distance, unbiased); Jayasumana et al. 2024 (Gaussian kernel); Karras et al. 2018 (sliced Wasserstein);
    Woodland et al. 2024 (ratio to the real distance). Intervals from half samples by patient (Shao and Wu 1989): the
    bootstrap draws duplicates and misses its own estimate.
    """
    findings = Findings()
    people = len(set(run.reference.patients))
    if min(people, len(run.sampled)) < FEWEST:
        findings.missing = (
            f"{people} test patients and {len(run.sampled)} samples; {FEWEST} of each are needed for a distance "
            "between distributions."
        )
        return findings
    if run.train is None:
        findings.notes.append("There is no train partition, so no distance between real images to hold against these.")
    for name in run.extractors:
        findings.estimates += _space(run, name)
    findings.estimates += _wasserstein(run)
    _sheet(run, findings, random)
    return findings


def _sides(run: SynthesisRun, name: str) -> list[Side]:
    space, halves, people = run.space(name), run.halves, len(set(run.reference.patients))
    drawn = run.sampled.patients
    sides = [Side(name, space.generated, halves["generated"], min(people, len(drawn)), drawn)]
    if run.null is not None and space.train is not None and run.train is not None:
        patients = tuple(run.train.patients[i] for i in run.null)
        others = min(people, len(set(patients)))
        sides.append(Side(f"{name}, {REAL}", space.train[run.null], halves["null"], others, patients))
    return sides


def _space(run: SynthesisRun, name: str) -> list[Estimate]:
    sides = _sides(run, name)
    reference, held = run.space(name).reference, run.halves["reference"]
    found = []
    frechet = [_frechet(reference, side, held) for side in sides]
    for side, (value, replicates) in zip(sides, frechet, strict=True):
        label = "FID (Frechet distance of Inception features)" if name == FID_EXTRACTOR else "Frechet distance"
        found.append(_resampled("frechet_distance", label, side, value, replicates))
    if len(sides) == 2:
        found.append(_ratio(run, name, sides, frechet, held))
    found += [_infinity(run, reference, side, held) for side in sides]
    kernels: tuple[tuple[KernelName, str, float | None], ...] = (
        ("polynomial", "Kernel distance, polynomial", None),
        ("rbf", "Kernel distance, Gaussian", median_bandwidth(reference)),
    )
    for kernel, label, bandwidth in kernels:
        for side in sides:
            pair = (reference, side.features)
            value = kernel_distance(*pair, kernel=kernel, bandwidth=bandwidth).value
            replicates = kernel_replicates(*pair, held, side.halves, kernel=kernel, bandwidth=bandwidth)
            found.append(_resampled(f"kernel_distance_{kernel}", label, side, value, replicates))
    return found


def _frechet(reference: NDArray[np.float32], side: Side, held: Mask) -> tuple[float, NDArray[np.float64]]:
    return (
        frechet_distance(reference, side.features),
        frechet_replicates(reference, side.features, held, side.halves),
    )


def _ratio(
    run: SynthesisRun,
    name: str,
    sides: Sequence[Side],
    frechet: Sequence[tuple[float, NDArray[np.float64]]],
    held: Mask,
) -> Estimate:
    """Samples over real, at equal numbers of images: the bias falls with the number and would not cancel otherwise."""
    samples, real = sides
    (value, replicates), (below, below_replicates) = frechet
    if below <= ROUNDING * real.features.shape[1]:
        return plain(
            identifier(CODE, "frechet_ratio", name),
            RATIO,
            None,
            n=len(real.features),
            unit="1",
            unit_of_analysis="image",
            better="lower",
            stratum=name,
            reason="Training and test images do not differ in these features, so there is nothing to divide by.",
        )
    if len(real.features) < len(samples.features):
        n = len(real.features)
        # Samples are independent, so a random half of all holds about half of the first n.
        fewer = Side(name, samples.features[:n], samples.halves[:, :n], samples.clusters, samples.patients[:n])
        value, replicates = _frechet(run.space(name).reference, fewer, held)
    ratio, ratios = value / below, replicates / below_replicates
    side = Side(name, real.features, real.halves, min(samples.clusters, real.clusters), real.patients)
    return _resampled("frechet_ratio", RATIO, side, ratio, ratios, positive=True)


def _infinity(run: SynthesisRun, reference: NDArray[np.float32], side: Side, held: Mask) -> Estimate:
    first, second = (rng.child(run.seed, "frechet infinity", side.stratum, part) for part in ("value", "halves"))
    patients = run.reference.patients
    limit = frechet_distance_infinity(
        reference, side.features, generator=first, clusters_real=patients, clusters_generated=side.patients
    )
    replicates = frechet_infinity_replicates(
        reference,
        side.features,
        held,
        side.halves,
        generator=second,
        clusters_real=patients,
        clusters_generated=side.patients,
    )
    return _resampled("frechet_distance_infinity", "Frechet distance, extrapolated", side, limit.value, replicates)


def _wasserstein(run: SynthesisRun) -> list[Estimate]:
    reference, held = _some(run, "reference", run.reference)
    people = len(set(reference.patients))
    sides = [("patches", *_some(run, "generated", run.generated))]
    if run.train is not None and run.null is not None:
        sides.append((f"patches, {REAL}", *_some(run, "null", run.train.take(run.null))))
    found = []
    for stratum, pictures, halves in sides:
        drawn = [rng.child(run.seed, "sliced wasserstein", stratum, part) for part in ("value", "halves")]
        whole = sliced_wasserstein(reference.images, pictures.images, drawn[0], directions=DIRECTIONS)
        replicates = sliced_wasserstein_replicates(reference.images, pictures.images, held, halves, drawn[1])
        # Replicates share their directions; the error of drawing directions at all belongs to the interval too.
        spread = float(replicates.std(ddof=1))
        if spread > 0:
            replicates = replicates * (np.hypot(spread, whole.directions_se) / spread)
        clusters = min(people, len(set(pictures.patients)))
        side = Side(stratum, pictures.grey.reshape(len(pictures), -1), halves, clusters, pictures.patients)
        label = "Sliced Wasserstein distance (1,000 times)"
        found.append(_resampled("sliced_wasserstein", label, side, whole.value, replicates))
    return found


def _some(run: SynthesisRun, name: str, pictures: Pictures) -> tuple[Pictures, Mask]:
    """At most `PATCHED` of the images, drawn by the run's seed, and their half samples."""
    order = rng.child(run.seed, "sliced wasserstein", name).permutation(len(pictures))
    index = np.sort(order[:PATCHED]).astype(np.intp)
    return pictures.take(index), run.halves[name][:, index]


def _resampled(
    name: str, label: str, side: Side, value: float, replicates: NDArray[np.float64], *, positive: bool = False
) -> Estimate:
    return resampled(
        identifier(CODE, name, side.stratum),
        label,
        float(value),
        replicates,
        clusters=side.clusters,
        n=len(side.features),
        unit="1",
        unit_of_analysis="image",
        better="lower",
        stratum=side.stratum,
        positive=positive,
    )


def _sheet(run: SynthesisRun, findings: Findings, random: int) -> None:
    """The first samples of the run's seed, chosen by nobody, over real test images drawn by the seed."""
    chosen = rng.child(run.seed, "exhibit", CODE).permutation(len(run.reference))[:random]
    sheet(
        findings,
        f"{CODE}-samples",
        "Samples, not selected",
        f"The first {min(random, len(run.generated))} samples of seed {run.seed}, and as many test images drawn by it.",
        {"samples": run.generated.grey[:random], "real test images": run.reference.grey[np.sort(chosen)]},
    )
