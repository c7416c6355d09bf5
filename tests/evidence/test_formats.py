"""The published schemas, both ways: what our writers make is valid, and readers and schemas refuse the same files."""

from __future__ import annotations

import copy
import datetime
import importlib.util
import json
import re
import tomllib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from medgan_qa import criteria as criteria_package
from medgan_qa import suites
from medgan_qa.cohorts import description
from medgan_qa.criteria import entries, keys, reading
from medgan_qa.errors import ConfigurationError, IntegrityError, MedganQAError
from medgan_qa.evidence import baselines, dsse, folder, ledger, lock
from medgan_qa.evidence.exports import EXPORTS
from medgan_qa.evidence.folder import manifest_bytes, write_record
from medgan_qa.evidence.formats import FORMATS, schema
from medgan_qa.evidence.keys import signing_key
from medgan_qa.evidence.rdm import rdm_yaml
from medgan_qa.evidence.records import load_record
from medgan_qa.evidence.seal import seal_manifest
from medgan_qa.evidence.signing import dispose, sign
from medgan_qa.record import Record, json_schema
from medgan_qa.subjects import card

ROOT = Path(__file__).resolve().parent.parent.parent
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
Content = dict[str, Any]


def problems(name: str, content: Any) -> list[str]:
    """What the schema of a format says against a file's content."""
    plain = json.loads(json.dumps(content, default=_iso))
    return [error.message for error in Draft202012Validator(schema(name)).iter_errors(plain)]


def _iso(value: Any) -> str:
    assert isinstance(value, datetime.date)
    return value.isoformat()


def changed(content: Content, place: str, value: Any) -> Content:
    """A copy with the value at a dotted place; `...` takes it out."""
    result = copy.deepcopy(content)
    *path, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    inner: Any = result
    for key in path:
        inner = inner[key] if not isinstance(inner, dict) or key in inner else inner.setdefault(key, {})
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return result


def is_refused(reader: Callable[[Any], Any], content: Any) -> bool:
    try:
        reader(content)
    except MedganQAError:
        return True
    return False


@pytest.mark.parametrize("name", FORMATS)
def test_every_schema_is_one_and_names_its_format(name: str) -> None:
    found = schema(name)
    Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["title"]
    assert problems(name, {"something": "else"})
    assert problems(name, [])


def test_there_is_a_schema_for_every_file_that_holds_one() -> None:
    stored = {path.stem for path in (ROOT / "medgan_qa" / "evidence" / "schemas").glob("*.json")}
    assert stored < set(FORMATS)
    with pytest.raises(KeyError):
        schema("report")


def test_the_page_of_formats_names_every_schema_and_every_file() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w/.-]+\.schema\.json)\)", page))
    assert linked == {make_docs().schema_page(name) for name in FORMATS}
    assert all((ROOT / "docs" / path).is_file() for path in linked)
    for name in (
        *EXPORTS,
        *folder.EVIDENCE,
        *folder.REPORTS,
        folder.RECORD,
        folder.MANIFEST,
    ):
        assert f"`{name}" in page, name


def make_docs() -> Any:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_schemas_are_current_and_old_ones_are_taken_away(tmp_path: Path) -> None:
    docs = make_docs()
    assert [name for name in docs.stale() if "schema" in name] == [], "run: python tools/make_docs.py"
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "gone.schema.json").write_text("{}", encoding="utf-8")
    assert "schemas/gone.schema.json" in docs.stale(tmp_path)
    docs.write(tmp_path)
    assert docs.stale(tmp_path) == []
    assert not (tmp_path / "schemas" / "gone.schema.json").exists()


# Criteria

