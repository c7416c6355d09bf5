"""Criteria files, and holding a measurement against a criterion.

A criterion is judged on a confidence bound, never on the estimate: `pass` when the bound meets the limit, `fail` when
the whole interval lies beyond it, `inconclusive` otherwise. Judging knows nothing about audits; audits know nothing
about limits.
"""

from __future__ import annotations

from medgan_qa.criteria.changes import changes
from medgan_qa.criteria.checking import SuiteFacts, lock_problems
from medgan_qa.criteria.conditions import DataFacts, preconditions
from medgan_qa.criteria.content import (
    SCHEMA,
    Criteria,
    Declared,
    DeclaredHazard,
    DeclaredSentinel,
    Estimate,
    JudgedOn,
    Strata,
)
from medgan_qa.criteria.judging import judge
from medgan_qa.criteria.known_hazards import catalogue, hazards
from medgan_qa.criteria.reading import parse_criteria, read_criteria
from medgan_qa.criteria.sentinels import SENTINEL_AUDITS, sentinel_results
from medgan_qa.criteria.train_manifest import TrainManifest, read_train_manifest

__all__ = [
    "SCHEMA",
    "SENTINEL_AUDITS",
    "Criteria",
    "DataFacts",
    "Declared",
    "DeclaredHazard",
    "DeclaredSentinel",
    "Estimate",
    "JudgedOn",
    "Strata",
    "SuiteFacts",
    "TrainManifest",
    "catalogue",
    "changes",
    "hazards",
    "judge",
    "lock_problems",
    "parse_criteria",
    "preconditions",
    "read_criteria",
    "read_train_manifest",
    "sentinel_results",
]
