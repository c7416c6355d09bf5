"""Training images: pools of rendered phantoms and, step by step, batches drawn from them.

A batch depends on the seed and the step alone, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medgan_qa import rng
from medgan_qa.cohorts.phantom import COHORT_SEED, PLANS, draw_cohort
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm, render
from medgan_qa.cohorts.phantom_spec import LesionPlan, SliceSpec

Array = NDArray[np.float32]

FACTS = ("tumour", "age_years", "male", "level_mm", "ventricles", "atrophy", "lesion_radius_mm")
"""What is known of every slice: `tumour` and `male` are 0 or 1, the radius is that of a disc of the lesion's area."""


@dataclass(frozen=True)
class DataConfig:
    """Which phantoms a recipe trains on."""

    source: str
    target: str
    """The same as `source` where there is one domain only; the pair is then an image and itself."""
    size: int
    patients: int
    """Patients a domain; two slices each."""
    paired: bool
    """Source and target show the same slices (pix2pix), or different patients (CycleGAN)."""
    target_lesions: bool
    """Half of the target domain's slices show a lesion (True), or none does (False)."""
    partition: str = "train"
    """Whose patients; partitions share nobody."""
    target_share: float | None = None
    """Share in [0, 1] of the target domain's slices that show a lesion, in place of `target_lesions`."""

    @property
    def target_plans(self) -> tuple[LesionPlan, ...]:
        """Lesion plans that the target domain's patients take in turn."""
        if self.target_share is None:
            return PLANS if self.target_lesions else ("none",)
        return mixed_plans(self.patients, self.target_share)


def mixed_plans(patients: int, share: float) -> tuple[LesionPlan, ...]:
    """One lesion plan a patient, so that a given share of all slices shows a lesion.

    At 0.5 the patients take `PLANS` in turn. Below it some of them, evenly spread, have no lesion instead, and above it
    a lesion in both slices. The share is met to within two slices, and exactly where the patients that still take
    `PLANS` are a multiple of four.

    Args:
        patients: how many, two slices each.
        share: of the slices, in [0, 1].

    Raises:
        ValueError: the share lies outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie in [0, 1], got {share!r}")
    extreme: LesionPlan = "none" if share < 0.5 else "both"
    turned = round(patients * abs(2 * share - 1))
    in_turn = itertools.cycle(PLANS)
    return tuple(
        extreme if (number + 1) * turned // patients > number * turned // patients else next(in_turn)
        for number in range(patients)
    )


class Batch(NamedTuple):
    """(N, 1, H, W) in [-1, 1]; the mask in {0, 1} and the facts (N, len(FACTS)) belong to the target."""

    source: Tensor
    target: Tensor
    target_mask: Tensor
    facts: Tensor


class Pool:
    """All training images in memory, on one device."""

    def __init__(self, config: DataConfig, seed: int, device: torch.device) -> None:
        self.seed, self.paired = seed, config.paired
        # Unpaired, the target domain shows other patients: nothing pairs up, not even by anatomy.
        target_partition = config.partition if config.paired else f"{config.partition}-target"
        drawn = _render(config, config.partition, config.target_plans if config.paired else PLANS)
        target = drawn if config.paired else _render(config, target_partition, config.target_plans)
        self.source, self.target, self.mask, self.facts = (
            torch.from_numpy(v).to(device) for v in (drawn.source, target.target, target.mask, target.facts)
        )
        self.partitions = sorted({config.partition, target_partition})

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step; unpaired domains are drawn independently."""
        g = rng.child(self.seed, "batch", step)
        i = torch.from_numpy(g.integers(len(self.source), size=size))
        j = i if self.paired else torch.from_numpy(g.integers(len(self.target), size=size))
        return Batch(self.source[i], self.target[j], self.mask[j], self.facts[j])


class _Rendered(NamedTuple):
    """Every slice of a partition: (N, 1, H, W) float32, images in [-1, 1], and (N, len(FACTS))."""

    source: Array
    target: Array
    mask: Array
    facts: Array


def _render(config: DataConfig, partition: str, plans: tuple[LesionPlan, ...]) -> _Rendered:
    specs = draw_cohort(COHORT_SEED, partition, config.patients, plans)
    rendered = [_slice(spec, config) for spec in specs]
    source, target, mask, facts = (np.stack(column).astype(np.float32) for column in zip(*rendered, strict=True))
    return _Rendered(source[:, None] * 2 - 1, target[:, None] * 2 - 1, mask[:, None], facts)


def _slice(spec: SliceSpec, config: DataConfig) -> tuple[Array, Array, Array, Array]:
    """Source, target and mask of a slice, (H, W) in [0, 1], and its facts."""
    scene = anatomy(spec, config.size)
    target = render(spec, config.target, config.size, scene)
    source = target if config.source == config.target else render(spec, config.source, config.size, scene)
    patient, lesion = spec.patient, scene.mask.astype(np.float32)
    radius = pixel_mm(config.size) * np.sqrt(lesion.sum() / np.pi)
    facts = (
        float(lesion.any()),
        patient.age_years,
        float(patient.sex == "M"),
        spec.z_mm,
        patient.ventricles,
        patient.atrophy,
        radius,
    )
    return source, target, lesion, np.array(facts, np.float32)
