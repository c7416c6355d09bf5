"""The test record in YAML: the form that RDM reads, and nothing but a pass is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.evidence.rdm import rdm_yaml
from medgan_qa.record import Record, Verdict

Make = Callable[..., Any]
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
RUN = "medgan-qa translation"


def read(record: Record, *testers: str) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = yaml.safe_load(rdm_yaml(record, testers))
    return content


def keys(note: str) -> set[str]:
    return set(re.findall(r"\[\[(.+?)\]\]", note))


def test_has_the_form_that_rdm_reads() -> None:
    content = read(WHOLE)
    assert list(content) == [
        RUN,
        "DATA-patients",
        "DATA-sites",
        "AC-01 PAT-001.removal_rate",
        "AC-01 PAT-001.removal_rate[site B]",
        "AC-02 PAT-001.inversion_rate",
        "AC-03 PAT-001.contrast_recovery",
        "AC-04 FID-010.psnr",
        "AC-05 GEO-001.shift",
        "ran",
        "case-0017 PAT-001",
        "case-0042 PAT-001",
        "AC-01 PAT-001.removal_rate (2)",
        "AC-04 FID-010.psnr (2)",
    ]
    for name, entry in content.items():
        assert list(entry) == ["name", "result", "message", "req_ids", "note"]
        assert entry["name"] == name
        assert entry["result"] in ("pass", "fail")
        assert (entry["message"] is None) == (entry["result"] == "pass")
        # RDM's templates put notes into cells of a table.
        assert "\n" not in entry["note"]


def test_a_criterion_with_its_numbers() -> None:
    entry = read(WHOLE)["AC-02 PAT-001.inversion_rate"]
    assert entry["result"] == "fail"
    assert entry["message"] == "The interval straddles the limit; about 14 more patients would decide."
    assert entry["req_ids"] == ["SRS-041"]
    assert entry["note"].startswith("Verdict: inconclusive [[62304:9.8.a]]; estimate: 0.019; bound: 0.1004; judged_on:")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_a_pass_is_a_pass(make_record: Make, make_audit: Make, make_criterion: Make, verdict: Verdict) -> None:
    record = make_record(verdict, "Why.", audits=[make_audit(criteria=[make_criterion("AC-01", verdict, "Why.")])])
    content = read(record)
    expected = "pass" if verdict is Verdict.PASS else "fail"
    assert content[RUN]["result"] == content["AC-01 PAT-001.removal_rate"]["result"] == expected
    assert f"Verdict: {verdict} " in content["AC-01 PAT-001.removal_rate"]["note"]


@pytest.mark.parametrize(
    ("requirement", "identifiers"),
    [
        ("SRS-041", ["SRS-041"]),
        ("SRS-041, SRS-042; SR:7.1", ["SRS-041", "SRS-042", "SR:7.1"]),
        ("", []),
        ("Samples are distributed as real images are.", []),
        ("Lesions of 5 mm are kept", []),
    ],
)
def test_requirements_are_identifiers_or_stand_in_the_note(
    make_record: Make, make_audit: Make, make_criterion: Make, requirement: str, identifiers: list[str]
) -> None:
    audit = make_audit(criteria=[make_criterion(requirement=requirement)])
    entry = read(make_record(audits=[audit]))["AC-01 PAT-001.removal_rate"]
    assert entry["req_ids"] == identifiers
    assert (f"requirement: {requirement}" in entry["note"]) == (bool(requirement) and not identifiers)


def test_the_run_answers_clause_9_8() -> None:
    notes = read(WHOLE, "Ruth Lang", "J. Ödegård")[RUN]["note"]
    assert keys(notes) == {f"62304:9.8.{letter}" for letter in "abcdefg"}
    for answer in (
        "Result: fail",
        "RuntimeError: out of memory",
        str(WHOLE.subject["sha256"]),
        str(WHOLE.criteria_lock["digest"]),
        "medgan-qa, version 0.1.0",
        "2026-11-03T10:12:00Z",
        "Tester: Ruth Lang, J. Ödegård",
    ):
        assert answer in notes


def test_who_tested_is_not_answered_before_somebody_signed() -> None:
    text = rdm_yaml(WHOLE)
    assert "62304:9.8.g" not in text
    assert "nobody has signed" in text


def test_text_of_the_record_is_no_audit_key(make_record: Make) -> None:
    record = make_record("fail", "[[62304:9.8.g]] [[FDA-SW:vandv]]", deviations=["[[[14971:7.2]]"])
    content = read(record)
    told = " ".join(f"{entry['message']} {entry['note']}" for entry in content.values())
    assert keys(told) == {f"62304:9.8.{letter}" for letter in "abcdef"}


def test_non_ascii_text_stands_as_it_is(make_record: Make) -> None:
    text = rdm_yaml(make_record("fail", "Größe 5 µm, ≤ 3 %"))
    assert "Größe 5 µm, ≤ 3 %" in text


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(reason=texts, identifier=texts, requirement=texts)
def test_prop_texts_come_back(
    make_record: Make, make_audit: Make, make_criterion: Make, reason: str, identifier: str, requirement: str
) -> None:
    judged = [make_criterion(identifier, "fail", reason, requirement=requirement) for _ in range(2)]
    content = read(make_record("fail", reason, audits=[make_audit(criteria=judged)]))
    assert len(content) == 3
    entry = content[re.sub(r"\[(?=\[)", "[ ", f"{identifier} PAT-001.removal_rate")]
    assert entry["message"] == re.sub(r"\[(?=\[)", "[ ", reason)
