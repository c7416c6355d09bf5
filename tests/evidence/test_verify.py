"""Verification: whatever changed is found and named, whatever is damaged ends in a verdict."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weasyprint import HTML, Attachment

from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.criteria import read_criteria
from medgan_qa.digests import canonical_json, sha256
from medgan_qa.errors import ConfigurationError, InputError
from medgan_qa.evidence.folder import write_manifest
from medgan_qa.evidence.keys import signing_key
from medgan_qa.evidence.ledger import Ledger
from medgan_qa.evidence.lock import make_lock
from medgan_qa.evidence.seal import seal_identity, seal_manifest, seal_pdf
from medgan_qa.evidence.signing import dispose, sign
from medgan_qa.evidence.verify import Check, Verification, verify
from medgan_qa.record import Record
from medgan_qa.rng import child

MakeRecord = Callable[..., Record]
ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
CRITERIA = """schema = "medgan-qa/criteria/1"
alpha = 0.05
multiplicity = "holm"

[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.1}
judged_on = "upper"
rationale = "One in ten"
"""


def write_dataset(folder: Path) -> Path:
    folder.mkdir()
    np.save(folder / "a.npy", np.arange(64.0).reshape(8, 8))
    row = {"case_id": "c1", "patient_id": "p1", "partition": "test", "image": "a.npy", "target": "a.npy"}
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*row, "lesion_mask", "annotated"])
        writer.writeheader()
        writer.writerow({**row, "lesion_mask": "", "annotated": "true"})
    (folder / "data.toml").write_text(
        'schema = "medgan-qa/dataset/1"\nname = "tiny"\ncases = "cases.csv"\nvalue_range = [0.0, 64.0]\n'
        'spacing_mm = [1.0, 1.0]\nsource_domain = "T2"\ntarget_domain = "FLAIR"\nlesion_in = ["source", "target"]\n'
    )
    return folder / "data.toml"


def evidence_files(place: Path, data: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The evidence files of a run, and what its Record says of the lock."""
    (place / "criteria.toml").write_text(CRITERIA)
    criteria = read_criteria(place / "criteria.toml")
    lock = make_lock(criteria, "translation", read_dataset(data), str(data), "Ada", NOW).to_bytes()
    files = {
        "cases.csv": b"audit,case_id\nPAT-001,c1\n",
        "observations.csv": b"measurement,statistic,unit,patient_id,value\n",
        "exhibits/PAT-001.csv": b"row\n1\n",
        "criteria.json": canonical_json(criteria.content()),
        "criteria.toml": CRITERIA.encode(),
        "criteria.lock.json": lock,
    }
    stated = {"locked": True, "digest": criteria.digest(), "lock_sha256": sha256(lock)}
    return files, {**stated, "locked_utc": "2026-11-03T12:00:00Z", "locked_by": "Ada"}


def enter(ledger: Path, record: Record, folder: Path) -> None:
    with Ledger(ledger).entry() as entry:
        attempts = entry.attempts(
            suite=record.suite,
            data_digest=record.data["digest"],
            model_sha256=record.subject["sha256"],
            criteria_digest=record.criteria_lock.get("digest", ""),
            seed=record.run.get("seed", 0),
            alpha=0.05,
        )
        record = record.model_copy(update={"attempts": attempts})
        content = (record.to_json() + "\n").encode()
        (folder / "record.json").write_bytes(content)
        entry.append_run(record, sha256(content))


def finish(folder: Path) -> None:
    """What stands beside the Record: report, an export, seals."""
    (folder / "junit.xml").write_text("<testsuite/>")
    (folder / "report.html").write_text("<!doctype html><title>Report</title>")
    names = ("record.json", "criteria.json", "criteria.toml", "criteria.lock.json", "cases.csv")
    attached = [Attachment(string=(folder / name).read_bytes(), name=name) for name in names]
    (folder / "report.pdf").write_bytes(HTML(string="<p>Report").write_pdf(attachments=attached))
    seal_pdf(folder / "report.pdf", identity=seal_identity())
    reseal(folder)


