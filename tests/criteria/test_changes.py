"""Differences between two criteria files, by dotted key, and what keeps criteria from being locked."""

from __future__ import annotations

from typing import Any

import pytest

from medgan_qa.criteria import SuiteFacts, changes, lock_problems, parse_criteria

ENTRY = {
    "id": "AC-01",
    "measurement": "PAT-001.removal_rate",
    "limit": {"max": 0.05},
    "judged_on": "upper",
    "rationale": "a removed lesion is a missed diagnosis",
    "hazard": "HZ-03",
}
SECOND = {**ENTRY, "id": "AC-02", "measurement": "PAT-001.removal_rate[site A]"}
FACTS = SuiteFacts(
    "translation",
    {"PAT-001": ("removal_rate", "weakened_rate"), "FID-010": ("ssim_body",)},
    {"PAT-001": ("matching", "dilate_mm"), "FID-010": ("worst",)},
)
CASES = frozenset({"fall-1", "fall-2"})


def content(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {"schema": "medgan-qa/criteria/1", "criterion": list(entries or (ENTRY,)), **more}
    return parse_criteria(given, "plan.toml").content()


def problems(*entries: dict[str, Any], **more: Any) -> list[str]:
    return lock_problems(parse_criteria(content(*entries, **more), "plan.toml"), FACTS, CASES)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (content(), content(), []),
        (
            content(ENTRY, SECOND),
            content({**ENTRY, "limit": {"max": 0.1}}, SECOND),
            ["criterion.AC-01.limit.max: 0.05 -> 0.1"],
        ),
        (content(), content(alpha=0.01), ["alpha: 0.05 -> 0.01"]),
        (content(), content(ENTRY, SECOND), ["criterion.AC-02: added"]),
        (content(ENTRY, SECOND), content(), ["criterion.AC-02: removed"]),
        (content(ENTRY, SECOND), content(SECOND, ENTRY), ["criterion: the order of the entries"]),
        (content(), content({**ENTRY, "severity": "report"}), ['criterion.AC-01.severity: "gate" -> "report"']),
        (content(), content({**ENTRY, "margin": 0.0}), ["criterion.AC-01.margin: not set -> 0.0"]),
        (content(), content({**ENTRY, "optional": True}), ["criterion.AC-01.optional: not set -> true"]),
        (
            content(data={"min": {"patients": 60}}),
            content(data={"min": {"patients": 6}}),
            ["data.min.patients: 60 -> 6"],
        ),
        (content(), content(data={"min": {"patients": 6}}), ["data.min: added"]),
        (
            content(sentinel=[{"case": "fall-1", "audit": "PAT-001"}]),
            content(sentinel=[{"case": "fall-1", "audit": "PAT-001", "rationale": "ä"}]),
            ['sentinel.fall-1 in PAT-001.rationale: "" -> "ä"'],
        ),
        (
            content(parameters={"PAT-001": {"dilate_mm": 3}}),
            content(parameters={"PAT-001": {"dilate_mm": 3.0}}),
            ["parameters.PAT-001.dilate_mm: 3 -> 3.0"],
        ),
    ],
)
def test_differences_are_named_by_key(old: dict[str, Any], new: dict[str, Any], lines: list[str]) -> None:
    assert changes(old, new) == lines


def test_of_long_texts_the_part_is_shown_that_differs() -> None:
    old, new = ({**ENTRY, "rationale": "because " * 40 + word + " and so on" * 20} for word in ("five", "fifty"))
    [line] = changes(content(old), content(new))
    assert "five" in line
    assert "fifty" in line
    assert len(line) < 260


def test_what_a_run_can_judge_can_be_locked() -> None:
    assert problems(ENTRY, SECOND, sentinel=[{"case": "fall-1", "audit": "PAT-001"}]) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"criterion": [{**ENTRY, "rationale": " "}]}, "AC-01: its limit has no rationale"),
        ({"criterion": [{**ENTRY, "hazard": "HZ-99"}]}, "AC-01: unknown hazard 'HZ-99'"),
        (
            {"criterion": [{**ENTRY, "measurement": "COV-001.coverage"}]},
            "AC-01: the suite translation does not run COV-001",
        ),
        (
            {"criterion": [{**ENTRY, "measurement": "PAT-001.removal_rat[site A]"}]},
            "AC-01: PAT-001 makes no measurement PAT-001.removal_rat (did you mean 'PAT-001.removal_rate'?)",
        ),
        ({"criterion": [{**ENTRY, "measurement": "PAT-001"}]}, "AC-01: PAT-001 makes no measurement PAT-001"),
        ({"criterion": [{**ENTRY, "severity": "report"}]}, "no run could pass or fail"),
        (
            {"sentinel": [{"case": "fall-3", "audit": "PAT-001"}]},
            "sentinel fall-3: it is no case of the test partition (did you mean",
        ),
        (
            {"sentinel": [{"case": "fall-1", "audit": "PAT-009"}]},
            "sentinel fall-1: the suite translation does not run PAT-009 (did you mean 'PAT-001'?)",
        ),
        ({"sentinel": [{"case": "fall-1", "audit": "FID-010"}]}, "sentinel fall-1: FID-010 cannot decide on a case"),
        ({"context": {"suite": "synthesis"}}, "[context] suite is 'synthesis', and the lock is for 'translation'"),
        ({"matching": {"dilate": 3.0}}, "[matching] dilate: no audit of the suite translation has it (did you mean"),
        ({"parameters": {"PAT-002": {}}}, "[parameters.PAT-002]: the suite translation does not run it"),
        ({"parameters": {"PAT-001": {"dilate": 1}}}, "[parameters.PAT-001] dilate: PAT-001 has no such parameter"),
    ],
)
def test_what_no_run_can_judge_is_told(more: dict[str, Any], said: str) -> None:
    [found] = problems(*more.pop("criterion", (ENTRY,)), **more)
    assert said in found


def test_strata_that_gate_make_a_reported_criterion_a_gate() -> None:
    assert problems({**ENTRY, "severity": "report", "strata": {"gate": ["site"]}}) == []


def test_everything_is_told_at_once() -> None:
    found = problems(
        {**ENTRY, "rationale": "", "hazard": "HZ-99"}, sentinel=[{"case": "x", "audit": "Y"}], matching={"z": 1}
    )
    assert len(found) == 5
