"""Translators with a planted defect, and a detector that reads bright lesions.

A planted translator knows its cohort: it recognises a source image, takes the real reference of the case and puts a
defect of known size into it. What an audit should find is therefore known exactly. Nothing is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import CaseImages, Cohort, subset
from medgan_qa.controls.named import NamedControl
from medgan_qa.errors import ModelError
from medgan_qa.metrics import body_mask, components, surround
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


class Defect(Protocol):
    """What a planted translator does to the real reference image."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """(H, W) reference in unit range and its lesion mask to the output (H, W); `g` is the case's own generator."""


@dataclass(frozen=True)
class Faithful:
    """The reference with a little noise of its own: a model without a fault."""

    noise: float = 0.01
    name: str = "faithful"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Add noise."""
        return (reference + np.float32(self.noise) * g.standard_normal(reference.shape)).astype(np.float32)


@dataclass(frozen=True)
class Erase:
    """Fill lesions with the tissue around them, in a share `dose` of the cases that have any."""

    dose: float = 1.0
    below_mm: float = np.inf
    """Only lesions with a smaller equivalent diameter (pixels counted as 1 mm)."""
    name: str = "eraser"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Erase or leave."""
        # The draw comes first, so that doses nest: what is erased at 20 % is erased at 30 %.
        return _scaled(reference, lesion, 0.0, self.below_mm) if g.random() < self.dose else reference


@dataclass(frozen=True)
class Attenuate:
    """Leave lesions a share `kept` of their contrast."""

    kept: float
    name: str = "attenuator"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Scale the lesions' contrast."""
        return _scaled(reference, lesion, self.kept)


@dataclass(frozen=True)
class Invert:
    """Turn bright lesions into dark ones of the same contrast."""

    name: str = "inverter"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Change the sign of the lesions' contrast."""
        return _scaled(reference, lesion, -1.0)


@dataclass(frozen=True)
class Insert:
    """Put a bright round lesion into a share `dose` of the lesion-free cases."""

    dose: float = 1.0
    radius_px: float = 4.0
    contrast: float = 0.4
    name: str = "inserter"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Insert or leave."""
        if lesion.any() or g.random() >= self.dose:
            return reference
        depth = ndimage.distance_transform_edt(body_mask(reference))
        seats = np.argwhere(depth > max(0.6 * depth.max(), 1.0))
        y, x = seats[g.integers(len(seats))]
        rows, columns = np.indices(reference.shape)
        spot = np.hypot(rows - y, columns - x) <= self.radius_px
        return np.where(spot, reference + np.float32(self.contrast), reference).astype(np.float32)


@dataclass(frozen=True)
class Both:
    """One defect after the other; an eraser and an inserter leave the share of cases with a lesion as it is."""

    first: Defect
    second: Defect
    name: str = "two defects"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Apply both."""
        return self.second.apply(self.first.apply(reference, lesion, g), lesion, g)


@dataclass(frozen=True)
class Constant:
    """The same grey everywhere."""

    value: float = 0.5
    name: str = "constant"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Forget the image."""
        return np.full_like(reference, self.value)


@dataclass(frozen=True)
class NotANumber:
    """NaN in a share `dose` of the images."""

    dose: float = 1.0
    name: str = "not a number"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Break or leave."""
        return np.full_like(reference, np.nan) if g.random() < self.dose else reference


def _scaled(reference: Float, lesion: Bool, share: float, below_mm: float = np.inf) -> Float:
    """Scale each lesion's contrast to the tissue around it; a rim of one pixel goes along, where partial volume is."""
    out = reference.copy()
    masks = components(lesion)
    body = body_mask(reference)
    for mask in masks:
        if 2 * np.sqrt(mask.sum() / np.pi) >= below_mm:
            continue
        ring = surround(mask, body, masks)
        level = np.float32(reference[ring].mean() if ring.any() else reference[body].mean())
        rim = ndimage.binary_dilation(mask, np.ones((3, 3), bool))
        out[rim] = level + np.float32(share) * (reference[rim] - level)
    return out


