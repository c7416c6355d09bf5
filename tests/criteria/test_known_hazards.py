"""The catalogue of hazards, and which of them criteria trace to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medgan_qa.audits import AUDITS
from medgan_qa.criteria import Criteria, Declared, DeclaredHazard, catalogue, hazards
from medgan_qa.criteria.known_hazards import unknown_hazards
from medgan_qa.suites import names, suite


def criteria(*texts: str, own: tuple[DeclaredHazard, ...] = ()) -> Criteria:
    declared = tuple(Declared(f"AC-{k}", "X.y", {"max": 1.0}, "upper", hazard=text) for k, text in enumerate(texts))
    return Criteria(protocol={}, alpha=0.05, multiplicity="none", declared=declared, hazards=own, file="plan.toml")


def test_the_catalogue_is_whole() -> None:
    assert list(catalogue()) == [f"HZ-{k:02d}" for k in range(1, 16)]
    for hazard in catalogue().values():
        assert hazard.name
        assert hazard.situation.endswith(".")
        assert hazard.control.endswith(".")
        assert set(hazard.audits) <= set(AUDITS)


def test_every_audit_controls_a_hazard() -> None:
    assert {code for hazard in catalogue().values() for code in hazard.audits} == set(AUDITS)


@pytest.mark.parametrize("text", ["HZ-03", "HZ-03 pathology removed", "HZ-03: removed", "  HZ-03,"])
def test_a_hazard_is_referred_to_by_its_id_or_a_text_that_begins_with_it(text: str) -> None:
    [found] = hazards(criteria(text))
    assert (found.id, found.name, found.source) == ("HZ-03", "Pathology removed", "catalogue")
    assert "diagnosis" in found.situation
    assert found.control
    assert not list(unknown_hazards(criteria(text)))


def test_hazards_come_once_in_the_order_of_the_catalogue() -> None:
    assert [h.id for h in hazards(criteria("HZ-05", "HZ-03, HZ-05 both", "", "HZ-03"))] == ["HZ-03", "HZ-05"]
    assert hazards(criteria("", "")) == []


def test_own_hazards_are_added_and_take_the_place_of_shipped_ones() -> None:
    own = (
        DeclaredHazard("HZ-90", "Falsche Serie", "Jemand liest sie.", "Kennzeichnung"),
        DeclaredHazard("HZ-03", control="Second reader"),
    )
    first, second = hazards(criteria("HZ-90 wrong series", "HZ-03", own=own))
    assert (first.id, first.name, first.control, first.source) == (
        "HZ-03",
        "Pathology removed",
        "Second reader",
        "plan.toml",
    )
    assert (second.id, second.name, second.source) == ("HZ-90", "Falsche Serie", "plan.toml")
    assert [h.id for h in hazards(criteria("HZ-03", own=own))] == ["HZ-03"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HZ-99", "unknown hazard 'HZ-99'"),
        ("HZ-031", "unknown hazard 'HZ-031' (did you mean"),
        ("HZ-03, HZ-99", "unknown hazard 'HZ-99'"),
        ("a missed lesion", "begins with no known id"),
        ("H.7 own numbering", "begins with no known id"),
    ],
)
def test_a_hazard_that_nobody_declared_is_told(text: str, said: str) -> None:
    [(name, problem)] = unknown_hazards(criteria(text))
    assert name == "AC-0"
    assert said in problem


def test_own_numbering_is_known_once_declared() -> None:
    known = criteria("H.7 own numbering", own=(DeclaredHazard("H.7", "Own"),))
    assert not list(unknown_hazards(known))
    assert [h.id for h in hazards(known)] == ["H.7"]


@pytest.mark.parametrize("name", names())
def test_default_criteria_trace_to_hazards_that_their_audits_control(name: str) -> None:
    default = suite(name).criteria
    assert not list(unknown_hazards(default))
    for declared in default.declared:
        [found] = hazards(replace(default, declared=(declared,)))
        assert declared.measurement.split(".")[0] in catalogue()[found.id].audits


def test_the_guide_lists_the_catalogue() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "criteria.md").read_text(encoding="utf-8")
    for hazard in catalogue().values():
        assert f"| {hazard.id} | {hazard.name} | {', '.join(hazard.audits) or 'none: '}" in guide
