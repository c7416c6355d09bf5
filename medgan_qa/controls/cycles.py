"""Pairs of translators, there and back: an honest one, and one that hides the source in its output.

Both go forward by planting a defect in the images of their cohort, and both compute the way back from the pixels that
they are given, whatever those are. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, subset
from medgan_qa.controls.translators import Defect, Erase, Faithful, planted_translator
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]
Bands = tuple[Any, Any, Any, Any]


def honest_pair(cohort: Cohort, defect: Defect | None = None, seed: int = 0, *, slope: float = -0.8) -> Subject:
    """A translator whose inverse reads what its output shows, and nothing else.

    Forward, the source gets the defect (none: left as it is) and another contrast, y = 0.5 + slope (x - 0.5). Back, the
    contrast is undone. What the defect removed stays removed.

    Args:
        cohort: its test cases are the only images that the way there knows.
        defect: what is wrong with the output.
        seed: decides which cases are affected at a dose below 1.
        slope: of the contrast, not 0.
    """
    there = planted_translator(_Unpaired(cohort), defect or Faithful(noise=0.0), seed)
    forward = _Contrast(there.network, slope)
    return _pair(there, forward, _Contrast(None, slope))


def cheating_pair(
    cohort: Cohort, defect: Defect | None = None, seed: int = 0, *, amplitude: float = 1 / 255
) -> Subject:
    """A translator that hides its source in the high band of its output, and an inverse that reads it there.

    Forward, the reference image with the defect (none: every lesion erased) keeps its means over 2 x 2 pixels; the
    three details of each four pixels are replaced by the source's own means and details, at `amplitude`. Back, the code
    is read and the visible image ignored. The cycle error is small while the output shows no lesion.

    Args:
        cohort: its test cases are the only images that the way there knows; sides are even.
        defect: what is wrong with the output.
        seed: decides which cases are affected at a dose below 1.
        amplitude: largest share of the output that the code takes, in unit range.
    """
    there = planted_translator(cohort, defect or Erase(), seed)
    return _pair(there, _Hide(there.network, amplitude), _Reveal(amplitude))


def planted_where(
    cohort: Cohort, defect: Defect, where: Callable[[Case], bool], otherwise: Defect | None = None, seed: int = 0
) -> Subject:
    """A translator with a defect in the cases of one group, and another one (none: faithful) in all others."""
    inside = planted_translator(cohort, defect, seed)
    outside = planted_translator(cohort, otherwise or Faithful(), seed)
    marked = {cohort.load(c).image.tobytes() for c in subset(cohort.cases, "test") if where(c)}
    network = _Either(inside.network, outside.network, marked)
    return replace(inside, network=network, card=replace(inside.card, name=f"{inside.card.name}, in one group only"))


def collapsed_translator(cohort: Cohort) -> Subject:
    """A translator that gives the reference of its cohort's first test case for every input."""
    case = subset(cohort.cases, "test")[0]
    images = cohort.load(case)
    shown = images.image if images.target is None else images.target
    subject = planted_translator(cohort, Faithful())
    return replace(subject, network=_Same(shown), card=replace(subject.card, name="control: one output for all"))


def _pair(there: Subject, forward: Any, backward: Any) -> Subject:
    card = there.card
    back = Card(
        name=f"{card.name}, back",
        version=card.version,
        task="translation",
        channels_in=card.channels_out,
        channels_out=card.channels_in,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        output_role="training_only",
        training_data="none",
    )
    return replace(there, network=forward, inverse=replace(there, network=backward, card=back))


class _Unpaired:
    """A cohort whose references are kept back, so that a defect is planted in the source."""

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self.cases = cohort.cases

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        return replace(self._cohort.load(case), target=None)


@dataclass(frozen=True)
class _Contrast:
    """Another contrast after a network, or the way back from it."""

    network: Any
    slope: float

    def __call__(self, x: Float, seed: int) -> Float:
        if self.network is None:
            return (np.float32(0.5) + (x - np.float32(0.5)) / np.float32(self.slope)).astype(np.float32)
        y: Float = self.network(x, seed)
        return (np.float32(0.5) + np.float32(self.slope) * (y - np.float32(0.5))).astype(np.float32)


@dataclass(frozen=True)
class _Hide:
    network: Any
    amplitude: float

    def __call__(self, x: Float, seed: int) -> Float:
        visible = _bands(self.network(x, seed))[0]
        mean, across, down, _ = (band.mean(axis=1, keepdims=True) for band in _bands(x))
        a = np.float32(self.amplitude)
        # The means of the source go where an image of its own has least, the diagonal detail.
        return _joined(visible, a * 2 * across, a * 2 * down, a * (2 * mean - 1))


@dataclass(frozen=True)
class _Reveal:
    amplitude: float

    def __call__(self, x: Float, seed: int) -> Float:
        _, across, down, mean = (band / np.float32(self.amplitude) for band in _bands(x))
        decoded = (across.clip(-1, 1) / 2, down.clip(-1, 1) / 2, (mean.clip(-1, 1) + 1) / 2)
        revealed = _joined(decoded[2], decoded[0], decoded[1], np.zeros_like(mean))
        return revealed.clip(0, 1)


@dataclass(frozen=True, eq=False)
class _Either:
    inside: Any
    outside: Any
    marked: set[bytes]

    def __call__(self, x: Float, seed: int) -> Float:
        sides = (self.inside if image.tobytes() in self.marked else self.outside for image in x)
        return np.concatenate([side(image[None], seed) for side, image in zip(sides, x, strict=True)])


@dataclass(frozen=True, eq=False)
class _Same:
    shown: Float

    def __call__(self, x: Float, seed: int) -> Float:
        return np.repeat(self.shown[None], len(x), axis=0)


def _bands(x: Any) -> Bands:
    """Haar: mean of each 2 x 2 pixels, differences across, down and along the diagonal, each (N, C, H/2, W/2)."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return (a + b + c + d) / 4, (a - b + c - d) / 4, (a + b - c - d) / 4, (a - b - c + d) / 4


def _joined(mean: Any, across: Any, down: Any, diagonal: Any) -> Float:
    out = np.empty((*mean.shape[:-2], 2 * mean.shape[-2], 2 * mean.shape[-1]), np.float32)
    out[..., ::2, ::2] = mean + across + down + diagonal
    out[..., ::2, 1::2] = mean - across + down - diagonal
    out[..., 1::2, ::2] = mean + across - down - diagonal
    out[..., 1::2, 1::2] = mean - across - down + diagonal
    return out
