"""The line from subject and cohort to a Record: verdicts, failures of parts, determinism."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medgan_qa.audits import Audit, Findings
from medgan_qa.audits.numbers import count
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Erase, Faithful, NotANumber, ThresholdDetector, planted_translator
from medgan_qa.criteria import parse_criteria
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError, DatasetError, ModelError
from medgan_qa.record import IndexEntry, Record
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.suites import suite

COHORT = BrainPhantoms(people=24)
WHOLE = suite("translation")
# The four first audits and their criteria: what is tested here is the runner.
SUITE = replace(WHOLE, audits=WHOLE.audits[:4], criteria=replace(WHOLE.criteria, declared=WHOLE.criteria.declared[:3]))
DETECTOR = ThresholdDetector().subject()


def run(defect: Any = None, **changes: Any) -> RunResult:
    arguments: dict[str, Any] = {
        "subject": planted_translator(COHORT, defect or Faithful()),
        "cohort": COHORT,
        "suite": SUITE,
        "criteria": SUITE.criteria,
        "detector": DETECTOR,
        "engine": LocalEngine(),
    }
    return run_audit(**{**arguments, **changes})


def criteria(*entries: dict[str, Any], **top: Any) -> Any:
    return parse_criteria({"schema": "medgan-qa/criteria/1", "criterion": list(entries), **top}, "test")


def without_times(record: Record) -> dict[str, Any]:
    content = record.model_dump(mode="json")
    for key in ("id", "started_utc", "finished_utc", "seconds"):
        content["run"].pop(key)
    for audit in content["audits"]:
        audit.pop("seconds")
    return content


def test_two_runs_with_one_seed_give_the_same_record_but_for_times():
    first, second = run(Erase(dose=0.5)), run(Erase(dose=0.5))

    assert without_times(first.record) == without_times(second.record)
    assert first.rows == second.rows


def test_another_seed_changes_what_is_drawn_and_not_what_is_measured():
    first, second = run(Erase(dose=0.5)), run(Erase(dose=0.5), seed=1)

    assert first.record.audits[0].measurements == second.record.audits[0].measurements
    assert first.record.run["seed"] != second.record.run["seed"]


def test_one_output_that_is_not_a_number_stops_every_measurement_and_is_no_pass():
    result = run(NotANumber(dose=0.1))

    assert result.record.verdict == "error"
    assert {a.verdict for a in result.record.audits} == {"error"}
    assert {c.verdict for a in result.record.audits for c in a.criteria} == {"error"}
    assert "NaN" in result.record.audits[0].reason


def test_the_case_table_has_one_row_a_case_and_audit():
    rows = run(Erase(dose=0.5)).rows

    keys = [(row["audit"], row["case_id"]) for row in rows]
    assert len(keys) == len(set(keys)) == 4 * len(COHORT.cases)
    assert all(row["status"] for row in rows if row["audit"].startswith("PAT"))


def test_an_audit_that_breaks_leaves_the_others_their_results():
    def broken(run: Any) -> Any:
        """Broken.

        Question. Does it?
        """
        raise ZeroDivisionError("planted")

    audits = (Audit("PAT-003", "Broken", broken), SUITE.audits[3])
    result = run(suite=replace(SUITE, audits=audits))

    codes = {a.code: a for a in result.record.audits}
    assert codes["PAT-003"].verdict == "error"
    assert "ZeroDivisionError: planted" in codes["PAT-003"].reason
    assert any(m.value is not None for m in codes["FID-010"].measurements)
    assert result.record.verdict != "pass"
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_criterion_on_an_audit_of_another_suite_is_inconclusive_and_has_a_place():
    asked = criteria({"id": "AC-9", "measurement": "MEM-001.copy_rate", "limit": {"max": 0.01}, "judged_on": "upper"})
    result = run(criteria=asked)

    place = next(a for a in result.record.audits if a.code == "MEM-001")
    assert place.criteria[0].verdict == "inconclusive"
    assert result.record.verdict == "inconclusive"


def test_a_stratum_can_be_judged():
    name = "PAT-001.removal_rate[diameter 20 mm or more]"
    asked = criteria({"id": "AC-1", "measurement": name, "limit": {"max": 0.5}, "judged_on": "upper"})
    result = run(Erase(), criteria=asked)

    assert result.record.audits[0].criteria[0].verdict == "fail"


def test_parameters_of_a_criteria_file_reach_the_audit():
    entry = {"id": "AC-1", "measurement": "PAT-001.removal_rate", "limit": {"max": 0.5}, "judged_on": "upper"}
    result = run(criteria=criteria(entry, parameters={"PAT-001": {"matching": "centroid", "worst": 2}}))

    assert result.record.audits[0].parameters["matching"] == "centroid"
    panel = next(e for e in result.record.audits[0].exhibits if e.kind == "panels")
    assert [c["rule"] for c in panel.data["cases"]].count("worst") == 2


@pytest.mark.parametrize("parameters", [{"PAT-001": {"matchin": "x"}}, {"PAT-999": {"worst": 1}}])
def test_an_unknown_parameter_or_audit_is_refused(parameters):
    entry = {"id": "AC-1", "measurement": "PAT-001.removal_rate", "limit": {"max": 0.5}, "judged_on": "upper"}
    with pytest.raises(ConfigurationError, match="Unknown"):
        run(criteria=criteria(entry, parameters=parameters))


@pytest.mark.parametrize(
    "parameters", [{"matching": "nearest"}, {"worst": "many"}, {"min_overlap": -0.1}, {"worst": True}]
)
def test_a_parameter_that_cannot_be_used_is_refused(parameters):
    entry = {"id": "AC-1", "measurement": "PAT-001.removal_rate", "limit": {"max": 0.5}, "judged_on": "upper"}
    with pytest.raises(ConfigurationError, match="cannot be used"):
        run(criteria=criteria(entry, parameters={"PAT-001": parameters}))


def test_a_detector_is_no_translator():
    with pytest.raises(ModelError, match="another task"):
        run(subject=DETECTOR)
    with pytest.raises(ModelError, match="another task"):
        run(detector=planted_translator(COHORT, Faithful()))


def test_a_cohort_without_test_cases_is_refused():
    class TrainOnly(BrainPhantoms):
        @property
        def cases(self):
            return tuple(replace(c, partition="train") for c in self._all)

        @cases.setter
        def cases(self, value):
            self._all = value

    with pytest.raises(DatasetError, match="no test partition"):
        run(cohort=TrainOnly(people=4))


def test_nothing_judged_is_no_pass():
    asked = criteria({"id": "AC-1", "measurement": "FID-010.lpips", "limit": {"max": 1.0}, "judged_on": "upper"})

    assert run(criteria=asked).record.verdict == "inconclusive"


def measuring(code: str, value: float, **findings: Any) -> Any:
    """An audit that measures a count."""

    def audit(run: Any) -> Any:
        """Planted.

        Question. Is it planted?
        """
        estimate = count(f"{code}.value", "value", value, n=10, unit_of_analysis="image", better="lower")
        return Findings(estimates=[estimate], **findings)

    return audit


def held(code: str, limit: float) -> dict[str, Any]:
    return {"id": f"AC-{code}", "measurement": f"{code}.value", "limit": {"max": limit}, "judged_on": "value"}


def test_a_declared_criterion_that_does_not_apply_holds_a_pass_back():
    audits = (
        Audit("PAT-001", "Asked", measuring("PAT-001", 0)),
        Audit("PAT-002", "Not asked", measuring("PAT-002", 0, not_applicable="no such input")),
    )
    asked = criteria(held("PAT-001", 1), held("PAT-002", 1))
    record = run(suite=replace(SUITE, audits=audits), criteria=asked).record

    assert [c.verdict for a in record.audits for c in a.criteria] == ["pass", "not_applicable"]
    assert record.verdict == "inconclusive"
    assert "AC-PAT-002" in record.reason
    alone = run(suite=replace(SUITE, audits=audits), criteria=criteria(held("PAT-001", 1))).record
    assert alone.verdict == "pass"


@pytest.mark.parametrize(("limit", "verdict"), [(1, "inconclusive"), (-1, "fail")])
def test_copies_never_improve_a_verdict(limit, verdict):
    audits = (
        Audit("COV-001", "Flattered", measuring("COV-001", 0), flattered=True),
        Audit("FID-001", "Not flattered", measuring("FID-001", 0)),
        Audit("MEM-001", "Memory", measuring("MEM-001", 5, veto="5 of 10 samples are copies.")),
    )
    asked = criteria(held("COV-001", limit), held("FID-001", 1))
    record = run(suite=replace(SUITE, audits=audits), criteria=asked).record

    verdicts = {c.measurement: c.verdict for a in record.audits for c in a.criteria}
    assert verdicts == {"COV-001.value": verdict, "FID-001.value": "pass"}
    assert record.verdict == verdict
    if verdict == "inconclusive":
        assert "5 of 10 samples are copies" in record.audits[0].reason


def test_an_index_shows_the_worst_verdict_of_its_audits():
    audits = (Audit("PAT-001", "One", measuring("PAT-001", 0)), Audit("PAT-002", "Two", measuring("PAT-002", 5)))
    index = (
        IndexEntry(name="Both", asks="?", audits=["PAT-001", "PAT-002"]),
        IndexEntry(name="First", asks="?", audits=["PAT-001"]),
        IndexEntry(name="None", asks="?", audits=[], note="by hand"),
    )
    asked = criteria(held("PAT-001", 1), held("PAT-002", 1))
    record = run(suite=replace(SUITE, audits=audits, index=index), criteria=asked).record

    assert [(e.name, e.verdict) for e in record.index] == [("Both", "fail"), ("First", "pass"), ("None", None)]