def reseal(folder: Path) -> None:
    (folder / "manifest.dsse.json").unlink(missing_ok=True)
    write_manifest(folder)
    seal_manifest(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_record: MakeRecord) -> Path:
    """A place with a complete run (`run`), its data and its ledger."""
    place = tmp_path_factory.mktemp("made")
    run = place / "run"
    data = write_dataset(place / "data")
    files, lock = evidence_files(place, data)
    for name, content in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content)
    record = make_record(
        run={"id": "r1", "seed": 1, "finished_utc": "2026-11-03T11:00:00Z"},
        data={"digest": read_dataset(data).digest(), "name": "tiny"},
        criteria_lock=lock,
        files={name: sha256(content) for name, content in files.items()},
    )
    enter(place / "ledger.jsonl", record, run)
    sign(run, "Ada", "QA", "review", now=NOW)
    dispose(run, "AC-01", "pass-with-exception", "scanner update", "Grace", "RA", now=NOW)
    finish(run)
    return place


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def states(found: Verification) -> dict[str, str]:
    return {check.name: check.state for check in found.checks}


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def failed_names(found: Verification) -> set[str]:
    return {check.name for check in found.failed}


# Nothing changed


def test_a_run_as_it_was_verifies(made: Path, run: Path) -> None:
    found = verify(run, data=made / "data" / "data.toml")
    assert found.failed == []
    assert found.ok
    assert states(found) == {
        "manifest": "ok",
        "manifest seal": "ok",
        "files": "ok",
        "record": "ok",
        "evidence files": "ok",
        "criteria": "ok",
        "lock": "ok",
        "ledger": "ok",
        "data": "ok",
        "signature 1": "ok",
        "disposition 2": "ok",
        "report seal": "ok",
        "report's Record": "ok",
    }
    assert "Ada" in next(check.detail for check in found.checks if check.name == "lock")


def test_verification_changes_nothing(made: Path, run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in files_of(run)}
    verify(run, data=made / "data" / "data.toml")
    assert {name: (run / name).read_bytes() for name in files_of(run)} == before


def test_the_report_alone_verifies(made: Path, run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "report.pdf", tmp_path / "sent.pdf")
    found = verify(tmp_path / "sent.pdf", data=made / "data" / "data.toml")
    assert found.ok
    assert {**states(found)} == {
        "seal": "ok",
        "attached files": "ok",
        "record": "ok",
        "evidence files": "ok",
        "criteria": "ok",
        "lock": "ok",
        "ledger": "ok",
        "data": "ok",
    }
    detail = next(check.detail for check in found.checks if check.name == "evidence files")
    assert "4 of 6" in detail
    assert "2 are not attached" in detail


def test_an_unsigned_run_is_fine_and_says_so(run: Path) -> None:
    shutil.rmtree(run / "signatures")
    reseal(run)
    found = verify(run)
    assert found.ok
    assert Check("signatures", "ok", "none: the run is not signed") in found.checks


def test_what_was_not_given_is_listed_as_not_checked(run: Path, made: Path) -> None:
    away = made / "ledger.moved"
    (made / "ledger.jsonl").rename(away)
    try:
        found = states(verify(run))
    finally:
        away.rename(made / "ledger.jsonl")
    assert found["data"] == found["ledger"] == "not_checked"


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "jq", "openssl"))), reason="needs bash, jq and openssl")
def test_the_recipe_of_the_docs_verifies_without_this_tool(run: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "sign-and-verify.md").read_text(encoding="utf-8")
    recipe = text.split("## Without medgan-qa")[1].split("```sh\n")[1].split("```")[0].replace("/tmp/", f"{tmp_path}/")
    key = signing_key(None, "Ada").path
    assert key is not None
    recipe = recipe.replace("ada.pub.pem", str(key.with_suffix(".pub.pem"))).replace("0001-approval", "0001-review")

    def follow() -> subprocess.CompletedProcess[str]:
        command = ["bash", "-euo", "pipefail", "-c", recipe]
        return subprocess.run(command, cwd=run, capture_output=True, text=True, check=False)

    done = follow()
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout
    assert "record.json: OK" in done.stdout
    (run / "cases.csv").write_text("changed")
    assert follow().returncode != 0