class _Lookup:
    """A network that recognises the images of its cohort."""

    def __init__(self, cohort: Cohort, defect: Defect, seed: int) -> None:
        self.outputs: dict[bytes, Float] = {}
        for case in subset(cohort.cases, "test"):
            images = cohort.load(case)
            self.outputs[image_key(images.image)] = _planted(images, defect, rng.child(seed, defect.name, case.case_id))

    def __call__(self, x: Float, seed: int) -> Float:
        found = [self.outputs.get(image_key(image)) for image in x]
        if any(f is None for f in found):
            raise ModelError(
                "A planted translator was given an image that is not of its cohort.",
                expected="images of the cohort that it was made from",
                found="another image",
                todo="Make the control from the cohort that is audited.",
            )
        return np.stack([f for f in found if f is not None])


def image_key(image: Float) -> bytes:
    """By which a control recognises an image of its cohort."""
    return hashlib.sha256(np.ascontiguousarray(image, np.float32).tobytes()).digest()


def _planted(images: CaseImages, defect: Defect, g: np.random.Generator) -> Float:
    reference = images.image if images.target is None else images.target
    lesion = np.zeros(reference.shape[1:], bool) if images.lesion_mask is None else images.lesion_mask
    return np.stack([defect.apply(channel, lesion, g) for channel in reference])


def _subject(network: object, name: str, task: str, channels: Sequence[int], range_out: tuple[float, float]) -> Subject:
    card = Card(
        name=f"control: {name}",
        version="1",
        task=task,
        channels_in=channels[0],
        channels_out=channels[1],
        range_in=(0.0, 1.0),
        range_out=range_out,
        output_role="training_only",
        training_data="none",
    )
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Subject(network, card, Path(f"control-{name}"), "control", digest, "cpu")  # type: ignore[arg-type]


def planted_translator(cohort: Cohort, defect: Defect, seed: int = 0) -> Subject:
    """A translator for the test cases of `cohort` that returns their references with a defect.

    Args:
        cohort: paired cases; one without a reference is translated to its own source.
        defect: what is wrong with the output.
        seed: decides which cases are affected at a dose below 1.
    """
    case = subset(cohort.cases, "test")[0]
    images = cohort.load(case)
    channels_out = (images.image if images.target is None else images.target).shape[0]
    return _subject(
        _Lookup(cohort, defect, seed), repr(defect), "translation", (images.image.shape[0], channels_out), (0.0, 1.0)
    )


def _named(title: str, defect: Defect) -> NamedControl:
    return NamedControl(title, lambda cohort: planted_translator(cohort, defect))


CONTROLS: dict[str, NamedControl] = {
    "faithful": _named("no fault: the real target image with 1 % noise", Faithful()),
    "eraser-10": _named("lesions painted over in 10 % of the cases", Erase(0.1)),
    "eraser": _named("every lesion painted over", Erase()),
    "eraser-small": _named("lesions under 6 pixels painted over", Erase(below_mm=6.0)),
    "attenuator": _named("lesions left 40 % of their contrast", Attenuate(0.4)),
    "inverter": _named("bright lesions turned dark", Invert()),
    "inserter": _named("a lesion in every lesion-free case", Insert()),
    "constant": _named("the same grey everywhere", Constant()),
    "nan": _named("NaN in one image of ten", NotANumber(0.1)),
}
"""Planted translators by name, for `medgan-qa audit control:NAME --suite translation`."""


class ThresholdDetector:
    """Marks smoothed intensities above a level: reads the bright lesions of FLAIR phantoms, and is blind elsewhere."""

    def __init__(self, level: float = 0.56) -> None:
        self.level = level

    def __call__(self, x: Float, seed: int) -> Float:
        """Logits (N, 1, H, W) of images in unit range."""
        smooth = ndimage.uniform_filter(x, (0, 0, 3, 3), mode="nearest")
        logits: Float = ((smooth - np.float32(self.level)) * 50).astype(np.float32)
        return logits

    def subject(self) -> Subject:
        """The detector with its card."""
        return _subject(self, f"threshold detector at {self.level:g}", "segmentation", (1, 1), (-100.0, 100.0))
