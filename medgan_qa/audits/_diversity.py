"""Spread of a set of images without twins: Vendi scores and MS-SSIM of random pairs, beside those of real images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import ms_ssim_diversity, ms_ssim_replicates, vendi_replicates, vendi_score
from medgan_qa.metrics.ms_ssim import WINDOW
from medgan_qa.stats import draw_halves

CODE = "COV-003"
REAL = "real against real"
RATIO = "Vendi score over that of as many real images"
EXCESS = "Mean MS-SSIM of pairs of samples less that of real pairs"
Float = NDArray[np.float64]
Index = NDArray[np.intp]


def vendi(run: SynthesisRun, name: str, most: int) -> list[Estimate]:
    """Vendi scores in one feature space over that of real images: equal numbers of images, one a patient.

    Args:
        run: the run.
        name: the extractor.
        most: images at most; the time grows with the cube of their number.
    """
    space, m = run.space(name), len(run.generated)
    one = _one_each(run, run.reference, "reference")
    n = min(most, len(one), m)
    sides = {name: space.generated}
    if run.train is not None and space.train is not None:
        other = _one_each(run, run.train, "train")
        n = min(n, len(other))
        sides[f"{name}, {REAL}"] = space.train[other]
    sides = {f"{name}, real": space.reference[one], **sides}
    if any((features[:n] == 0).all(axis=1).any() for features in sides.values()):
        return [_nothing("vendi_ratio", RATIO, name, n, "The real images do not vary, or an image is their very mean.")]
    (real, real_halves), *others = (_score(run, stratum, features[:n]) for stratum, features in sides.items())
    ratios = [
        _resampled("vendi_ratio", RATIO, stratum, n, score / real, halves / real_halves, n, "nearer_one")
        for stratum, (score, halves) in zip(list(sides)[1:], others, strict=True)
    ]
    scores = [real, *(score for score, _ in others)]
    return [*ratios, *(_score_alone(s, score, n) for s, score in zip(sides, scores, strict=True))]


def ms_ssim(run: SynthesisRun, drawn: int) -> list[Estimate]:
    """Mean MS-SSIM of random pairs of samples and of real images of different patients, and their difference.

    Args:
        run: the run.
        drawn: pairs on each side.
    """
    n, side = len(run.generated), min(run.reference.images.shape[-2:])
    if side < WINDOW:
        return [
            _nothing("ms_ssim_excess", EXCESS, None, n, f"A side of {side} pixels is under the window of {WINDOW}.")
        ]
    sides = {"samples": (run.generated, "generated"), "real images": (run.reference, "reference")}
    found, both = [], []
    for stratum, (pictures, which) in sides.items():
        generator = rng.child(run.seed, "ms-ssim", stratum)
        pairs = ms_ssim_diversity(pictures.images, drawn, generator, clusters=pictures.patients)
        values, clusters = ms_ssim_replicates(pairs, run.halves[which]), len(set(pictures.patients))
        both.append((pairs.value, values, clusters))
        label = "Mean MS-SSIM of random pairs"
        found.append(_resampled("ms_ssim", label, stratum, len(pictures), pairs.value, values, clusters, "lower"))
    (value, halves, m), (real, real_halves, people) = both
    excess = value - real, halves - real_halves, min(m, people)
    return [_resampled("ms_ssim_excess", EXCESS, None, n, *excess, "lower"), *found]


def _one_each(run: SynthesisRun, pictures: Pictures, purpose: str) -> Index:
    """One image of each patient, patients and images in an order drawn by the seed."""
    order = rng.child(run.seed, "one image a patient", purpose).permutation(len(pictures))
    first = {pictures.patients[i]: i for i in reversed(order)}
    return np.array([i for i in order if first[pictures.patients[i]] == i], dtype=np.intp)


def _score(run: SynthesisRun, stratum: str, features: NDArray[np.float32]) -> tuple[float, Float]:
    """Score of all, and of halves of exactly half the size: the score depends on it."""
    generator = rng.child(run.seed, "halves", "vendi", stratum)
    halves = draw_halves(range(len(features)), run.resamples, generator)
    return vendi_score(features), vendi_replicates(features, halves)


def _score_alone(stratum: str, score: float, n: int) -> Estimate:
    return plain(
        identifier(CODE, "vendi", stratum),
        "Vendi score",
        score,
        n=n,
        unit="1",
        unit_of_analysis="image",
        better="higher",
        stratum=stratum,
    )


def _nothing(name: str, label: str, stratum: str | None, n: int, reason: str) -> Estimate:
    return plain(
        identifier(CODE, name, stratum),
        label,
        None,
        n=n,
        unit="1",
        unit_of_analysis="image",
        better="none",
        stratum=stratum,
        reason=reason,
    )


def _resampled(
    name: str,
    label: str,
    stratum: str | None,
    n: int,
    value: float,
    replicates: Float,
    clusters: int,
    better: str,
) -> Estimate:
    return resampled(
        identifier(CODE, name, stratum),
        label,
        value,
        replicates,
        clusters=clusters,
        n=n,
        unit="1",
        unit_of_analysis="image",
        better=better,
        stratum=stratum,
        positive=better == "nearer_one",
    )
