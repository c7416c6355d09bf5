"""list, explain, report, train, help."""

from __future__ import annotations

import hashlib
import json

import pytest

from medgan_qa.audits import AUDITS
from medgan_qa.cli import COMMANDS, _run
from medgan_qa.evidence.seal import unsealed_bytes


@pytest.mark.parametrize("what", ["audits", "suites", "models", "extractors", "hazards"])
def test_list_prints_something_of_each_kind(what, capsys):
    assert _run(["list", what], debug=False) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("code", AUDITS)
def test_explain_prints_the_whole_document(code, capsys):
    assert _run(["explain", code.lower()], debug=False) == 0
    text = capsys.readouterr().out
    for heading in ("Question.", "What it measures.", "Why it matters.", "Known limits.", "Method and source."):
        assert heading in text
    assert all(name in text for name in AUDITS[code].parameters)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert _run([name, "--help"], debug=False) == 0
    assert "--debug" in capsys.readouterr().out


def test_report_renders_again_and_keeps_the_manifest_true(workshop, tmp_path, capsys):
    out = tmp_path / "run"
    model, data = str(workshop / "faithful.pt"), str(workshop / "data.toml")
    _run(["audit", model, "--suite", "translation", "--data", data, "--out", str(out)], debug=False)
    before = (out / "report.pdf").read_bytes()
    (out / "report.pdf").unlink()

    assert _run(["report", str(out)], debug=False) == 0
    after = (out / "report.pdf").read_bytes()
    # The seal carries its time; what it covers is the same.
    assert unsealed_bytes(after) == unsealed_bytes(before)
    entries = json.loads((out / "manifest.json").read_text())["files"]
    assert entries["report.pdf"]["sha256"] == hashlib.sha256(after).hexdigest()


def test_report_of_a_folder_without_a_record_ends_with_2(tmp_path, capsys):
    assert _run(["report", str(tmp_path)], debug=False) == 2
    assert "record.json" in capsys.readouterr().err


def test_train_writes_a_model_that_audit_can_load(tmp_path, capsys, monkeypatch):
    from medgan_qa.subjects.load import load_subject
    from reference_models import recipes

    small = recipes.recipe("pix2pix-balanced")
    import dataclasses

    tiny = dataclasses.replace(small, data=dataclasses.replace(small.data, patients=4), batch=2)
    monkeypatch.setattr(recipes, "recipe", lambda name, size: tiny)

    assert (
        _run(["train", "pix2pix-balanced", "--steps", "2", "--out", str(tmp_path / "t"), "--device", "cpu"], False) == 0
    )
    path = capsys.readouterr().out.strip()
    assert load_subject(path).card.extra["training"]["steps"] == 2