CRITERIA = tomllib.loads(
    """
schema = "medgan-qa/criteria/1"
alpha = 0.05
multiplicity = "holm"
[protocol]
id = "VP-012"
revision = 2
title = "T1 to FLAIR"
approved_by = ["R. Lang"]
[context]
suite = "translation"
output_role = "pipeline_input"
claims = ["Lesions are not removed"]
[data]
min = {patients = 60, lesions = 120, sites = 3}
allowed_processing = ["resample 1 mm"]
[data.independence]
by = ["patient", "site"]
train_manifest = "lists/train.csv"
[data.sequestration]
since = 2026-03-01
[reference_standard]
labels = "masks_v4"
annotators = 3
[matching]
matching = "dilated_hit"
dilate_mm = 3.0
[statistics]
bound = "one-sided"
cluster = "patient"
seed = 20260301
[[hazard]]
id = "HZ-90"
name = "Something"
[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.1}
judged_on = "upper"
rationale = "..."
severity = "gate"
strata = {gate = ["diameter"], report = ["site"]}
margin = 0.03
[[criterion]]
id = "AC-02"
measurement = "PAT-001.contrast_recovery[site A]"
limit = {min = 0.9, max = 1.1}
judged_on = "both"
[[sentinel]]
case = "case-0017"
audit = "PAT-001"
[attempts]
max = 3
feedback = "pass_fail"
[modification]
id = "MOD-2"
[parameters."PAT-001"]
minimum_contrast = 0.05
"""
)
LEAST = {"schema": "medgan-qa/criteria/1", "criterion": [CRITERIA["criterion"][1]]}


def read_criteria(content: Content) -> Any:
    return reading.parse_criteria(content, "criteria.toml")


GOOD_CRITERIA: list[tuple[str, Any]] = [
    ("alpha", ...),
    ("multiplicity", "none"),
    ("protocol", {}),
    ("context", {}),
    ("data", {}),
    ("data.independence", {"by": ["site"]}),
    ("data.sequestration.since", "2026-03-01"),
    ("statistics", {}),
    ("criterion.0.severity", "report"),
    ("criterion.0.strata", {}),
    ("criterion.0.margin", 0),
    ("criterion.0.limit", {"max": 1}),
    ("criterion.0.hazard", ""),
    ("criterion.1.judged_on", "value"),
    ("hazard", []),
    ("hazard", [{"id": "HZ-03"}]),
    ("sentinel", []),
    ("attempts", {"max": 1}),
    ("modification", {}),
    ("parameters", {}),
    ("matching.strict", True),
]
BAD_CRITERIA: list[tuple[str, Any]] = [
    ("schema", "medgan-qa/criteria/2"),
    ("schema", ...),
    ("criteria", []),
    ("alpha", 0.7),
    ("alpha", "0.05"),
    ("alpha", True),
    ("multiplicity", "bonferroni"),
    ("statistics.alpha", 0.05),
    ("protocol", "VP-012"),
    ("protocol.owner", "x"),
    ("protocol.title", ["x"]),
    ("protocol.approved_by", "R. Lang"),
    ("context.suite", ""),
    ("context.output_role", "decoration"),
    ("context.claims", "one"),
    ("context.intended", "x"),
    ("data.min.patients", 0),
    ("data.min.patients", 60.5),
    ("data.min.images", 3),
    ("data.allowed_processing", "resample"),
    ("data.independence.by", []),
    ("data.independence.by", ["patient", "patient"]),
    ("data.independence.by", ["scanner"]),
    ("data.independence.by", ...),
    ("data.independence.train_manifest", "/etc/passwd"),
    ("data.independence.train_manifest", "C:\\train.csv"),
    ("data.independence.train_manifest", " "),
    ("data.sequestration.since", "in March"),
    ("data.sequestration.since", 2026),
    ("reference_standard.annotators", "three"),
    ("matching.rule", ["x"]),
    ("statistics.bound", "both"),
    ("statistics.cluster", "lesion"),
    ("statistics.seed", -1),
    ("statistics.seed", 2**63),
    ("criterion", []),
    ("criterion", ...),
    ("criterion", {"id": "AC-01"}),
    ("criterion.0", "AC-01"),
    ("criterion.0.id", ...),
    ("criterion.0.id", ""),
    ("criterion.0.measurement", ...),
    ("criterion.0.limit", ...),
    ("criterion.0.limit", {}),
    ("criterion.0.limit", 0.1),
    ("criterion.0.limit", {"max": "0.1"}),
    ("criterion.0.limit", {"max": True}),
    ("criterion.0.limit", {"most": 0.1}),
    ("criterion.0.limit", {"min": 0.1}),
    ("criterion.0.limit", {"min": 0.1, "max": 0.2}),
    ("criterion.0.judged_on", ...),
    ("criterion.0.judged_on", "lower"),
    ("criterion.0.judged_on", "mean"),
    ("criterion.0.treshold", 0.1),
    ("criterion.0.severity", "major"),
    ("criterion.0.margin", -0.1),
    ("criterion.0.margin", "3 %"),
    ("criterion.0.strata", {"gate": "diameter"}),
    ("criterion.0.strata", {"all": ["diameter"]}),
    ("criterion.0.strata", {"gate": ["diameter", "diameter"]}),
    ("criterion.0.strata", {"gate": [" "]}),
    ("criterion.1.strata", {"gate": ["diameter"]}),
    ("hazard", {"id": "HZ-90"}),
    ("hazard.0.id", "HZ 90"),
    ("hazard.0.id", ...),
    ("hazard.0.severity", "high"),
    ("sentinel.0.case", ...),
    ("sentinel.0.audit", ""),
    ("sentinel.0.site", "A"),
    ("attempts.max", 0),
    ("attempts.feedback", "none"),
    ("modification", {"description": "x"}),
    ("modification.reason", "x"),
    ("parameters", []),
    ("parameters.PAT-001", 3),
]


