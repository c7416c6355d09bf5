"""Pairs of real images that are one image, found once a run: what the audits of the partitions share.

All images of test, train and val are searched together, each against those of other patients and against the others of
its own patient. From which score on two images are one is read from the scores of all images against other patients:
their middle says how near different patients come, whatever a part of the data holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._changes import change, kind_of
from medgan_qa.audits._partitions import PartitionedRun, RealImages, partition
from medgan_qa.cohorts.cohort import Case
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics._groups import encoded
from medgan_qa.metrics.near_copies import ClosePairs, near_copies, prepared
from medgan_qa.stats.low_tail import LowTail, low_tail

__all__ = [
    "FEWEST_PATIENTS",
    "Limits",
    "PartitionedRun",
    "Rule",
    "Same",
    "SameImages",
    "by_image",
    "calibrated",
    "change",
    "kind_of",
    "said",
    "same_images",
]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

FEWEST_PATIENTS = 20
"""Patients below which there is no scale of how near different patients come."""
MOST_DUPLICATES = 1 / 3
"""Share of images left out of the calibration as certain duplicates, above which the rest says little."""
LEAST_SCORE = 1e-9
TURNED = 20.0
"""Degrees beyond which no two images of one patient are turned against each other as they were acquired."""
FLAT = 1e-6
"""Range of values (unit range) below which an image shows nothing that could have been copied."""


class Rule(NamedTuple):
    """From when on two images are one."""

    false_alarm: float = 0.05
    duplicate: float = 0.02


class Limits(NamedTuple):
    """Scores below which two images are one: of what is left unexplained, and of that less white noise."""

    plain: LowTail
    quiet: LowTail

    def ratio(self, plain: Vector, quiet: Vector) -> Vector:
        """The score nearer to its limit, over it: below 1 the two images are one. NaN where nothing is known."""
        nearer: Vector = np.fmin(plain / self.plain.threshold, quiet / self.quiet.threshold)
        return nearer


class Same(NamedTuple):
    """Two images that are one."""

    one: int
    """The earlier of the two among all images, test first; of a test and another image the other one."""
    other: int
    change: str
    """What gives `other` from `one`."""
    residual: float
    score: float
    """Over the limit, below 1; 0 for images that are equal in every pixel."""
    number: int
    """Place in the list of close pairs, -1 for images that are equal in every pixel."""


@dataclass(frozen=True, eq=False)
class SameImages:
    """Which images are one, and what that judgement rests on."""

    cases: tuple[Case, ...]
    tests: int
    """The first so many are the test partition; then train, then val."""
    limits: Limits | None
    """Of pairs of different patients; None where only equal pixels could be told."""
    own_limit: LowTail | None
    """Of pairs of one patient; None where too few patients have several images."""
    close: ClosePairs
    """Pairs that were compared closely and are one image."""
    nearest: ClosePairs
    """The nearest image of another patient, of each image."""
    pairs: tuple[Same, ...]
    """Those that are one image, by score."""
    left_out: int
    """Images that were left out of the calibration as certain duplicates."""
    flat: int
    """Images that show nothing and are compared with none."""
    unit: Vector
    """(N,) pixels of the stored image per pixel of the working grid."""
    missing: str | None
    """Why changed images could not be searched."""

    def across(self) -> list[Same]:
        """Pairs of a test image and one of another partition."""
        return [p for p in self.pairs if p.one >= self.tests > p.other]

    def within_test(self) -> list[Same]:
        """Pairs of two test images."""
        return [p for p in self.pairs if max(p.one, p.other) < self.tests]

    def within_train(self) -> list[Same]:
        """Pairs of two images of the train partition."""
        return [p for p in self.pairs if all(self.cases[i].partition == "train" for i in (p.one, p.other))]

    def one_patient(self, pair: Same) -> bool:
        """Both images are declared to be of one patient."""
        return self.cases[pair.one].patient_id == self.cases[pair.other].patient_id


def same_images(run: PartitionedRun, rule: Rule) -> SameImages:
    """Pairs of real images that are one image; computed once a run. The cohort must have a test partition.

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
        parts = [partition(run, which) for which in ("test", "train", "val")]
        run.shared[key] = _same_images([part for part in parts if part is not None], rule)
    found: SameImages = run.shared[key]
    return found


