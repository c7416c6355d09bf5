"""Running a model once, as an audit would, to see whether its card fits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medgan_qa.rng import child
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.networks import Float
from medgan_qa.subjects.protocols import Subject

IMAGES = 4
"""How many images or latent vectors a trial takes."""
SLACK = 0.05
"""By how much of a range outputs may leave it and still be taken for its own."""
BEYOND = 0.001
"""The share of values on either side that is left out of a range of outputs."""


@dataclass(frozen=True)
class DryRun:
    """What a model did with images of a given size, by its card."""

    taken: tuple[int, ...]
    returned: tuple[int, ...]
    low: float | None
    """The range of its output in the network's own units; None where no number came out."""
    high: float | None
    not_finite: int
    warnings: tuple[str, ...]


def dry_run(subject: Subject, size: int) -> DryRun:
    """Run a model as an audit would, on a few images of `size` rows and columns.

    Raises:
        ModelError: the card and the model do not fit together.
        ModelCrashError: the model took its process down.
    """
    card = subject.card
    if card.task == "synthesis":
        taken: tuple[int, ...] = (IMAGES, (card.latent_dim or 1) + len(card.classes))
        y = subject.sample(IMAGES, 0)
    else:
        x = image_batch(IMAGES, card.channels_in, size, size)
        taken = tuple(x.shape)
        run = {"translation": subject.translate, "super-resolution": subject.upscale}
        y = {**run, "segmentation": subject.read, "discriminator": subject.score}[card.task](x)
    scaled = card.task in ("synthesis", "translation", "super-resolution")
    low, high = card.range_out if scaled else (0.0, 1.0)
    values = y[np.isfinite(y)] * (high - low) + low
    span = span_of(values) if values.size else None
    return DryRun(
        taken=taken,
        returned=tuple(y.shape),
        low=None if span is None else span[0],
        high=None if span is None else span[1],
        not_finite=int(y.size - values.size),
        warnings=tuple(_warnings(card, span, y) if scaled else _not_finite(y)),
    )


def image_batch(n: int, channels: int, rows: int, columns: int) -> Float:
    """Images (n, channels, rows, columns) in [0, 1]: soft discs with texture on black, each brighter than the last."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    disc = 1 / (1 + np.exp(np.clip(20 * (np.hypot(x, y) - 0.7), -50, 50)))
    texture = child(0, "trial images").normal(0.0, 0.08, (n, channels, rows, columns))
    level = np.linspace(0.4, 0.9, n)[:, None, None, None]
    images: Float = np.clip((level + texture) * disc, 0, 1).astype(np.float32)
    return images


def span_of(y: Float) -> tuple[float, float]:
    """What the values lie between, but for infinite ones and the outermost `BEYOND`; at least one has to be finite."""
    values = y[np.isfinite(y)]
    low, high = np.quantile(values.astype(np.float64), [BEYOND, 1 - BEYOND])
    return float(low), float(high)


def _warnings(card: Card, span: tuple[float, float] | None, y: Float) -> Iterator[str]:
    yield from _not_finite(y)
    if span is None:
        return
    low, high = card.range_out
    width = high - low
    between = f"outputs lie between {span[0]:.3g} and {span[1]:.3g}"
    if span[0] < low - SLACK * width or span[1] > high + SLACK * width:
        yield f"{between}, beyond range_out = [{low:g}, {high:g}]: correct range_out, or range_in"
    elif span[1] - span[0] < 0.1 * width:
        yield f"{between}, a tenth or less of range_out = [{low:g}, {high:g}]: correct it if the network is well"
    elif low < 0 and span[0] >= low + 0.45 * width:
        yield f"{between}, the upper half of range_out = [{low:g}, {high:g}]: is it [0, {high:g}]?"


def _not_finite(y: Float) -> Iterator[str]:
    if (count := int(y.size - np.isfinite(y).sum())) > 0:
        yield f"{count} of {y.size} values are NaN or infinite"
