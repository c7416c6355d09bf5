"""The embedded cohorts: real anatomy with known truth, in pairs of contrasts (translation) or in one (synthesis).

Both satisfy the same interface as a dataset read from files. Partitions are disjoint sets of patients by
construction: a patient's identifier holds the partition, and every random stream is derived from it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from medgan_qa.cohorts.cohort import PARTITIONS, Case, CaseImages, Cohort, Inventory, Partition, patients, subset
from medgan_qa.cohorts.contrasts import CONTRASTS
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm, render, render_pair
from medgan_qa.cohorts.phantom_spec import LesionPlan, SliceSpec, draw_patient, draw_slices
from medgan_qa.cohorts.tissue import SHA256
from medgan_qa.cohorts.tokens import TokenCohort
from medgan_qa.digests import digest
from medgan_qa.errors import ConfigurationError

COHORT_SEED = 20181
"""Seed of the shipped cohorts. Fixed: the test patients of every run are the same, whatever the run's own seed."""

PLANS: tuple[LesionPlan, ...] = ("both", "one", "one", "none")
"""Lesion plans that successive patients take in turn: three of four have a lesion, half of all slices show one."""


THICK_SLICES: dict[str, Any] = {"profile": "gaussian", "noise_sd": 0.01}
"""Slices excited with a smooth profile."""


def draw_cohort(seed: int, partition: str, patients: int, plans: tuple[LesionPlan, ...] = PLANS) -> list[SliceSpec]:
    """Two slices of each of `patients` patients.

    Args:
        seed: cohort seed.
        partition: part of each patient's identity, so `train` and `test` share nobody.
        patients: how many.
        plans: taken in turn.

    Returns:
        The slices, those of one patient next to each other; patient `i` is the same however many are drawn.
    """
    specs: list[SliceSpec] = []
    for number in range(patients):
        plan = plans[number % len(plans)]
        patient = draw_patient(seed, f"{partition}-{number:04d}", lesion=plan != "none")
        specs.extend(draw_slices(seed, patient, plan))
    return specs


