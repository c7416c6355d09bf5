"""From the lock to the gate, as a user types it: what a run leaves behind, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgan_qa.cli import _run
from medgan_qa.evidence.folder import RUN_FILES
from medgan_qa.evidence.ledger import Ledger
from medgan_qa.record import Record

CRITERIA = """
schema = "medgan-qa/criteria/1"
protocol = {id = "VP-012", revision = "B", title = "T2 to FLAIR"}

[context]
suite = "translation"
intended_use = "second reading"

[data]
min = {patients = 20, lesions = 20}

[[criterion]]
id = "AC-01"
measurement = "PAT-001.removal_rate"
limit = {max = 0.3}
judged_on = "upper"
rationale = "set for this test"
hazard = "HZ-03"
requirement = "SRS-041"
margin = 0.2

[[sentinel]]
case = "p00-0"
audit = "PAT-001"
rationale = "must never be lost"
"""


def run(*arguments: str | Path) -> int:
    return _run([str(a) for a in arguments], debug=False)


def record(folder: Path) -> Record:
    return Record.from_json((folder / "record.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bench(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workshop with locked criteria, and three runs: a faithful model, an eraser, the first again."""
    folder = tmp_path_factory.mktemp("bench") / "Prüfstand"
    shutil.copytree(workshop, folder)
    (folder / "criteria.toml").write_text(CRITERIA, encoding="utf-8")
    assert run("lock", folder / "criteria.toml", "--data", folder / "data.toml", "--by", "Q. Assurance") == 0
    assert audit(folder, "faithful", "run") == 0
    assert audit(folder, "eraser", "second") == 1
    assert audit(folder, "faithful", "third") == 0
    return folder


def audit(folder: Path, model: str, out: str, *more: str | Path) -> int:
    given = ["--lock", folder / "criteria.lock.json", "--detector", folder / "detector.pt"]
    return run("audit", folder / f"{model}.pt", *given, "--out", folder / out, *more)


@pytest.fixture
def copy(bench: Path, tmp_path: Path) -> Path:
    """The bench, to do harm to."""
    return Path(shutil.copytree(bench, tmp_path / "copy"))


def flip(path: Path, place: int = -2) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_a_locked_run_says_so_and_holds_everything(bench: Path) -> None:
    found = record(bench / "run")
    names = {p.name for p in (bench / "run").iterdir()}

    assert found.verdict == "pass"
    assert found.criteria_lock["locked"] is True
    assert found.criteria_lock["locked_by"] == "Q. Assurance"
    assert not any("not locked" in d for d in found.deviations)
    assert found.attempts is not None
    assert found.attempts.number == 1
    assert [s.verdict for s in found.sentinels] == ["pass"]
    assert names == RUN_FILES - {"signatures", "candidate-record.json"}
    assert set(found.files) >= {"cases.csv", "observations.csv", "criteria.json", "criteria.toml", "criteria.lock.json"}


