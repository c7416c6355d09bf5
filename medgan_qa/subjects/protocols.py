"""The subjects of an audit: a network with its card, in the units that audits work in.

Audits hold images in unit range (the cohort's value range mapped to [0, 1]). A subject maps them to what its network
wants (`range_in`) and back (`range_out`); nothing is clipped, so an output beyond its declared range stays visible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.errors import ModelCrashError, ModelError
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.networks import Network

Float = NDArray[np.float32]

SAMPLE_BATCH = 64
"""Images a forward pass of a sampler; fixed, so that a run repeats bit by bit on one machine."""


class Translator(Protocol):
    """Image to image, same size."""

    def translate(self, x: Float, seed: int = 0) -> Float:
        """(N, C_in, H, W) to (N, C_out, H, W), unit range both."""


class Sampler(Protocol):
    """Images from nothing but a seed."""

    def sample(self, n: int, seed: int) -> Float:
        """`n` images (n, C, H, W) in unit range; the same seed gives the same images."""


class SuperResolver(Protocol):
    """Image to a finer image, or to a restored one on the same grid."""

    def upscale(self, x: Float, seed: int = 0) -> Float:
        """(N, C_in, H, W) to (N, C_out, scale[0] * H, scale[1] * W), unit range both."""


class Discriminator(Protocol):
    """Says how real an image looks to it."""

    def score(self, x: Float) -> Float:
        """(N, C, H, W) in unit range to logits (N,); larger is more real."""


class Detector(Protocol):
    """Reads lesions in images of the target domain."""

    def read(self, x: Float) -> Float:
        """(N, C, H, W) in unit range to lesion logits (N, H, W)."""


@dataclass(frozen=True)
class Subject:
    """A loaded model file."""

    network: Network
    card: Card
    path: Path
    format: str
    sha256: str
    device: str
    parameters: int | None = None
    """How many trainable numbers, where the format tells."""
    inverse: Subject | None = None
    """The model of the other direction where it was made together with this one; see `load.inverse_of`."""
    comparator: Subject | None = None
    """The same network from scratch where it was made together with this one; see `load.comparator_of`."""
    isolation: dict[str, Any] = field(default_factory=dict, compare=False)
    """What stood between the model and the audit, for the Record; empty for what is no file of somebody else's."""
    trusted: bool = False
    """Whether it ran in the process of the audit because whoever ran it trusted it."""
    named: str = ""
    """How the model was named when it was loaded; see `load.load_again`."""
    weights: Path | None = None
    """The file of weights that a team's own code was given."""
    origin: dict[str, Any] = field(default_factory=dict, compare=False)
    """Which code stands behind a model that is made by code, for the Record."""

    def as_dict(self) -> dict[str, Any]:
        """What the Record says of the model."""
        return {
            "name": self.card.name,
            "version": self.card.version,
            "task": self.card.task,
            "file": self.path.name,
            "format": self.format,
            "sha256": self.sha256,
            "parameters": self.parameters,
            "card": self.card.as_dict(),
            **({"origin": self.origin} if self.origin else {}),
            **({"isolation": {**self.isolation}, "trusted": self.trusted} if self.isolation else {}),
        }

    def translate(self, x: Float, seed: int = 0) -> Float:
        """Translate a batch (see `Translator`).

        Raises:
            ModelError: wrong number of channels, or an output of another shape than the card declares.
        """
        self._require_channels(x)
        y = self._forward(x, seed)
        expected = (x.shape[0], self.card.channels_out, *x.shape[2:])
        self._require_shape(y, expected, "a translation keeps the image size and has channels_out channels")
        return _from(y, self.card.range_out)

    def upscale(self, x: Float, seed: int = 0) -> Float:
        """Upscale a batch (see `SuperResolver`).

        Raises:
            ModelError: wrong number of channels, or an output of another shape than the card declares.
        """
        self._require_channels(x)
        y = self._forward(x, seed)
        rows, columns = self.card.scale or (1, 1)
        expected = (x.shape[0], self.card.channels_out, rows * x.shape[2], columns * x.shape[3])
        self._require_shape(y, expected, "a super-resolver returns scale times the rows and columns of its input")
        return _from(y, self.card.range_out)

    def sample(self, n: int, seed: int, first: int = 0, label: str | None = None) -> Float:
        """Draw images (see `Sampler`) from standard normal latent vectors, in batches of `SAMPLE_BATCH`.

        Args:
            n: how many.
            seed: names the latent vectors; image k of a seed is the same however many are drawn.
            first: the number of the first image, a multiple of `SAMPLE_BATCH`.
            label: the class to draw, one of the card's; None draws the classes in turn where the card names any.

        Raises:
            ModelError: an output that is no batch of images with the card's number of channels, or images of several
                sizes.
            ValueError: `first` does not begin a batch, or the card names no such class.
        """
        if first % SAMPLE_BATCH:
            raise ValueError(f"first must be a multiple of {SAMPLE_BATCH}, got {first}")
        if label is not None and label not in self.card.classes:
            raise ValueError(f"no class {label!r} among {self.card.classes}")
        batches = [self._sample_batch(min(SAMPLE_BATCH, first + n - k), seed, k, label) for k in _starts(first, n)]
        for batch in batches:
            self._require_shape(batch, (len(batch), *batches[0].shape[1:]), "all samples have one size")
        return np.concatenate(batches) if batches else np.empty((0, self.card.channels_out, 0, 0), np.float32)

    def _sample_batch(self, n: int, seed: int, first: int, label: str | None) -> Float:
        # Image k of a class has latent vector k, so that classes can be compared image by image.
        latent = rng.child(seed, "latent", first).standard_normal((SAMPLE_BATCH, self.card.latent_dim or 1))
        if self.card.classes:
            latent = np.hstack([latent, self._asked(first, label)])
        # A whole batch is always drawn and run, so that image k does not depend on where the run ends.
        try:
            y = self.network(latent.astype(np.float32), rng.child_seed(seed, "forward", first))
        except (ModelError, ModelCrashError) as error:
            error.where = error.where or str(self.path)
            raise
        shape = (SAMPLE_BATCH, self.card.channels_out, *y.shape[2:])
        why = "a sampler maps (N, latent_dim) to (N, channels_out, H, W)"
        self._require_shape(y, shape if y.ndim == 4 else (*shape[:2], -1, -1), why)
        return _from(y[:n], self.card.range_out)

    def _asked(self, first: int, label: str | None) -> NDArray[np.float64]:
        """(SAMPLE_BATCH, classes) one 1 a row."""
        classes = self.card.classes
        turns = (first + np.arange(SAMPLE_BATCH)) % len(classes)
        asked: NDArray[np.float64] = np.eye(len(classes))[
            turns if label is None else [classes.index(label)] * len(turns)
        ]
        return asked

    def read(self, x: Float) -> Float:
        """Read a batch (see `Detector`); logits are taken as they come.

        Raises:
            ModelError: wrong number of channels or an output of another shape.
        """
        self._require_channels(x)
        y = self._forward(x, 0)
        self._require_shape(y, (x.shape[0], 1, *x.shape[2:]), "a detector returns one lesion logit a pixel")
        return y[:, 0]

    def score(self, x: Float) -> Float:
        """Score a batch (see `Discriminator`).

        Raises:
            ModelError: wrong number of channels, or more or less than one logit an image.
        """
        self._require_channels(x)
        y = self._forward(x, 0)
        expected = (len(x),) if y.ndim == 1 else (len(x), 1)
        self._require_shape(y, expected, "a discriminator returns one logit an image")
        return y.reshape(len(x))

    def _forward(self, x: Float, seed: int) -> Float:
        try:
            return self.network(_to(x, self.card.range_in), seed)
        except (ModelError, ModelCrashError) as error:
            # A network does not know the file that it was read from.
            error.where = error.where or str(self.path)
            raise

    def _require_channels(self, x: Float) -> None:
        if x.shape[1] != self.card.channels_in:
            raise ModelError(
                "The images have another number of channels than the model takes.",
                expected=f"{self.card.channels_in} (channels_in of the card)",
                found=f"{x.shape[1]} in the dataset",
                where=self.path,
                todo="Correct the card, or use a dataset with that many channels.",
            )

    def _require_shape(self, y: Float, expected: tuple[int, ...], why: str) -> None:
        if tuple(y.shape) != expected:
            raise ModelError(
                "The model returned an output of another shape.",
                expected=f"{expected}: {why}",
                found=str(tuple(y.shape)),
                where=self.path,
                todo="Check channels_out of the card and the size of the network's output.",
            )


def _starts(first: int, n: int) -> range:
    return range(first, first + n, SAMPLE_BATCH)


def _to(unit: Float, wanted: tuple[float, float]) -> Float:
    low, high = wanted
    return (unit * np.float32(high - low) + np.float32(low)).astype(np.float32)


def _from(y: Float, given: tuple[float, float]) -> Float:
    low, high = given
    return ((y - np.float32(low)) / np.float32(high - low)).astype(np.float32)