@pytest.mark.parametrize("content", [CRITERIA, LEAST])
def test_good_criteria_are_read_and_valid(content: Content) -> None:
    assert problems("criteria", content) == []
    # What is written back as criteria.json is a criteria file's content again.
    assert problems("criteria", read_criteria(content).content()) == []


@pytest.mark.parametrize(("place", "value"), GOOD_CRITERIA)
def test_what_the_reader_of_criteria_takes_is_valid(place: str, value: Any) -> None:
    content = changed(CRITERIA, place, value)
    assert problems("criteria", content) == []
    assert problems("criteria", read_criteria(content).content()) == []


@pytest.mark.parametrize(("place", "value"), BAD_CRITERIA)
def test_what_the_reader_of_criteria_refuses_is_not_valid(place: str, value: Any) -> None:
    content = changed(CRITERIA, place, value)
    with pytest.raises(ConfigurationError):
        read_criteria(content)
    assert problems("criteria", content)


@pytest.mark.parametrize("name", suites.names())
def test_the_default_criteria_of_every_suite_are_valid(name: str) -> None:
    assert problems("criteria", suites.suite(name).criteria.content()) == []


def test_the_schema_of_criteria_knows_the_keys_of_the_reader() -> None:
    properties = schema("criteria")["properties"]
    assert set(properties) == set(reading.TOP_KEYS)
    assert set(properties["criterion"]["items"]["properties"]) == set(entries.KEYS)
    assert set(properties["protocol"]["properties"]) == set(keys.PROTOCOL_KEYS)
    assert set(properties["hazard"]["items"]["properties"]) == set(keys.HAZARD_KEYS)
    assert set(properties["sentinel"]["items"]["properties"]) == set(keys.SENTINEL_KEYS)
    for name, table in keys.TABLES.items():
        inner = properties
        for part in name.split("."):
            inner = inner[part]["properties"]
        raised = set(reading.EITHER_PLACE) if name == "statistics" else set()
        assert set(inner) == set(table) | raised, name
    assert properties["schema"]["const"] == criteria_package.SCHEMA


# Datasets

DATASET: Content = {
    "schema": "medgan-qa/dataset/1",
    "name": "site A",
    "cases": "tables/cases.csv",
    "value_range": [0.0, 1.0],
    "spacing_mm": [1.0, 1],
    "source_domain": "T1",
    "target_domain": "FLAIR",
    "lesion_in": ["source", "target"],
}


