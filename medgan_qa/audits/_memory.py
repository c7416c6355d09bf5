"""Whole copies of training images, found once a run: what the audits of memorization share.

Samples and held-out images are scored against the same training images by the same procedure, in the image itself
(orientation, shift and gamma undone) and in every feature space. The scores of all spaces are put on one scale and the
smallest counts, so that one threshold with one false-alarm rate holds for all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medgan_qa.audits.numbers import ALPHA
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.criteria import Declared, Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.copies import AlignedNeighbors, aligned_neighbors
from medgan_qa.metrics.neighbor_ratio import neighbor_ratio
from medgan_qa.metrics.neighbours import nearest_neighbors
from medgan_qa.record import Interval, Measurement
from medgan_qa.stats import clopper_pearson, required_n
from medgan_qa.stats.calibration import CalibratedThreshold, calibrated_threshold, required_held_out

Float = NDArray[np.float64]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

IMAGE = "image"
"""The space of pixels, orientation, shift and gamma undone."""
RIVALS = 5
"""Next nearest patients that the nearest is compared with."""
FEWEST_TRAINING = 20
"""Training patients below which there is no scale of how near other patients come."""
MOST_LEAKED = 0.05
"""Share of test images that may be left out as duplicates of training images."""
BATCH = 100
LEAST_SPREAD = 0.05
LEAST_SCORE = 1e-12

NO_TRAIN = "The dataset has no train partition, so there is nothing to compare the samples with for copies."


class Rule(NamedTuple):
    """How copies are told from other images."""

    false_alarm: float = 0.002
    margin: float = 0.75
    duplicate: float = 0.02
    max_shift: float = 4.0


class Scale(NamedTuple):
    """What a score is measured in: logarithm, median 0 and lowest hundredth -1 of training images among themselves."""

    middle: float
    spread: float

    @classmethod
    def of(cls, scores: Float) -> Scale:
        """The scale of leave-one-patient-out scores; those that are NaN do not count."""
        known = np.log(np.maximum(scores[np.isfinite(scores)], LEAST_SCORE))
        if not known.size:
            return cls(0.0, 1.0)
        middle, low = np.quantile(known, [0.5, 0.01])
        return cls(float(middle), max(float(middle - low), LEAST_SPREAD))

    def standard(self, scores: Float) -> Float:
        """Scores on the scale; NaN, where nothing can be compared, is 0 as the median is."""
        logs = (np.log(np.maximum(scores, LEAST_SCORE)) - self.middle) / self.spread
        return np.where(np.isfinite(scores), logs, 0.0)

    def score(self, standard: float) -> float:
        """The score at a place of the scale."""
        return math.exp(self.middle + standard * self.spread)


class SpaceScores(NamedTuple):
    """Distance to the nearest training image over that to the next patients, in one space."""

    name: str
    train: Float
    """(t,) of training images against the other patients' images."""
    held_out: Float
    """(n,)"""
    samples: Float
    """(m,)"""
    nearest: Index
    """(m,) the nearest training image of each sample."""


@dataclass(frozen=True, eq=False)
class WholeCopies:
    """Which samples are copies of training images, and what that judgement rests on."""

    rule: Rule
    spaces: tuple[SpaceScores, ...]
    """The image first, then the extractors."""
    flagged: dict[str, Bool]
    """(m,) by space."""
    cuts: dict[str, float]
    """Scores below which a sample is flagged, by space."""
    threshold: CalibratedThreshold
    """Of the standardised scores, over held-out patients."""
    alarms: Bool
    """(n,) held-out images that are flagged when their own patient is left out of the calibration."""
    held_out: Index
    """(n,) the test images behind `alarms`; duplicates of training images are left out."""
    aligned: AlignedNeighbors
    """Of the samples."""
    groups: Index
    """(t,) training patients, joined where they share an image."""
    repeated: Index
    """Training images that stand under another patient as well."""

    @property
    def found(self) -> Bool:
        """(m,) samples that are flagged in any space."""
        every: Bool = np.logical_or.reduce(list(self.flagged.values()))
        return every

    @property
    def source(self) -> Index:
        """(m,) the training image that each sample is a copy of, or the nearest one."""
        source = self.spaces[0].nearest.copy()
        for space in reversed(self.spaces):
            source = np.where(self.flagged[space.name], space.nearest, source)
        return source

    def spaces_of(self, sample: int) -> list[str]:
        """The spaces in which a sample is flagged."""
        return [name for name, flags in self.flagged.items() if flags[sample]]


def lacking(run: SynthesisRun, false_alarm: float) -> str | None:
    """What is missing to look for copies at a false-alarm rate.

    Raises:
        ConfigurationError: the rate is none.
    """
    if not 0 < false_alarm < 1:
        raise ConfigurationError(
            "The false-alarm rate cannot be used.",
            expected="a share above 0 and below 1",
            found=repr(false_alarm),
            where="[parameters], false_alarm",
            todo="Give a rate such as 0.002.",
        )
    if run.train is None:
        return NO_TRAIN
    known = len(set(run.train.patients))
    if known < FEWEST_TRAINING:
        return f"{known} training patients; {FEWEST_TRAINING} are needed to know how near other patients come."
    return too_few(len(set(run.reference.patients)), false_alarm)


