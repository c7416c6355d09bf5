"""What the Record says of a dataset on disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from medgan_qa.cohorts.cohort import PARTITIONS, Case, patients, subset

if TYPE_CHECKING:
    from medgan_qa.cohorts.dataset import FileCohort

_SHOWN = 10  # excluded cases that are named; the rest is counted


def summary(cohort: FileCohort) -> dict[str, Any]:
    """Counts, ranges and declarations, as JSON can hold them; keys that say nothing are left out."""
    description, cases = cohort.description, cohort.cases
    return {
        "name": cohort.name,
        "file": description.path.name,
        "digest": cohort.digest(),
        "phantom": cohort.phantom,
        "window" if description.windowed else "value_range": list(cohort.value_range),
        "spacing_mm": _spacing(cohort),
        "source_domain": cohort.source_domain,
        "target_domain": cohort.target_domain,
        "lesion_in": list(cohort.lesion_in),
        "cases": len(cases),
        "patients": len(patients(cases)),
        "partitions": {partition: _counts(cohort, subset(cases, partition)) for partition in PARTITIONS},
        "sites": dict(sorted(Counter(case.site or "not given" for case in cases).items())),
        "attributes": sorted({name for case in cases for name in case.attributes}),
        "patients_in_several_partitions": _shared_patients(cases),
        **_volumes(cohort),
        **_declared(cohort),
    }


def _declared(cohort: FileCohort) -> dict[str, Any]:
    description, excluded = cohort.description, cohort.excluded
    out: dict[str, Any] = {}
    if description.exclude_unreadable is not None:
        out["excluded"] = {
            "allowed": description.exclude_unreadable,
            "cases": len(excluded),
            "partitions": dict(sorted(Counter(case.partition for case in excluded).items())),
            "first": [asdict(case) for case in excluded[:_SHOWN]],
        }
    if description.identifiers is not None:
        out["identifiers"] = description.identifiers
    if description.augmentation is not None:
        out["augmentation"] = description.augmentation
    if description.independence is not None:
        out["independence"] = asdict(description.independence)
    return out


def _volumes(cohort: FileCohort) -> dict[str, Any]:
    declared = cohort.description.volumes
    if declared is None:
        return {}
    found = {case.volume: volume for case in cohort.cases if (volume := cohort.volume_of(case)) is not None}
    distances = [volume.slice_mm for volume in found.values() if volume.slice_mm is not None]
    return {
        "volumes": {
            "plane": declared.plane,
            "every": declared.every,
            "within": list(declared.within),
            "volumes": len(found),
            "slice_mm": {"low": min(distances), "high": max(distances)} if distances else None,
            "notes": cohort.notes(),
        }
    }


def _spacing(cohort: FileCohort) -> dict[str, Any]:
    declared = cohort.description.spacing_mm
    carried = [cohort.spacing(case) for case in cohort.cases]
    used = np.array([spacing or declared or (1.0, 1.0) for spacing in carried] or [declared or (1.0, 1.0)])
    rest = "not given: pixels counted as 1 mm" if declared is None else "from the dataset file"
    without = carried.count(None)
    note = "from the image files" + (f"; in {without} case(s) {rest}" if without else "")
    return {
        "low": used.min(axis=0).tolist(),
        "high": used.max(axis=0).tolist(),
        "note": rest if without == len(carried) else note,
    }


def _counts(cohort: FileCohort, cases: Sequence[Case]) -> dict[str, int]:
    lesions = sum(cohort.has_lesion(case) for case in cases)
    annotated = sum(case.annotated for case in cases)
    return {
        "cases": len(cases),
        "patients": len(patients(cases)),
        "with_lesions": lesions,
        "annotated_lesion_free": annotated - lesions,
        "unannotated": len(cases) - annotated,
        "with_target": sum(case.has_target for case in cases),
        "synthetic": sum(case.synthetic for case in cases),
    }


def _shared_patients(cases: Sequence[Case]) -> int:
    partitions = defaultdict(set)
    for case in cases:
        partitions[case.patient_id].add(case.partition)
    return sum(len(found) > 1 for found in partitions.values())
