"""Loaders of a cohort's test partition with a planted fault, and one without: what HYG-004 must find, or let pass.

Each is a sequence of mappings with `case_id` and `image` (C, H, W), as a team's Dataset would be. A configuration that
says "no augmentation" changes none of them (H4).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.cohorts.cohort import Cohort, subset
from medgan_qa.cohorts.loaders import Loader, loader_of
from medgan_qa.controls.contaminated import augmented

Float = NDArray[np.float32]
Fault = Literal[
    "none", "normalised", "flip", "seeded flip", "always flipped", "noise", "seeded noise", "rotation", "shift", "crop"
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""`none` and `normalised` (mean 0, standard deviation 1) are no faults. `flip`, `noise`, `rotation`, `shift` and `crop`
are drawn anew at every reading, with probability 1/2 the flip; the seeded ones are the same at every reading and differ
from image to image."""


class PlantedSet:
    """A sequence of the test partition's images as a faulty loader hands them out.

    Args:
        cohort: its test partition is loaded.
        fault: one of `FAULTS`.
        seed: names every draw.

    Raises:
        ValueError: an unknown fault.
    """

    def __init__(self, cohort: Cohort, fault: Fault, seed: int = 0) -> None:
        if fault not in FAULTS:
            raise ValueError(f"fault must be one of {FAULTS}, got {fault!r}")
        self.cases = subset(cohort.cases, "test")
        self._cohort, self._fault, self._seed = cohort, fault, seed
        self._read: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One image; each reading of it draws anew unless the fault is a seeded one."""
        case = self.cases[place]
        self._read[case.case_id] += 1
        time = 0 if self._fault.startswith("seeded") else self._read[case.case_id]
        g = rng.child(self._seed, "planted loader", self._fault, case.case_id, time)
        return {"case_id": case.case_id, "image": _faulty(self._cohort.load(case).image, self._fault, g)}


def planted_loader(cohort: Cohort, fault: Fault, seed: int = 0) -> Loader:
    """A loader of a `PlantedSet`.

    Raises:
        ValueError: an unknown fault.
    """
    return loader_of(lambda: PlantedSet(cohort, fault, seed), f"control:{fault}")


def _faulty(image: Float, fault: Fault, g: np.random.Generator) -> Float:
    kind = fault.removeprefix("seeded ")
    if kind == "none":
        return image
    if kind == "normalised":
        return np.asarray((image - image.mean()) / image.std(), np.float32)
    if kind == "always flipped" or (kind == "flip" and g.random() < 0.5):
        return image[..., ::-1].copy()
    if kind == "crop":
        row, column = (int(k) for k in g.integers(0, 9, 2))
        return image[:, row : row + image.shape[1] - 8, column : column + image.shape[2] - 8]
    if kind in ("noise", "rotation", "shift"):
        return np.stack([augmented(channel, kind, g) for channel in image])
    return image
