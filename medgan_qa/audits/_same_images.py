"""Pairs of real images that are one image, found once a run: what the audits of the partitions share.

All images of test and train are searched together, each against those of other patients and against the others of its
own patient. From which score on two images are one is read from the scores of all images against other patients: their
middle says how near different patients come, whatever a part of the data holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.exhibits import Pair
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.engines import Engine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics._alignment import ORIENTATIONS
from medgan_qa.metrics.duplicates import exact_duplicates
from medgan_qa.metrics.near_copies import ClosePairs, as_query, near_copies, prepared
from medgan_qa.stats.low_tail import LowTail, low_tail

Float = NDArray[np.float32]
Vector = NDArray[np.float64]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

FEWEST_PATIENTS = 20
"""Patients below which there is no scale of how near different patients come."""
MOST_DUPLICATES = 1 / 3
"""Share of images left out of the calibration as certain duplicates, above which the rest says little."""
LEAST_SCORE = 1e-9
EXACT = 1e-4
"""Residual up to which an image that was not moved is told as unchanged."""
TURNED = 20.0
"""Degrees beyond which no two images of one patient are turned against each other as they were acquired."""
GAMMA_SLACK, SCALE_SLACK, SHIFT_SLACK, TURN_SLACK = 1.1, 0.015, 0.5, 1.5
"""Gamma (factor), scale (share), shift (pixels) and turn (degrees) that are not told as a change."""


class PartitionedRun(Protocol):
    """A run whose real images lie in partitions."""

    cohort: Cohort
    engine: Engine
    seed: int
    shared: dict[str, Any]

    @property
    def reference(self) -> Pictures:
        """The test partition."""

    @property
    def train(self) -> Pictures | None:
        """The train partition; None where the cohort holds none."""


class Rule(NamedTuple):
    """From when on two images are one."""

    false_alarm: float = 0.05
    duplicate: float = 0.02


class Same(NamedTuple):
    """Two images that are one."""

    one: int
    """The earlier of the two among all images, test first; of a test and a train image the one in train."""
    other: int
    change: str
    """What gives `other` from `one`."""
    residual: float
    score: float
    number: int
    """Place in the list of close pairs, -1 for images that are equal in every pixel."""


@dataclass(frozen=True, eq=False)
class SameImages:
    """Which images are one, and what that judgement rests on."""

    names: tuple[str, ...]
    patients: tuple[str, ...]
    grey: Float
    """(N, H, W)"""
    tests: int
    """The first so many are the test partition."""
    limit: LowTail
    """Of pairs of different patients."""
    own_limit: LowTail | None
    """Of pairs of one patient; None where too few patients have several images."""
    close: ClosePairs
    """Pairs that were compared closely."""
    pairs: tuple[Same, ...]
    """Those that are one image, by score."""
    left_out: int
    """Images that were left out of the calibration as certain duplicates."""

    def across(self) -> list[Same]:
        """Pairs of a train and a test image."""
        return [p for p in self.pairs if p.one >= self.tests > p.other]

    def within_test(self) -> list[Same]:
        """Pairs of two test images."""
        return [p for p in self.pairs if max(p.one, p.other) < self.tests]

    def within_train(self) -> list[Same]:
        """Pairs of two train images."""
        return [p for p in self.pairs if min(p.one, p.other) >= self.tests]

    def shown(self, pair: Same, rule: str) -> Pair:
        """Both images, the first after the change that gives the second, where that is known."""
        image = self.grey[pair.one]
        label = f"{pair.change}, of {self.names[pair.one]}, residual {pair.residual:.3f}"
        if pair.number >= 0 and self.close.reference[pair.number] == pair.one:
            image = as_query(image, self.close, pair.number)
        return Pair(self.grey[pair.other], image, self.names[pair.other], self.patients[pair.one], label, rule)


def same_images(run: PartitionedRun, rule: Rule) -> SameImages | str:
    """Pairs of real images that are one image; computed once a run. A text where something is missing.

    Raises:
        ConfigurationError: the false-alarm rate is none.
    """
    if not 0 < rule.false_alarm < 1:
        raise ConfigurationError(
            "The false-alarm rate cannot be used.",
            expected="a probability above 0 and below 1",
            found=repr(rule.false_alarm),
            where="[parameters], false_alarm",
            todo="Give the chance that any image of the run is flagged by mistake, such as 0.05.",
        )
    key = f"same images {tuple(rule)}"
    if key not in run.shared:
        run.shared[key] = _same_images(run, rule)
    found: SameImages | str = run.shared[key]
    return found


def _same_images(run: PartitionedRun, rule: Rule) -> SameImages | str:
    sets = [run.reference] + ([run.train] if run.train is not None else [])
    shapes = {pictures.images.shape[1:] for pictures in sets}
    if len(shapes) > 1:
        return (
            f"Test and train images differ in size ({', '.join(map(str, sorted(shapes)))}), so they are not compared."
        )
    patients = tuple(patient for pictures in sets for patient in pictures.patients)
    if len(set(patients)) < FEWEST_PATIENTS:
        return f"{len(set(patients))} patients; {FEWEST_PATIENTS} are needed to know how near different patients come."
    grey = np.concatenate([pictures.grey for pictures in sets])
    ready = prepared(grey)
    others = near_copies(ready, ready, patients, patients)
    own = near_copies(ready, ready, patients, patients, among="own")
    scale = np.full(len(grey), np.nan)
    scale[others.query] = others.rivals
    people = len(set(patients))
    calibration = calibrated(others.residual, others.score, rule, len(grey), people)
    if isinstance(calibration, str):
        return calibration
    limit, left_out = calibration
    own_scores = own.residual / np.sqrt(np.where(scale[own.query] > 0, scale[own.query], np.nan))
    own_limit = _own_limit(own_scores, own.residual, rule, len(grey), len({patients[i] for i in own.query}))
    flagged = others.score < limit.threshold
    turned = own.mirrored | (np.abs(own.turn) > TURNED)
    by_own = np.zeros(len(own), bool) if own_limit is None else own_scores < own_limit.threshold
    own_flagged = by_own | (turned & (own_scores < limit.threshold))
    close = ClosePairs.joined([others.where(flagged), own.where(own_flagged)])
    equal = exact_duplicates(np.concatenate([pictures.images for pictures in sets]))
    tests = len(run.reference)
    pairs = _pairs(close, scale, equal, tests)
    names = tuple(name for pictures in sets for name in pictures.names)
    return SameImages(names, patients, grey, tests, limit, own_limit, close, pairs, left_out)


def calibrated(residual: Vector, score: Vector, rule: Rule, looks: int, people: int) -> tuple[LowTail, int] | str:
    """The limit of scores, from those of images that are no certain duplicates, and how many were left out."""
    known = np.isfinite(score)
    kept = known & (residual >= rule.duplicate)
    left_out = int(known.sum() - kept.sum())
    if kept.sum() < FEWEST_PATIENTS or left_out > MOST_DUPLICATES * known.sum():
        return (
            f"{left_out} of {int(known.sum())} images are the same as one of another patient, so the rest does not say "
            "how near different patients come."
        )
    return low_tail(
        np.maximum(score[kept], LEAST_SCORE), rule.false_alarm, looks, min(people, int(kept.sum()))
    ), left_out


def _own_limit(scores: Vector, residual: Vector, rule: Rule, looks: int, people: int) -> LowTail | None:
    """The limit of pairs of one patient: two slices of a patient are near, and no duplicates."""
    made = calibrated(residual, scores, rule, looks, people)
    return None if isinstance(made, str) else made[0]


def _pairs(close: ClosePairs, scale: Vector, equal: Index, tests: int) -> tuple[Same, ...]:
    """Each pair once, images that are equal in every pixel among them, by score."""
    found: dict[tuple[int, int], Same] = {}
    first: dict[int, int] = {}
    for image, group in enumerate(equal.tolist()):
        source = first.setdefault(group, image)
        if source != image:
            one, other = _ordered(source, image, tests)
            found[one, other] = Same(one, other, "unchanged", 0.0, 0.0, -1)
    for number in np.lexsort((close.residual,)).tolist():
        query, reference = int(close.query[number]), int(close.reference[number])
        one, other = _ordered(query, reference, tests)
        score = float(close.residual[number] / np.sqrt(scale[query]))
        same = Same(one, other, change(close, number, reference == one), float(close.residual[number]), score, number)
        there = found.get((one, other))
        # Of the two directions the one that is told as it was asked for is kept, so that it can be shown.
        if there is None or (there.number >= 0 and close.reference[there.number] != one and reference == one):
            found[one, other] = same
    return tuple(sorted(found.values(), key=lambda same: (same.score, same.one, same.other)))


def _ordered(a: int, b: int, tests: int) -> tuple[int, int]:
    """The train image first, else the one that stands first."""
    low, high = min(a, b), max(a, b)
    return (high, low) if low < tests <= high else (low, high)


def change(close: ClosePairs, number: int, forwards: bool) -> str:
    """What gives the query from its reference, or, not forwards, the reference from its query."""
    mirrored, turn = bool(close.mirrored[number]), float(close.turn[number])
    scale, gamma, blur = float(close.scale[number]), float(close.gamma[number]), float(close.blur[number])
    shift = close.shift[number]
    if not forwards:
        shift = _undone(mirrored, turn, scale, shift)
        turn, scale, gamma = (turn if mirrored else -turn), 1 / scale, 1 / gamma
    parts = _turned(mirrored, turn)
    if abs(np.log(scale)) > SCALE_SLACK:
        parts.append(f"scale {scale:.2f}")
    if np.abs(shift).max() > SHIFT_SLACK:
        parts.append(f"shift ({shift[0]:+.1f}, {shift[1]:+.1f})")
    if max(gamma, 1 / gamma) > GAMMA_SLACK:
        parts.append(f"contrast (gamma {gamma:.2f})")
    if blur > 0:
        parts.append(f"blur {blur:.1f} px" if forwards else "sharpened")
    same = "unchanged" if close.residual[number] <= EXACT else "noise or another small change"
    return ", ".join(parts) or same


def _turned(mirrored: bool, turn: float) -> list[str]:
    """Orientation in words: one of the eight of the square, or a flip and an angle."""
    quarter = round(turn / 90)
    if abs(turn - 90 * quarter) <= TURN_SLACK:
        codes = {0: 1, 1: 7, 2: 2, 3: 4} if mirrored else {0: 0, 1: 5, 2: 3, 3: 6}
        code = codes[quarter % 4]
        return [ORIENTATIONS[code]] if code else []
    return [*(["flip left-right"] if mirrored else []), f"rotation {turn:+.1f} degrees"]


def _undone(mirrored: bool, turn: float, scale: float, shift: Vector) -> Vector:
    """The shift of the inverse: what was moved, turned back."""
    angle = np.radians(-turn)
    y, x = -shift / scale
    back = np.array([np.sin(angle) * x + np.cos(angle) * y, np.cos(angle) * x - np.sin(angle) * y])
    undone: Vector = back * np.array([1, -1 if mirrored else 1])
    return undone


def said(same: SameImages) -> list[str]:
    """What the judgement rests on."""
    limit, own = same.limit, same.own_limit
    parts = [
        f"Two images of different patients are called one where their score is below {limit.threshold:.3f}; the median "
        f"of {limit.n} images against other patients is {limit.middle:.3f}. If the lower tail is that of a log-normal "
        f"distribution, the chance that any of {limit.looks} images is flagged by mistake is {limit.alpha:.0%}."
    ]
    parts.append(
        "Too few patients have several images to know how near two images of one patient come: of these only equal, "
        "flipped and turned ones are found."
        if own is None
        else f"Two images of one patient are called one below {own.threshold:.4f}, or below {limit.threshold:.3f} "
        "where one is flipped or turned."
    )
    if same.left_out:
        parts.append(f"{same.left_out} images were left out of the calibration as certain duplicates.")
    return parts


def by_image(pairs: Sequence[Same]) -> dict[int, Same]:
    """The pair of lowest score of each image that is another one (`other`), by image."""
    found: dict[int, Same] = {}
    for pair in pairs:
        found.setdefault(pair.other, pair)
    return found


def kind_of(change_: str) -> str:
    """A change without its numbers."""
    return re.sub(r" \([^)]*\)| [+-]?\d+\.\d+( degrees| px)?", "", change_)
