"""MEM-004: whether the discriminator knows its training images from others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._memory import NO_TRAIN
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import plain, resampled
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit
from medgan_qa.stats import draw_halves
from medgan_qa.subjects.protocols import SAMPLE_BATCH

CODE = "MEM-004"
FEWEST = 20
"""Training and held-out patients below which nothing is said."""
POINTS = 101
"""Points of the curve that is shown."""

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def membership(run: SynthesisRun, *, false_positives: float = 0.01) -> Findings:
    """Membership of training patients.

    Question. Can the discriminator tell the patients it was trained on from others?

    What it measures. The discriminator scores every training image and every held-out test image. The area under the
    curve is the chance that a training image scores higher than a held-out one: one half where it cannot tell them
    apart. The advantage is the share of training images that score above all but one in a hundred held-out images (the
    parameter false_positives), less the share of held-out images that do.

    Why it matters. Whoever gets hold of the discriminator can ask it whether a certain patient was in the training set,
    which for a cohort of one disease discloses the disease. A discriminator that remembers its images is also the sign
    of the overfitting that precedes copies. It must not be shipped with the generator without need.

    Known limits. One attack, the simplest: that it fails does not show that none would work. The area averages over all
    patients; the advantage at few false positives says more about the few that are at risk. Training and test images
    that differ for other reasons (site, year) are told apart by an innocent discriminator too.

    Method and source. Membership inference by discriminator scores: Hayes et al. 2019 (LOGAN). True positives at a low
    false-positive rate: Carlini et al. 2022. Area as the Mann-Whitney statistic with ties counted half; intervals from
    half samples of the patients of both sets (Shao and Wu 1989), binomial at the effective sample size.
    """
    findings = Findings()
    if run.discriminator is None:
        findings.not_applicable = "No discriminator was given."
        return findings
    findings.missing = _lacking(run)
    if findings.missing:
        return findings
    train, held_out = _scores(run)
    halves = _halves(run)
    findings.estimates = [
        _area(run, train, held_out, halves),
        _advantage(run, train, held_out, halves, false_positives),
    ]
    findings.exhibits.append(_curve(train, held_out))
    findings.tables[f"exhibits/{CODE}-scores.csv"] = _rows(run, train, held_out)
    return findings


def area_under_curve(positives: Float, negatives: Float) -> float:
    """The chance that a positive scores higher than a negative, ties counted half (Mann and Whitney 1947)."""
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.mean() / 2 / len(negatives))


def advantage(positives: Float, negatives: Float, false_positives: float) -> float:
    """Share of positives above all but a share `false_positives` of the negatives, less the negatives that are."""
    limit = np.sort(negatives)[::-1][int(false_positives * len(negatives) * (1 + 1e-12))]
    return float((positives > limit).mean() - (negatives > limit).mean())


def _lacking(run: SynthesisRun) -> str | None:
    if run.train is None:
        return NO_TRAIN
    counts = len(set(run.train.patients)), len(set(run.reference.patients))
    if min(counts) >= FEWEST:
        return None
    return f"{counts[0]} training patients and {counts[1]} test patients; {FEWEST} of each are needed."


def _scores(run: SynthesisRun) -> tuple[Float, Float]:
    """Scores of the training and the held-out images; batches hold both, so that none is told by its batch."""
    assert run.train is not None
    assert run.discriminator is not None
    images = np.concatenate([run.train.images, run.reference.images])
    order, model = rng.child(run.seed, "batches", CODE).permutation(len(images)), run.discriminator

    def score(first: int) -> NDArray[np.float32]:
        return model.score(images[order[first : first + SAMPLE_BATCH]])

    parts = run.engine.map(score, range(0, len(images), SAMPLE_BATCH), label="Discriminator scores")
    scores = np.empty(len(images))
    scores[order] = np.concatenate(parts)
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise NotFiniteError(
            "The discriminator returned NaN or infinity.",
            expected="one finite number an image",
            found=f"{bad} of {len(scores)} scores are not finite",
            where=model.path,
            todo="Repair the discriminator, or leave it out.",
        )
    return scores[: len(run.train)], scores[len(run.train) :]


def _halves(run: SynthesisRun) -> tuple[Bool, Bool]:
    assert run.train is not None
    train, held_out = (
        draw_halves(of.patients, run.resamples, rng.child(run.seed, "halves", CODE, side))
        for side, of in (("train", run.train), ("test", run.reference))
    )
    return train, held_out


def _area(run: SynthesisRun, train: Float, held_out: Float, halves: tuple[Bool, Bool]) -> Estimate:
    replicates = [area_under_curve(train[a], held_out[b]) for a, b in zip(*halves, strict=True)]
    return _estimate(
        run,
        f"{CODE}.membership_auc",
        "Area under the curve, training against held-out images",
        area_under_curve(train, held_out),
        replicates,
        share=True,
    )


def _advantage(
    run: SynthesisRun, train: Float, held_out: Float, halves: tuple[Bool, Bool], false_positives: float
) -> Estimate:
    measurement_id = f"{CODE}.advantage"
    label = f"Membership advantage at {false_positives:.2g} false positives"
    # A threshold at one in a hundred takes a hundred; half samples have half of the patients.
    people, needed = len(set(run.reference.patients)), 1 / max(false_positives, 1e-6)
    if people < needed:
        reason = f"{people} held-out patients; {needed:.0f} are needed for {false_positives:.2g} false positives"
        return plain(
            measurement_id, label, None, n=len(train), unit="1", unit_of_analysis="image", better="lower", reason=reason
        )
    replicates = [advantage(train[a], held_out[b], false_positives) for a, b in zip(*halves, strict=True)]
    return _estimate(run, measurement_id, label, advantage(train, held_out, false_positives), replicates, share=False)


def _estimate(
    run: SynthesisRun, measurement_id: str, label: str, value: float, replicates: list[float], *, share: bool
) -> Estimate:
    assert run.train is not None
    return resampled(
        measurement_id,
        label,
        value,
        np.asarray(replicates),
        clusters=min(len(set(run.train.patients)), len(set(run.reference.patients))),
        n=len(run.train) + len(run.reference),
        unit="1",
        unit_of_analysis="image",
        better="lower",
        share=share,
    )


def _curve(train: Float, held_out: Float) -> Exhibit:
    """True positives over false positives, at evenly spaced false positives."""
    x = np.linspace(0, 1, POINTS)
    limits = np.sort(held_out)[::-1][np.minimum((x * len(held_out)).astype(int), len(held_out) - 1)]
    y = np.where(x < 1, (train[None] > limits[:, None]).mean(axis=1), 1.0)
    series = [
        {"name": "discriminator", "x": x.round(4).tolist(), "y": y.round(4).tolist()},
        {"name": "chance", "x": [0.0, 1.0], "y": [0.0, 1.0]},
    ]
    return Exhibit(
        id=f"{CODE}-curve",
        kind="curves",
        title="Training images against held-out images",
        caption="Share of training images above a score over the share of held-out images above it.",
        data={
            "x_label": "held-out images above the score",
            "y_label": "training images above the score",
            "series": series,
        },
    )


def _rows(run: SynthesisRun, train: Float, held_out: Float) -> list[Row]:
    assert run.train is not None
    return [
        {"case_id": name, "patient_id": patient, "partition": partition, "score": round(float(score), 5)}
        for partition, of, scores in (("train", run.train, train), ("test", run.reference, held_out))
        for name, patient, score in zip(of.names, of.patients, scores, strict=True)
    ]