class _Images(NamedTuple):
    """All images of all partitions, test first."""

    cases: tuple[Case, ...]
    patients: tuple[str, ...]
    shown: Bool
    """(N,) the image shows something."""
    tests: int
    unit: Vector
    equal: Index
    """(N,) images that are equal in every pixel share a number."""


def _same_images(parts: Sequence[RealImages], rule: Rule) -> SameImages:
    images = _joined(parts)
    people = len(set(images.patients))
    if people < FEWEST_PATIENTS:
        few = f"{people} patients; {FEWEST_PATIENTS} are needed to know how near different patients come."
        return _equal_only(images, few)
    grey = np.concatenate([part.grey for part in parts]) if len(parts) > 1 else parts[0].grey
    ready = prepared(grey, np.concatenate([part.extent for part in parts]))
    of_test = np.arange(len(images.cases)) < images.tests
    others = near_copies(ready, ready, images.patients, images.patients, crops_of=of_test)
    others = others.where(images.shown[others.query] & images.shown[others.reference])
    limits, left_out = _limits(others.residual, others.score, others.quiet_score, rule, images)
    if isinstance(limits, str):
        return _equal_only(images, limits)
    own = near_copies(ready, ready, images.patients, images.patients, among="own")
    own = own.where(images.shown[own.query] & images.shown[own.reference])
    scale = np.full(len(images.cases), np.nan)
    scale[others.query] = others.rivals
    own_limit, own_ratio = _own(own, scale, limits, rule, images)
    ratio = limits.ratio(others.score, others.quiet_score)
    both = ClosePairs.joined([others, own])
    # The same order as `joined` gives.
    ratios = np.concatenate([ratio, own_ratio])[
        np.lexsort((np.concatenate([others.residual, own.residual]), np.concatenate([others.query, own.query])))
    ]
    close, ratios = both.where(ratios < 1), ratios[ratios < 1]
    pairs = _pairs(close, ratios, images)
    flat = int((~images.shown).sum())
    return SameImages(
        images.cases, images.tests, limits, own_limit, close, others, pairs, left_out, flat, images.unit, None
    )


def _joined(parts: Sequence[RealImages]) -> _Images:
    cases = tuple(case for part in parts for case in part.cases)
    return _Images(
        cases,
        tuple(case.patient_id for case in cases),
        np.concatenate([np.ptp(part.grey, axis=(1, 2)) > FLAT for part in parts]),
        sum(len(part) for part in parts if part.partition == "test"),
        np.concatenate([part.sizes.max(axis=1) for part in parts]) / parts[0].grey.shape[1],
        encoded(digest for part in parts for digest in part.digests),
    )


def _equal_only(images: _Images, missing: str) -> SameImages:
    """What equal pixels alone say."""
    none = ClosePairs.none()
    pairs = _pairs(none, np.empty(0), images)
    flat = int((~images.shown).sum())
    return SameImages(images.cases, images.tests, None, None, none, none, pairs, 0, flat, images.unit, missing)


def _limits(residual: Vector, score: Vector, quiet: Vector, rule: Rule, images: _Images) -> tuple[Limits | str, int]:
    """The limits, each at half the rate, and how many images were left out; a text where there are none."""
    half, people = rule._replace(false_alarm=rule.false_alarm / 2), len(set(images.patients))
    made = [calibrated(residual, values, half, len(images.cases), people) for values in (score, quiet)]
    if isinstance(made[0], str) or isinstance(made[1], str):
        return str(made[0] if isinstance(made[0], str) else made[1]), 0
    return Limits(made[0][0], made[1][0]), made[0][1]


