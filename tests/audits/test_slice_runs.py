"""Volumes under another name are told by their slices, in order; volumes of strangers are not."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from medgan_qa.audits._slice_runs import _order
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.leaked_images import leaked_images
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.controls.stacks import Stacks
from medgan_qa.engines import LocalEngine


def run_on(cohort: Stacks) -> Findings:
    return leaked_images(SynthesisRun(planted_sampler(cohort, Independent()), cohort, None, LocalEngine(), 0))


@cache
def leaked() -> Findings:
    return run_on(Stacks({3: "same slices", 5: "reversed"}, people=15, slices=4))


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"HYG-001.{name}").measurement.value


def test_volumes_of_strangers_are_clean() -> None:
    findings = run_on(Stacks(people=15, slices=4))
    assert findings.missing is None
    assert value(findings, "leaked_volumes") == 0
    assert value(findings, "leaked_images") == 0
    assert value(findings, "shared_volumes") == 0
    assert findings.tables == {}


def test_a_volume_under_another_name_is_one_finding_with_its_order() -> None:
    findings = leaked()
    assert value(findings, "leaked_volumes") == 2
    assert value(findings, "leaked_images") == 8
    rows = {row["test"]: row for row in findings.tables["exhibits/HYG-001-volumes.csv"]}
    assert {name: (row["other"], row["matched"], row["order"], row["offset"]) for name, row in rows.items()} == {
        "test-stack-0003-volume": ("train-stack-0003-volume", 4, "same", 0.0),
        "test-stack-0005-volume": ("train-stack-0005-volume", 4, "reversed", None),
    }
    assert {row["by"] for row in rows.values()} == {"the same slices"}
    assert {row["train_volume"] for row in findings.rows} == {"train-stack-0003-volume", "train-stack-0005-volume"}
    assert all(row["leaked_by"] == "image and volume under another name" for row in findings.rows)
    assert any("4 of 4 slices, in the same order, +0 places along" in note for note in findings.notes)


def test_a_volume_cut_between_the_slices_of_another_is_told_by_its_neighbours() -> None:
    findings = run_on(Stacks({0: "between"}, people=15, slices=6, gap_mm=1.0))
    rows = findings.tables["exhibits/HYG-001-volumes.csv"]
    assert [(row["test"], row["other"], row["order"]) for row in rows] == [
        ("test-stack-0000-volume", "train-stack-0000-volume", "same")
    ]
    assert rows[0]["matched"] >= 4
    told = [row for row in findings.rows if row["train_volume"] == "train-stack-0000-volume"]
    assert len(told) == 6


@pytest.mark.parametrize(
    ("tests", "others", "expected"),
    [
        ([0, 1, 2], [4, 5, 6], ("same", 4.0)),
        ([0, 1, 2, 3], [9, 8, 6, 5], ("reversed", None)),
        ([0, 1, 2, 3], [5, 2, 9, 1], ("none", None)),
        ([0, 1, 2], [4, 4, 4], ("none", None)),
        ([0, None], [4, 5], ("none", None)),
    ],
)
def test_places_say_whether_slices_are_in_order(tests: Any, others: Any, expected: tuple[str, float | None]) -> None:
    assert _order(tests, others) == expected