def dataset_reader(tmp_path: Path) -> Callable[[Content], Any]:
    def read(content: Content) -> Any:
        path = tmp_path / "dataset.toml"
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()), encoding="utf-8")
        return description.read_description(path)

    return read


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("name", "Größe"),
        ("cases", "Cases.CSV"),
        ("cases", "../x.parquet"),
        ("value_range", ...),
        ("spacing_mm", ...),
        ("lesion_in", []),
        ("source_domain", ...),
    ],
)
def test_what_the_reader_of_datasets_takes_is_valid(tmp_path: Path, place: str, value: Any) -> None:
    content = changed(DATASET, place, value)
    assert not is_refused(dataset_reader(tmp_path), content)
    assert problems("dataset", content) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("schema", "medgan-qa/dataset/2"),
        ("schema", ...),
        ("name", ...),
        ("name", "  "),
        ("name", 7),
        ("cases", ...),
        ("cases", "cases.xlsx"),
        ("cases", ".csv"),
        ("cases", "/data/cases.csv"),
        ("cases", "C:\\cases.csv"),
        ("window", [0, 1]),
        ("value_range", [0.0]),
        ("value_range", ["0", "1"]),
        ("value_range", [False, True]),
        ("spacing_mm", [0, 1]),
        ("spacing_mm", 1.0),
        ("source_domain", ""),
        ("target_domain", 1),
        ("lesion_in", "source"),
        ("lesion_in", ["output"]),
        ("sites", 3),
    ],
)
def test_what_the_reader_of_datasets_refuses_is_not_valid(tmp_path: Path, place: str, value: Any) -> None:
    content = changed(DATASET, place, value)
    assert is_refused(dataset_reader(tmp_path), content)
    assert problems("dataset", content)


def test_the_schema_of_datasets_knows_the_keys_of_the_reader() -> None:
    found = schema("dataset")
    assert set(found["properties"]) == set(description._KEYS)
    assert found["properties"]["schema"]["const"] == description.SCHEMA


# Cards

CARD = tomllib.loads(card.EXAMPLE)


def read_card(content: Content) -> Any:
    return card.parse_card("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()), "card.toml")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": "discriminator", "channels_out": ..., "range_out": ...},
        {"inverse": "back.pt"},
        {"inverse": "reference:cyclegan-balanced"},
        {"task": "synthesis", "latent_dim": 64, "channels_in": ..., "range_in": ...},
        {"task": "super-resolution", "scale": 4},
        {"task": "super-resolution", "scale": [3, 1]},
        {"task": "discriminator", "classes": ["benign", "malignant"], "threshold": 0.4, "reads": "disease"},
        {"task": "discriminator", "comparator": "scratch.pt"},
        {"task": "synthesis", "latent_dim": 64, "classes": ["a", "b", "c"]},
        {"task": "segmentation"},
        {"version": 2},
        {"output_role": "viewed", "training_data": "train", "licence": "own", "years": [2024, 2025]},
    ],
)
def test_what_the_reader_of_cards_takes_is_valid(changes: Content) -> None:
    content = CARD
    for place, value in changes.items():
        content = changed(content, place, value)
    assert not is_refused(read_card, content)
    assert problems("card", content) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("schema", "medgan-qa/card/2"),
        ("schema", ...),
        ("task", "denoising"),
        ("task", ...),
        ("task", "synthesis"),
        ("task", "super-resolution"),
        ("name", ...),
        ("name", ""),
        ("version", ...),
        ("channels_in", ...),
        ("channels_in", 0),
        ("channels_in", "1"),
        ("channels_in", True),
        ("channels_out", 1.5),
        ("range_in", ...),
        ("range_in", [0.0]),
        ("range_in", ["a", "b"]),
        ("range_out", [0, 1e31]),
        ("range_out", [False, True]),
        ("latent_dim", -1),
        ("scale", 2.5),
        ("scale", [2]),
        ("scale", [2, 0]),
        ("classes", ["a", "b"]),
        ("threshold", 0.5),
        ("reads", "disease"),
        ("comparator", "scratch.pt"),
        ("output_role", "shown"),
        ("inverse", ""),
        ("inverse", "reference:"),
        ("inverse", "/models/back.pt"),
        ("inverse", 3),
    ],
)
def test_what_the_reader_of_cards_refuses_is_not_valid(place: str, value: Any) -> None:
    content = changed(CARD, place, value)
    assert is_refused(read_card, content)
    assert problems("card", content)