# One changed byte


def places(size: int) -> list[int]:
    """Every place of a small file; of a longer one the ends and a sample."""
    if size <= 300:
        return list(range(size))
    return sorted({0, 1, size // 2, size - 2, size - 1, *child(0, "places").integers(0, size, 12).tolist()})


def test_one_changed_byte_in_any_file_is_found_and_the_file_named(run: Path) -> None:
    for name in files_of(run):
        content = (run / name).read_bytes()
        for place in places(len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 1 << place % 8
            (run / name).write_bytes(damaged)
            found = verify(run)
            assert not found.ok, (name, place)
            assert name in {check.file for check in found.failed}, (name, place)
        (run / name).write_bytes(content)
    assert verify(run).ok


def test_every_byte_of_the_manifest_and_its_seal_counts(run: Path) -> None:
    from medgan_qa.evidence._verify_folder import manifest_checks

    for name in ("manifest.json", "manifest.dsse.json"):
        content = (run / name).read_bytes()
        for place in range(0, len(content), 3):
            damaged = bytearray(content)
            damaged[place] ^= 0x01
            (run / name).write_bytes(damaged)
            assert any(check.state == "failed" and check.file == name for check in manifest_checks(run, None)), place
        (run / name).write_bytes(content)


def test_a_missing_file_is_named(run: Path) -> None:
    for name in files_of(run):
        content = (run / name).read_bytes()
        (run / name).unlink()
        found = verify(run)
        assert name in {check.file for check in found.failed}, name
        (run / name).write_bytes(content)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "exhibits/more.csv", "signatures/0003-approval.dsse.json"])
def test_an_extra_file_is_named(run: Path, name: str) -> None:
    (run / name).write_text("extra")
    found = verify(run)
    assert any(check.file == name and "extra" in check.detail for check in found.failed)


def test_a_damaged_report_alone_is_found(run: Path) -> None:
    content = (run / "report.pdf").read_bytes()
    for place in places(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        (run / "report.pdf").write_bytes(damaged)
        found = verify(run / "report.pdf")
        assert not found.ok
        assert found.checks[1].state == "not_checked"
    (run / "report.pdf").write_bytes(b"")
    assert not verify(run / "report.pdf").ok


# Changed with care: manifest and seals made again


def rewrite(run: Path, **changes: Any) -> None:
    record = json.loads((run / "record.json").read_bytes())
    (run / "record.json").write_text(Record.from_json(json.dumps({**record, **changes})).to_json() + "\n")


def test_a_record_that_was_edited_and_sealed_again_is_found(run: Path) -> None:
    rewrite(run, verdict="fail")
    reseal(run)
    found = failed_names(verify(run))
    assert found == {"ledger", "signature 1", "disposition 2", "report's Record"}


def test_an_evidence_file_that_was_edited_and_sealed_again_is_found(run: Path) -> None:
    (run / "cases.csv").write_text("audit,case_id\n")
    reseal(run)
    found = verify(run)
    assert {"evidence file", "signature 1", "disposition 2"} == failed_names(found)
    assert Check("evidence file", "failed", "differs from the digest in the Record", "cases.csv") in found.checks


def test_criteria_that_were_changed_with_the_record_are_found(run: Path) -> None:
    (run / "criteria.json").write_bytes(b"{}")
    (run / "criteria.lock.json").unlink()
    record = json.loads((run / "record.json").read_bytes())
    files = {**record["files"], "criteria.json": sha256(b"{}")}
    del files["criteria.lock.json"]
    rewrite(run, files=files)
    reseal(run)
    assert {"criteria", "lock"} <= failed_names(verify(run))


@pytest.mark.parametrize(
    ("lock", "data", "detail"),
    [
        ({"lock_sha256": "00" * 32}, {}, "not the lock that the Record names"),
        ({"digest": "00" * 32}, {}, "locks other criteria"),
        ({}, {"digest": "00" * 32}, "locks other data"),
        ({"locked": False}, {}, "were not locked"),
    ],
)
def test_a_lock_that_does_not_fit_is_found(run: Path, lock: Any, data: Any, detail: str) -> None:
    record = json.loads((run / "record.json").read_bytes())
    rewrite(run, criteria_lock={**record["criteria_lock"], **lock}, data={**record["data"], **data})
    reseal(run)
    [check] = [check for check in verify(run).failed if check.name == "lock"]
    assert detail in check.detail
    assert check.file == "criteria.lock.json"


def test_a_ledger_that_was_edited_is_found(run: Path, made: Path, tmp_path: Path) -> None:
    for name in ("ledger.jsonl", "ledger.jsonl.head.json"):
        shutil.copy(made / name, tmp_path / name)
    assert verify(run, ledger=tmp_path / "ledger.jsonl").ok
    text = (tmp_path / "ledger.jsonl").read_bytes()
    (tmp_path / "ledger.jsonl").write_bytes(text.replace(b'"seed":1', b'"seed":2'))
    assert failed_names(verify(run, ledger=tmp_path / "ledger.jsonl")) == {"ledger"}


def test_another_ledger_does_not_hold_the_run(run: Path, tmp_path: Path, make_record: MakeRecord) -> None:
    enter(tmp_path / "other.jsonl", make_record(run={"id": "r2"}), tmp_path)
    assert failed_names(verify(run, ledger=tmp_path / "other.jsonl")) == {"ledger"}


def test_a_run_without_a_ledger_does_not_fit_one(run: Path, made: Path) -> None:
    rewrite(run, attempts=None)
    assert "ledger" in failed_names(verify(run, ledger=made / "ledger.jsonl"))
    assert states(verify(run))["ledger"] == "not_checked"


def test_other_data_are_found(run: Path, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "data", tmp_path / "data")
    np.save(tmp_path / "data" / "a.npy", np.arange(64.0).reshape(8, 8).T)
    found = verify(run, data=tmp_path / "data" / "data.toml")
    assert failed_names(found) == {"data"}
    (tmp_path / "data" / "a.npy").write_bytes(b"damaged")
    assert failed_names(verify(run, data=tmp_path / "data" / "data.toml")) == {"data"}
    assert failed_names(verify(run, data="phantom:brain")) == {"data"}


def test_a_report_of_another_record_is_found(run: Path) -> None:
    attached = [Attachment(string="{}", name="record.json")]
    (run / "report.pdf").write_bytes(HTML(string="<p>Report").write_pdf(attachments=attached))
    seal_pdf(run / "report.pdf", identity=seal_identity())
    reseal(run)
    assert failed_names(verify(run)) == {"report's Record"}
    assert failed_names(verify(run / "report.pdf")) == {"record"}


def test_a_report_without_seal_or_record_is_found(run: Path) -> None:
    (run / "report.pdf").write_bytes(HTML(string="<p>Report").write_pdf())
    reseal(run)
    assert failed_names(verify(run)) == {"report seal"}
    seal_pdf(run / "report.pdf", identity=seal_identity())
    reseal(run)
    assert failed_names(verify(run)) == {"report's Record"}
    assert failed_names(verify(run / "report.pdf")) == {"record"}


def test_a_manifest_sealed_as_something_else_is_found(run: Path) -> None:
    shutil.copy(run / "signatures" / "0001-review.dsse.json", run / "manifest.dsse.json")
    [check] = verify(run).failed
    assert (check.name, check.file) == ("manifest seal", "manifest.dsse.json")
    assert "something else" in check.detail


@pytest.mark.parametrize("edit", [lambda t: t.replace("\n", ""), lambda t: t + "\n", lambda t: t.replace(" ", "  ")])
def test_a_manifest_in_another_form_is_found_even_when_sealed(run: Path, edit: Callable[[str], str]) -> None:
    (run / "manifest.json").write_text(edit((run / "manifest.json").read_text()))
    seal_manifest(run)
    assert failed_names(verify(run)) == {"manifest"}


# Who signed


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    folder = tmp_path / "trusted"
    folder.mkdir()
    for name in ("Ada", "Grace"):
        (folder / f"{name}.hex").write_text(signing_key(None, name).public_hex)
    return folder


def test_signers_on_the_list_are_trusted(run: Path, trusted: Path) -> None:
    found = verify(run, trusted=trusted)
    assert found.ok
    details = {check.name: check.detail for check in found.checks}
    assert "trusted as Ada.hex" in details["signature 1"]
    assert "trusted as Grace.hex" in details["disposition 2"]
    assert "not in the list of trusted keys" in details["manifest seal"]
    details = {check.name: check.detail for check in verify(run).checks}
    assert "not checked against a list of trusted keys" in details["signature 1"]


def test_others_are_refused(run: Path, trusted: Path) -> None:
    (trusted / "Ada.hex").unlink()
    [check] = verify(run, trusted=trusted).failed
    assert check.name == "signature 1"
    assert "not in the list of trusted keys" in check.detail


def test_a_clock_that_went_backwards_is_told(run: Path) -> None:
    sign(run, "Mary", "QA", "approval", now=datetime(2026, 11, 3, 9, tzinfo=UTC))
    reseal(run)
    found = verify(run)
    assert found.ok
    assert "before the run ended" in next(check.detail for check in found.checks if check.name == "signature 3")


# Hostile and damaged folders


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "exhibits/../cases.csv", "./cases.csv", "exhibits", ""]
)
def test_a_path_that_leads_elsewhere_is_not_read(run: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.parent / "outside").write_text("outside")
    manifest = json.loads((run / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": sha256(b"outside"), "bytes": 7}
    (run / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    seal_manifest(run)
    opened: list[str] = []
    inner = Path.open

    def spy(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(os.path.realpath(self))
        return inner(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", spy)
    found = verify(run)
    assert [check.file for check in found.failed] == [name]
    assert not {str(run.parent / "outside"), "/etc/hostname"} & set(opened)


def test_a_link_out_of_the_folder_is_not_followed(run: Path) -> None:
    outside = run.parent / "outside.csv"
    outside.write_bytes((run / "cases.csv").read_bytes())
    (run / "cases.csv").unlink()
    (run / "cases.csv").symlink_to(outside)
    found = verify(run)
    assert any(check.file == "cases.csv" and "a link" in check.detail for check in found.failed)
    (run / "exhibits").rename(run.parent / "elsewhere")
    (run / "exhibits").symlink_to(run.parent / "elsewhere")
    assert any(check.file == "exhibits/PAT-001.csv" and "a link" in check.detail for check in verify(run).failed)


def test_a_pipe_in_the_place_of_a_file_does_not_hang(run: Path) -> None:
    for name in ("cases.csv", "record.json", "manifest.json", "report.pdf", "signatures/0001-review.dsse.json"):
        content = (run / name).read_bytes()
        (run / name).unlink()
        os.mkfifo(run / name)
        assert name in {check.file for check in verify(run).failed}
        (run / name).unlink()
        (run / name).write_bytes(content)


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"{}", b'{"files": []}', b'{"files": {"a": 1}}', b"[" * 9999, b"\xff", b"NaN"]
)
def test_any_content_ends_in_a_verdict(run: Path, content: bytes) -> None:
    for name in files_of(run):
        before = (run / name).read_bytes()
        (run / name).write_bytes(content)
        assert name in {check.file for check in verify(run).failed}, name
        (run / name).write_bytes(before)


def test_a_folder_in_the_place_of_a_file_ends_in_a_verdict(run: Path) -> None:
    for name in ("record.json", "manifest.json", "manifest.dsse.json", "report.pdf"):
        (run / name).rename(run.parent / "aside")
        (run / name).mkdir()
        assert not verify(run).ok
        (run / name).rmdir()
        (run.parent / "aside").rename(run / name)


def test_what_is_no_run_is_an_error_of_use(tmp_path: Path, run: Path, made: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    for place in (tmp_path / "missing", tmp_path, tmp_path / "text.txt", run / "record.json"):
        with pytest.raises(InputError, match="nothing to verify"):
            verify(place)
    for option in ("data", "ledger", "trusted"):
        with pytest.raises(InputError):
            verify(run, **{option: tmp_path / "missing"})
    with pytest.raises(ConfigurationError):
        verify(run, data="phantom:unicorn")
