"""What a run has to say of its data: whether declared conditions held, and what became of every case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from medgan_qa.cohorts.cohort import Case, Cohort, subset
from medgan_qa.criteria import DataFacts
from medgan_qa.record import Accounting, Exclusion
from medgan_qa.runner.verdicts import Ran, error_text

UNREADABLE = "The case cannot be read, and was left out as exclude_unreadable of the dataset file allows."
"""Reason for an exclusion; the Record's data say what is wrong with the first of these cases."""


def data_facts(cohort: Cohort, rows: Sequence[dict[str, Any]]) -> DataFacts:
    """What the criteria's conditions on the data are held against.

    Args:
        cohort: all of its partitions.
        rows: rows of the run's case table; those that count lesions say how many there were to follow.
    """
    test, test_ids = subset(cohort.cases, "test"), {case.case_id for case in subset(cohort.cases, "test")}
    other = [case for case in cohort.cases if case.case_id not in test_ids]
    return DataFacts(
        test_patients=frozenset(case.patient_id for case in test),
        test_sites=_sites(test),
        other_patients=frozenset(case.patient_id for case in other),
        other_sites=_sites(other),
        lesions=_lesions(rows),
        sites_known=all(case.site for case in cohort.cases),
    )


def _sites(cases: Sequence[Case]) -> frozenset[str]:
    return frozenset(case.site for case in cases if case.site)


def _lesions(rows: Sequence[dict[str, Any]]) -> int | None:
    counted: Counter[str] = Counter()
    for row in rows:
        if "lesions" in row:
            counted[row["audit"]] += int(row["lesions"])
    return max(counted.values(), default=None)


def accounting(cohort: Cohort, ran: Sequence[Ran]) -> list[Accounting]:
    """Enrolled, excluded with the reason, analysed: one entry an audit.

    Cases that were left out because they cannot be read were enrolled, and no audit analysed them.
    """
    readable = len(subset(cohort.cases, "test"))
    unreadable = sum(case.partition == "test" for case in cohort.excluded)
    return [_accounted(r, readable, unreadable) for r in ran]


def _accounted(ran: Ran, readable: int, unreadable: int) -> Accounting:
    stopped = error_text(ran.error) if ran.error is not None else ran.findings.missing or ran.findings.not_applicable
    if stopped:
        reasons = Counter({stopped.splitlines()[0]: readable} if readable else {})
    else:
        reasons = Counter(ran.findings.excluded.values())
    if unreadable:
        reasons[UNREADABLE] += unreadable
    enrolled = readable + unreadable
    excluded = [Exclusion(reason=reason, cases=number) for reason, number in reasons.most_common()]
    return Accounting(audit=ran.audit.code, enrolled=enrolled, analysed=enrolled - reasons.total(), excluded=excluded)
