"""Samplers that give out the augmentation of their training images, in a known share: what HYG-005 must find.

Each image is a fresh patient of the cohort's population, drawn as by a sampler without a fault, and with probability
`dose` one change is made to it. The same latent vector gives the same patient at every dose, so doses nest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgan_qa.controls.labelled_samplers import LabelledWorld
from medgan_qa.controls.labelled_samplers import _named as _labelled
from medgan_qa.controls.named import NamedControl
from medgan_qa.controls.samplers import World, _named

Float = NDArray[np.float32]
Generator = np.random.Generator

DOSES = (0.02, 0.05, 0.1, 0.3)
"""Shares of augmented images that controls are named after, in per cent."""


def quarter_turned(image: Float, g: Generator) -> Float:
    """Rotated by 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(image, int(g.integers(1, 4))))


def flipped(image: Float, g: Generator) -> Float:
    """Left for right."""
    return np.ascontiguousarray(image[:, ::-1])


def contrast_changed(image: Float, g: Generator) -> Float:
    """Contrast by a factor of 1.5 to 2.5 either way about the mean, and brightness by up to 0.1."""
    factor = float(g.uniform(1.5, 2.5)) ** float(g.choice([-1, 1]))
    mean = float(image.mean())
    changed = mean + (image - mean) * factor + g.uniform(-0.1, 0.1)
    return np.asarray(np.clip(changed, 0, 1), np.float32)


def cut_out(image: Float, g: Generator) -> Float:
    """A square of an eighth to a third of the side, of one value but for a thousandth of noise, in the middle."""
    size = np.array(image.shape)
    side = round(float(g.uniform(1 / 6, 1 / 3)) * float(size.min()))
    top, left = (int(g.integers(round(0.3 * n), round(0.7 * n) - side // 2)) for n in size)
    cut = image.copy()
    hole = cut[top : top + side, left : left + side]
    hole[:] = float(g.uniform(0, 0.5)) + 0.001 * g.standard_normal(hole.shape)
    return cut


KINDS: dict[str, tuple[str, Callable[[Float, Generator], Float]]] = {
    "rotated": ("rotated by 90, 180 or 270 degrees", quarter_turned),
    "flipped": ("flipped left to right", flipped),
    "contrast": ("changed in contrast and brightness", contrast_changed),
    "cut-out": ("with a square cut out", cut_out),
}
"""What is done to an image, by the name of the control."""


def augmented(image: Float, kind: str, dose: float, g: Generator) -> Float:
    """The image as it is or, with probability `dose`, changed in one of the ways of `KINDS`."""
    # The change is drawn in any case, so that it is the same one at every dose.
    chosen = g.random() < dose
    changed = KINDS[kind][1](image, g)
    return changed if chosen else image


@dataclass(frozen=True)
class Augmented:
    """Fresh patients, of whom a share `dose` is augmented in one of the ways of `KINDS`."""

    kind: str
    dose: float
    name: str = "augmented samples"

    def draw(self, world: World, g: Generator) -> Float:
        """A fresh patient, augmented or not."""
        return augmented(world.fresh(g), self.kind, self.dose, g)


@dataclass(frozen=True)
class LabelledAugmented:
    """Fresh patients of the class that is asked for, of whom a share `dose` is augmented."""

    kind: str
    dose: float
    name: str = "augmented labelled samples"

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """A fresh patient of the class, augmented or not."""
        return augmented(world.of(label, g), self.kind, self.dose, g)


def _titles() -> dict[str, tuple[str, str, float]]:
    """Title, kind and dose by name."""
    return {
        f"{kind}-{round(100 * dose)}": (f"{round(100 * dose)} % of the samples {words}", kind, dose)
        for kind, (words, _) in KINDS.items()
        for dose in DOSES
    }


CONTROLS: dict[str, NamedControl] = {
    name: _named(title, Augmented(kind, dose)) for name, (title, kind, dose) in _titles().items()
}
"""Planted samplers by name, for `medgan-qa audit control:NAME --suite synthesis`."""
LABELLED: dict[str, NamedControl] = {
    name: _labelled(title, LabelledAugmented(kind, dose)) for name, (title, kind, dose) in _titles().items()
}
"""The same on demand by class, for `--suite augmentation`."""
