"""What holds a run back beside its criteria, what does not, and what became of every case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Erase, Faithful, ThresholdDetector, planted_translator
from medgan_qa.criteria import parse_criteria
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Record
from medgan_qa.runner import RunResult, Setting, run_audit
from medgan_qa.suites import suite

COHORT = BrainPhantoms(people=40)
WHOLE = suite("translation")
# The four first audits and their criteria: what is tested here is the runner.
SUITE = replace(WHOLE, audits=WHOLE.audits[:4], criteria=replace(WHOLE.criteria, declared=WHOLE.criteria.declared[:3]))
LOOSE = {
    "id": "AC-01",
    "measurement": "PAT-001.removal_rate",
    "limit": {"max": 0.5},
    "judged_on": "upper",
    "rationale": "set for this test",
    "hazard": "HZ-03",
}


def run(defect: Any = None, *, seed: int = 0, setting: Setting | None = None, **criteria: Any) -> RunResult:
    content = {"schema": "medgan-qa/criteria/1", "criterion": [LOOSE], **criteria}
    return run_audit(
        planted_translator(COHORT, defect or Faithful()),
        COHORT,
        SUITE,
        parse_criteria(content, "test"),
        detector=ThresholdDetector().subject(),
        engine=LocalEngine(),
        seed=seed,
        setting=setting,
    )


def with_lesion(result: RunResult) -> str:
    return next(r["case_id"] for r in result.rows if r["audit"] == "PAT-001" and r["status"] == "kept")


@pytest.fixture(scope="module")
def faithful() -> RunResult:
    return run()


def lost_case(result: RunResult) -> str:
    return next(r["case_id"] for r in result.rows if r["audit"] == "PAT-001" and r["status"] == "lost")


def test_a_faithful_model_passes_and_the_record_says_what_was_declared(faithful: RunResult) -> None:
    assert faithful.record.verdict == "pass"
    assert [h.id for h in faithful.record.hazards] == ["HZ-03"]
    assert faithful.record.hazards[0].situation


def test_a_data_minimum_that_is_not_met_keeps_a_run_from_passing_and_says_how_many_are_missing() -> None:
    record = run(data={"min": {"patients": 100, "lesions": 5}}).record
    short = {part.id: part for part in record.preconditions}
    patients = len({case.patient_id for case in COHORT.cases})

    assert record.verdict == "inconclusive"
    assert record.audits[0].criteria[0].verdict == "pass"
    assert short["DATA-patients"].verdict == "inconclusive"
    assert str(100 - patients) in short["DATA-patients"].reason
    assert short["DATA-lesions"].verdict == "pass"
    assert "DATA-patients" in record.reason


def test_a_sentinel_that_is_lost_fails_the_run_whatever_the_rate_is(faithful: RunResult) -> None:
    eraser = run(Erase(dose=0.05))
    assert eraser.record.verdict == "pass"
    entry = {"case": lost_case(eraser), "audit": "PAT-001", "rationale": "the smallest lesion that must be seen"}

    record = run(Erase(dose=0.05), sentinel=[entry]).record

    assert record.audits[0].criteria[0].verdict == "pass"
    assert record.sentinels[0].verdict == "fail"
    assert record.verdict == "fail"
    assert entry["case"] in record.reason
    kept = {**entry, "case": with_lesion(faithful)}
    assert run(sentinel=[kept]).record.verdict == "pass"


def test_a_sentinel_that_was_not_judged_is_no_pass() -> None:
    assert run(sentinel=[{"case": "no-such-case", "audit": "PAT-001"}]).record.verdict == "inconclusive"


def test_a_criterion_that_is_only_reported_opens_and_closes_nothing() -> None:
    strict = {**LOOSE, "id": "AC-02", "limit": {"max": 0.01}, "severity": "report"}
    record = run(Erase(dose=0.3), criterion=[{**LOOSE, "limit": {"max": 0.9}}, strict]).record

    verdicts = {c.id: c.verdict for a in record.audits for c in a.criteria}
    assert verdicts == {"AC-01": "pass", "AC-02": "fail"}
    assert record.verdict == "pass"
    assert run(criterion=[{**LOOSE, "severity": "report"}]).record.verdict == "inconclusive"


def test_a_stratum_can_fail_where_the_whole_passes() -> None:
    record = run(Erase(below_mm=6.0), criterion=[{**LOOSE, "strata": {"gate": ["diameter"]}}]).record
    verdicts = {c.id: c.verdict for a in record.audits for c in a.criteria}

    assert verdicts["AC-01"] == "pass"
    assert verdicts["AC-01[diameter 10-20 mm]"] == "fail"
    assert record.verdict == "fail"


@pytest.mark.parametrize(
    ("declared", "why"), [({"statistics": {"seed": 7}}, "seed = 7"), ({"context": {"suite": "synthesis"}}, "synthesis")]
)
def test_criteria_for_another_run_are_refused(declared: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match="The criteria are for another") as caught:
        run(**declared)
    assert why in str(caught.value)


def test_two_sided_bounds_are_wider_than_one_sided_ones() -> None:
    one, two = run(Erase(dose=0.2)), run(Erase(dose=0.2), statistics={"bound": "two-sided"})
    bounds = [r.record.audits[0].criteria[0].value for r in (one, two)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    assert bounds[1] > bounds[0]


def test_every_case_is_accounted_for(faithful: RunResult) -> None:
    cases = len(COHORT.cases)
    for part in faithful.record.accounting:
        assert part.enrolled == cases
        assert part.analysed + sum(e.cases for e in part.excluded) == cases
    by_audit = {part.audit: part for part in faithful.record.accounting}
    assert by_audit["FID-010"].excluded == []
    assert {e.reason for e in by_audit["PAT-001"].excluded} == {"lesion-free"}
    assert by_audit["PAT-001"].analysed + by_audit["PAT-002"].analysed == cases


def test_an_audit_that_did_not_run_analysed_nothing() -> None:
    content = {"schema": "medgan-qa/criteria/1", "criterion": [LOOSE]}
    result = run_audit(
        planted_translator(COHORT, Faithful()),
        COHORT,
        SUITE,
        parse_criteria(content, "test"),
        detector=None,
        engine=LocalEngine(),
    )
    accounted = {part.audit: part for part in result.record.accounting}
    assert accounted["PAT-001"].analysed == 0
    assert "detector" in accounted["PAT-001"].excluded[0].reason


def test_observations_give_the_measurement_again(faithful: RunResult) -> None:
    values = {m.id: m for a in faithful.record.audits for m in a.measurements}
    assert "PAT-001.removal_rate" in faithful.observations
    for name, seen in faithful.observations.items():
        assert len(seen.units) == len(set(seen.units)) == len(seen.values) == values[name].n
        if seen.statistic != "median":
            assert sum(seen.values) / len(seen.values) == pytest.approx(values[name].value)


def test_the_circumstances_of_a_run_stand_in_its_record() -> None:
    lock = {"lock_sha256": "ab" * 32, "locked_by": "QA"}
    setting = Setting(command=["medgan-qa", "audit"], lock=lock, notes=["a note"], document={"id": "VR-1"})
    record: Record = run(setting=setting).record

    assert record.criteria_lock["locked"] is True
    assert record.criteria_lock["locked_by"] == "QA"
    assert record.deviations[0] == "a note"
    assert record.run["command"] == ["medgan-qa", "audit"]
    assert record.document == {"id": "VR-1"}
    assert run().record.deviations[0] == "The criteria were not locked before the run."


@pytest.mark.parametrize(("optional", "verdict"), [(False, "inconclusive"), (True, "pass")])
def test_an_optional_criterion_holds_nothing_back_where_its_audit_does_not_apply(optional, verdict):
    kept = WHOLE.criteria.declared[0]
    cycle = next(d for d in WHOLE.criteria.declared if d.measurement.startswith("CYC-001"))
    criteria = replace(WHOLE.criteria, declared=(kept, replace(cycle, optional=optional)))
    part = replace(WHOLE, audits=tuple(a for a in WHOLE.audits if a.code in ("PAT-001", "CYC-001")))
    record = run_audit(
        planted_translator(COHORT, Faithful()),
        COHORT,
        part,
        criteria,
        detector=ThresholdDetector().subject(),
        engine=LocalEngine(),
    ).record

    assert record.verdict == verdict
    assert cycle.id in record.reason


def test_an_optional_criterion_that_applies_gates_like_any_other():
    first = WHOLE.criteria.declared[0]
    criteria = replace(WHOLE.criteria, declared=(replace(first, optional=True),))
    record = run_audit(
        planted_translator(COHORT, Erase()),
        COHORT,
        SUITE,
        criteria,
        detector=ThresholdDetector().subject(),
        engine=LocalEngine(),
    ).record

    assert record.verdict == "fail"
