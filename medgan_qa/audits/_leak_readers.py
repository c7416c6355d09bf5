"""Readers of augmented images, learnt from real ones.

They tell which position an image is in, whether it lies as real ones do, whether its intensities are theirs, and
whether a piece is cut out of it. Every reader gives a number that is large for an augmented image; the limits leave a
set rate of real images beyond. They are taken from readings of images by readers that other patients' images were
learnt from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import INVERSE, oriented
from medgan_qa.metrics.appearance import Usual, bodies, centred, pose, reduced, tone, usual
from medgan_qa.metrics.cutout import flattest_squares, usual_body
from medgan_qa.metrics.orientation import OrientationReader, orientation_reader
from medgan_qa.metrics.tilt import TiltReader, tilt_reader
from medgan_qa.stats.low_tail import low_tail

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]

PARTS = ("turned", "moved", "altered", "cut")
"""What a reader may find: another position, another place or size, other intensities, a hole."""
PLACES = 6
"""Numbers that say where an image lies."""
LEAST = 1e-6
"""What a distance is at least, so that it can be divided by."""
STEEPEST = 300.0
"""Log odds are cut at it, to stay within what the exponential function can be computed of."""


class Images(NamedTuple):
    """Images made small: what the readers look at."""

    shape: tuple[int, int]
    """Of the images as they were."""
    colour: NDArray[np.float32]
    """(N, C, h, w)"""
    grey: NDArray[np.float32]
    """(N, h, w)"""
    body: Bool
    """(N, h, w)"""

    def take(self, index: Any) -> Images:
        """Some of them."""
        return Images(self.shape, self.colour[index], self.grey[index], self.body[index])


class Reading(NamedTuple):
    """What is read of N images."""

    code: Index
    """(N,) position, 0 for upright."""
    odds: Float
    """(N,) log odds of the likeliest other position against upright, less its limit."""
    excess: Float
    """(N, 3) place, intensities and flatness, over their limits: beyond 1 is found."""

    def found(self, part: str) -> Bool:
        """(N,) whether a part of `PARTS` was found."""
        if part == "turned":
            return self.code > 0
        return np.asarray(self.excess[:, PARTS.index(part) - 1] > 1)

    @property
    def any(self) -> Bool:
        """(N,) whether anything was found."""
        found: Bool = np.any([self.found(part) for part in PARTS], axis=0)
        return found


class Scores(NamedTuple):
    """Of N images in each of K positions, see `OrientationReader`."""

    upright: Float
    """(N, K) logarithm of the likelihood, up to a constant an image."""
    likeness: Float
    """(N, K) correlation with the mean real image."""


@dataclass(frozen=True, eq=False)
class _Learnt:
    """Readers without limits."""

    position: OrientationReader
    tilt: TiltReader
    place: Usual
    intensity: Usual
    inside: Bool

    def scores(self, images: Images) -> tuple[Float, Float]:
        """(N, K) scores and likeness of the positions, of images moved so that the body lies in the middle."""
        middle = centred(images.grey, images.body)
        return self.position.scores(middle), self.position.likeness(middle)

    def measure(self, images: Images) -> Float:
        """(N, 8) of upright images: how far off six numbers of their place are, and their intensities; steepness.

        The steepness is one over the flatness of their flattest square.
        """
        flat = flattest_squares(images.grey, self.inside)
        steep = np.zeros(len(images.grey)) if flat is None else 1 / flat.flatness
        place = self.place.apart(_places(images, self.tilt))
        return np.column_stack([place, self.intensity.distance(tone(images.colour, images.body)), steep])


@dataclass(frozen=True, eq=False)
class LeakReaders:
    """Readers with their limits."""

    learnt: _Learnt
    limits: dict[int, float]
    """Log odds beyond which an image is in a position, by code; positions that are not told apart are missing."""
    unlike: float
    """One less the likeness that an image has in a position at least, or it is not in it."""
    beyond: Float
    """(8,) limits of the other readings."""
    patients: int
    """Whose images they were learnt from."""
    alike: frozenset[int] = frozenset({0})
    """Positions that count as upright, as they are not told from it."""

    @property
    def codes(self) -> tuple[int, ...]:
        """Positions that images of this shape can be in, upright first."""
        return self.learnt.position.codes

    def without(self, alike: frozenset[int]) -> LeakReaders:
        """Readers to whom some positions, with 0 a group, are upright."""
        return replace(self, limits={code: x for code, x in self.limits.items() if code not in alike}, alike=alike)

    def scores(self, images: Images) -> Scores:
        """Of every position."""
        return Scores(*self.learnt.scores(images))

    def turned(self, scores: Scores, code: int) -> Scores:
        """The scores of the same images in another position."""
        return Scores(*(self.learnt.position.turned(values, code) for values in scores))

    def positions(self, scores: Scores) -> tuple[Index, Float]:
        """(N,) position by scores, and (N,) log odds of the likeliest against upright, less its limit."""
        count = len(scores.upright)
        if not self.limits:
            return np.zeros(count, np.intp), np.full(count, -STEEPEST)
        codes = np.array(list(self.limits))
        places = [self.codes.index(code) for code in codes]
        as_upright = [self.codes.index(code) for code in sorted(self.alike)]
        odds = scores.upright[:, places] - scores.upright[:, as_upright].max(axis=1, keepdims=True)
        over = odds - np.array([self.limits[code] for code in codes])
        over = np.where(1 - scores.likeness[:, places] <= self.unlike, over, np.minimum(over, 0.0))
        # Among the positions beyond their limits, the likeliest; the first if two are as likely.
        some = (over > 0).any(axis=1)
        best = np.where(some, np.where(over > 0, odds, -np.inf).argmax(axis=1), over.argmax(axis=1))
        return np.where(some, codes[best], 0), over[np.arange(count), best]

    def read(self, images: Images) -> Reading:
        """Positions, and everything else of the images with their position undone."""
        code, odds = self.positions(self.scores(images))
        over = self.learnt.measure(upright(images, code)) / self.beyond
        return Reading(code, odds, np.column_stack([over[:, :PLACES].max(axis=1), over[:, PLACES:]]))


def small(images: Any) -> Images:
    """Images (N, C, H, W), finite and in unit range, as the readers look at them."""
    stack = np.asarray(images, np.float32)
    channels = np.stack([reduced(stack[:, c]) for c in range(stack.shape[1])], axis=1)
    grey = stack.mean(axis=1, dtype=np.float32)
    return Images((stack.shape[2], stack.shape[3]), channels, channels.mean(axis=1, dtype=np.float32), bodies(grey))


def upright(images: Images, codes: Index) -> Images:
    """Every image with its position undone."""
    if not codes.any():
        return images
    made = images.take(np.arange(len(codes)))
    for k in np.flatnonzero(codes):
        back = INVERSE[codes[k]]
        for stack in (made.colour, made.grey, made.body):
            stack[k] = oriented(stack[k].copy(), back)
    return made


def leak_readers(images: Images, patients: Sequence[str], false_alarm: float) -> LeakReaders:
    """Learn readers from real images, and the limits that a share `false_alarm` of such images goes beyond, for each.

    The limits are taken from readings of either half of the patients by readers that the other half taught: the tail of
    a normal distribution (log-normal for what is skewed), or the order statistic where that lies farther out. The
    chances that an image is called turned or moved are shared out among the positions, and among the numbers of its
    place.
    """
    names = sorted(set(patients))
    first = set(names[::2])
    half = np.array([patient in first for patient in patients])
    scores, measured = [], []
    for mine in (half, ~half):
        taught = _learn(images.take(~mine))
        scores.append(taught.scores(images.take(mine)))
        measured.append(taught.measure(images.take(mine)))
    learnt = _learn(images)
    others = learnt.position.codes[1:]
    upright_scores, likeness = (np.concatenate(values) for values in zip(*scores, strict=True))
    odds = upright_scores[:, 1:] - upright_scores[:, :1]
    limits = {
        code: max(0.0, _limit(values, false_alarm / len(others), len(names)))
        for code, values in zip(others, odds.T, strict=True)
    }
    unlike = math.exp(_limit(np.log(np.maximum(1 - likeness[:, 0], LEAST)), false_alarm, len(names)))
    known = np.concatenate(measured)
    places = [_limit(values, false_alarm / PLACES, len(names)) for values in known[:, :PLACES].T]
    # Distances and flatness are skewed; their logarithms less so.
    logs = np.log(np.maximum(known[:, PLACES:], LEAST))
    rest = [math.exp(_limit(values, false_alarm, len(names))) for values in logs.T]
    return LeakReaders(learnt, limits, unlike, np.array([*places, *rest]), len(names))


def _learn(images: Images) -> _Learnt:
    tilt = tilt_reader(images.grey)
    return _Learnt(
        orientation_reader(centred(images.grey, images.body)),
        tilt,
        usual(_places(images, tilt)),
        usual(tone(images.colour, images.body)),
        usual_body(images.body),
    )


def _places(images: Images, tilt: TiltReader) -> Float:
    """(N, 6) pose of the body, and by how much the image is turned, in radians."""
    return np.column_stack([pose(images.body), np.deg2rad(tilt.degrees(images.grey))])


def _limit(values: Float, false_alarm: float, people: int) -> float:
    """A limit for values with a normal upper tail, of which large is suspicious."""
    values = np.clip(values, -STEEPEST, STEEPEST)
    ordered = np.sort(values)
    allowed = int(false_alarm * (len(values) + 1))
    tail = -math.log(low_tail(np.exp(-values), false_alarm, 1, people).threshold)
    return max(tail, float(ordered[-1 - allowed]))
