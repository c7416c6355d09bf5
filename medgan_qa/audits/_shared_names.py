"""What identifiers alone say: patients, studies and volumes that stand in test and in another partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from medgan_qa.cohorts.cohort import Case

Of = Callable[[Case], str | None]


class SharedNames(NamedTuple):
    """Names that stand in test and elsewhere."""

    patients: frozenset[str]
    studies: frozenset[str] | None
    """None where no study is named, or where names such as `1` or `baseline` are used for several patients."""
    volumes: frozenset[str] | None
    adjacent: tuple[str, ...]
    """Case ids of test slices of which a slice of the same volume at the same place or next to it stands elsewhere."""

    def of(self, case: Case) -> list[str]:
        """What of a test case is shared: any of `patient`, `study`, `volume`."""
        held = (("patient", case.patient_id, self.patients), ("study", case.study, self.studies))
        every = (*held, ("volume", case.volume, self.volumes))
        return [what for what, name, names in every if names is not None and name in names]


def shared_names(tests: Sequence[Case], others: Sequence[Case]) -> SharedNames:
    """Names that test cases share with those of the other partitions."""
    patients = {case.patient_id for case in tests} & {case.patient_id for case in others}
    volumes = _shared(tests, others, lambda case: case.volume)
    places = {
        (case.volume, case.slice_index + step)
        for case in others
        if case.volume is not None and case.slice_index is not None
        for step in (-1, 0, 1)
    }
    adjacent = [
        case.case_id
        for case in tests
        if volumes is not None and case.volume in volumes and (case.volume, case.slice_index) in places
    ]
    return SharedNames(frozenset(patients), _shared(tests, others, lambda case: case.study), volumes, tuple(adjacent))


def _shared(tests: Sequence[Case], others: Sequence[Case], of: Of) -> frozenset[str] | None:
    """Names in both; None where there are none at all, or one is used for several patients of a partition."""
    if not any(of(case) for case in (*tests, *others)):
        return None
    for cases in (tests, others):
        whose: dict[str, str] = {}
        for case in cases:
            name = of(case)
            if name is not None and whose.setdefault(name, case.patient_id) != case.patient_id:
                return None
    return frozenset(n for n in map(of, tests) if n is not None) & frozenset(
        n for n in map(of, others) if n is not None
    )
