"""HYG-006: shared patients, sites and days, broken declarations and uneven parts are found, clean ones are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits._shared_factors import acquired_late
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.dependent_partitions import dependent_partitions
from medgan_qa.audits.history import History
from medgan_qa.cohorts.cohort import Case, CaseImages, Partition
from medgan_qa.cohorts.declared import Independence
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.engines import LocalEngine


class Description:
    def __init__(self, independence: Independence | None) -> None:
        self.independence = independence


class Table:
    """A cohort of which only the table matters; masks are empty but for cases in `lesions`."""

    phantom = False

    def __init__(self, cases: list[Case], declared: Independence | None = None, lesions: frozenset[str] = frozenset()):
        self.cases, self.description, self.lesions = tuple(cases), Description(declared), lesions

    def load(self, case: Case) -> CaseImages:
        mask = np.full((4, 4), case.case_id in self.lesions) if case.has_mask else None
        return CaseImages(np.zeros((1, 4, 4), np.float32), None, mask, (1.0, 1.0))


@dataclass
class Run:
    cohort: Any
    shared: dict[str, Any]
    engine: LocalEngine
    seed: int = 0


def case(number: int, partition: Partition, **facts: Any) -> Case:
    name = f"{partition}-{number}"
    plain = {"site": f"{partition} hospital", "scanner": f"{partition} scanner", "acquired": _day(number, partition)}
    return replace(Case(name, f"p-{name}", partition, False, True, False, **plain), **facts)


def _day(number: int, partition: Partition) -> str:
    return f"{2025 if partition == 'test' else 2021}-{1 + number % 12:02d}-{1 + number // 12 % 28:02d}"


def table(people: int = 60, **declared: Any) -> Table:
    return table_of(lambda number, partition: {}, people, **declared)


def table_of(facts: Callable[[int, Partition], dict[str, Any]], people: int = 60, **declared: Any) -> Table:
    sides: tuple[Partition, ...] = ("train", "test")
    cases = [case(number, side, **facts(number, side)) for side in sides for number in range(people)]
    return Table(cases, Independence(**declared) if declared else None)


def audit(cohort: Any, history: History | None = None, **parameters: Any) -> Findings:
    shared = {} if history is None else {"history": history}
    return dependent_partitions(Run(cohort, shared, LocalEngine()), **parameters)


def values(findings: Findings) -> dict[str, float | None]:
    return {e.measurement.id.removeprefix("HYG-006."): e.measurement.value for e in findings.estimates}


EVERYTHING = {
    "patients": True,
    "studies": True,
    "sites": True,
    "scanners": True,
    "dates": True,
    "test_acquired_after": "2024-12-31",
    "sequestered_since": "2026-01-01",
    "earlier_uses": 0,
}


def with_studies(number: int, partition: Partition) -> dict[str, Any]:
    return {"study": f"{partition} study {number}"}


def test_a_clean_split_with_everything_declared_holds() -> None:
    findings = audit(table_of(with_studies, **EVERYTHING), History(0))
    found = values(findings)
    assert found["violations"] == found["unverifiable"] == found["acquired_early"] == found["earlier_runs"] == 0
    assert all(found[f"shared_{name}"] == 0 for name in ("patients", "studies", "sites", "scanners", "dates"))
    assert findings.rows == []
    assert findings.missing is findings.not_applicable is None
    assert sum("That holds" in note for note in findings.notes) == 8


@pytest.mark.parametrize(
    ("facts", "name", "declared"),
    [
        ({"patient_id": "p-train-7"}, "patients", False),
        ({"study": "train study 7"}, "studies", False),
        ({"volume": "v", "slice_index": 3}, "volumes", False),
        ({"site": "train hospital"}, "sites", True),
        ({"scanner": "train scanner"}, "scanners", True),
        ({"acquired": "2021-08-01"}, "dates", True),
    ],
)
def test_what_is_shared_is_counted_and_its_cases_named(facts: dict[str, Any], name: str, declared: bool) -> None:
    def one_test_case(number: int, partition: Partition) -> dict[str, Any]:
        own = {**with_studies(number, partition), "volume": f"{partition} {number}"}
        if partition == "train" and number == 7:
            own["volume"] = "v"
        return {**own, **facts} if (partition, number) == ("test", 3) else own

    findings = audit(table_of(one_test_case, **({name: True} if declared else {})))
    assert values(findings)[f"shared_{name}"] == 1
    assert values(findings)["violations"] == 1
    assert [row["case_id"] for row in findings.rows] == ["test-3"]
    if declared:
        assert values(audit(table_of(one_test_case)))["violations"] == 0


def test_images_acquired_too_early_are_counted_and_no_date_is_printed() -> None:
    def early(number: int, partition: Partition) -> dict[str, Any]:
        return {"acquired": "2024-03-17"} if partition == "test" and number < 4 else {}

    findings = audit(table_of(early, test_acquired_after="2024-12-31", dates=True))
    assert values(findings)["acquired_early"] == 4
    assert values(findings)["violations"] == 1
    assert {row["acquired"] for row in findings.rows} == {"not after the declared day"}
    assert not re.search(r"20\d\d-\d\d", repr((findings.rows, findings.notes, findings.tables)))


def test_sequestration_is_held_against_the_ledger() -> None:
    used = History(7, ("2026-02-01", *["2026-03-01"] * 6), models=3, same_name=2)
    findings = audit(table(earlier_uses=0, sequestered_since="2026-02-15"), used)
    assert values(findings)["violations"] == 2
    assert values(findings)["earlier_runs"] == 7
    said = " ".join(findings.notes)
    assert "the ledger shows 7 earlier runs" in said
    assert "1 runs before that day" in said
    assert "2 more were made on data of the same name" in said
    held = audit(table(earlier_uses=7, sequestered_since="2026-02-01"), used)
    assert values(held)["violations"] == 0


def test_what_the_data_do_not_say_is_neither_held_nor_broken() -> None:
    findings = audit(Table([replace(c, site=None, acquired=None) for c in table().cases], Independence(**EVERYTHING)))
    # Studies, sites, days, the declared day, and twice the ledger.
    assert values(findings)["unverifiable"] == 6
    assert values(findings)["violations"] == 0
    assert "shared_sites" not in values(findings)
    assert any("No ledger" in note for note in findings.notes)
    some = audit(table_of(lambda k, side: {"site": None} if k == 5 else {}, sites=True))
    assert values(some)["unverifiable"] == 1


def test_test_alone_without_a_declaration_is_no_question() -> None:
    findings = audit(BrainPhantoms(people=3))
    assert findings.not_applicable is not None
    assert values(findings) == {"violations": 0, "unverifiable": 0}
    declared = audit(Table([case(k, "test") for k in range(3)], Independence(patients=True)))
    assert declared.not_applicable is None
    assert values(declared)["unverifiable"] == 1


def uneven(number: int, partition: Partition) -> dict[str, Any]:
    often = 0.8 if partition == "test" else 0.4
    age = 40 + number % 30 + 25 * (partition == "test")
    sex = "f" if (number * 7) % 10 < 5 else "m"
    return {
        "label": "lesion" if (number % 10) / 10 < often else "lesion-free",
        "attributes": {"age": str(age), "sex": sex},
    }


def test_uneven_labels_and_attributes_are_found_with_their_size() -> None:
    findings = audit(table_of(uneven, sites=True, scanners=True))
    found = values(findings)
    assert found["imbalanced_properties"] == 2
    assert found["imbalance[label]"] == pytest.approx(0.4 / np.sqrt((0.16 + 0.24) / 2))
    assert found["imbalance_p[label]"] < 0.001  # type: ignore[operator]
    assert found["imbalance[sex]"] == 0
    assert found["imbalance_p[sex]"] == 1
    [rows] = findings.tables.values()
    assert {row["property"]: row["result"] for row in rows} == {
        "label": "different",
        "age": "different",
        "sex": "not shown",
    }
    assert {row["level"] for row in rows} <= {"lesion", "lesion-free", "f", "m", ""}


def test_few_patients_are_inconclusive_and_many_are_shown_alike() -> None:
    def alike(number: int, partition: Partition) -> dict[str, Any]:
        return {"label": "lesion" if number % 2 else "lesion-free", "site": "one", "scanner": "one"}

    few, many = audit(table_of(alike, 6)), audit(table_of(alike, 400))
    assert any("neither shown" in note and "label" in note for note in few.notes)
    assert any("shown alike" in note and "label" in note for note in many.notes)
    interval = next(e for e in few.estimates if "imbalance[label]" in e.measurement.id).measurement.interval
    assert interval is not None
    assert interval.high > 0.5  # type: ignore[operator]


def test_sites_that_share_nothing_have_no_difference_to_give() -> None:
    findings = audit(table())
    site = next(e for e in findings.estimates if "imbalance[site]" in e.measurement.id)
    assert site.measurement.value is None
    assert site.measurement.reason == "The two partitions have no level in common."
    assert values(findings)["imbalanced_properties"] == 2


def test_lesions_are_read_from_masks_where_the_table_has_no_label() -> None:
    cases = [replace(c, has_mask=True) for c in table().cases]
    lesions = frozenset(c.case_id for k, c in enumerate(cases) if c.partition == "test" or k % 2)
    found = values(audit(Table(cases, None, lesions)))
    assert found["imbalance_p[label]"] < 0.01  # type: ignore[operator]


def test_values_of_every_patient_his_own_are_not_compared_and_not_printed() -> None:
    def named(number: int, partition: Partition) -> dict[str, Any]:
        return {"attributes": {"name": f"Doe^{partition}{number}"}}

    findings = audit(table_of(named))
    assert "imbalance[name]" not in values(findings)
    assert any("name has 120 different values" in note for note in findings.notes)
    assert "Doe" not in repr(findings)


def test_phantoms_are_compared_without_drawing_a_single_image() -> None:
    class Untouched(BrainSlices):
        def load(self, case: Case) -> CaseImages:
            raise AssertionError("drawn")

    findings = audit(Untouched(people=20))
    assert values(findings)["violations"] == 0
    assert values(findings)["shared_patients"] == 0
    assert any("does not give studies, volumes, scanners, dates" in note for note in findings.notes)


DAYS = st.dates().map(lambda day: day.isoformat())


@given(DAYS, DAYS, st.sampled_from([4, 7, 10]))
def test_prop_a_coarse_date_is_never_judged_otherwise_than_its_days(acquired: str, day: str, length: int) -> None:
    coarse, fine = acquired_late(acquired[:length], day), acquired_late(acquired, day)
    assert fine is (acquired > day)
    assert coarse is None or coarse is fine
    assert coarse is not None or acquired[:length] == day[:length]


@given(st.permutations(range(24)), st.integers(0, 10))
def test_prop_the_order_of_the_table_changes_nothing(order: list[int], shared: int) -> None:
    cohort = table_of(lambda k, side: {"patient_id": f"p-{k}" if k < shared else f"{side}-{k}"}, 12)
    found = values(audit(Table([cohort.cases[k] for k in order])))
    assert found["shared_patients"] == shared
    assert found == values(audit(cohort))


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("HYG-006", "", dependent_partitions).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
