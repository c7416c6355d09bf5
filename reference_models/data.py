"""Training images: pools of rendered phantoms and, step by step, batches drawn from them.

A batch depends on the seed and the step alone, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medgan_qa import rng
from medgan_qa.cohorts.phantom import COHORT_SEED, PLANS, draw_cohort
from medgan_qa.cohorts.phantom_render import render_pair


@dataclass(frozen=True)
class DataConfig:
    """Which phantoms a recipe trains on."""

    source: str
    target: str
    size: int
    patients: int
    """Patients a domain; two slices each."""
    paired: bool
    """Source and target show the same slices (pix2pix), or different patients (CycleGAN)."""
    target_lesions: bool
    """Half of the target domain's slices show a lesion (True), or none does (False)."""
    partition: str = "train"
    """Whose patients; partitions share nobody."""


class Batch(NamedTuple):
    """(N, 1, H, W) in [-1, 1]; the mask in {0, 1} belongs to the target."""

    source: Tensor
    target: Tensor
    target_mask: Tensor


class Pool:
    """All training images in memory, on one device."""

    def __init__(self, config: DataConfig, seed: int, device: torch.device) -> None:
        self.seed, self.paired = seed, config.paired
        # Unpaired, the target domain shows other patients: nothing pairs up, not even by anatomy.
        target_partition = config.partition if config.paired else f"{config.partition}-target"
        source_lesions = config.target_lesions if config.paired else True
        source, target, mask = _render(config, config.partition, lesions=source_lesions)
        if not config.paired:
            _, target, mask = _render(config, target_partition, lesions=config.target_lesions)
        self.source, self.target, self.mask = (
            torch.from_numpy(v[:, None]).to(device) for v in (source * 2 - 1, target * 2 - 1, mask)
        )
        self.partitions = sorted({config.partition, target_partition})

    def batch(self, step: int, size: int) -> Batch:
        """The batch of a step; unpaired domains are drawn independently."""
        g = rng.child(self.seed, "batch", step)
        i = torch.from_numpy(g.integers(len(self.source), size=size))
        j = i if self.paired else torch.from_numpy(g.integers(len(self.target), size=size))
        return Batch(self.source[i], self.target[j], self.mask[j])


def _render(config: DataConfig, partition: str, *, lesions: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and mask of every slice: three (N, H, W) float32, images in [0, 1]."""
    specs = draw_cohort(COHORT_SEED, partition, config.patients, PLANS if lesions else ("none",))
    triples = [render_pair(spec, config.source, config.target, config.size) for spec in specs]
    source, target, mask = (np.stack([t[k] for t in triples]).astype(np.float32) for k in range(3))
    return source, target, mask
