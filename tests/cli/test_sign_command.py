"""sign, dispose, verify: exit codes, what is printed, and that nothing is signed that does not verify."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from weasyprint import HTML, Attachment

import medgan_qa.report.publish as publish_module
from medgan_qa.cli import _run, dispose_command, sign_command, verify_command
from medgan_qa.digests import sha256
from medgan_qa.errors import IntegrityError, OutputError
from medgan_qa.evidence.folder import staged, write_manifest
from medgan_qa.evidence.keys import signing_key
from medgan_qa.evidence.seal import seal_identity, seal_manifest, seal_pdf
from medgan_qa.evidence.signing import dispositions, sign, signatures
from medgan_qa.evidence.verify import verify
from medgan_qa.record import AuditResult, Criterion, Record, Verdict

ADA = ("--name", "Ada", "--role", "QA")


def a_record(files: dict[str, str]) -> Record:
    judged = [
        Criterion(
            id=name,
            measurement="PAT-001.removal_rate",
            limit={"max": 0.1},
            judged_on="upper",
            value=0.05,
            verdict=verdict,
            reason="",
            rationale="",
            hazard="",
            requirement="",
        )
        for name, verdict in (("AC-01", Verdict.PASS), ("AC-02", Verdict.FAIL))
    ]
    audit = AuditResult(
        code="PAT-001",
        title="Removed pathology",
        question="",
        verdict=Verdict.FAIL,
        reason="",
        parameters={},
        seconds=1.0,
        measurements=[],
        criteria=judged,
        exhibits=[],
        notes=[],
    )
    parts: dict[str, Any] = {key: {} for key in ("tool", "subject", "data", "criteria_lock", "environment")}
    return Record(
        verdict=Verdict.FAIL,
        suite="translation",
        run={"id": "r1", "finished_utc": "2026-01-03T10:00:00Z"},
        deviations=[],
        limitations=[],
        audits=[audit],
        files=files,
        **parts,
    )


def finish(folder: Path, templates: Path | None = None) -> list[Path]:
    """What publishing leaves behind, without the typesetting of a whole report."""
    record = (folder / "record.json").read_bytes()
    signed = len([*folder.glob("signatures/*.json")])
    pdf = HTML(string=f"<p>{signed} signatures").write_pdf(attachments=[Attachment(string=record, name="record.json")])
    (folder / "report.pdf").write_bytes(pdf)
    seal_pdf(folder / "report.pdf", identity=seal_identity())
    (folder / "manifest.dsse.json").unlink(missing_ok=True)
    write_manifest(folder)
    seal_manifest(folder)
    return [folder / "report.pdf"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "run"
    folder.mkdir()
    (folder / "cases.csv").write_bytes(b"audit,case_id\n")
    record = a_record({"cases.csv": sha256(b"audit,case_id\n")})
    (folder / "record.json").write_text(record.to_json() + "\n", encoding="utf-8")
    finish(folder)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a small run; publishing it again takes no report."""
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.setattr(publish_module, "publish", finish)
    return tmp_path / "run"


@pytest.fixture
def command() -> Callable[..., Result]:
    """Call `sign`, `dispose` or `verify` as the command line would; errors are raised."""
    modules = {"sign": sign_command, "dispose": dispose_command, "verify": verify_command}

    def call(name: str, *arguments: Any) -> Result:
        return CliRunner().invoke(
            modules[name].command, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=False
        )

    return call


def test_signing_writes_a_signature_and_brings_the_folder_up_to_date(run: Path, command: Any) -> None:
    before = (run / "report.pdf").read_bytes()
    result = command("sign", run, *ADA, "--meaning", "review", "--comment", "read it all")
    assert result.return_value == 0
    path = run / "signatures" / "0001-review.dsse.json"
    assert result.stdout.strip() == str(path)
    [row] = signatures(run)
    assert (row.valid, row.name, row.comment) == (True, "Ada", "read it all")
    assert (run / "report.pdf").read_bytes() != before
    assert verify(run).ok


def test_a_key_that_is_made_is_told_once_and_on_stderr(
    run: Path, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "keys"))
    first = command("sign", run, *ADA, "--meaning", "author")
    second = command("sign", run, *ADA, "--meaning", "approval")
    assert "A new key was made" in first.stderr
    assert str(tmp_path / "keys") in first.stderr
    assert "A new key" not in first.stdout
    assert second.stderr == ""


def test_a_key_of_ones_own_is_used(run: Path, command: Any) -> None:
    own = signing_key(None, "own key")
    command("sign", run, *ADA, "--meaning", "author", "--key", own.path)
    assert signatures(run)[0].public_key == own.public_hex


def test_a_folder_that_does_not_verify_is_not_signed(run: Path, command: Any) -> None:
    (run / "report.html").write_text("put in by hand")
    for arguments in (("sign", run, *ADA, "--meaning", "author"), ("dispose", run, "AC-02", *ADA)):
        more = () if arguments[0] == "sign" else ("--as", "accepted-failure", "--reason", "known")
        with pytest.raises(IntegrityError, match="does not verify") as error:
            command(*arguments, *more)
        assert error.value.exit_code == 4
        assert "report.html" in str(error.value.found)
    assert not (run / "signatures").exists()