def test_nothing_changed_after_the_run_is_found_by_verify(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", bench / "run", "--data", bench / "data.toml") == 0
    assert run("verify", bench / "run" / "report.pdf") == 0
    assert "failed" not in capsys.readouterr().out.lower().replace("0 failed", "")


@pytest.mark.parametrize(
    "name", ["record.json", "report.pdf", "cases.csv", "criteria.toml", "manifest.json", "sbom.cdx.json", "summary.md"]
)
def test_one_changed_bit_is_found_and_the_file_is_named(
    copy: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(copy / "run" / name)
    assert run("verify", copy / "run") == 4
    assert name in capsys.readouterr().out


def test_criteria_edited_after_the_lock_are_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "criteria.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("max = 0.3", "max = 0.9"), encoding="utf-8")

    assert audit(copy, "eraser", "again") == 4
    told = capsys.readouterr().err
    assert "limit" in told
    assert "0.9" in told
    assert not (copy / "again").exists()


def test_a_data_file_changed_after_the_lock_is_refused_by_name(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = np.load(copy / "p00-0.npy")
    image[3, 3] += 1
    np.save(copy / "p00-0.npy", image)

    assert audit(copy, "faithful", "again") == 4
    assert "p00-0.npy" in capsys.readouterr().err


def test_every_run_on_the_test_set_is_an_attempt(bench: Path) -> None:
    second, third = record(bench / "second"), record(bench / "third")

    assert second.attempts is not None
    assert third.attempts is not None
    assert (second.attempts.number, third.attempts.number) == (2, 3)
    assert [a.verdict for a in third.attempts.earlier] == ["pass", "fail"]
    # The first model under the same criteria is no further chance.
    assert third.attempts.chances == 2
    assert len(Ledger(bench / "medgan-qa-ledger.jsonl").check()) == 3
    assert second.sentinels[0].verdict == "fail"


def test_a_cut_ledger_is_refused_before_anything_is_measured(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "medgan-qa-ledger.jsonl").write_text("", encoding="utf-8")
    assert audit(copy, "faithful", "again") == 4
    assert "ledger" in capsys.readouterr().err
    assert run("verify", copy / "run", "--ledger", copy / "medgan-qa-ledger.jsonl") == 4


def test_a_protocol_may_bound_attempts_and_withhold_numbers(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "own.toml"
    path.write_text(CRITERIA + '\n[attempts]\nmax = 1\nfeedback = "pass_fail"\n', encoding="utf-8")
    given = ("--criteria", path, "--data", copy / "data.toml", "--detector", copy / "detector.pt")
    ledger = ("--ledger", copy / "own.jsonl")
    assert run("audit", copy / "eraser.pt", *given, "--out", copy / "one", *ledger) == 1

    found = record(copy / "one")
    assert found.deviations[0] == "The criteria were not locked before the run."
    assert found.audits[0].measurements[0].value == 1.0
    shown = [capsys.readouterr().out, *((copy / "one" / n).read_text("utf-8") for n in ("junit.xml", "summary.md"))]
    assert "FAIL" in shown[0]
    # Times, digests and the version of XML are no results.
    shown = [
        re.sub(r'(?:time|timestamp|version)="[^"]*"|[0-9a-f]{64}|\d{8}T\d{6}Z-[0-9a-f]+', "", text) for text in shown
    ]
    assert not any("100 %" in text or "1.0" in text for text in shown)

    assert run("audit", copy / "faithful.pt", *given, "--out", copy / "two", *ledger) == 4
    assert not (copy / "two").exists()


def test_signatures_and_dispositions_stand_beside_the_verdict(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy / "second"
    before = (folder / "record.json").read_bytes()
    who = ("--name", "Zoë Ångström", "--role", "Approver")
    dispose = ("--as", "accepted-failure", "--reason", "kept for training only")

    assert run("sign", folder, "--name", "A. Author", "--role", "Engineer", "--meaning", "author") == 0
    assert run("dispose", folder, "AC-01", *dispose, *who) == 0
    assert run("sign", folder, *who, "--meaning", "approval") == 0
    assert run("verify", folder) == 0
    assert run("verify", folder / "report.pdf") == 0
    assert (folder / "record.json").read_bytes() == before
    assert record(folder).verdict == "fail"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Zoë Ångström" in page
    assert "kept for training only" in page

    flip(next((folder / "signatures").iterdir()), 40)
    capsys.readouterr()
    assert run("verify", folder) == 4
    assert "signatures/" in capsys.readouterr().out


def test_rendering_again_leaves_a_folder_that_verifies(copy: Path) -> None:
    assert run("report", copy / "run") == 0
    assert run("verify", copy / "run") == 0


def test_a_retrained_model_is_held_against_the_accepted_one(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = ("--registry", copy / "baselines")
    assert run("accept", copy / "run", "--name", "production", "--reason", "release 1", *registry) == 0

    assert run("gate", copy / "second", "--baseline", "production", *registry, "--out", copy / "worse") == 1
    told = capsys.readouterr().out
    worse = record(copy / "worse").comparison
    assert "p00-0" in told
    assert worse is not None
    assert (worse.verdict, worse.sentinels[0].verdict) == ("fail", "fail")
    assert [change.criterion for change in worse.changes] == ["AC-01"]
    assert worse.changes[0].worsened == worse.changes[0].n == 32

    given = ("--baseline", "production", *registry, "--detector", copy / "detector.pt", "--data", copy / "data.toml")
    assert run("gate", copy / "faithful.pt", *given, "--out", copy / "same") == 0
    same = record(copy / "same").comparison
    assert same is not None
    assert same.identical
    assert "no change" in same.reason.lower()
    for folder in (copy / "worse", copy / "same"):
        assert run("verify", folder) == 0


def test_a_gate_on_other_criteria_is_refused_unless_it_is_allowed_and_recorded(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "own.toml"
    path.write_text(CRITERIA.replace("max = 0.3", "max = 0.4"), encoding="utf-8")
    given = ("--criteria", path, "--data", copy / "data.toml", "--detector", copy / "detector.pt")
    assert run("audit", copy / "faithful.pt", *given, "--out", copy / "other") == 0

    assert run("gate", copy / "other", "--baseline", copy / "run", "--out", copy / "g") == 4
    assert "criteria" in capsys.readouterr().err
    allow = ("--allow", "criteria=the limit was moved by change request 7")
    assert run("gate", copy / "other", "--baseline", copy / "run", "--out", copy / "g", *allow) == 0
    comparison = record(copy / "g").comparison
    assert comparison is not None
    assert "change request 7" in " ".join(comparison.allowed)


def test_hostile_names_come_out_as_text(
    changed: Callable[..., Path], workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "=HYPERLINK('x')<script>{{7*7}}"
    data = changed("hostile", lambda text: text.replace("p00-0,", f"{evil},"))
    out = tmp_path / "run"
    given: tuple[Any, ...] = ("--suite", "translation", "--data", data, "--detector", workshop / "detector.pt")
    assert run("audit", workshop / "eraser.pt", *given, "--out", out) == 1
    assert run("verify", out) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "{{7*7}}" in page
    assert "\n=HYPERLINK" not in (out / "cases.csv").read_text(encoding="utf-8").replace(",=", ",\n=")
    capsys.readouterr()
