"""What readers of augmented images say of samples, of real images held out, and of those changed on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._leak_readers import PARTS, LeakReaders, Reading, Scores, leak_readers, small
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.metrics._alignment import ORIENTATIONS
from medgan_qa.metrics.augmentation_changes import Change, changes
from medgan_qa.metrics.orientation import composed, generated_group
from medgan_qa.stats.misread_labels import Counted, WrongLabels, wrong_labels

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

FEWEST_PATIENTS = 20
"""Real patients on either side below which nothing is known of how real images differ."""
CODE = "HYG-005"


class Rule(NamedTuple):
    """From when on an image is called augmented, and a reader believed."""

    false_alarm: float
    recall_min: float
    planted: int


class Power(NamedTuple):
    """Real images held out that were changed on purpose."""

    name: str
    part: str
    missed: Counted
    """Event: the part's reader does not find the change."""
    overlooked: Counted
    """Event: no reader finds anything."""
    seen: bool
    """The share that is found is at least `recall_min`, at its lower bound."""

    @property
    def recall(self) -> Counted:
        """Event: the part's reader finds the change."""
        return Counted([not event for event in self.missed.events], self.missed.clusters)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Readings with everything that says what they are worth."""

    readers: LeakReaders
    held: Pictures
    scores: Scores
    """Of the positions of the real images."""
    real: Reading
    samples: Pictures
    drawn: Reading
    powers: tuple[Power, ...]

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Positions that are told from upright, those together that are not told from each other."""
        left = [code for code in self.readers.codes if code not in self.readers.alike]
        made = {tuple(sorted(composed(code, other) for other in self.readers.alike)) for code in left}
        return tuple(sorted(made))

    def counted(self, of_samples: Bool, of_real: Bool) -> tuple[Counted, Counted]:
        """Samples and real images with an event."""
        return Counted(of_samples.tolist(), self.samples.patients), Counted(of_real.tolist(), self.held.patients)

    @cached_property
    def overlooked(self) -> Float:
        """(N,) share of images changed as each sample is read to be that are not found: 0 where nothing is read.

        Of a position that very position's; of anything else the mean over the changes of its kind. Where several things
        are found the least.
        """
        rates = np.full((len(PARTS), len(self.samples)), np.inf)
        for row, part in zip(rates, PARTS, strict=True):
            powers = self.seen(part)
            found = self.drawn.found(part)
            if powers:
                row[found] = float(np.mean([np.mean(power.missed.events) for power in powers]))
        for power in self.seen("turned"):
            rates[0, self.drawn.code == ORIENTATIONS.index(power.name)] = float(np.mean(power.missed.events))
        least = rates.min(axis=0)
        return np.where(np.isfinite(least), least, 0.0)

    def share(self, of_samples: Bool, of_real: Bool, missed: Sequence[Counted], alpha: float) -> WrongLabels:
        """Share of samples with an event, corrected for real images with it and for changed ones without it.

        The ends allow for the change that is missed most often (`wrong_labels`); the estimate for what is missed of the
        changes that were found.
        """
        drawn, real = self.counted(of_samples, of_real)
        ends = wrong_labels(drawn, real, missed, alpha)
        q, e = float(np.mean(of_samples)), float(np.mean(of_real))
        behind = float((of_samples / (1 - self.overlooked)).mean())
        told = (q / behind if behind else 1.0) - e
        value = max(0.0, q - e) / told if told > 0 else 1.0
        return ends._replace(value=min(max(value, ends.low), ends.high))

    def seen(self, part: str | None = None) -> tuple[Power, ...]:
        """Changes that are found, of one part or of all."""
        return tuple(power for power in self.powers if power.seen and part in (None, power.part))


def group_name(group: Sequence[int]) -> str:
    """`rotate 180`, or `flip up-down or rotate 180` where the two are not told apart."""
    return " or ".join(ORIENTATIONS[code] for code in group)


def evidence(run: SynthesisRun, rule: Rule) -> Evidence | str:
    """Readers learnt from real images, and what they say; a text where there are too few.

    Readers learn from the train partition, and real images held out are the test partition. Without a train partition
    they learn from every other test patient, and the rest is held out.

    Raises:
        NotFiniteError: a sample holds NaN or infinity.
    """
    samples = run.generated
    taught, held = _sides(run)
    if min(len(set(taught.patients)), len(set(held.patients))) < FEWEST_PATIENTS:
        return (
            f"Readers are learnt from real patients and tested on others, {FEWEST_PATIENTS} of each at least; there "
            f"are {len(set(taught.patients))} and {len(set(held.patients))}."
        )
    readers = leak_readers(small(taught.images), taught.patients, rule.false_alarm)
    real = small(held.images)
    scores = readers.scores(real)
    every = _turned(readers, scores, held, rule)
    readers = readers.without(generated_group(ORIENTATIONS.index(one.name) for one in every if not one.seen))
    powers = (*_told(readers, scores, held, rule, every), *_planted(run, readers, held, rule))
    drawn = readers.read(small(samples.images))
    return Evidence(readers, held, scores, readers.read(real), samples, drawn, powers)


def _sides(run: SynthesisRun) -> tuple[Pictures, Pictures]:
    if run.train is not None:
        return run.train, run.reference
    names = sorted(set(run.reference.patients))
    order = rng.child(run.seed, CODE, "halves").permutation(len(names))
    taught = {names[k] for k in order[::2]}
    mine = np.array([patient in taught for patient in run.reference.patients])
    return run.reference.take(np.flatnonzero(mine)), run.reference.take(np.flatnonzero(~mine))


def _told(readers: LeakReaders, scores: Scores, held: Pictures, rule: Rule, every: Sequence[Power]) -> list[Power]:
    """Positions by readers to whom some are upright; of these, what was found of them before."""
    again = zip(every, _turned(readers, scores, held, rule), strict=True)
    alike = {ORIENTATIONS[code] for code in readers.alike}
    return [before._replace(seen=False) if before.name in alike else now for before, now in again]


def _turned(readers: LeakReaders, scores: Scores, held: Pictures, rule: Rule) -> list[Power]:
    """Every position but upright: what is read of the real images in it follows from their scores."""
    found = []
    for code in readers.codes[1:]:
        read, _ = readers.positions(readers.turned(scores, code))
        missed = Counted((read == 0).tolist(), held.patients)
        found.append(_power(ORIENTATIONS[code], "turned", missed, missed, rule))
    return found


def _planted(run: SynthesisRun, readers: LeakReaders, held: Pictures, rule: Rule) -> list[Power]:
    """Every other change, made in one image of each of some patients."""
    first = {patient: k for k, patient in reversed(list(enumerate(held.patients)))}
    chosen = sorted(rng.child(run.seed, CODE, "planted").permutation(sorted(first.values()))[: rule.planted].tolist())
    patients = [held.patients[k] for k in chosen]

    def read(change: Change) -> Reading:
        g = rng.child(run.seed, CODE, "planted", change.name)
        return readers.read(small(np.stack([change.apply(held.images[k], g) for k in chosen])))

    made = changes(held.images.shape[1])
    readings = run.engine.map(read, made, label="Reading images changed on purpose")
    return [
        _power(
            change.name,
            change.part,
            Counted((~reading.found(change.part)).tolist(), patients),
            Counted((~reading.any).tolist(), patients),
            rule,
        )
        for change, reading in zip(made, readings, strict=True)
    ]


def _power(name: str, part: str, missed: Counted, overlooked: Counted, rule: Rule) -> Power:
    assert part in PARTS
    return Power(name, part, missed, overlooked, missed.proportion(0.05).high <= 1 - rule.recall_min)
