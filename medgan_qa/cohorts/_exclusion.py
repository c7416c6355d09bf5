"""Leaving out what cannot be read, by the rule that the dataset file declares and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medgan_qa.cohorts._problems import collected
from medgan_qa.cohorts.cohort import Case, ExcludedCase
from medgan_qa.cohorts.description import Description
from medgan_qa.errors import DatasetError

_ROUNDING = 1e-9  # what is left of a sum of shares


def excluded_cases(cases: Sequence[Case], errors: Mapping[str, DatasetError]) -> tuple[ExcludedCase, ...]:
    """Cases with what is wrong with each, by case id, in one line."""
    return tuple(
        ExcludedCase(case.case_id, case.patient_id, case.partition, _in_one_line(errors[case.case_id]))
        for case in cases
    )


def _in_one_line(error: DatasetError) -> str:
    return " ".join(f"{error.where}: expected {error.expected}; found {error.found}".split())


def require_few(
    description: Description,
    cases: Sequence[Case],
    shares: Mapping[str, float],
    excluded: Sequence[ExcludedCase],
) -> None:
    """Refuse to leave out more than the dataset file allows, in any partition.

    Args:
        description: of the dataset.
        cases: all of it, those to leave out included.
        shares: how much of its row each case is, so that a volume weighs as much as a single slice.
        excluded: what would be left out in all.

    Raises:
        DatasetError: there are more, or the dataset file allows none; the first ten are named.
    """
    listed = [f"{case.case_id}: {case.reason}" for case in excluded]
    allowed = description.exclude_unreadable
    if allowed is None:
        problem = f"{len(excluded)} case(s) of dataset {description.name!r} cannot be loaded"
        raise _refusal(problem, listed, "files that can be read and agree with each other", description)
    left_out = {case.case_id for case in excluded}
    for partition in sorted({case.partition for case in excluded}):
        weights = {case.case_id: shares[case.case_id] for case in cases if case.partition == partition}
        share = sum(weights[name] for name in left_out & weights.keys()) / sum(weights.values())
        if share > allowed + _ROUNDING:
            problem = f"{share:.1%} of the rows of partition {partition} cannot be loaded, more than may be left out"
            raise _refusal(problem, listed, f"at most {allowed:.1%}, as exclude_unreadable declares", description)


def _refusal(problem: str, listed: Sequence[str], expected: str, description: Description) -> DatasetError:
    todo = "Repair these files, or take the cases out of the table."
    return collected(problem, listed, expected=expected, where=description.table.name, todo=todo)
