"""What would make a claim untestable, found before criteria are locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from medgan_qa.criteria.content import Criteria, Declared, DeclaredSentinel
from medgan_qa.criteria.known_hazards import unknown_hazards
from medgan_qa.criteria.problems import hint
from medgan_qa.criteria.sentinels import SENTINEL_AUDITS


@dataclass(frozen=True)
class SuiteFacts:
    """What criteria can refer to in a suite."""

    name: str
    measures: Mapping[str, tuple[str, ...]]
    """Names of the measurements that each of its audits can make, by code, without strata."""
    parameters: Mapping[str, tuple[str, ...]]
    """Names of the parameters of each of its audits, by code."""


def lock_problems(criteria: Criteria, suite: SuiteFacts, test_cases: frozenset[str]) -> list[str]:
    """Everything that keeps criteria from being locked for a suite and data; empty if they can be.

    Args:
        criteria: what was declared.
        suite: what the suite can measure.
        test_cases: identifiers of the cases in the test partition.
    """
    return [
        *_whole(criteria, suite),
        *(f"{d.id}: {said}" for d in criteria.declared for said in _of_criterion(d, suite)),
        *(f"{name}: {said}" for name, said in unknown_hazards(criteria)),
        *(f"sentinel {s.case}: {said}" for s in criteria.sentinels for said in _of_sentinel(s, suite, test_cases)),
        *_of_parameters(criteria, suite),
    ]


def _whole(criteria: Criteria, suite: SuiteFacts) -> Iterator[str]:
    if criteria.suite is not None and criteria.suite != suite.name:
        yield f"[context] suite is {criteria.suite!r}, and the lock is for {suite.name!r}"
    if not any(d.severity == "gate" or d.strata.gate for d in criteria.declared):
        yield 'every criterion has severity = "report", so that no run could pass or fail'


def _of_criterion(declared: Declared, suite: SuiteFacts) -> Iterator[str]:
    if not declared.rationale.strip():
        yield "its limit has no rationale"
    base = declared.measurement.split("[")[0]
    code, _, name = base.partition(".")
    if code not in suite.measures:
        yield f"the suite {suite.name} does not run {code}{hint(code, suite.measures)}"
    elif name not in suite.measures[code]:
        every = [f"{c}.{n}" for c, names in suite.measures.items() for n in names]
        yield f"{code} makes no measurement {base}{hint(base, every)}"


def _of_sentinel(sentinel: DeclaredSentinel, suite: SuiteFacts, test_cases: frozenset[str]) -> Iterator[str]:
    if sentinel.audit not in suite.measures:
        yield f"the suite {suite.name} does not run {sentinel.audit}{hint(sentinel.audit, suite.measures)}"
    elif sentinel.audit not in SENTINEL_AUDITS:
        yield f"{sentinel.audit} cannot decide on a case; {', '.join(SENTINEL_AUDITS)} can"
    if sentinel.case not in test_cases:
        yield f"it is no case of the test partition{hint(sentinel.case, test_cases)}"


def _of_parameters(criteria: Criteria, suite: SuiteFacts) -> Iterator[str]:
    every = [name for names in suite.parameters.values() for name in names]
    for name in criteria.matching:
        if name not in every:
            yield f"[matching] {name}: no audit of the suite {suite.name} has it{hint(name, every)}"
    for code, values in criteria.parameters.items():
        if code not in suite.parameters:
            yield f"[parameters.{code}]: the suite {suite.name} does not run it{hint(code, suite.parameters)}"
            continue
        for name in values:
            if name not in suite.parameters[code]:
                yield f"[parameters.{code}] {name}: {code} has no such parameter{hint(name, suite.parameters[code])}"
