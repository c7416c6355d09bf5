"""Test images that carry the spectral fingerprint of the model under audit, and how many of its outputs would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._model_outputs import Made
from medgan_qa.audits._partitions import PartitionedRun, streamed
from medgan_qa.audits._same_images import FEWEST_PATIENTS
from medgan_qa.audits.run import grey
from medgan_qa.cohorts.cohort import Case, CaseImages, subset
from medgan_qa.metrics._power import SMALLEST_SIDE
from medgan_qa.metrics.spectral_fingerprint import Features, centre, fingerprint, fingerprint_features, limit

Vector = NDArray[np.float64]

MOST_TRAIN = 500
"""Real training images that the fingerprint is fitted to, drawn by the run's seed."""


class Traced(NamedTuple):
    """Test images with the spectral fingerprint of the model."""

    cases: tuple[Case, ...]
    """(N,) those that were looked at."""
    scores: Vector
    """(N,) standard deviations from the middle of the real ones."""
    limit: float
    own: tuple[bool, ...]
    """(M,) whether each of the model's own outputs, read by a discriminant of the other half, is beyond the limit."""
    units: tuple[str, ...]
    """(M,) their independent units."""
    train: tuple[bool, ...]
    """(T,) whether each real training image, held out likewise, is beyond it; empty without a train partition."""
    train_patients: tuple[str, ...]
    against: str

    @property
    def flagged(self) -> list[int]:
        """Places of those beyond the limit, the furthest first."""
        order = np.argsort(-self.scores, kind="stable")
        return [int(k) for k in order if self.scores[k] > self.limit]


def traced_outputs(run: PartitionedRun, made: Made, false_alarm: float) -> Traced | str:
    """Test images that have the model's fingerprint; a text where there are too few to tell.

    Patients and outputs are dealt into two halves; images of one are read by a discriminant that was fitted to the
    outputs of the other, and to real training images, or where there are none to the real test images of the other.
    """
    test = [case for case in subset(run.cohort.cases, "test") if not made.targets or case.case_id in made.targets]
    people = len({case.patient_id for case in test})
    if people < FEWEST_PATIENTS or len(made.images) < FEWEST_PATIENTS:
        return f"{FEWEST_PATIENTS} test patients and as many {made.kind} are needed to read the model's fingerprint."
    if min(min(image.shape) for image in made.images) < SMALLEST_SIDE:
        return f"Images of less than {SMALLEST_SIDE} pixels are too small for a fingerprint."
    real = _features(run, test, made)
    fake = np.concatenate([fingerprint_features(np.asarray(image)[None]) for image in made.images])
    train = _drawn(run, made)
    known = _features(run, train, made) if train else None
    if not (np.isfinite(real).all() and np.isfinite(fake).all() and (known is None or np.isfinite(known).all())):
        return "Some images are not finite or too small for a fingerprint."
    halves = _Halves(run, [case.patient_id for case in test], made, [case.patient_id for case in train])
    scores, own, held = _scored(real, fake, known, halves)
    beyond = limit(false_alarm, len(test), people // 2)
    against = f"{len(train)} real training images" if train else "the other half of the real test images"
    return Traced(
        tuple(test),
        scores,
        beyond,
        tuple((own > beyond).tolist()),
        made.units,
        tuple((held > beyond).tolist()),
        tuple(case.patient_id for case in train),
        against,
    )


class _Halves:
    """Which of two halves each image belongs to, by its patient or sample."""

    def __init__(self, run: PartitionedRun, test: Sequence[str], made: Made, train: Sequence[str]) -> None:
        people = sorted({*test, *made.units}) if made.targets else sorted(set(test))
        self._of = _dealt(run.seed, "test", people)
        self.test = np.array([self._of[p] for p in test], np.intp)
        outputs = self._of if made.targets else _dealt(run.seed, "samples", sorted(set(made.units)))
        self.made = np.array([outputs[unit] for unit in made.units], np.intp)
        trained = _dealt(run.seed, "train", sorted(set(train)))
        self.train = np.array([trained[p] for p in train], np.intp)


def _dealt(seed: int, purpose: str, people: Sequence[str]) -> dict[str, int]:
    order = rng.child(seed, "HYG-003", "halves", purpose).permutation(len(people))
    return {people[k]: place % 2 for place, k in enumerate(order.tolist())}


def _scored(real: Features, fake: Features, known: Features | None, halves: _Halves) -> tuple[Vector, Vector, Vector]:
    """Scores of test images, outputs and training images, in standard deviations of the test images of their half."""
    scores, own = np.zeros(len(real)), np.zeros(len(fake))
    held = np.zeros(0 if known is None else len(known))
    for half in (0, 1):
        ours, theirs = halves.test == half, halves.made == half
        reader = fingerprint(real[~ours] if known is None else known, fake[~theirs])
        middle = centre(reader.scores(real[ours]))
        scores[ours] = middle.standardised(reader.scores(real[ours]))
        own[theirs] = middle.standardised(reader.scores(fake[theirs]))
        if known is not None:
            other = halves.train == half
            apart = fingerprint(known[~other], fake[~theirs])
            held[other] = centre(apart.scores(real[ours])).standardised(apart.scores(known[other]))
    return scores, own, held


def _features(run: PartitionedRun, cases: Sequence[Case], made: Made) -> Features:
    """(N, D) features of real images in the domain that the model makes images of; NaN where one has none."""

    def look(case: Case, images: CaseImages) -> Vector:
        image = grey(images.image if images.target is None or not made.targets else images.target)
        if min(image.shape) < SMALLEST_SIDE or not np.isfinite(image).all():
            return np.full(1, np.nan)
        traces: Vector = fingerprint_features(image[None])[0]
        return traces

    rows = streamed(run, cases, look, "Reading the spectrum of real images")
    width = max((len(row) for row in rows), default=1)
    return np.stack([row if len(row) == width else np.full(width, np.nan) for row in rows])


def _drawn(run: PartitionedRun, made: Made) -> list[Case]:
    """Training cases that hold images of the domain that the model makes; at most 500, whole patients by chance."""
    cases = [case for case in subset(run.cohort.cases, "train") if not case.synthetic or run.cohort.phantom]
    cases = [case for case in cases if case.has_target or not made.targets]
    people = sorted({case.patient_id for case in cases})
    if len(people) < FEWEST_PATIENTS:
        return []
    order = rng.child(run.seed, "HYG-003", "train").permutation(len(people))
    rank = {people[k]: place for place, k in enumerate(order.tolist())}
    return sorted(cases, key=lambda case: (rank[case.patient_id], case.case_id))[:MOST_TRAIN]
