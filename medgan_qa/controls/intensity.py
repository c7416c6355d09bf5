"""Translators with a planted error of intensity or of a measured quantity, mild degradations, and slices in HU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import Case, CaseImages, Inventory, Partition, to_unit
from medgan_qa.digests import digest
from medgan_qa.metrics import body_mask

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
UNIT_RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class Recalibrate:
    """Stored numbers times `scale` plus `offset`, everywhere."""

    scale: float = 1.0
    offset: float = 0.0
    """In stored numbers."""
    value_range: tuple[float, float] = UNIT_RANGE
    """What unit range stands for."""
    name: str = "recalibrated"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Scale and shift."""
        low, high = self.value_range
        stored = reference.astype(np.float64) * (high - low) + low
        return to_unit(self.scale * stored + self.offset, self.value_range)


@dataclass(frozen=True)
class Gamma:
    """Unit range raised to a power: the ends stay, the middle moves."""

    power: float = 1.3
    name: str = "gamma"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Bend."""
        return np.power(np.clip(reference, 0.0, None), np.float32(self.power), dtype=np.float32)


@dataclass(frozen=True)
class TissueOffset:
    """An offset in the tissue whose intensity lies in a window, and nowhere else."""

    window: tuple[float, float]
    """In unit range, low <= value < high, of the reference smoothed over 3 x 3 pixels."""
    offset: float
    """In unit range."""
    name: str = "tissue offset"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Shift one tissue."""
        smooth = ndimage.uniform_filter(reference, 3, mode="nearest")
        low, high = self.window
        inside = (smooth >= low) & (smooth < high) & body_mask(reference)
        return np.where(inside, reference + np.float32(self.offset), reference).astype(np.float32)


@dataclass(frozen=True)
class EnlargeFluid:
    """Dark fluid deep in the body grows at the cost of the tissue around it: enlarged ventricles in FLAIR or T1."""

    pixels: float = 1.0
    """Growth on every side; a fraction is partial volume."""
    name: str = "enlarged fluid"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Let the dark grow."""
        body = body_mask(reference)
        depth = ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1]
        deep = depth > 0.45 * depth.max()
        middle = (float(reference[body].min()) + float(np.median(reference[deep]))) / 2
        whole, part = int(self.pixels), self.pixels - int(self.pixels)
        out = reference
        for share in [*[1.0] * whole, part]:
            darker = ndimage.grey_erosion(out, footprint=np.ones((3, 3)))
            # Noise of the tissue is left alone: only what is clearly fluid grows.
            grown = deep & (darker < middle) & ~lesion
            out = np.where(grown, (1 - np.float32(share)) * out + np.float32(share) * darker, out).astype(np.float32)
        return out


@dataclass(frozen=True)
class Mild:
    """Blur, a shift of a fraction of a pixel, noise: fidelity drops, and nothing that an audit asks for is wrong."""

    blur_px: float = 0.7
    shift_px: float = 0.3
    noise: float = 0.01
    name: str = "mild degradation"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Degrade."""
        out = ndimage.gaussian_filter(reference, self.blur_px) if self.blur_px else reference
        if self.shift_px:
            out = ndimage.shift(out, (self.shift_px, 0.0), order=3, mode="nearest")
        return (out + np.float32(self.noise) * g.standard_normal(reference.shape)).astype(np.float32)


