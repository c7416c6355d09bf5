"""Translators that compute their output from any input, each with one known behaviour.

A planted translator looks its cohort's images up and refuses others. These take whatever they are given, so what they
answer to the same image twice, to an image that was changed a little, and to one that is none, is known exactly.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.errors import ModelError
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]

EMPTY = 0.05
"""A mean intensity below which an image shows nothing but air, in unit range."""


class Response(Protocol):
    """What a computing translator does to a batch."""

    name: str

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """(N, C, H, W) in unit range to the same shape; `g` is made from the seed of the pass."""


@dataclass(frozen=True)
class Power:
    """Intensities to a power: a smooth contrast of its own, the same every time. 1 is the identity."""

    exponent: float = 1.5
    name: str = "power"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Raise, keeping the sign of what lies below 0."""
        return (np.sign(x) * np.abs(x) ** self.exponent).astype(np.float32)


@dataclass(frozen=True)
class Blurred:
    """A mild blur and a shift by a part of a pixel, as any interpolation has."""

    sigma_px: float = 0.7
    shift_px: float = 0.0
    name: str = "blur"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Blur, then shift."""
        smooth = ndimage.gaussian_filter(x, (0, 0, self.sigma_px, self.sigma_px), mode="nearest")
        moved = ndimage.shift(smooth, (0, 0, self.shift_px, self.shift_px), order=1, mode="nearest")
        return moved.astype(np.float32)  # type: ignore[no-any-return]  # scipy has no types


@dataclass(frozen=True)
class Noisy:
    """Noise drawn at inference, in a share `dose` of the images of a pass."""

    sigma: float = 0.02
    dose: float = 1.0
    seeded: bool = True
    """Drawn from the seed of the pass; otherwise afresh each time."""
    name: str = "noisy"
    _passes: list[int] = field(default_factory=list, repr=False, compare=False)

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Add noise."""
        if not self.seeded:
            self._passes.append(len(self._passes))
            g = rng.child(len(self._passes), self.name, "afresh")
        hit = g.random(len(x)) < self.dose
        noise = self.sigma * g.standard_normal(x.shape) * hit[:, None, None, None]
        return (x + noise).astype(np.float32)


@dataclass(frozen=True)
class BatchNormalized:
    """Centred by the mean of the batch, a share `strength` of the way: batch normalization left in training mode."""

    strength: float = 1.0
    sigma: float = 0.0
    """Of noise from the seed, on top."""
    name: str = "batch-normalized"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Take the batch's mean off and put a constant one on."""
        noise = self.sigma * g.standard_normal(x.shape)
        moved: Float = (x + self.strength * (0.3 - x.mean(dtype=np.float64)) + noise).astype(np.float32)
        return moved


@dataclass(frozen=True)
class Sharpened:
    """Unsharp masking: what changes from pixel to pixel comes out 1 + `amount` times as large."""

    amount: float = 6.0
    name: str = "sharpener"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Add what a blur takes away."""
        smooth = ndimage.gaussian_filter(x, (0, 0, 2.0, 2.0), mode="nearest")
        return (x + self.amount * (x - smooth)).astype(np.float32)  # type: ignore[no-any-return]  # scipy has no types


@dataclass(frozen=True)
class Strided:
    """Every second pixel, repeated: the output depends on where the image lies on the grid."""

    name: str = "strided"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Drop and repeat pixels."""
        height, width = x.shape[2:]
        kept: Float = x[:, :, np.arange(height) // 2 * 2][:, :, :, np.arange(width) // 2 * 2]
        return kept.copy()


@dataclass(frozen=True)
class Fragile:
    """Faithful on clean images; cuts bright lesions off as soon as an image is noisier than `noise`."""

    noise: float = 0.028
    ceiling: float = 0.5
    """What is brighter is lost, in unit range."""
    name: str = "fragile"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Pass clean images on, and cut noisy ones."""
        noisy = np.array([_noise(image) > self.noise for image in x])
        cut: Float = np.minimum(x, np.float32(self.ceiling))
        return np.where(noisy[:, None, None, None], cut, x)


def _noise(image: Float) -> float:
    """Standard deviation of an image's noise, after Immerkaer 1996: slopes and straight edges give no answer."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    answer = np.abs(ndimage.convolve(image.mean(axis=0), mask, mode="nearest"))
    return float(np.median(answer) / (0.6745 * 6))


@dataclass(frozen=True, eq=False)
class Hallucinating:
    """Faithful where there is something to see; paints `template` where the input shows nothing."""

    template: Float
    """(H, W) in unit range."""
    below: float = EMPTY
    """Images with a lower mean intensity count as empty; infinite: it paints whatever the input is."""
    name: str = "hallucinating"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Paint or pass on."""
        empty = x.mean(axis=(1, 2, 3)) < self.below
        return np.where(empty[:, None, None, None], self.template, x).astype(np.float32)


@dataclass(frozen=True)
class Refusing:
    """Says so when the input shows nothing: raises, or answers NaN."""

    raises: bool = True
    name: str = "refusing"

    def respond(self, x: Float, g: np.random.Generator) -> Float:
        """Pass on what there is to see.

        Raises:
            ModelError: an image is empty, and it is to raise.
        """
        empty = x.mean(axis=(1, 2, 3)) < EMPTY
        if self.raises and empty.any():
            raise ModelError(
                "The input shows no patient.",
                expected=f"images of mean intensity {EMPTY:g} or more",
                found=f"{int(empty.sum())} empty images",
                todo="Translate images of the source domain.",
            )
        return np.where(empty[:, None, None, None], np.float32(np.nan), x)


class _Computed:
    """A response as a network."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def __call__(self, x: Float, seed: int) -> Float:
        return self.response.respond(x, rng.child(seed, self.response.name))


def computing_translator(response: Response, channels: int = 1) -> Subject:
    """A translator that computes its output, for images of so many channels in and out."""
    card = Card(
        name=f"control: {response.name}",
        version="1",
        task="translation",
        channels_in=channels,
        channels_out=channels,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        output_role="training_only",
        training_data="none",
    )
    digest = hashlib.sha256(response.name.encode()).hexdigest()
    return Subject(_Computed(response), card, Path(f"control-{response.name}"), "control", digest, "cpu")
