"""The audits of the partitions through the runner: clean data pass, each contamination fails its own criterion."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from medgan_qa.audits import AUDITS
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import Contaminated, Kind
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.criteria import parse_criteria
from medgan_qa.engines import LocalEngine
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.suites import suite

LIMITED = (
    "HYG-001.leaked_images",
    "HYG-002.augmented_images",
    "HYG-002.padded_images",
    "HYG-002.changed_on_reading",
    "HYG-003.generated_images",
)


@cache
def brains() -> BrainSlices:
    return BrainSlices(people=25)


def run_on(cohort: Any) -> RunResult:
    criteria = parse_criteria(
        {
            "schema": "medgan-qa/criteria/1",
            "protocol": {"id": "VP-1", "revision": "A", "title": "Hygiene"},
            "alpha": 0.05,
            "multiplicity": "none",
            "criterion": [
                {
                    "id": f"AC-{k}",
                    "measurement": name,
                    "limit": {"max": 0},
                    "judged_on": "value",
                    "rationale": "The test partition is untouched.",
                    "hazard": "HZ-09 test data contaminated",
                    "requirement": "SRS-1",
                }
                for k, name in enumerate(LIMITED, 1)
            ],
        },
        "criteria.toml",
    )
    hygiene = tuple(AUDITS[code] for code in ("HYG-001", "HYG-002", "HYG-003"))
    only = replace(suite("synthesis"), audits=hygiene, optional=(), index=())
    subject = planted_sampler(brains(), Independent())
    return run_audit(subject, cohort, only, criteria, detector=None, engine=LocalEngine())


def verdicts(result: RunResult) -> dict[str, str]:
    return {c.measurement: c.verdict for audit in result.record.audits for c in audit.criteria}


def test_clean_partitions_pass() -> None:
    result = run_on(brains())
    assert result.exception is None
    assert result.record.verdict == "pass"


@pytest.mark.parametrize(
    ("kind", "measurement"),
    [
        ("flip", "HYG-002.augmented_images"),
        ("relabelled", "HYG-001.leaked_images"),
        ("generated", "HYG-003.generated_images"),
        ("unstable", "HYG-002.changed_on_reading"),
    ],
)
def test_contamination_fails_its_own_criterion(kind: Kind, measurement: str) -> None:
    made = planted_sampler(brains(), Independent()).sample(4, 0)
    result = run_on(Contaminated(brains(), kind, 0.05, np.asarray(made)))
    assert result.exception is None
    assert result.record.verdict == "fail"
    assert verdicts(result) == {name: "fail" if name == measurement else "pass" for name in LIMITED}