class ChestSlices:
    """Drawn chest slices in HU, in pairs: a noisy source and its reference; for controls in stored units.

    Ellipses of fat, soft tissue, lung and bone, and in every second patient a nodule in a lung. Shapes and levels vary
    by patient; two slices each.

    Args:
        people: patients, all in the test partition.
        size: pixels along each side, at least 64.
        seed: seed of the patients.
    """

    phantom = True
    excluded = ()
    name = "chest slices in HU"
    value_range = (-1024.0, 3000.0)
    source_domain = "cone-beam CT"
    target_domain = "CT"
    lesion_in = ("source", "target")
    spacing_mm = (4.0, 4.0)
    levels: ClassVar[dict[str, float]] = {
        "air": -1000.0,
        "lung": -780.0,
        "fat": -105.0,
        "soft tissue": 45.0,
        "bone": 700.0,
    }
    """HU of each material."""
    noise = 15.0
    """HU."""

    def __init__(self, people: int = 40, *, size: int = 96, seed: int = 7) -> None:
        self.size, self.seed = size, seed
        self.cases = tuple(
            Case(
                case_id=f"chest-{number:04d}-s{index}",
                patient_id=f"chest-{number:04d}",
                partition="test",
                has_target=True,
                annotated=True,
                has_mask=True,
                synthetic=True,
            )
            for number in range(people)
            for index in (0, 1)
        )

    def load(self, case: Case) -> CaseImages:
        """Draw one case; always the same pixels."""
        shapes = rng.child(self.seed, "chest", case.patient_id)
        wide, high, fat = shapes.uniform(0.80, 0.92), shapes.uniform(0.60, 0.70), shapes.uniform(0.12, 0.17)
        nodule = int(case.patient_id[-4:]) % 2 == 0
        level = {name: value + shapes.normal(0, 5) for name, value in self.levels.items()}
        clean, mask = self._draw(wide, high, fat, level, nodule, 0.02 * int(case.case_id[-1]))
        soft = ndimage.gaussian_filter(clean, 0.6)
        g = rng.child(self.seed, "noise", case.case_id)
        images = [
            to_unit(np.clip(soft + self.noise * g.standard_normal(soft.shape), *self.value_range), self.value_range)
            for _ in range(2)
        ]
        return CaseImages(image=images[0][None], target=images[1][None], lesion_mask=mask, spacing_mm=self.spacing_mm)

    def _draw(
        self, wide: float, high: float, fat: float, level: dict[str, float], nodule: bool, shift: float
    ) -> tuple[NDArray[np.float64], Bool]:
        axis = np.linspace(-1, 1, self.size)
        y, x = axis[:, None] - shift, axis[None, :]

        def ellipse(cy: float, cx: float, ry: float, rx: float) -> Bool:
            return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1

        image = np.full((self.size, self.size), level["air"])
        image[ellipse(0, 0, high, wide)] = level["fat"]
        image[ellipse(0, 0, high - fat, wide - fat)] = level["soft tissue"]
        for side in (-1, 1):
            image[ellipse(-0.05, 0.42 * side, 0.36, 0.24)] = level["lung"]
        image[ellipse(0.40, 0, 0.13, 0.13)] = level["bone"]
        mask = ellipse(-0.05, 0.42, 0.12, 0.12) if nodule else np.zeros(image.shape, bool)
        image[mask] = level["soft tissue"]
        return image, mask

    def digest(self) -> str:
        """SHA-256 of everything the images are made from."""
        return digest([self.name, self.size, self.seed, self.noise, self.levels, [c.case_id for c in self.cases]])

    def inventory(self) -> Inventory:
        """Digests of what all images are made from, and of every case."""
        common = [self.name, self.size, self.seed, self.noise, self.levels]
        return Inventory(digest(common), {c.case_id: digest([*common, c.case_id]) for c in self.cases}, {})

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Drawn cases can always be read."""

    def describe(self) -> dict[str, Any]:
        """What the Record says about the cohort."""
        return {
            "name": self.name,
            "digest": self.digest(),
            "phantom": True,
            "anatomy": "ellipses of fat, soft tissue, lung and bone",
            "seed": self.seed,
            "value_range": list(self.value_range),
            "spacing_mm": {"low": list(self.spacing_mm), "high": list(self.spacing_mm), "note": None},
            "source_domain": self.source_domain,
            "target_domain": self.target_domain,
            "lesion_in": list(self.lesion_in),
            "cases": len(self.cases),
            "patients": len({case.patient_id for case in self.cases}),
            "partitions": {"test": self._counts(self.cases)},
            "sites": {},
            "attributes": [],
            "patients_in_several_partitions": 0,
        }

    def _counts(self, cases: Sequence[Case]) -> dict[str, int]:
        lesions = sum(int(case.patient_id[-4:]) % 2 == 0 for case in cases)
        return {
            "cases": len(cases),
            "patients": len({case.patient_id for case in cases}),
            "with_lesions": lesions,
            "annotated_lesion_free": len(cases) - lesions,
            "unannotated": 0,
            "with_target": len(cases),
            "synthetic": len(cases),
        }