def _own(own: ClosePairs, scale: Vector, limits: Limits, rule: Rule, images: _Images) -> tuple[LowTail | None, Vector]:
    """The limit of pairs of one patient, and the ratio of each pair to its own.

    Two slices of a patient are near each other and no duplicates; those of one volume may be as near as copies, so of
    these only such are told that no two slices are turned or flipped like. What is left of a neighbouring slice is
    mostly noise, so it is not taken off.
    """
    root = np.sqrt(np.where(scale[own.query] > 0, scale[own.query], np.nan))
    plain = own.residual / root
    turned = own.mirrored | (np.abs(own.turn) > TURNED)
    ratio = np.where(turned, limits.ratio(plain, own.quiet / root), np.nan)
    volumes = [case.volume for case in images.cases]
    pairs = zip(own.query.tolist(), own.reference.tolist(), strict=True)
    apart = np.array([volumes[q] is None or volumes[q] != volumes[r] for q, r in pairs], bool)
    people = len({images.patients[q] for q in own.query[apart]})
    found = calibrated(own.residual[apart], plain[apart], rule, len(volumes), people)
    if isinstance(found, str):
        return None, ratio
    return found[0], np.where(apart, np.fmin(ratio, plain / found[0].threshold), ratio)


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


def _pairs(close: ClosePairs, ratios: Vector, images: _Images) -> tuple[Same, ...]:
    """Each pair once, images that are equal in every pixel among them, by score."""
    found: dict[tuple[int, int], Same] = {}
    first: dict[int, int] = {}
    for image in np.flatnonzero(images.shown).tolist():
        source = first.setdefault(int(images.equal[image]), image)
        if source != image:
            one, other = _ordered(source, image, images.tests)
            found[one, other] = Same(one, other, "unchanged", 0.0, 0.0, -1)
    for number in np.lexsort((close.residual,)).tolist():
        query, reference = int(close.query[number]), int(close.reference[number])
        one, other = _ordered(query, reference, images.tests)
        told = change(close, number, reference == one, float(images.unit[other]))
        same = Same(one, other, told, float(close.residual[number]), float(ratios[number]), number)
        there = found.get((one, other))
        # Of the two directions the one that is told as it was asked for is kept, so that it can be shown.
        if there is None or (there.number >= 0 and close.reference[there.number] != one and reference == one):
            found[one, other] = same
    return tuple(sorted(found.values(), key=lambda same: (same.score, same.one, same.other)))


def _ordered(a: int, b: int, tests: int) -> tuple[int, int]:
    """The image of another partition first, else the one that stands first."""
    low, high = min(a, b), max(a, b)
    return (high, low) if low < tests <= high else (low, high)


def said(same: SameImages) -> list[str]:
    """What the judgement rests on."""
    parts = []
    if same.limits is not None:
        plain, quiet = same.limits
        parts.append(
            f"Two images of different patients are called one where their score is below {plain.threshold:.3f}, or, "
            f"less white noise, below {quiet.threshold:.3f}; the medians of {plain.n} images against other patients "
            f"are {plain.middle:.3f} and {quiet.middle:.3f}. If the lower tails are those of log-normal distributions, "
            f"the chance that any of {plain.looks} images is flagged by mistake is {plain.alpha + quiet.alpha:.0%}."
        )
        parts.append(
            "Too few patients have several images to know how near two images of one patient come: of these only "
            "equal, flipped and turned ones are found."
            if same.own_limit is None
            else f"Two images of one patient are called one below {same.own_limit.threshold:.4f}, or below the limits "
            "of different patients where one is flipped or turned; slices of one volume only in that last case, or "
            "where they are equal."
        )
    if same.left_out:
        parts.append(f"{same.left_out} images were left out of the calibration as certain duplicates.")
    if same.flat:
        parts.append(f"{same.flat} images show one value alone and were compared with none.")
    return parts


def by_image(pairs: Sequence[Same]) -> dict[int, Same]:
    """The pair of lowest score of each image that is another one (`other`), by image."""
    found: dict[int, Same] = {}
    for pair in pairs:
        found.setdefault(pair.other, pair)
    return found