def test_a_disposition_stands_beside_the_verdict(run: Path, command: Any) -> None:
    record = (run / "record.json").read_bytes()
    result = command("dispose", run, "AC-02", "--as", "accepted-failure", "--reason", "not in scope", *ADA)
    assert result.return_value == 0
    assert result.stdout.strip().endswith("0001-disposition.dsse.json")
    [row] = dispositions(run)
    assert (row.criterion, row.disposition, row.reason) == ("AC-02", "accepted-failure", "not in scope")
    assert (run / "record.json").read_bytes() == record
    assert verify(run).ok


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sign", "RUN", *ADA, "--meaning", "author"), 0),
        (("sign", "RUN", "--name", "", "--role", "QA", "--meaning", "author"), 2),
        (("sign", "RUN", *ADA, "--meaning", "approved"), 2),
        (("sign", "RUN", *ADA), 2),
        (("sign", "RUN/record.json", *ADA, "--meaning", "author"), 2),
        (("sign", "RUN/missing", *ADA, "--meaning", "author"), 2),
        (("sign", "RUN", *ADA, "--meaning", "author", "--key", "RUN/cases.csv"), 2),
        (("dispose", "RUN", "AC-09", "--as", "accepted-failure", "--reason", "x", *ADA), 2),
        (("dispose", "RUN", "AC-01", "--as", "accepted-failure", "--reason", "x", *ADA), 2),
        (("dispose", "RUN", "AC-01", "--as", "pass-with-exception", "--reason", "x", *ADA), 0),
        (("verify", "RUN"), 0),
        (("verify", "RUN/report.pdf"), 0),
        (("verify", "RUN/missing"), 2),
        (("verify", "RUN", "--trusted", "RUN/missing"), 2),
    ],
)
def test_exit_codes(run: Path, arguments: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([a.replace("RUN", str(run)) for a in arguments], debug=False) == code
    printed = capsys.readouterr()
    assert bool(printed.out) == (code == 0)
    assert "Traceback" not in printed.err


def test_a_signature_stays_when_the_report_cannot_be_made(
    run: Path, command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OutputError("no room")

    monkeypatch.setattr(publish_module, "publish", full)
    assert _run(["sign", str(run), *ADA, "--meaning", "author"], debug=False) == 2
    assert "medgan-qa report" in capsys.readouterr().err
    assert signatures(run)[0].valid


def test_verify_names_what_differs_first(run: Path, command: Any) -> None:
    fine = command("verify", run)
    assert fine.return_value == 0
    assert "FAILED" not in fine.stdout
    assert fine.stdout.splitlines()[-1].startswith("Nothing changed: 0 failed")
    (run / "cases.csv").write_bytes(b"audit,case_id\nPAT-001,c1\n")
    result = command("verify", run)
    assert result.return_value == 4
    lines = result.stdout.splitlines()
    assert lines[0].startswith("FAILED")
    assert "cases.csv" in lines[0]
    words = [line[:12].rstrip() for line in lines[:-1]]
    assert words == sorted(words, key=["FAILED", "not checked", "ok"].index)
    assert lines[-1].startswith("NOT AS IT WAS: ")


def test_verify_for_machines(run: Path, command: Any) -> None:
    (run / "cases.csv").unlink()
    result = command("verify", run, "--json")
    assert result.return_value == 4
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert found["path"] == str(run)
    assert {"name": "file", "state": "failed", "detail": "missing", "file": "cases.csv"} in found["checks"]


def test_names_in_a_folder_do_not_steer_the_terminal(run: Path, command: Any) -> None:
    (run / "\x1b[2Jevil\nok").write_text("")
    text = command("verify", run).stdout
    assert "\x1b[2J" not in text
    assert "evil" in text
    assert not any(line.startswith("ok          ") and "evil" in line for line in text.splitlines())


def test_trusted_keys_and_data_are_checked(run: Path, command: Any, tmp_path: Path) -> None:
    command("sign", run, *ADA, "--meaning", "author")
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "grace.hex").write_text(signing_key(None, "Grace").public_hex)
    assert command("verify", run, "--trusted", trusted).return_value == 4
    (trusted / "ada.hex").write_text(signing_key(None, "Ada").public_hex)
    assert command("verify", run, "--trusted", trusted).return_value == 0
    assert command("verify", run, "--data", "phantom:brain").return_value == 4


def test_two_who_sign_at_once_lose_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing puts another folder in the place of the run's; a signature must not go down with the old one."""

    def publish(folder: Path, templates: Path | None = None) -> None:
        with staged(folder) as stage:
            shutil.copytree(folder, stage, dirs_exist_ok=True)
            time.sleep(0.1)
            write_manifest(stage)
            seal_manifest(stage)

    monkeypatch.setattr(publish_module, "publish", publish)
    start, codes = threading.Barrier(3), []

    def one(name: str) -> None:
        start.wait()
        codes.append(sign_command.add(run, name, None, lambda: sign(run, name, "QA", "review"), None))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("Ada", "Grace", "Mary")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    rows = signatures(run)
    assert {row.name for row in rows} == {"Ada", "Grace", "Mary"}
    assert all(row.valid for row in rows)
    assert verify(run).ok
