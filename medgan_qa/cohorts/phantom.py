"""The embedded cohorts: `phantom:brain`, real anatomy with known truth.

`BrainPhantoms` satisfies the same interface as a dataset read from files. Partitions are disjoint sets of patients by
construction: a patient's identifier holds the partition, and every random stream is derived from it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import numpy as np

from medgan_qa.cohorts.cohort import Case, CaseImages, Partition, patients
from medgan_qa.cohorts.contrasts import CONTRASTS
from medgan_qa.cohorts.phantom_render import pixel_mm, render_pair
from medgan_qa.cohorts.phantom_spec import LesionPlan, SliceSpec, draw_patient, draw_slices
from medgan_qa.cohorts.tissue import SHA256
from medgan_qa.errors import ConfigurationError

COHORT_SEED = 20181
"""Seed of the shipped cohorts. Fixed: the test patients of every run are the same, whatever the run's own seed."""

PLANS: tuple[LesionPlan, ...] = ("both", "one", "one", "none")
"""Lesion plans that successive patients take in turn: three of four have a lesion, half of all slices show one."""


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
        self.cases: tuple[Case, ...] = tuple(self._case(spec) for spec in specs)

    def _case(self, spec: SliceSpec) -> Case:
        patient = spec.patient
        return Case(
            case_id=spec.case_id,
            patient_id=patient.patient_id,
            partition="test",
            has_target=True,
            annotated=True,
            has_mask=True,
            site=patient.site,
            synthetic=True,
            attributes={"sex": patient.sex, "age": str(patient.age_years)},
            spec=spec.as_dict(),
        )

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

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Rendered cases can always be read."""

    def describe(self) -> dict[str, Any]:
        """What the Record says about the cohort."""
        with_lesions = sum(bool(np.any(self.load(case).lesion_mask)) for case in self.cases)
        people = len(patients(self.cases))
        spacing = [pixel_mm(self.size)] * 2
        return {
            "name": self.name,
            "digest": self.digest(),
            "phantom": True,
            "anatomy": "MNI152 2009a tissue maps, deformed for each patient; tumours with oedema drawn in",
            "seed": self.seed,
            "value_range": list(self.value_range),
            "spacing_mm": {"low": spacing, "high": spacing, "note": None},
            "source_domain": self.source_domain,
            "target_domain": self.target_domain,
            "lesion_in": list(self.lesion_in),
            "cases": len(self.cases),
            "patients": people,
            "partitions": {
                "test": {
                    "cases": len(self.cases),
                    "patients": people,
                    "with_lesions": with_lesions,
                    "annotated_lesion_free": len(self.cases) - with_lesions,
                    "unannotated": 0,
                    "with_target": len(self.cases),
                    "synthetic": len(self.cases),
                }
            },
            "sites": dict(sorted(Counter(str(case.site) for case in self.cases).items())),
            "attributes": ["age", "sex"],
            "patients_in_several_partitions": 0,
        }


def phantom_cohort(name: str) -> BrainPhantoms:
    """The embedded cohort of a name on the command line.

    Raises:
        ConfigurationError: there is no such cohort.
    """
    if name != "phantom:brain":
        raise ConfigurationError(
            "There is no such embedded cohort.",
            expected="phantom:brain",
            found=name,
            where="--data",
            todo="Use phantom:brain, or give a dataset file.",
        )
    return BrainPhantoms()
