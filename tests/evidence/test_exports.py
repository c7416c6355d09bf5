"""The exports of a run's folder: all of them, whole or not at all, and the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
import yaml

from medgan_qa.digests import file_sha256
from medgan_qa.errors import OutputError, RecordError
from medgan_qa.evidence import exports
from medgan_qa.evidence.exports import EXPORTS, write_exports
from medgan_qa.evidence.signing import sign
from medgan_qa.record import Record

Make = Callable[..., Any]
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
CASES = "audit,case_id,patient_id,recovery\nPAT-001,case-0017,p1,0.0713\nPAT-001,case-0042,p2,0.9387\n"


def a_run(folder: Path, record: Record = WHOLE, cases: str | None = CASES) -> Path:
    record = record.model_copy(update={"files": {}})
    (folder / "record.json").write_text(record.to_json() + "\n", encoding="utf-8")
    if cases is not None:
        (folder / "cases.csv").write_text(cases, encoding="utf-8")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_every_export_is_written_and_nothing_else(tmp_path: Path) -> None:
    before = content(a_run(tmp_path))
    assert write_exports(tmp_path) == [tmp_path / name for name in EXPORTS]
    after = content(tmp_path)
    assert set(after) == {*before, *EXPORTS}
    assert {name: after[name] for name in before} == before
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o644 for name in EXPORTS)


def test_every_export_can_be_read(tmp_path: Path) -> None:
    write_exports(a_run(tmp_path))
    assert ET.parse(tmp_path / "junit.xml").getroot().tag == "testsuite"
    assert json.loads((tmp_path / "results.sarif").read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert "AC-05 GEO-001.shift" in yaml.safe_load((tmp_path / "test-record.yaml").read_text(encoding="utf-8"))
    digest = file_sha256(tmp_path / "record.json")
    for name in ("summary.md", "model-card.md"):
        assert digest in (tmp_path / name).read_text(encoding="utf-8")
    assert pq.read_table(tmp_path / "cases.parquet").column("recovery").to_pylist() == [0.0713, 0.9387]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    write_exports(a_run(tmp_path))
    first = content(tmp_path)
    write_exports(tmp_path)
    assert content(tmp_path) == first


def test_numbers_are_withheld_from_texts_and_kept_in_tables(tmp_path: Path) -> None:
    record = WHOLE.model_copy(update={"context": {"attempts": {"feedback": "pass_fail"}}})
    write_exports(a_run(tmp_path, record))
    for name in set(EXPORTS) - {"cases.parquet"}:
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "withheld" in text or name == "sbom.cdx.json"
        assert not [number for number in ("0.0713", "0.3129", "0.4417", "0.1004", "31.24") if number in text]
    assert pq.read_table(tmp_path / "cases.parquet").column("recovery").to_pylist() == [0.0713, 0.9387]
    assert "0.3129" in (tmp_path / "record.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("feedback", ["full", "pass_fail"])
def test_the_bill_of_materials_names_the_record_as_it_is(tmp_path: Path, feedback: str) -> None:
    record = WHOLE.model_copy(update={"context": {"attempts": {"feedback": feedback}}})
    write_exports(a_run(tmp_path, record))
    text = (tmp_path / "sbom.cdx.json").read_text(encoding="utf-8")
    assert file_sha256(tmp_path / "record.json") in text
    assert ("0.019" in text) == (feedback == "full")


def test_whoever_signed_as_author_is_the_tester(tmp_path: Path) -> None:
    a_run(tmp_path)
    sign(tmp_path, "Ruth Lang", "ML engineer", "author")
    sign(tmp_path, "J. Ödegård", "QA", "approval")
    write_exports(tmp_path)
    note = yaml.safe_load((tmp_path / "test-record.yaml").read_text(encoding="utf-8"))["medgan-qa translation"]["note"]
    assert note.endswith("Tester: Ruth Lang [[62304:9.8.g]]")


def test_a_signature_that_does_not_hold_names_no_tester(tmp_path: Path) -> None:
    a_run(tmp_path)
    path = sign(tmp_path, "Ruth Lang", "ML engineer", "author")
    path.write_bytes(path.read_bytes().replace(b"{", b"{ ", 1))
    write_exports(tmp_path)
    assert "Ruth Lang" not in (tmp_path / "test-record.yaml").read_text(encoding="utf-8")


def test_a_run_without_cases_has_no_parquet(tmp_path: Path) -> None:
    written = write_exports(a_run(tmp_path, cases=None))
    assert [path.name for path in written] == [name for name in EXPORTS if name != "cases.parquet"]


def test_a_damaged_table_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    before = content(a_run(tmp_path, cases="audit,case_id\nonly one cell\n"))
    with pytest.raises(RecordError, match=r"cases\.csv"):
        write_exports(tmp_path)
    assert content(tmp_path) == before


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no Record"):
        write_exports(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_take_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(a_run(tmp_path))

    def refuse(*arguments: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(exports.tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match=r"junit\.xml cannot be written") as caught:
        write_exports(tmp_path)
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    assert content(tmp_path) == before
