"""Super-resolvers with a planted fault: what the operator does not see is invented, or what it sees is contradicted.

A planted super-resolver knows its cohort: it recognises the input of a case, which is the truth degraded as its card
declares, and puts a defect of known size into the truth. Nothing is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import Cohort, subset
from medgan_qa.cohorts.degraded import model_input
from medgan_qa.controls.named import NamedControl
from medgan_qa.controls.translators import Erase, image_key
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.metrics import body_mask
from medgan_qa.metrics.degradation import Degradation, declared
from medgan_qa.metrics.upsampling import bicubic, repeated
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

ACQUISITION: tuple[tuple[int, int], dict[str, Any]] = ((2, 2), {"noise_sd": 0.01})
"""Scale and degradation where a cohort names none of its own."""


class Scene(NamedTuple):
    """One channel of a case as a planted super-resolver knows it."""

    truth: Float
    """(H, W)."""
    given: Float
    """(h, w), the model's input."""
    lesion: Bool
    """(H, W)."""
    operator: Degradation


class Restoration(Protocol):
    """What a planted super-resolver returns."""

    @property
    def name(self) -> str:
        """What it is called."""

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """The output (H, W), unit range; `g` is the case's own generator."""


@dataclass(frozen=True)
class Truthful:
    """The truth with a little noise of its own: a model without a fault."""

    noise: float = 0.01
    name: str = "faithful"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Add noise."""
        return scene.truth + self.noise * g.standard_normal(scene.truth.shape)


@dataclass(frozen=True)
class Consistent:
    """What the input says, A+ y, with the truth's own unseen part: degraded again it is the input to the last bit."""

    name: str = "consistent"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Put the two parts together."""
        return scene.operator.solve(scene.given, scene.truth.shape) + scene.operator.unseen(scene.truth)


@dataclass(frozen=True)
class Upsampled:
    """The input upsampled without learning."""

    smooth: bool
    """By cubic convolution, or by repeating pixels."""
    projected: bool = False
    """What the operator sees of it is replaced with what the input says, so that it is consistent."""
    name: str = "upsampled"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Upsample."""
        image = (bicubic if self.smooth else repeated)(scene.given, scene.operator.scale)
        if not self.projected:
            return image
        return scene.operator.solve(scene.given, scene.truth.shape) + scene.operator.unseen(image)


@dataclass(frozen=True)
class NullTexture:
    """The consistent output with texture that the operator cannot see, in a share `dose` of the cases."""

    amplitude: float = 0.05
    """Root mean square inside the body, unit range."""
    dose: float = 1.0
    radius_px: float = np.inf
    """Only in one disc of this radius about a pixel of the body, in pixels of the truth."""
    name: str = "null-texture"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Add texture or leave."""
        honest = Consistent().apply(scene, g)
        if g.random() >= self.dose:
            return honest
        where = body_mask(scene.truth)
        y, x = np.argwhere(where)[g.integers(np.count_nonzero(where))]
        rows, columns = np.indices(where.shape)
        where &= np.hypot(rows - y, columns - x) <= self.radius_px
        texture = scene.operator.unseen(g.standard_normal(where.shape) * where)
        strength = np.sqrt(np.mean(np.square(texture[where])))
        # An operator that sees everything leaves nothing to hide in.
        return honest + (self.amplitude / strength * texture if strength > 1e-9 else 0.0)


@dataclass(frozen=True)
class Rescaled:
    """The faithful output times `gain`, plus `offset`."""

    gain: float = 1.02
    offset: float = 0.0
    name: str = "rescaled"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Scale and shift."""
        return self.gain * Truthful().apply(scene, g) + self.offset


