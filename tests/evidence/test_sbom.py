"""The bill of materials: valid CycloneDX, complete, the same bytes for one Record, and no crash on odd facts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medgan_qa.digests import sha256
from medgan_qa.evidence.sbom import sbom_json
from medgan_qa.record import Interval, Record, Verdict

ROOT = Path(__file__).resolve().parent.parent.parent
STORED = ROOT / "tests" / "report" / "record.json"
MakeRecord = Callable[..., Record]


@cache
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def valid(record: Record) -> dict[str, Any]:
    """The bill of materials, once the published schema is found to hold for it."""
    text = sbom_json(record)
    assert validator().validate_str(text) is None
    content: dict[str, Any] = json.loads(text)
    references = [part["bom-ref"] for part in [*content["components"], content["metadata"]["component"]]]
    assert len(set(references)) == len(references)
    return content


def component(content: dict[str, Any], ref: str) -> dict[str, Any]:
    [found] = [part for part in content["components"] if part["bom-ref"] == ref]
    return found


@pytest.fixture(scope="module")
def stored() -> Record:
    """The Record of a finished run."""
    return Record.from_json(STORED.read_text(encoding="utf-8"))


def test_the_schema_refuses_what_is_wrong(stored: Record) -> None:
    content = valid(stored)
    card = component(content, "model")["modelCard"]
    card["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = 0.03
    assert validator().validate_str(json.dumps(content)) is not None
    card["quantitativeAnalysis"]["performanceMetrics"][0] = {"type": "a", "unit": "mm"}
    assert validator().validate_str(json.dumps(content)) is not None


def test_it_names_the_tool_the_run_and_the_record(stored: Record) -> None:
    content = valid(stored)
    assert list(content)[:5] == ["$schema", "bomFormat", "specVersion", "serialNumber", "version"]
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    metadata = content["metadata"]
    assert metadata["timestamp"] == "2026-11-03T10:14:41+00:00"
    assert (metadata["component"]["name"], metadata["component"]["version"]) == ("medgan-qa", "0.1.0")
    assert metadata["component"]["purl"] == "pkg:pypi/medgan-qa@0.1.0"
    assert metadata["tools"]["components"][0]["name"] == "medgan-qa"
    assert {part["name"]: part["value"] for part in metadata["properties"]} == {
        "medgan-qa:record_sha256": sha256((stored.to_json() + "\n").encode()),
        "medgan-qa:run": "20261103T101200Z-7f3a",
        "medgan-qa:verdict": "fail",
    }


def test_every_package_is_a_component(stored: Record) -> None:
    content = valid(stored)
    libraries = {part["name"]: part for part in content["components"] if part["type"] == "library"}
    assert {name: part["version"] for name, part in libraries.items()} == stored.environment["packages"]
    assert libraries["scikit-image"]["purl"] == "pkg:pypi/scikit-image@0.26.0"
    [needed] = [part["dependsOn"] for part in content["dependencies"] if part["ref"] == "medgan-qa"]
    assert set(needed) == {part["bom-ref"] for part in content["components"]}


def test_names_of_packages_in_their_normal_form(make_record: MakeRecord) -> None:
    content = valid(make_record(environment={"packages": {"typing_extensions": "4.16.0", "Jinja2": "3.1+cpu"}}))
    assert component(content, "package:typing_extensions")["purl"] == "pkg:pypi/typing-extensions@4.16.0"
    assert component(content, "package:Jinja2")["purl"] == "pkg:pypi/jinja2@3.1%2Bcpu"


def test_a_package_that_is_not_installed_is_none(make_record: MakeRecord) -> None:
    content = valid(make_record(environment={"packages": {"onnx": "not installed", "numpy": "2.4.6"}}))
    assert [part["name"] for part in content["components"] if part["type"] == "library"] == ["numpy"]


# The models


def test_the_audited_model(stored: Record) -> None:
    model = component(valid(stored), "model")
    assert model["type"] == "machine-learning-model"
    assert (model["name"], model["version"]) == ("brain T2 to FLAIR", "1.4.0")
    assert model["hashes"] == [{"alg": "SHA-256", "content": stored.subject["sha256"]}]
    assert model["modelCard"]["modelParameters"] == {"task": "translation"}
    told = [part["value"] for part in model["modelCard"]["properties"] if part["name"] == "medgan-qa:limitation"]
    assert told == stored.limitations


def test_measured_performance_is_what_has_a_criterion(stored: Record) -> None:
    card = component(valid(stored), "model")["modelCard"]
    metrics = {part["type"]: part for part in card["quantitativeAnalysis"]["performanceMetrics"]}
    judged = {criterion.measurement for audit in stored.audits for criterion in audit.criteria}
    assert set(metrics) == judged
    assert metrics["PAT-001.removal_rate"] == {
        "type": "PAT-001.removal_rate",
        "value": "0.03",
        "confidenceInterval": {"lowerBound": "0.012", "upperBound": "0.076"},
    }
    assert metrics["FID-010.psnr"]["confidenceInterval"] == {"lowerBound": "30.6"}
    assert {"name": "medgan-qa:unit:GEO-001.shift", "value": "mm"} in card["properties"]


def test_numbers_are_read_back_as_they_were(make_record: MakeRecord, make_audit: Any, make_criterion: Any) -> None:
    names = [f"PAT-001.x{index}[a b]" for index in range(4)]
    values = [0.1 + 0.2, 1e-300, -0.0, 123456789.123456789]
    interval = Interval(low=values[0], high=None, level=0.95, method="m", sided=1)
    measured = [
        {
            "id": name,
            "label": "",
            "value": value,
            "unit": "1",
            "n": 1,
            "unit_of_analysis": "patient",
            "better": "none",
            "stratum": "a b",
            "interval": interval.model_dump(),
        }
        for name, value in zip(names, values, strict=True)
    ]
    audit = make_audit(measurements=measured, criteria=[make_criterion(measurement=name) for name in names])
    metrics = component(valid(make_record(audits=[audit])), "model")["modelCard"]["quantitativeAnalysis"]
    assert [float(part["value"]) for part in metrics["performanceMetrics"]] == values
    for part, name in zip(metrics["performanceMetrics"], names, strict=True):
        assert (part["type"], part["slice"]) == (name.removesuffix("[a b]"), "a b")
        assert part["confidenceInterval"] == {"lowerBound": repr(values[0])}


def test_a_value_that_was_not_obtained_is_not_invented(
    make_record: MakeRecord, make_audit: Any, make_measurement: Any, make_criterion: Any
) -> None:
    audit = make_audit(
        measurements=[make_measurement(None)], criteria=[make_criterion(verdict=Verdict.INCONCLUSIVE, value=None)]
    )
    card = component(valid(make_record(audits=[audit])), "model")["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "PAT-001.removal_rate"}]


def test_the_detector_is_a_model_of_its_own_with_its_own_performance(
    make_record: MakeRecord, make_audit: Any, make_measurement: Any, make_criterion: Any
) -> None:
    ids = ["PAT-001.removal_rate", "PAT-001.detector_sensitivity"]
    audit = make_audit(
        measurements=[make_measurement(0.5, name) for name in ids],
        criteria=[make_criterion(measurement=name) for name in ids],
    )
    detector = {"name": "lesions", "version": "2", "task": "segmentation", "sha256": "12" * 32, "card": {}}
    content = valid(make_record(audits=[audit], subject={"name": "m", "detector": detector}))
    found = component(content, "detector")
    assert (found["name"], found["version"], found["hashes"][0]["content"]) == ("lesions", "2", "12" * 32)
    for ref, name in zip(("model", "detector"), ids, strict=True):
        metrics = component(content, ref)["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
        assert [part["type"] for part in metrics] == [name]


def test_what_the_criteria_file_says_of_its_use(make_record: MakeRecord) -> None:
    context = {"context": {"intended_use": "input of a planning system", "user": "radiographer"}}
    for given_ in (context, context["context"]):
        card = component(valid(make_record(context=given_)), "model")["modelCard"]
        assert card["considerations"] == {"useCases": ["input of a planning system"], "users": ["radiographer"]}


# The same bytes


def test_one_record_gives_the_same_bytes(stored: Record) -> None:
    code = "import sys; from medgan_qa.evidence.sbom import sbom_json; from medgan_qa.record import Record; "
    code += "sys.stdout.buffer.write(sbom_json(Record.from_json(open(sys.argv[1], encoding='utf-8').read())).encode())"
    command = [sys.executable, "-c", code, str(STORED)]
    other = {**os.environ, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"}
    done = subprocess.run(command, cwd=ROOT, env=other, capture_output=True, timeout=60, check=True)
    assert done.stdout == sbom_json(stored).encode()


def test_another_record_has_another_serial_number(stored: Record) -> None:
    changed = stored.model_copy(update={"limitations": []})
    assert valid(stored)["serialNumber"] != valid(changed)["serialNumber"]


# Odd facts


@pytest.mark.parametrize(
    "changes",
    [
        {"tool": {}, "run": {}, "subject": {}, "data": {}, "environment": {}, "audits": [], "limitations": []},
        {"environment": {"packages": None}, "subject": {"detector": None}},
        {"environment": {"packages": "numpy 2"}, "subject": {"detector": "threshold"}},
        {"environment": {"packages": {"": "1", " ": "1", "/": "1", "a/b@c": None, "x": ["1"], "y": 2}}},
        {"subject": {"name": "", "version": 3, "sha256": "no digest", "task": None, "detector": {}}},
        {"subject": {"sha256": "sha256:" + "AB" * 32, "name": "a\nb\x00", "file": 1, "detector": {"sha256": None}}},
        {"run": {"finished_utc": "yesterday", "started_utc": 5}, "tool": {"version": "9" * 5000}},
        {"context": {"context": "brain", "intended_use": ["a"]}},
    ],
)
def test_missing_or_odd_facts_do_no_harm(make_record: MakeRecord, changes: dict[str, Any]) -> None:
    content = valid(make_record(**changes))
    assert component(content, "model")["type"] == "machine-learning-model"


def test_a_time_that_is_not_known_is_left_out(make_record: MakeRecord) -> None:
    assert "timestamp" not in valid(make_record(run={}))["metadata"]
    assert "timestamp" not in valid(make_record(run={"finished_utc": "2026-11-03T10:14:41"}))["metadata"]
    assert valid(make_record(run={"started_utc": "2026-11-03T10:12:00Z"}))["metadata"]["timestamp"]


facts = st.none() | st.text(max_size=5) | st.integers() | st.lists(st.text(max_size=3), max_size=2)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packages=st.dictionaries(st.text(max_size=6), facts, max_size=3) | facts,
    subject=st.dictionaries(st.sampled_from(["name", "version", "sha256", "task", "file", "detector"]), facts),
)
def test_prop_any_facts_give_a_valid_bill(make_record: MakeRecord, packages: Any, subject: dict[str, Any]) -> None:
    record = make_record(environment={"packages": packages}, subject=subject)
    assert valid(record) == valid(record)