def too_few(held_out: int, false_alarm: float) -> str | None:
    """What is missing where held-out patients are too few for a false-alarm rate."""
    needed = required_held_out(false_alarm)
    if held_out >= needed:
        return None
    return (
        f"With {held_out} held-out patients the smallest false-alarm rate is {1 / (held_out + 1):.2g}; {needed} are "
        f"needed for the {false_alarm:g} asked for."
    )


def whole_copies(run: SynthesisRun, rule: Rule) -> WholeCopies | str:
    """Copies of training images among the samples; computed once a run. A text where something is missing."""
    missing = lacking(run, rule.false_alarm)
    if missing:
        return missing
    key = f"whole copies {tuple(rule)}"
    if key not in run.shared:
        run.shared[key] = _whole_copies(run, rule)
    found: WholeCopies | str = run.shared[key]
    return found


def _whole_copies(run: SynthesisRun, rule: Rule) -> WholeCopies | str:
    assert run.train is not None
    among = _aligned(run, run.train, run.train.patients, rule, "Looking for duplicates", leave_out=True)
    groups, repeated = _joined(run.train.patients, among, rule.duplicate)
    if len(set(groups)) < FEWEST_TRAINING:
        return f"The training images are alike: without duplicates there are {len(set(groups))} patients."
    of_test = _aligned(run, run.reference, groups, rule, "Calibrating on held-out images")
    held_out = np.flatnonzero(of_test.residual >= rule.duplicate)
    leaked = len(run.reference) - len(held_out)
    if leaked > MOST_LEAKED * len(run.reference):
        return (
            f"{leaked} of {len(run.reference)} test images are the same as a training image, so they do not say what "
            "other patients look like."
        )
    patients = [run.reference.patients[i] for i in held_out]
    missing = too_few(len(set(patients)), rule.false_alarm)
    if missing:
        return missing
    aligned = _aligned(run, run.generated, groups, rule, "Looking for copies")
    unique = np.setdiff1d(np.arange(len(run.train)), repeated)
    image = SpaceScores(IMAGE, among.ratio[unique], of_test.ratio[held_out], aligned.ratio, aligned.reference)
    spaces = (image, *(_in_features(run, name, groups, unique, held_out) for name in run.extractors))
    return _judged(rule, spaces, patients, held_out, aligned, groups, repeated)


def _aligned(
    run: SynthesisRun,
    asked: Pictures,
    groups: Sequence[Any] | Index,
    rule: Rule,
    label: str,
    *,
    leave_out: bool = False,
) -> AlignedNeighbors:
    """Neighbours of all images among the training images, a batch after the other; `leave_out`: of other groups."""
    assert run.train is not None
    known = run.train.grey

    def search(first: int) -> AlignedNeighbors:
        part = slice(first, first + BATCH)
        own = groups[part] if leave_out else None
        return aligned_neighbors(
            asked.grey[part],
            known,
            reference_groups=groups,
            query_groups=own,
            candidates=RIVALS,
            max_shift=rule.max_shift,
        )

    parts = run.engine.map(search, range(0, len(asked), BATCH), label=label)
    return AlignedNeighbors(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(AlignedNeighbors)}
    )


def _joined(patients: Sequence[str], among: AlignedNeighbors, duplicate: float) -> tuple[Index, Index]:
    """Patients joined where they share an image, and the images that they share."""
    near = np.column_stack([among.reference, among.rival_reference])
    same = np.column_stack([among.residual, among.rivals]) < duplicate
    image, column = np.nonzero(same)
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    pair = codes[image], codes[near[image, column]]
    graph = coo_array((np.ones(len(image)), pair), shape=(codes.max() + 1, codes.max() + 1))
    joined = connected_components(graph, directed=False)[1]
    return joined[codes].astype(np.intp), np.unique(np.concatenate([image, near[image, column]]))


def _in_features(run: SynthesisRun, name: str, groups: Index, unique: Index, held_out: Index) -> SpaceScores:
    """Nearest-neighbour ratios in a feature space."""
    space = run.space(name)
    assert space.train is not None
    largest = int(np.bincount(groups).max())
    k = min(len(groups), RIVALS + largest)

    def ratio(queries: NDArray[Any]) -> tuple[Float, Index]:
        near = nearest_neighbors(queries, space.train, k)
        index, distance = near.index, near.distance
        return neighbor_ratio(distance, index, groups, count=RIVALS), index[:, 0]

    near = nearest_neighbors(space.train[unique], space.train, min(len(groups), k + largest))
    index, distance = near.index, near.distance
    index, distance = _of_others(index, distance, groups[unique], groups, min(k, len(groups) - largest))
    samples, nearest = ratio(space.generated)
    among = neighbor_ratio(distance, index, groups, count=RIVALS)
    return SpaceScores(name, among, ratio(space.reference[held_out])[0], samples, nearest)


