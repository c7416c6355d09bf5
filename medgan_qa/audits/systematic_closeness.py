"""MEM-002: whether samples lie nearer to training patients than to others, none of them being a copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._memory import NO_TRAIN
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.data_copying import data_copying_of, equal_size
from medgan_qa.metrics.neighbours import KEEP_FOR_HALVES, Neighbourhood, neighbourhood
from medgan_qa.stats import draw_halves

CODE = "MEM-002"
FEWEST = 40
"""Training patients, held-out patients and samples below which a share near one half says nothing."""

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


class _Real(NamedTuple):
    """Training and held-out images together, as many of the one as of the other."""

    train: Bool
    """(N,) which are training images, among all training images and all test images."""
    held_out: Bool
    """(N,)"""
    clusters: list[str]
    """(N,) patients."""
    halves: Bool
    """(B, N) half of the patients of either side."""


def systematic_closeness(run: SynthesisRun, *, permutations: int = 9999, cells: int = 3) -> Findings:
    """Systematic closeness to the training patients.

    Question. Are samples nearer to the patients that the model was trained on than to patients it has never seen?

    What it measures. For every sample the nearest real image is sought among the training images and equally many
    images of held-out patients. The train share is the share of samples whose nearest one is a training image; ties
    count half. Where the model kept nothing of its patients but what they have in common, it is one half. The p-value
    comes from exchanging whole patients between the two sets. The statistic C_T compares the distances themselves: far
    below 0, samples lie closer to the training images than held-out images do.

    Why it matters. A model can lean towards its training patients everywhere without copying any of them outright:
    every sample a blend or a variant of somebody. No sample then passes for a copy, and still membership leaks.

    Known limits. It is seen in the features only. A share of one half does not exclude a few copies, which is MEM-001.
    A share above it can also mean that the two partitions differ (other sites, other years), which the null of the
    other audits shows. C_T cancels: copies push it down, over-dispersed samples push it up, so that a value near 0
    shows nothing; it is printed for its name. There is no third set of real images to give a null of the share: one
    half needs none.

    Method and source. Nearest reference of two equally large sets, as in the two-sample tests of Schilling 1986 and the
    three-sample test of Meehan et al. 2020 (C_T, k-means cells, rank sums). Permutation test by patient with the
    observed assignment counted in. Interval: half samples of the patients of both sets and of the samples together
    (Shao and Wu 1989), binomial at the effective sample size. A binomial interval over samples would be too narrow,
    since all samples share the two sets.
    """
    findings = Findings()
    findings.missing = _lacking(run)
    if findings.missing:
        return findings
    real = _real(run)
    shares, others = [], []
    for name in run.extractors:
        near, stratum = _near(run, name), None if name == run.primary else name
        shares.append(_share(run, near, real, stratum))
        others += [_exact_p(run, near, real, stratum, permutations), _data_copying(run, near, name, cells)]
    findings.estimates = [*shares, *others]
    findings.notes = [
        f"{int(real.train.sum())} training images against as many of held-out patients.",
        "C_T near 0 is no evidence of absence: copies and over-dispersed samples cancel in it.",
    ]
    findings.exhibits.append(
        forest(
            f"{CODE}-shares",
            "Samples whose nearest real image is a training image",
            "One half is expected where nothing was memorized. Ends are one-sided 95 % bounds from half samples of "
            "patients and samples.",
            shares,
            x=(0.0, 1.0),
            label=lambda m: m.stratum or run.primary,
        )
    )
    return findings


def _lacking(run: SynthesisRun) -> str | None:
    if run.train is None:
        return NO_TRAIN
    counts = len(set(run.train.patients)), len(set(run.reference.patients)), len(run.sampled)
    if min(counts) >= FEWEST:
        return None
    return (
        f"{counts[0]} training patients, {counts[1]} test patients and {counts[2]} samples; {FEWEST} of each are "
        "needed to see on which side samples lie."
    )


def _real(run: SynthesisRun) -> _Real:
    assert run.train is not None
    sides = [[f"{side} {p}" for p in of.patients] for side, of in (("train", run.train), ("test", run.reference))]
    clusters = sides[0] + sides[1]
    is_train = np.arange(len(clusters)) < len(sides[0])
    chosen = equal_size(is_train, clusters, run.seed)
    halves = np.hstack(
        [draw_halves(side, run.resamples, rng.child(run.seed, "halves", CODE, k)) for k, side in enumerate(sides)]
    )
    return _Real(chosen & is_train, chosen & ~is_train, clusters, halves)


def _near(run: SynthesisRun, name: str) -> Neighbourhood:
    """Training and test images, in this order, and the samples."""
    space = run.space(name)
    assert space.train is not None
    return neighbourhood(np.concatenate([space.train, space.reference]), space.generated, keep=KEEP_FOR_HALVES)


def _sides(near: Neighbourhood, train: Bool, held_out: Bool) -> tuple[Float, NDArray[np.intp], NDArray[np.intp]]:
    """Of each distinct sample: 1 where a training image is nearest, 0 where a held-out one is, 1/2 where both are.

    And the nearest distinct real point of either side.
    """
    (of_train, to_train), (of_other, to_other) = (
        near.to_real.kth(near.real.weights(mask, "real")[0], 1) for mask in (train, held_out)
    )
    return np.where(to_train < to_other, 1.0, np.where(to_train > to_other, 0.0, 0.5)), of_train, of_other


def _share(run: SynthesisRun, near: Neighbourhood, real: _Real, stratum: str | None) -> Estimate:
    every = near.generated.weights(None, "generated")[0]
    value = float(every @ _sides(near, real.train, real.held_out)[0] / every.sum())
    drawn = near.generated.weights(run.halves["generated"], "generated")
    replicates = [
        weights @ _sides(near, real.train & half, real.held_out & half)[0] / weights.sum()
        for weights, half in zip(drawn, real.halves, strict=True)
    ]
    people = [len(set(np.asarray(real.clusters)[mask])) for mask in (real.train, real.held_out)]
    return resampled(
        identifier(CODE, "train_share", stratum),
        "Samples whose nearest real image is a training image",
        value,
        np.asarray(replicates),
        clusters=min(*people, len(run.sampled)),
        n=len(run.sampled),
        unit="fraction",
        unit_of_analysis="sample",
        better="lower",
        stratum=stratum,
        share=True,
    )


def _exact_p(run: SynthesisRun, near: Neighbourhood, real: _Real, stratum: str | None, permutations: int) -> Estimate:
    """One-sided p of the share when patients are exchanged between the sets."""
    side, of_train, of_other = _sides(near, real.train, real.held_out)
    every = near.generated.weights(None, "generated")[0]
    codes = np.unique(np.asarray(real.clusters), return_inverse=True)[1]
    hits = np.zeros(codes.max() + 1)
    for mask, nearest, share in ((real.train, of_train, side), (real.held_out, of_other, 1 - side)):
        member = np.zeros(len(near.real.same.first), np.intp)
        member[near.real.same.group[mask]] = codes[mask]
        np.add.at(hits, member[nearest], every * share)
    trained = np.zeros(len(hits), bool)
    trained[codes[real.train]] = True
    used = np.unique(codes[real.train | real.held_out])
    generator, labels = (
        rng.child(run.seed, "permutations", CODE, stratum or run.primary),
        trained[used].astype(np.float64),
    )
    drawn = np.array([generator.permutation(labels) @ hits[used] for _ in range(permutations)])
    # Sums of the same halves in another order may differ in the last bit.
    beyond = int((drawn >= labels @ hits[used] - 1e-9).sum())
    return plain(
        identifier(CODE, "exact_p", stratum),
        "p of as large a share when patients are exchanged between the sets",
        (1 + beyond) / (1 + permutations),
        n=len(run.sampled),
        unit="1",
        unit_of_analysis="sample",
        better="none",
        stratum=stratum,
    )


def _data_copying(run: SynthesisRun, near: Neighbourhood, name: str, cells: int) -> Estimate:
    assert run.train is not None
    train = np.arange(near.real.size) < len(run.train)
    value, reason = None, "it cancels: copies lower it, over-dispersed samples raise it"
    try:
        value = data_copying_of(near, train, cells=cells, seed=run.seed).statistic
    except ValueError as error:
        reason = str(error)
    return plain(
        identifier(CODE, "data_copying_z", name),
        "C_T, in standard units",
        value,
        n=len(run.sampled),
        unit="1",
        unit_of_analysis="sample",
        better="none",
        stratum=name,
        reason=reason,
    )