@dataclass(frozen=True)
class Erased:
    """The truth without its lesions, in a share `dose` of the cases."""

    dose: float = 1.0
    name: str = "eraser"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Fill lesions with the tissue around them."""
        return Erase(self.dose).apply(scene.truth, scene.lesion, g)


@dataclass(frozen=True)
class Smoothed:
    """The truth blurred with a Gaussian."""

    sd_px: float = 1.5
    name: str = "smooth"

    def apply(self, scene: Scene, g: np.random.Generator) -> NDArray[Any]:
        """Blur."""
        return np.asarray(ndimage.gaussian_filter(scene.truth, self.sd_px, mode="nearest"))


class _Lookup:
    """A network that recognises the inputs of its cohort."""

    def __init__(self, cohort: Cohort, operator: Degradation, defect: Restoration, seed: int) -> None:
        self.outputs: dict[bytes, Float] = {}
        for case in subset(cohort.cases, "test"):
            images = cohort.load(case)
            given, g = model_input(operator, images, case.case_id), rng.child(seed, defect.name, case.case_id)
            lesion = np.zeros(images.image.shape[1:], bool) if images.lesion_mask is None else images.lesion_mask
            scenes = [Scene(t, x, lesion, operator) for t, x in zip(images.image, given, strict=True)]
            self.outputs[image_key(given)] = np.stack([defect.apply(s, g) for s in scenes]).astype(np.float32)

    def __call__(self, x: Float, seed: int) -> Float:
        found = [self.outputs.get(image_key(image)) for image in x]
        if any(f is None for f in found):
            raise ModelError(
                "A planted super-resolver was given an image that is no input of its cohort.",
                expected="truths of the cohort that it was made from, degraded as its card declares",
                found="another image",
                todo="Make the control from the cohort that is audited.",
            )
        return np.stack([f for f in found if f is not None])


def planted_super_resolver(
    cohort: Cohort,
    defect: Restoration,
    scale: tuple[int, int] | None = None,
    degradation: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Subject:
    """A super-resolver for the test cases of `cohort` that returns their truths with a defect.

    Args:
        cohort: truths that are to be degraded.
        defect: what is wrong with the output.
        scale: how many times the rows and columns [the cohort's own, or `ACQUISITION`].
        degradation: the table of its card [as `scale`].
        seed: decides which cases are affected at a dose below 1.

    Raises:
        ConfigurationError: the cohort holds no truths to degrade, or their size is no multiple of the scale.
    """
    factors: tuple[int, int] = getattr(cohort, "scale", ACQUISITION[0]) if scale is None else scale
    table = dict(getattr(cohort, "degradation", ACQUISITION[1]) if degradation is None else degradation)
    first = cohort.load(subset(cohort.cases, "test")[0])
    if not first.degrade or any(n % s for n, s in zip(first.image.shape[1:], factors, strict=True)):
        raise ConfigurationError(
            "Controls of super-resolution are made from truths that can be degraded.",
            expected=f"images in multiples of {factors[0]} x {factors[1]} pixels, in a dataset with degrade = true",
            found=f"{first.image.shape[1]} x {first.image.shape[2]} pixels, degrade = {str(first.degrade).lower()}",
            where=cohort.name,
            todo="Leave --data out, or name phantom:brain-sr or phantom:brain-thick.",
        )
    channels = len(first.image)
    card = Card(
        name=f"control: {defect!r}",
        version="1",
        task="super-resolution",
        channels_in=channels,
        channels_out=channels,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
        scale=factors,
        degradation=table,
        output_role="training_only",
        training_data="none",
    )
    network = _Lookup(cohort, declared(table, factors), defect, seed)
    digest = hashlib.sha256(f"{defect!r} {factors} {sorted(table.items())}".encode()).hexdigest()
    return Subject(network, card, Path(f"control-{defect.name}"), "control", digest, "cpu")


def _named(title: str, defect: Restoration) -> NamedControl:
    return NamedControl(title, lambda cohort: planted_super_resolver(cohort, defect))


CONTROLS: dict[str, NamedControl] = {
    "faithful": _named("no fault: the truth with 1 % noise", Truthful()),
    "consistent": _named("no fault: what the input says, with the truth's own unseen detail", Consistent()),
    "bicubic": _named("cubic convolution of the input", Upsampled(smooth=True, name="bicubic")),
    "bicubic-projected": _named(
        "the same, made consistent with the input", Upsampled(smooth=True, projected=True, name="bicubic-projected")
    ),
    "nearest": _named("pixels of the input repeated", Upsampled(smooth=False, name="nearest")),
    "null-texture": _named("texture of 5 % that the operator cannot see", NullTexture()),
    "null-texture-30": _named("the same in 30 % of the cases", NullTexture(dose=0.3)),
    "null-patch": _named("texture of 10 % that the operator cannot see, in one disc", NullTexture(0.1, radius_px=5.0)),
    "bias-2": _named("2 % too bright", Rescaled()),
    "eraser": _named("every lesion painted over", Erased()),
    "smooth": _named("the truth blurred", Smoothed()),
}
"""Planted super-resolvers by name, for `medgan-qa audit control:NAME --suite super-resolution`."""
