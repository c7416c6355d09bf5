"""Criteria and data fixed before a model is seen, and holding a run against what was fixed.

`criteria.lock.json` stands beside the criteria file. It holds the criteria verbatim, their digest, the digest of every
row and file of the data, the version of the tool, who locked them and when. A lock that takes the place of another
names it by its SHA-256, so that the locks of one claim are a chain.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from medgan_qa.cohorts.cohort import Cohort, subset
from medgan_qa.criteria import Criteria, SuiteFacts, lock_problems, read_train_manifest
from medgan_qa.errors import ConfigurationError, InputError
from medgan_qa.evidence._lock_drift import LockState, locked_criteria, require_unchanged, state
from medgan_qa.evidence._lock_file import LOCK, Lock, find_lock, lock_name, read_lock
from medgan_qa.evidence._lock_writing import Written, make_lock, write_lock
from medgan_qa.evidence.provenance import checkout

if TYPE_CHECKING:
    from medgan_qa.suites import Suite

__all__ = [
    "LOCK",
    "Lock",
    "LockState",
    "Written",
    "check_for_lock",
    "check_lock",
    "find_lock",
    "lock_name",
    "locked_criteria",
    "make_lock",
    "read_lock",
    "write_lock",
]


def check_lock(
    lock: Lock,
    criteria: Criteria,
    cohort: Cohort,
    suite: str,
    tool_version: str,
    *,
    commit: str | None = None,
    now: datetime | None = None,
) -> LockState:
    """Hold a run's criteria, data, suite and tool against a lock. Reads every file of the data.

    Args:
        lock: as read from its file.
        criteria: as read from theirs.
        cohort: the data of the run.
        suite: the suite of the run.
        tool_version: version of the tool that runs.
        commit: its commit; None: that of the checkout, where there is one.
        now: the present; None: what the clock says.

    Returns:
        Facts for the Record's `criteria_lock`, and notes for its deviations.

    Raises:
        IntegrityError: something that matters changed; all of it is in the one message.
        InputError: the training manifest, or a file of the data, cannot be read.
    """
    now = now or datetime.now(UTC)
    read_train_manifest(criteria)
    current = make_lock(
        criteria,
        suite,
        cohort,
        lock.data.file,
        "",
        now,
        tool_version=tool_version,
        commit=commit or checkout()["commit"],
    )
    require_unchanged(lock, current, criteria.content())
    return state(lock, current, criteria, now)


def check_for_lock(criteria: Criteria, suite: Suite, cohort: Cohort) -> None:
    """Refuse to lock what no run could judge.

    Looked for: a limit without a rationale, an unknown hazard, a criterion, sentinel or parameter on an audit that the
    suite does not run, a measurement that none of its audits makes, a sentinel that is no test case, another suite, a
    training manifest that cannot be used.

    Raises:
        ConfigurationError: all that was found, in one message.
    """
    audits = (*suite.audits, *suite.optional)
    facts = SuiteFacts(
        suite.name,
        {audit.code: audit.measures for audit in audits},
        {audit.code: tuple(audit.parameters) for audit in audits},
    )
    cases = frozenset(case.case_id for case in subset(cohort.cases, "test"))
    found = lock_problems(criteria, facts, cases) or _values(criteria, suite)
    try:
        read_train_manifest(criteria)
    except InputError as error:
        found.append(f"{error.where}: {error.problem} Expected {error.expected}; found {error.found}.")
    if found:
        raise ConfigurationError(
            "The criteria cannot be locked: no run could judge all that they declare.",
            expected=f"criteria that the suite {suite.name} can judge on this data",
            found="\n    ".join([f"{len(found)} in all:", *found]),
            where=criteria.file,
            todo="Correct the criteria file. A run without a lock names every measurement and stratum that there is.",
        )


def _values(criteria: Criteria, suite: Suite) -> list[str]:
    """Parameters with a value that they cannot have; names were checked before."""
    # It brings every audit with it, which is more than reading a lock takes.
    from medgan_qa.runner.parameters import parameters

    found = []
    for audit in (*suite.audits, *suite.optional):
        try:
            parameters(audit, criteria)
        except ConfigurationError as error:
            found.append(f"{error.problem} Expected {error.expected}; found {error.found}.")
    return found