def _of_others(index: Index, distance: Float, own: Index, groups: Index, count: int) -> tuple[Index, Float]:
    """The first `count` neighbours of each row that are not of the row's own group."""
    order = np.argsort(groups[index] == own[:, None], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(distance, order, axis=1)


def _judged(
    rule: Rule,
    spaces: tuple[SpaceScores, ...],
    patients: Sequence[str],
    held_out: Index,
    aligned: AlignedNeighbors,
    groups: Index,
    repeated: Index,
) -> WholeCopies:
    scales = [Scale.of(space.train) for space in spaces]
    standard = np.min([s.standard(space.held_out) for s, space in zip(scales, spaces, strict=True)], axis=0)
    lowest, threshold, others = calibrated(standard, patients, rule.false_alarm)

    def cut(scale: Scale, at: float) -> float:
        return rule.margin * scale.score(at)

    cuts = {space.name: cut(s, threshold.threshold) for s, space in zip(scales, spaces, strict=True)}
    flagged = {space.name: space.samples < cuts[space.name] for space in spaces}
    # A patient among the lowest moves the threshold; without that patient it is the next one.
    moved = lowest <= threshold.threshold
    alarms = np.zeros(len(standard), bool)
    for s, space in zip(scales, spaces, strict=True):
        alarms |= space.held_out < np.where(moved, cut(s, others), cuts[space.name])
    return WholeCopies(rule, spaces, flagged, cuts, threshold, alarms, held_out, aligned, groups, repeated)


def calibrated(scores: Float, patients: Sequence[str], false_alarm: float) -> tuple[Float, CalibratedThreshold, float]:
    """A threshold from the lowest score of each held-out patient.

    The lowest of a patient's images stands for the patient, so that images of one patient count once; a sample, which
    has one image, is then flagged less often than the rate says.

    Args:
        scores: (n,) of held-out images, small is suspicious.
        patients: (n,).
        false_alarm: largest expected rate.

    Returns:
        (n,) the lowest score of each image's patient, the threshold, and what it is once one of the patients at or
        below it is left out.
    """
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    minima = np.full(codes.max() + 1, np.inf)
    np.minimum.at(minima, codes, scores)
    threshold = calibrated_threshold(minima, false_alarm)
    ordered = np.sort(minima)
    return minima[codes], threshold, float(ordered[min(threshold.rank, len(ordered) - 1)])


def least_share(flagged: int, m: int, rank: int, n: int, alpha: float) -> float:
    """Lower bound of the share of copies among m samples, false alarms allowed for.

    The largest share c at which the number flagged would still be surprising: copies are binomial with share c, false
    alarms negative hypergeometric, as for a threshold at the rank-th smallest of n held-out scores. At c = 0 it is the
    exact test of `medgan_qa.stats.calibration.excess_test`, so the bound is above 0 if and only if that test is
    significant.

    Args:
        flagged: samples below the threshold.
        m: samples.
        rank: of the held-out score that is the threshold.
        n: held-out patients.
        alpha: error rate.
    """
    if flagged == 0:
        return 0.0
    fewer = np.arange(flagged)
    alarms = np.cumsum(stats.betabinom.pmf(fewer, m, rank, n - rank + 1))[::-1]

    def excess(share: float) -> float:
        return float(1.0 - stats.binom.pmf(fewer, m, share) @ alarms) - alpha

    return 0.0 if excess(0.0) >= 0 else float(optimize.brentq(excess, 0.0, 1.0))


def flagged_rate(
    measurement_id: str, label: str, flags: Bool, threshold: CalibratedThreshold, *, unit_of_analysis: str = "sample"
) -> Estimate:
    """The share of samples that are flagged, with an interval that is honest about false alarms at either end."""
    k, m = int(flags.sum()), len(flags)

    def at(alpha: float) -> Interval:
        return Interval(
            low=least_share(k, m, threshold.rank, threshold.n, alpha),
            high=clopper_pearson(k, m, alpha)[1],
            level=1 - alpha,
            method="Clopper-Pearson; lower end beyond false alarms, by inverting the exact test of the excess",
            sided=1,
        )

    def shortfall(declared: Declared, alpha: float) -> str | None:
        limit = declared.limit.get("max")
        if limit is None or not 0 < limit < 1:
            return None
        if k / m >= limit:
            return f"{k} of {m} samples; the share is at or above the limit, so more samples alone will not carry it"
        needed = required_n(limit, alpha, k)
        return f"{k} of {m} samples; {needed} are needed with {k}" if needed > m else f"{k} of {m} samples"

    measurement = Measurement(
        id=measurement_id,
        label=label,
        value=k / m if m else None,
        unit="fraction",
        interval=at(ALPHA) if m else None,
        n=m,
        unit_of_analysis=unit_of_analysis,
        better="lower",
        clusters=m,
        reason=None if m else f"There is no {unit_of_analysis} to count.",
    )
    return Estimate(measurement, at if m else None, shortfall if m else None)
