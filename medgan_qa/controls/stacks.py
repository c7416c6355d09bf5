"""Volumes of phantom slices in train and test, of which some of test are volumes of train under another name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from medgan_qa.cohorts.cohort import Case, CaseImages, Inventory, Partition
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm, render
from medgan_qa.cohorts.phantom_spec import SliceSpec, draw_patient, draw_slices
from medgan_qa.cohorts.tissue import SHA256
from medgan_qa.digests import digest

Leak = Literal["same slices", "reversed", "between"]
LEAKS: tuple[Leak, ...] = get_args(Leak)
"""How a leaked volume was cut: through the same slices, through the same in reverse order, or half-way between."""
LOWEST_MM = 2.0
"""Level of the first slice."""
AGAIN = 100
"""Added to the number of a slice that is acquired anew, so that it has noise of its own."""


class Stacks:
    """A cohort of volumes in one contrast, the slices of a volume at a constant distance.

    Args:
        leaks: test volumes, by number, that show a train volume (the one of the same number) and how they were cut.
        contrast: a key of `medgan_qa.cohorts.contrasts.CONTRASTS`.
        people: patients in each partition, one volume each.
        slices: of each volume, at least 1.
        gap_mm: distance of neighbouring slices.
        size: pixels along each side.
        seed: cohort seed.

    Raises:
        ValueError: a leak of another kind, or of a volume that there is not.
    """

    phantom = True
    value_range = (0.0, 1.0)
    lesion_in = ("source",)
    target_domain = None
    excluded = ()

    def __init__(
        self,
        leaks: Mapping[int, Leak] | None = None,
        *,
        contrast: str = "FLAIR",
        people: int = 24,
        slices: int = 8,
        gap_mm: float = 4.0,
        size: int = 64,
        seed: int = 0,
    ) -> None:
        self.leaks = dict(leaks or {})
        if not set(self.leaks) <= set(range(people)) or not set(self.leaks.values()) <= set(LEAKS):
            raise ValueError(f"leaks must name volumes from 0 to {people - 1} with one of {LEAKS}, got {self.leaks!r}")
        self.source_domain, self.size, self.gap_mm, self.seed = contrast, size, gap_mm, seed
        self.name = f"phantom volumes {contrast}, {size} x {size}"
        partitions: tuple[Partition, ...] = ("train", "test")
        first = {(p, k): _first_slice(seed, f"{p}-stack-{k:04d}") for p in partitions for k in range(people)}
        self._specs: dict[str, SliceSpec] = {}
        cases = []
        for (partition, number), spec in first.items():
            leak = self.leaks.get(number) if partition == "test" else None
            shown = first["train", number] if leak else spec
            for index in range(slices):
                case = _case(spec, partition, index)
                cases.append(case)
                self._specs[case.case_id] = self._cut(shown, index, slices, leak)
        self.cases: tuple[Case, ...] = tuple(cases)

    def _cut(self, spec: SliceSpec, index: int, slices: int, leak: Leak | None) -> SliceSpec:
        place = slices - 1 - index if leak == "reversed" else index
        level = LOWEST_MM + self.gap_mm * (place + (0.5 if leak == "between" else 0.0))
        return replace(spec, index=place + (AGAIN if leak == "between" else 0), z_mm=level)

    def load(self, case: Case) -> CaseImages:
        """Render one slice; always the same pixels."""
        spec, spacing = self._specs[case.case_id], pixel_mm(self.size)
        scene = anatomy(spec, self.size)
        image = render(spec, self.source_domain, self.size, scene)
        return CaseImages(image[None], None, scene.mask, (spacing, spacing), slice_mm=self.gap_mm)

    def digest(self) -> str:
        """SHA-256 of everything the images are made from."""
        return digest([SHA256, self.source_domain, self.size, [spec.as_dict() for spec in self._specs.values()]])

    def inventory(self) -> Inventory:
        """Digests of what all images are made from, and of every specification."""
        rows = {name: digest(spec.as_dict()) for name, spec in self._specs.items()}
        return Inventory(digest([SHA256, self.source_domain, self.size]), rows, {})

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Rendered cases can always be read."""

    def describe(self) -> dict[str, Any]:
        """Name, digest and what leaked."""
        leaks = {str(number): leak for number, leak in self.leaks.items()}
        return {"name": self.name, "digest": self.digest(), "phantom": True, "seed": self.seed, "leaks": leaks}


def _first_slice(seed: int, patient: str) -> SliceSpec:
    return draw_slices(seed, draw_patient(seed, patient, lesion=False), "none")[0]


def _case(spec: SliceSpec, partition: Partition, index: int) -> Case:
    patient = spec.patient
    return Case(
        case_id=f"{patient.patient_id}/{index:03d}",
        patient_id=patient.patient_id,
        partition=partition,
        has_target=False,
        annotated=True,
        has_mask=True,
        site=patient.site,
        synthetic=True,
        volume=f"{patient.patient_id}-volume",
        slice_index=index,
    )
