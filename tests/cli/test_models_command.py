"""How models are named and run from the command line: a team's own code, trust, and a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medgan_qa.cli import _run
from medgan_qa.record import Record

CODE = """
import os

def faithful(x):
    return x.clamp(min=0) ** 1.5

def crashing(x):
    os.abort()

def build():
    return faithful

def build_crashing():
    return crashing

build.card = build_crashing.card = '''
schema = "medgan-qa/card/1"
name = "our own"
version = "1"
task = "translation"
channels_in = 1
channels_out = 1
range_in = [0.0, 1.0]
range_out = [0.0, 1.0]
'''
"""


@pytest.fixture
def audit(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "our_models.py").write_text(CODE)
    monkeypatch.chdir(tmp_path / "team")

    def run(*arguments: str) -> tuple[int, Path]:
        out = tmp_path / "run"
        given = ["--suite", "translation", "--data", str(workshop / "data.toml"), "--device", "cpu", "--out", str(out)]
        return _run(["audit", *arguments, *given, "--detector", str(workshop / "detector.pt")], debug=False), out

    return run


def record_in(out: Path) -> Record:
    return Record.from_json((out / "record.json").read_text())


def test_a_teams_own_code_is_audited_in_a_process_of_its_own(audit: Any) -> None:
    code, out = audit("--model", "our_models:build")

    assert code == 0
    record = record_in(out)
    assert record.subject["format"] == "Python factory"
    assert record.subject["origin"]["factory"] == "our_models:build"
    assert record.subject["isolation"]["process"] == "a process of its own"
    assert record.subject["detector"]["isolation"]["process"] == "a process of its own"
    page = (out / "report.html").read_text()
    assert "a process of its own" in page
    assert "Trusted (--trust)" in page


def test_trust_is_recorded_and_printed(audit: Any) -> None:
    code, out = audit("our_models:build", "--trust")

    assert code == 0
    record = record_in(out)
    assert (record.subject["trusted"], record.subject["detector"]["trusted"]) == (True, True)
    assert sum("(--trust)" in text for text in record.deviations) == 2
    assert "without protection (--trust)" in (out / "report.html").read_text()


def test_a_model_that_crashes_ends_with_3_and_a_report(audit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = audit("our_models:build_crashing")

    assert code == 3
    assert record_in(out).verdict == "error"
    assert (out / "report.pdf").is_file()
    said = capsys.readouterr()
    assert "SIGABRT" in said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "No model is named"),
        (("a.pt", "--model", "b.pt"), "named twice"),
        (("control:faithful", "--weights", "w.pt"), "a planted control"),
    ],
)
def test_a_model_is_named_once_and_weights_belong_to_code(
    audit: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert audit(*arguments)[0] == 2
    assert says in capsys.readouterr().err


def test_weights_for_a_file_that_has_its_own(audit: Any, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = audit(str(workshop / "faithful.pt"), "--weights", str(workshop / "eraser.pt"))

    assert code == 2
    assert "Weights belong to a model that is made by code" in capsys.readouterr().err