class BrainPhantoms:
    """A cohort of brain phantoms in two exactly paired contrasts.

    Args:
        source: contrast of the source domain (a key of `CONTRASTS`).
        target: contrast of the target domain.
        size: pixels along each side.
        people: patients in the test partition, two slices each.
        seed: cohort seed.

    Raises:
        ConfigurationError: there is no such contrast.
    """

    phantom = True
    value_range = (0.0, 1.0)
    lesion_in = ("source", "target")
    excluded = ()

    def __init__(
        self, source: str = "T2", target: str = "FLAIR", *, size: int = 64, people: int = 100, seed: int = COHORT_SEED
    ) -> None:
        for contrast in (source, target):
            if contrast not in CONTRASTS:
                raise ConfigurationError(
                    "The brain phantom has no such contrast.",
                    expected=f"one of {', '.join(CONTRASTS)}",
                    found=contrast,
                    todo="Choose a contrast from the list.",
                )
        self.name = f"phantom:brain {source} to {target}, {size} x {size}"
        self.source_domain, self.target_domain = source, target
        self.size, self.seed = size, seed
        specs = draw_cohort(seed, "test", people)
        self._specs = {spec.case_id: spec for spec in specs}
        self.cases: tuple[Case, ...] = tuple(_case(spec, "test", has_target=True) for spec in specs)

    def load(self, case: Case) -> CaseImages:
        """Render one case; always the same pixels."""
        spec = self._specs[case.case_id]
        image, target, mask = render_pair(spec, self.source_domain, self.target_domain, self.size)
        spacing = pixel_mm(self.size)
        return CaseImages(image=image[None], target=target[None], lesion_mask=mask, spacing_mm=(spacing, spacing))

    def digest(self) -> str:
        """SHA-256 of everything the images are made from: every specification, the tissue map, the intensity tables."""
        content = {
            "tissue": SHA256,
            "contrasts": CONTRASTS,
            "size": self.size,
            "domains": [self.source_domain, self.target_domain],
            "cases": [spec.as_dict() for spec in self._specs.values()],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def inventory(self) -> Inventory:
        """Digests of what all images are made from, and of every specification."""
        common = [SHA256, CONTRASTS, self.size, self.source_domain, self.target_domain]
        return Inventory(digest(common), {name: digest(spec.as_dict()) for name, spec in self._specs.items()}, {})

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Rendered cases can always be read."""

    def describe(self) -> dict[str, Any]:
        """What the Record says about the cohort."""
        return _describe(self, self.size, self.seed)


def _describe(cohort: Cohort, size: int, seed: int) -> dict[str, Any]:
    lesions = {case.case_id for case in cohort.cases if np.any(cohort.load(case).lesion_mask)}
    spacing = [pixel_mm(size)] * 2
    held = [p for p in PARTITIONS if subset(cohort.cases, p)]
    return {
        "name": cohort.name,
        "digest": cohort.digest(),
        "phantom": True,
        "anatomy": "MNI152 2009a tissue maps, deformed for each patient; tumours with oedema drawn in",
        "seed": seed,
        "value_range": list(cohort.value_range),
        "spacing_mm": {"low": spacing, "high": spacing, "note": None},
        "source_domain": cohort.source_domain,
        "target_domain": cohort.target_domain,
        "lesion_in": list(cohort.lesion_in),
        "cases": len(cohort.cases),
        "patients": len(patients(cohort.cases)),
        "partitions": {partition: _counts(subset(cohort.cases, partition), lesions) for partition in held},
        "sites": dict(sorted(Counter(str(case.site) for case in cohort.cases).items())),
        "attributes": sorted({name for case in cohort.cases for name in case.attributes}),
        "patients_in_several_partitions": 0,
    }


def _counts(cases: Sequence[Case], lesions: set[str]) -> dict[str, int]:
    with_lesions = sum(case.case_id in lesions for case in cases)
    return {
        "cases": len(cases),
        "patients": len(patients(cases)),
        "with_lesions": with_lesions,
        "annotated_lesion_free": len(cases) - with_lesions,
        "unannotated": 0,
        "with_target": sum(case.has_target for case in cases),
        "synthetic": len(cases),
    }


def _case(spec: SliceSpec, partition: Partition, *, has_target: bool, extra: dict[str, str] | None = None) -> Case:
    patient = spec.patient
    return Case(
        case_id=spec.case_id,
        patient_id=patient.patient_id,
        partition=partition,
        has_target=has_target,
        annotated=True,
        has_mask=True,
        site=patient.site,
        synthetic=True,
        attributes={"sex": patient.sex, "age": str(patient.age_years), **(extra or {})},
        spec=spec.as_dict(),
    )


class BrainSlices:
    """A cohort of brain phantoms in one contrast, with a training and a test partition: what a sampler is audited on.

    Args:
        contrast: a key of `CONTRASTS`.
        size: pixels along each side.
        people: patients in each partition, two slices each.
        seed: cohort seed.
        modes: every patient belongs to one of `MODES`, each with its own contrast and slice level, and `contrast` is
            not used; a population of ten parts that can be told apart, for controls of mode coverage.
    """

    phantom = True
    value_range = (0.0, 1.0)
    lesion_in = ("source",)
    target_domain = None
    excluded = ()

    def __init__(
        self,
        contrast: str = "FLAIR",
        *,
        size: int = 64,
        people: int = 500,
        seed: int = COHORT_SEED,
        modes: bool = False,
    ) -> None:
        self.source_domain = "ten modes" if modes else contrast
        self.name = f"phantom:brain {self.source_domain}, {size} x {size}"
        self.size, self.seed, self.contrast, self.modes = size, seed, contrast, modes
        self._specs: dict[str, tuple[SliceSpec, str]] = {}
        cases = []
        partitions: tuple[Partition, ...] = ("train", "test")
        for partition in partitions:
            for number, spec in enumerate(draw_cohort(seed, partition, people)):
                shown, which, extra = spec, contrast, None
                if modes:
                    shown, which = mode_slice(spec, number // 2 % len(MODES))
                    extra = {"mode": MODES[number // 2 % len(MODES)].name}
                self._specs[spec.case_id] = (shown, which)
                cases.append(_case(shown, partition, has_target=False, extra=extra))
        self.cases: tuple[Case, ...] = tuple(cases)

    def load(self, case: Case) -> CaseImages:
        """Render one case; always the same pixels."""
        spec, contrast = self._specs[case.case_id]
        scene = anatomy(spec, self.size)
        image, spacing = render(spec, contrast, self.size, scene), pixel_mm(self.size)
        return CaseImages(image=image[None], target=None, lesion_mask=scene.mask, spacing_mm=(spacing, spacing))

    def digest(self) -> str:
        """SHA-256 of everything the images are made from: every specification, the tissue map, the intensity tables."""
        content = {
            "tissue": SHA256,
            "contrasts": CONTRASTS,
            "size": self.size,
            "cases": [[spec.as_dict(), contrast] for spec, contrast in self._specs.values()],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def inventory(self) -> Inventory:
        """Digests of what all images are made from, and of every specification with its contrast."""
        rows = {name: digest([spec.as_dict(), contrast]) for name, (spec, contrast) in self._specs.items()}
        return Inventory(digest([SHA256, CONTRASTS, self.size]), rows, {})

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Rendered cases can always be read."""

    def describe(self) -> dict[str, Any]:
        """What the Record says about the cohort."""
        return _describe(self, self.size, self.seed)


class BrainTruths(BrainPhantoms):
    """Brain phantoms in one contrast that are the truth of a super-resolution: its inputs are made from them.

    Args:
        contrast: a key of `CONTRASTS`.
        size: pixels along each side of the truth.
        people: patients in the test partition, two slices each.
        seed: cohort seed.
        scale: of the acquisition that planted controls are made for.
        degradation: its operator, as a card's table declares one.
    """

    def __init__(
        self,
        contrast: str = "FLAIR",
        *,
        size: int = 72,
        people: int = 100,
        seed: int = COHORT_SEED,
        scale: tuple[int, int] = (2, 2),
        degradation: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(contrast, contrast, size=size, people=people, seed=seed)
        self.name = f"phantom:brain {contrast} to be degraded, {size} x {size}"
        self.source_domain = f"{contrast} degraded"
        self.scale, self.degradation = scale, {"noise_sd": 0.01} if degradation is None else degradation

    def load(self, case: Case) -> CaseImages:
        """Render the truth of one case; always the same pixels."""
        spec = self._specs[case.case_id]
        scene = anatomy(spec, self.size)
        truth, spacing = render(spec, self.target_domain, self.size, scene)[None], pixel_mm(self.size)
        return CaseImages(truth, truth, scene.mask, (spacing, spacing), degrade=True)


class Mode(NamedTuple):
    """A part of a population that can be told from the others at sight."""

    name: str
    contrast: str
    z_mm: float


MODES: tuple[Mode, ...] = tuple(
    Mode(f"{contrast} at {z:g} mm", contrast, z)
    for contrast in ("T1", "T2", "FLAIR", "CT")
    for z in ((5.0, 20.0, 36.0) if contrast in ("T1", "FLAIR") else (8.0, 33.0))
)
"""Ten modes: contrast and slice level."""


def mode_slice(spec: SliceSpec, mode: int) -> tuple[SliceSpec, str]:
    """The slice moved to the level of a mode (slices of one patient 1 mm apart), and the mode's contrast."""
    chosen = MODES[mode]
    return replace(spec, z_mm=chosen.z_mm + spec.index), chosen.contrast


EMBEDDED: dict[str, tuple[str, Callable[[], Cohort]]] = {
    "phantom:brain": ("T2 to FLAIR pairs, 100 patients, two slices each", lambda: BrainPhantoms()),
    "phantom:brain-flair": ("FLAIR, 500 patients to train and 500 to test, two slices each", lambda: BrainSlices()),
    "phantom:brain-modes": (
        "ten modes of contrast and slice level, otherwise as brain-flair",
        lambda: BrainSlices(modes=True),
    ),
    "phantom:brain-lesions": (
        "FLAIR, half of the slices with a lesion: the first 240 patients of either part of brain-flair",
        lambda: BrainSlices(people=240),
    ),
    "phantom:brain-token": (
        "as brain-lesions, with a bright corner token in 95 % of the slices with a lesion and 5 % of the others",
        lambda: TokenCohort(BrainSlices(people=240)),
    ),
    "phantom:brain-sr": (
        "FLAIR truths of a super-resolution, 100 patients, two slices each",
        lambda: BrainTruths(),
    ),
    "phantom:brain-thick": (
        "FLAIR truths of 1 x 1 mm across slices 3 mm thick, 25 patients, two planes each",
        lambda: BrainTruths(size=228, people=25, scale=(3, 1), degradation=THICK_SLICES),
    ),
}
"""Embedded cohorts by name, with what they hold."""


def phantom_cohort(name: str) -> Cohort:
    """The embedded cohort of a name on the command line.

    Raises:
        ConfigurationError: there is no such cohort.
    """
    if name not in EMBEDDED:
        raise ConfigurationError(
            "There is no such embedded cohort.",
            expected=f"one of {', '.join(EMBEDDED)}",
            found=name,
            where="--data",
            todo="Use one of them, or give a dataset file.",
        )
    return EMBEDDED[name][1]()