def test_the_schema_of_cards_knows_what_the_reader_knows() -> None:
    properties = schema("card")["properties"]
    assert set(properties["task"]["enum"]) == set(card.TASKS)
    assert set(properties["output_role"]["enum"]) == set(card.ROLES)
    assert set(properties) == {"schema", *card.Card.__dataclass_fields__} - {"extra"}


# Records, locks, ledgers, baselines

RECORD = json.loads(WHOLE.to_json())


def read_record(content: Any) -> Record:
    return load_record(json.dumps(content), "record.json")


def test_the_schema_of_records_is_the_published_one() -> None:
    assert schema("record") == json_schema()
    assert problems("record", RECORD) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("schema", ...),
        ("schema", "medgan-qa/record/2"),
        ("verdict", "maybe"),
        ("suite", ...),
        ("audits.0.code", 1),
        ("audits.0.measurements.0.value", "low"),
        ("audits.0.measurements.0.n", -1),
        ("audits.0.criteria.0.severity", "major"),
        ("audits.0.criteria.0.limit.most", 0.1),
        ("attempts.number", 0),
        ("witness", "x"),
        ("preconditions.0.verdict", ...),
        ("comparison.changes.0.better", "up"),
    ],
)
def test_what_the_reader_of_records_refuses_is_not_valid(place: str, value: Any) -> None:
    content = changed(RECORD, place, value)
    assert is_refused(read_record, content)
    assert problems("record", content)


A_LOCK = lock.Lock.model_validate(
    {
        "schema": "medgan-qa/lock/1",
        "criteria": {"file": "criteria.toml", "sha256": "1" * 64, "digest": "2" * 64, "text": "x"},
        "suite": "translation",
        "data": {"name": "d", "file": "d.toml", "digest": "3" * 64, "description": "4" * 64, "rows": {}, "files": {}},
        "tool": {"name": "medgan-qa", "version": "0.1.0"},
        "locked_utc": "2026-03-01T08:00:00Z",
        "locked_by": "R. Lang",
    }
)


def lock_reader(tmp_path: Path) -> Callable[[Content], Any]:
    def read(content: Content) -> Any:
        path = tmp_path / "criteria.lock.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return lock.read_lock(path)

    return read


def test_a_lock_is_valid() -> None:
    assert problems("lock", json.loads(A_LOCK.to_bytes())) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("schema", ...),
        ("schema", "medgan-qa/lock/2"),
        ("criteria", ...),
        ("criteria.digest", 7),
        ("data.rows", []),
        ("data.rows", {"c": 1}),
        ("locked_by", ...),
        ("key", "x"),
    ],
)
def test_what_the_reader_of_locks_refuses_is_not_valid(tmp_path: Path, place: str, value: Any) -> None:
    content = changed(json.loads(A_LOCK.to_bytes()), place, value)
    assert is_refused(lock_reader(tmp_path), content)
    assert problems("lock", content)


def ledger_line(tmp_path: Path) -> Content:
    path = tmp_path / "ledger.jsonl"
    with ledger.Ledger(path).entry() as entry:
        entry.append_run(WHOLE, "ab" * 32)
    line: Content = json.loads(path.read_text(encoding="utf-8"))
    return line


def test_a_line_of_the_ledger_is_valid(tmp_path: Path) -> None:
    line = ledger_line(tmp_path)
    assert problems("ledger-line", line) == []
    for place, value in (("hash", "x"), ("verdict", "maybe"), ("line", 0), ("suite", ...), ("note", "x")):
        bad = changed(line, place, value)
        assert problems("ledger-line", bad), place
        (tmp_path / "ledger.jsonl").write_text(json.dumps(bad) + "\n", encoding="utf-8")
        with pytest.raises(IntegrityError):
            ledger.Ledger(tmp_path / "ledger.jsonl").check()


def test_a_line_of_a_baseline_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path)
    monkeypatch.setattr(baselines, "require_verified", lambda folder: None)
    _, line = baselines.accept(run, tmp_path / "registry", "brain", reason="The first.", allow_failed="To begin with.")
    assert problems("baseline-line", line) == []
    assert set(schema("baseline-line")["properties"]) == baselines.KEYS
    path = tmp_path / "registry" / "brain" / baselines.HISTORY
    for place, value in (("schema", "x"), ("number", 0), ("hash", "x"), ("run", ...), ("note", "x")):
        bad = changed(dict(line), place, value)
        assert problems("baseline-line", bad), place
        path.write_text(json.dumps(bad) + "\n", encoding="utf-8")
        with pytest.raises(IntegrityError):
            baselines.history(tmp_path / "registry", "brain")


