"""COV-004: whether the modes have the weights of the population; and the modes themselves, which COV-002 shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import vq

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.numbers import count, identifier, plain, resampled
from medgan_qa.audits.synthesis import Space, SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import DifferentBins, ndb
from medgan_qa.record import Exhibit

CODE = "COV-004"
NO_TRAIN = "The dataset has no train partition, from which the modes are made apart from the images that are compared."
COMPONENTS = 24
"""Principal components that modes are made in: distances over hundreds of features hide small modes."""
FEWEST = 60
"""Patients, and samples, below which there are too few images a mode to compare shares."""


def mode_weights(run: SynthesisRun, *, modes: int = 20, alpha: float = 0.05) -> Findings:
    """Weights of modes.

    Question. Do the kinds of images occur as often among the samples as among the patients?

    What it measures. The training images are cut into modes (k-means on their principal components). The share of each
    mode among the samples is held against its share among the test patients. The misplaced share is the total variation
    distance between the two: the part of the samples that would have to move to another mode. Modes that differ
    significantly are counted, with the patients as the unit and Holm's correction. Real training patients against real
    test patients would differ by chance alone, which is printed beside it.

    Why it matters. Recall and coverage ask whether a mode is reached at all. A generator that makes one patient of a
    kind for every hundred of another reaches both, and a model trained on its samples learns the wrong prevalence.

    Known limits. Modes are cells of a feature space and not diagnoses. The misplaced share is above 0 even for real
    images, by chance, and more so with few images or many modes. Significance grows with the number of images; the
    misplaced share does not.

    Method and source. Number of statistically different bins, Richardson and Weiss 2018 (On GANs and GMMs, NeurIPS),
    with bins from a third set, patients as clusters and Holm's correction in place of one test a bin at 5 %.
    """
    findings = Findings()
    findings.missing = too_few(run)
    if findings.missing:
        return findings
    for name in run.extractors:
        bins = bins_of(run, name, modes, alpha)
        findings.estimates += _estimates(run, name, bins)
        if name == run.primary:
            findings.exhibits.append(_table(bins, alpha))
            findings.notes.append(f"{bins.bins} modes of the training images, in the features {name}.")
    return findings


def too_few(run: SynthesisRun) -> str | None:
    """What is missing to compare shares of modes."""
    if run.train is None:
        return NO_TRAIN
    people = len(set(run.reference.patients))
    least = min(people, len(run.sampled))
    if least < FEWEST:
        return (
            f"{people} test patients and {len(run.sampled)} samples; {FEWEST} of each are needed to compare shares of "
            "modes."
        )
    return None


def principal(space: Space) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Train, reference and generated features on the leading principal components of the training features."""
    assert space.train is not None
    train = space.train.astype(np.float64)
    centre = train.mean(axis=0)
    _, _, axes = np.linalg.svd(train - centre, full_matrices=False)
    kept = axes[:COMPONENTS].T
    first, second, third = ((x - centre) @ kept for x in (train, space.reference, space.generated))
    return first, second, third


def bins_of(run: SynthesisRun, name: str, modes: int, alpha: float) -> DifferentBins:
    """Modes and their shares in one feature space; computed once a run."""
    key = f"modes {name} {modes} {alpha}"
    if key not in run.shared:
        train, reference, generated = principal(run.space(name))
        generator = rng.child(run.seed, "modes", name)
        patients = run.reference.patients
        run.shared[key] = ndb(train, reference, generated, generator, bins=modes, real_clusters=patients, alpha=alpha)
    found: DifferentBins = run.shared[key]
    return found


def _estimates(run: SynthesisRun, name: str, bins: DifferentBins) -> list[Estimate]:
    train, reference, generated = (vq(x, bins.centres)[0] for x in principal(run.space(name)))
    assert run.null is not None
    clusters = min(len(set(run.reference.patients)), len(run.sampled))
    label = "Samples that would have to move to another mode"
    halves = run.halves
    both = [
        (name, generated, halves["generated"]),
        (f"{name}, real against real", train[run.null], halves["null"]),
    ]
    found = [
        resampled(
            identifier(CODE, "misplaced_share", stratum),
            label,
            _distance(reference, codes, bins.bins),
            _distances(reference, codes, bins.bins, halves["reference"], held),
            clusters=clusters,
            n=len(codes),
            unit="fraction",
            unit_of_analysis="sample" if stratum == name else "image",
            better="lower",
            stratum=stratum,
        )
        for stratum, codes, held in both
    ]
    n = len(run.sampled)
    return [
        *found,
        count(
            identifier(CODE, "different_modes", name),
            "Modes whose share differs significantly (Holm)",
            bins.different_holm,
            n=n,
            unit_of_analysis="sample",
            better="lower",
            stratum=name,
        ),
        plain(
            identifier(CODE, "jensen_shannon", name),
            "Jensen-Shannon divergence of the shares, in bits",
            bins.jensen_shannon,
            n=n,
            unit="1",
            unit_of_analysis="sample",
            better="lower",
            stratum=name,
        ),
    ]


def _distance(first: NDArray[np.intp], second: NDArray[np.intp], bins: int) -> float:
    shares = (np.bincount(codes, minlength=bins) / len(codes) for codes in (first, second))
    p, q = shares
    return float(np.abs(p - q).sum() / 2)


def _distances(
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    bins: int,
    halves: NDArray[np.bool_],
    other: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(B,) the same on half samples."""

    def shares(codes: NDArray[np.intp], held: NDArray[np.bool_]) -> NDArray[np.float64]:
        member = np.eye(bins)[codes]
        return np.asarray(held @ member / held.sum(axis=1, keepdims=True))

    return np.asarray(np.abs(shares(first, halves) - shares(second, other)).sum(axis=1) / 2)


def _table(bins: DifferentBins, alpha: float) -> Exhibit:
    order = np.argsort(-bins.real_shares)
    rows = [
        [
            f"mode {k + 1}",
            f"{100 * bins.real_shares[k]:.1f} %",
            f"{100 * bins.generated_shares[k]:.1f} %",
            f"{bins.p_adjusted[k]:.2g}",
            "differs" if bins.p_adjusted[k] <= alpha else "",
        ]
        for k in order
    ]
    return Exhibit(
        id=f"{CODE}-modes",
        kind="counts",
        title="Share of each mode",
        caption="Modes of the training images, largest first. p is two-sided, with patients as the unit, after Holm's "
        "correction over the modes.",
        data={"columns": ["", "test patients", "samples", "adjusted p", ""], "rows": rows},
    )
