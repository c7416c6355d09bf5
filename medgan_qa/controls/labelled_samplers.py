"""Samplers that draw on demand, with a planted defect and without: what the augmentation suite must find, or let pass.

Like the planted samplers of `medgan_qa.controls.samplers`, but each image is asked for by its class, `lesion` or
`lesion-free`: the latent vector ends in one number a class. Nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import LESION, LESION_FREE, Case, Cohort
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.cohorts.phantom_render import anatomy
from medgan_qa.cohorts.phantom_spec import SliceSpec
from medgan_qa.controls.named import NamedControl
from medgan_qa.controls.samplers import LATENT, World, _generator, sampler_subject
from medgan_qa.errors import ConfigurationError
from medgan_qa.subjects.protocols import Subject

CLASSES = (LESION_FREE, LESION)

Float = NDArray[np.float32]
Generator = np.random.Generator


class LabelledWorld(World):
    """A world in which patients can be asked for by class."""

    def __init__(self, cohort: BrainSlices) -> None:
        super().__init__(cohort)
        shown = {case.case_id for case in self.lesioned}
        self.by_label: dict[str, list[Case]] = {
            LESION: self.lesioned,
            LESION_FREE: [case for case in self.training if case.case_id not in shown],
        }

    def of(self, label: str, g: Generator) -> Float:
        """(H, W) slice of a patient whom nobody has seen, with a lesion in it or without."""
        return self.fresh(g, accept=lambda spec: self._shows(spec) == (label == LESION))

    def _shows(self, spec: SliceSpec) -> bool:
        return spec.patient.lesion is not None and bool(anatomy(spec, self.cohort.size).mask.any())


class LabelledPlan(Protocol):
    """How a planted sampler makes one image of a class."""

    @property
    def name(self) -> str:
        """What the fault is called."""

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """One image (H, W) in unit range from a generator of its own."""


@dataclass(frozen=True)
class Faithful:
    """Other patients of the same population, each with the label that it should have."""

    name: str = "independent labelled patients"

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """A fresh patient of the class."""
        return world.of(label, g)


@dataclass(frozen=True)
class WrongLabels:
    """Patients of the other class in a share `dose` of the images."""

    dose: float
    name: str = "wrong labels"

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """A fresh patient of the class, or of the other."""
        other = LESION if label == LESION_FREE else LESION_FREE
        # Drawn first, so that doses nest.
        return world.of(other if g.random() < self.dose else label, g)


@dataclass(frozen=True)
class Noise:
    """No image at all: noise about a level, whatever is asked for."""

    level: float = 0.4
    spread: float = 0.15
    name: str = "noise"

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """Noise."""
        size = (world.cohort.size, world.cohort.size)
        return np.clip(self.level + self.spread * g.standard_normal(size), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class LabelledCopies:
    """Training images of the class in a share `dose` of the samples."""

    dose: float
    name: str = "labelled copies"

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """A copy or a fresh patient."""
        copied, known = g.random() < self.dose, world.by_label[label]
        chosen = known[int(g.integers(len(known)))]
        return world.training_images(chosen).image[0] if copied else world.of(label, g)


@dataclass(frozen=True)
class OneClass:
    """Nobody has a lesion, whatever is asked for: a generator that ignores its condition."""

    name: str = "one class"

    def draw(self, world: LabelledWorld, label: str, g: Generator) -> Float:
        """A fresh patient without a lesion."""
        return world.of(LESION_FREE, g)


class _LabelledNetwork:
    """Latent vectors with a class behind them in, images out."""

    def __init__(self, world: LabelledWorld, plan: LabelledPlan) -> None:
        self.world, self.plan = world, plan

    def __call__(self, x: Float, seed: int) -> Float:
        asked = [CLASSES[k] for k in x[:, LATENT:].argmax(axis=1)]
        images = [self.plan.draw(self.world, label, _generator(z)) for label, z in zip(asked, x, strict=True)]
        return np.stack(images)[:, None]


def labelled_sampler(cohort: BrainSlices, plan: LabelledPlan) -> Subject:
    """A sampler of the cohort's population that draws on demand and follows `plan`."""
    return sampler_subject(_LabelledNetwork(LabelledWorld(cohort), plan), plan, cohort, CLASSES)


def _named(title: str, plan: LabelledPlan) -> NamedControl:
    def make(cohort: Cohort) -> Subject:
        if not isinstance(cohort, BrainSlices) or cohort.modes:
            raise ConfigurationError(
                "Labelled controls draw new patients with and without lesions, which needs an embedded cohort.",
                expected="phantom:brain-lesions or phantom:brain-flair",
                found=cohort.name,
                where="--data",
                todo="Leave --data out, or name one of them.",
            )
        return labelled_sampler(cohort, plan)

    return NamedControl(title, make)


PLANS_BY_NAME: dict[str, tuple[str, LabelledPlan]] = {
    "independent": ("no fault: other patients of the same population, rightly labelled", Faithful()),
    "labels-30": ("30 % of the samples show the other class than their label", WrongLabels(0.30)),
    "noise": ("noise in place of images", Noise()),
    "copies-20": ("20 % copies of training images of the class", LabelledCopies(0.20)),
    "one-class": ("no lesion in any sample, whatever its label", OneClass()),
}
"""Planted labelled samplers by name: what they are, and what they do."""

CONTROLS: dict[str, NamedControl] = {name: _named(title, plan) for name, (title, plan) in PLANS_BY_NAME.items()}
"""Planted labelled samplers by name, for `medgan-qa audit control:NAME --suite augmentation`."""
