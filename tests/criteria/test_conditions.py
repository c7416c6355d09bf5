"""Conditions on the data: enough of it, and none of it seen in training. Identifiers are never told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.criteria import Criteria, DataFacts, TrainManifest, preconditions, read_train_manifest
from medgan_qa.errors import InputError
from medgan_qa.record import Precondition

FACTS = DataFacts(
    test_patients=frozenset({"P-åse", "P-2", "P-3"}),
    test_sites=frozenset({"Nord", "Süd"}),
    other_patients=frozenset({"P-7", "P-8"}),
    other_sites=frozenset({"West"}),
    lesions=5,
    sites_known=True,
)


def criteria(file: str = "plan.toml", **data: Any) -> Criteria:
    return Criteria(protocol={}, alpha=0.05, multiplicity="none", declared=(), data=data, file=file)


def one(declared: Criteria, facts: DataFacts = FACTS) -> Precondition:
    [found] = preconditions(declared, facts)
    return found


@pytest.mark.parametrize(
    ("least", "verdict", "found", "reason"),
    [
        ({"patients": 3}, "pass", "3 patients", "3 patients, and 3 are required."),
        ({"patients": 22}, "inconclusive", "3 patients", "3 of 22 patients; 19 more."),
        ({"lesions": 6}, "inconclusive", "5 lesions", "5 of 6 lesions; 1 more."),
        ({"lesions": 5}, "pass", "5 lesions", "5 lesions, and 5 are required."),
        ({"sites": 2}, "pass", "2 sites", "2 sites, and 2 are required."),
        ({"sites": 3}, "inconclusive", "2 sites", "2 of 3 sites; 1 more."),
    ],
)
def test_what_is_short_is_inconclusive_and_says_by_how_much(
    least: dict[str, int], verdict: str, found: str, reason: str
) -> None:
    condition = one(criteria(min=least))
    assert (condition.verdict, condition.found, condition.reason) == (verdict, found, reason)
    assert condition.id == f"DATA-{next(iter(least))}"
    assert condition.requirement.startswith(f"at least {next(iter(least.values()))} ")


def test_lesions_that_nobody_counted_are_inconclusive() -> None:
    assert one(criteria(min={"lesions": 1}), replace(FACTS, lesions=None)).verdict == "inconclusive"
    assert one(criteria(min={"lesions": 1}), replace(FACTS, lesions=0)).verdict == "inconclusive"


def test_sites_that_are_not_named_are_what_is_missing() -> None:
    found = one(criteria(min={"sites": 3}), replace(FACTS, sites_known=False))
    assert "column site" in found.reason


def test_nothing_declared_is_no_condition() -> None:
    assert preconditions(criteria(), FACTS) == []


def test_disjoint_patients_and_sites_are_independent() -> None:
    found = preconditions(criteria(independence={"by": ["patient", "site"]}), FACTS)
    assert [(c.id, c.verdict) for c in found] == [("INDEPENDENCE-patient", "pass"), ("INDEPENDENCE-site", "pass")]


def test_a_shared_patient_disproves_independence_and_is_not_named() -> None:
    shared = replace(FACTS, other_patients=frozenset({"P-åse", "P-7"}))
    found = one(criteria(independence={"by": ["patient"]}), shared)
    assert (found.verdict, found.found) == ("fail", "1 of 3 patients shared")
    assert "P-" not in found.model_dump_json()


def test_a_shared_site_disproves_independence_even_where_not_every_site_is_known() -> None:
    shared = replace(FACTS, other_sites=frozenset({"Nord", "Süd"}), sites_known=False)
    found = one(criteria(independence={"by": ["site"]}), shared)
    assert (found.verdict, found.found) == ("fail", "2 of 2 sites shared")


def test_sites_that_are_not_all_known_prove_nothing() -> None:
    assert one(criteria(independence={"by": ["site"]}), replace(FACTS, sites_known=False)).verdict == "inconclusive"


@pytest.mark.parametrize("unit", ["patient", "site"])
def test_independence_of_nothing_is_inconclusive(unit: str) -> None:
    alone = replace(FACTS, other_patients=frozenset(), other_sites=frozenset())
    found = one(criteria(independence={"by": [unit]}), alone)
    assert found.verdict == "inconclusive"
    assert "nothing to compare with" in found.reason


identifiers = st.frozensets(st.text(min_size=1, max_size=3), max_size=6)


@given(identifiers, identifiers)
def test_prop_independence_passes_where_and_only_where_nothing_is_shared(
    test: frozenset[str], other: frozenset[str]
) -> None:
    facts = replace(FACTS, test_patients=test, other_patients=other)
    verdict = one(criteria(independence={"by": ["patient"]}), facts).verdict
    assert verdict == ("fail" if test & other else "pass" if other else "inconclusive")


# The training manifest


def listed(folder: Path, text: str, by: list[str], name: str = "Trainingsliste ü.csv") -> Criteria:
    (folder / name).write_text(text, encoding="utf-8")
    return criteria(str(folder / "plan.toml"), independence={"by": by, "train_manifest": name})


def test_the_manifest_adds_to_the_training_data(tmp_path: Path) -> None:
    declared = listed(tmp_path, "file,patient_id,site\na.png, P-åse ,Ost\nb.png,P-9,Süd\n", ["patient", "site"])
    assert read_train_manifest(declared) == TrainManifest(frozenset({"P-åse", "P-9"}), frozenset({"Ost", "Süd"}))
    alone = replace(FACTS, other_patients=frozenset(), other_sites=frozenset())
    assert [c.verdict for c in preconditions(declared, alone)] == ["fail", "fail"]


def test_a_manifest_without_a_shared_patient_lets_independence_pass(tmp_path: Path) -> None:
    declared = listed(tmp_path, "\ufeffpatient_id\r\nP-1\r\n\r\n", ["patient"])
    assert one(declared, replace(FACTS, other_patients=frozenset())).verdict == "pass"


def test_no_manifest_is_none() -> None:
    assert read_train_manifest(criteria()) is None


@pytest.mark.parametrize(
    ("text", "by", "found"),
    [
        ("", ["patient"], "columns"),
        ("patient_id\n", ["patient"], "no row"),
        ("patient;site\nP-1;Ost\n", ["patient"], "columns patient;site"),
        ("patient_id\nP-1\n", ["patient", "site"], "columns patient_id"),
        ("patient_id,site\nP-1,Ost\n,Ost\n", ["patient"], "an empty cell in row 3"),
        ("patient_id,site\nP-1\n", ["patient"], "1 cells under 2 columns in row 2"),
        ('patient_id\n"P-1', ["patient"], "Error"),
    ],
)
def test_refuses_a_manifest_that_cannot_be_compared(tmp_path: Path, text: str, by: list[str], found: str) -> None:
    declared = listed(tmp_path, text, by)
    with pytest.raises(InputError) as caught:
        preconditions(declared, FACTS)
    assert found in str(caught.value.found)
    assert "Trainingsliste ü.csv" in str(caught.value.where)
    assert "P-1" not in str(caught.value)


def test_refuses_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    declared = criteria(str(tmp_path / "plan.toml"), independence={"by": ["patient"], "train_manifest": "none.csv"})
    with pytest.raises(InputError, match="cannot be used") as caught:
        read_train_manifest(declared)
    assert caught.value.exit_code == 2