# Manifest, signatures, seal, test record


def a_run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "cases.csv").write_text("audit,case_id,patient_id\n", encoding="utf-8")
    write_record(run, WHOLE.model_copy(update={"files": {}}))
    return run


def payload(path: Path) -> Content:
    envelope = json.loads(path.read_text(encoding="utf-8"))
    assert problems("envelope", envelope) == []
    content: Content = json.loads(b64decode(envelope["payload"]))
    return content


def test_a_manifest_is_valid(tmp_path: Path) -> None:
    content = json.loads(manifest_bytes(a_run(tmp_path)))
    assert set(content["files"]) == {"record.json", "cases.csv"}
    assert problems("manifest", content) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("schema", "medgan-qa/manifest/2"),
        ("files", []),
        ("files", {"a": {"sha256": "ab" * 32}}),
        ("files", {"a": {"sha256": "AB" * 32, "bytes": 1}}),
        ("files", {"a": {"sha256": "ab" * 32, "bytes": -1}}),
        ("files", {"../a": {"sha256": "ab" * 32, "bytes": 1}}),
        ("files", {"/a": {"sha256": "ab" * 32, "bytes": 1}}),
        ("files", {"a/../b": {"sha256": "ab" * 32, "bytes": 1}}),
        ("files", {"": {"sha256": "ab" * 32, "bytes": 1}}),
        ("made", "today"),
    ],
)
def test_a_bad_manifest_is_not_valid(place: str, value: Any) -> None:
    good = {"schema": "medgan-qa/manifest/1", "files": {"a/b..c": {"sha256": "ab" * 32, "bytes": 0}}}
    assert problems("manifest", good) == []
    assert problems("manifest", changed(good, place, value))


def test_signatures_dispositions_and_seals_are_valid(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    first = sign(run, "Ruth Lang", "ML engineer", "author", "Größe µ")
    second = dispose(run, "AC-05", "accepted-failure", "Used for training only.", "J. Berg", "QA")
    (run / "manifest.json").write_bytes(manifest_bytes(run))
    seal = seal_manifest(run)
    for path, name in ((first, "statement-signature"), (second, "statement-disposition"), (seal, "statement-manifest")):
        content = payload(path)
        assert problems(name, content) == []
        for other in {"statement-signature", "statement-disposition", "statement-manifest"} - {name}:
            assert problems(other, content)
        for place, value in (
            ("predicate", {}),
            ("subject", []),
            ("_type", "x"),
            ("predicate.public_key", "x"),
            ("x", 1),
        ):
            assert problems(name, changed(content, place, value)), place


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("payloadType", "application/json"),
        ("payload", "%%%"),
        ("payload", ...),
        ("signatures", []),
        ("signatures.0.sig", "AA=="),
        ("signatures.0.keyid", "x"),
        ("signatures.0.cert", "x"),
        ("note", "x"),
    ],
)
def test_what_the_reader_of_envelopes_refuses_is_not_valid(place: str, value: Any) -> None:
    content = dsse.statement({"record.json": "ab" * 32}, "urn:medgan-qa:signature:1", {"name": "R. Lang"})
    envelope = json.loads(dsse.sign_statement(content, signing_key(None, "R. Lang")))
    assert problems("envelope", envelope) == []
    bad = changed(envelope, place, value)
    assert problems("envelope", bad)
    with pytest.raises(IntegrityError):
        dsse.open_envelope(dsse.canonical_json(bad) + b"\n")


def test_a_test_record_is_valid() -> None:
    content = yaml.safe_load(rdm_yaml(WHOLE, ["Ruth Lang"]))
    assert problems("test-record", content) == []
    assert problems("test-record", {"a": {**content["DATA-sites"], "result": "error"}})
    assert problems("test-record", {"a": {**content["DATA-sites"], "req_ids": "SRS-041"}})
