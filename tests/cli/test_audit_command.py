"""`medgan-qa audit` from its arguments to its exit code and files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from medgan_qa.cli import _run
from medgan_qa.evidence.folder import RUN_FILES
from medgan_qa.record import Record


def audit(workshop, model, *more, data="data.toml", detector="detector.pt", out):
    arguments = ["audit", str(workshop / model), "--suite", "translation", "--data", str(workshop / data)]
    arguments += ["--detector", str(workshop / detector)] if detector else []
    return _run([*arguments, "--out", str(out), "--device", "cpu", *more], debug=False)


def test_a_faithful_model_on_files_ends_with_0_and_leaves_every_file(workshop, tmp_path, capsys):
    out = tmp_path / "run"

    assert audit(workshop, "faithful.pt", out=out) == 0
    names = {p.name for p in out.iterdir()}
    assert names == RUN_FILES - {"signatures", "criteria.toml", "criteria.lock.json", "candidate-record.json"}
    record = Record.from_json((out / "record.json").read_text())
    assert record.verdict == "pass"
    assert record.data["phantom"] is False
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "PASS" in capsys.readouterr().out


def test_an_eraser_ends_with_1_and_json_is_the_record(workshop, tmp_path, capsys):
    out = tmp_path / "run"

    assert audit(workshop, "eraser.pt", "--json", out=out) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "record.json").read_text())
    assert printed["verdict"] == "fail"


def test_nan_ends_with_3(workshop, tmp_path, capsys):
    assert audit(workshop, "nan.pt", out=tmp_path / "run") == 3
    assert "NaN or infinity in 64 of 64 images" in capsys.readouterr().out


def drop_column(name):
    def edit(text):
        rows = [line.split(",") for line in text.splitlines()]
        k = rows[0].index(name)
        return "\n".join(",".join(row[:k] + row[k + 1 :]) for row in rows) + "\n"

    return edit


def write_other_mask(workshop):
    np.save(workshop / "other-mask.npy", np.ones((5, 5), np.uint8))
    return lambda text: text.replace("p00-0-mask.png", "other-mask.npy")


def write_nan_image(workshop):
    np.save(workshop / "nan-image.npy", np.full((32, 32), np.nan, np.float32))
    return lambda text: text.replace("p01-0.npy", "nan-image.npy")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda w: lambda t: t.replace("p03-0.png", "gone.png"), "gone.png"),
        (lambda w: drop_column("patient_id"), "'patient_id' is missing"),
        (lambda w: lambda t: t + t.splitlines()[1] + "\n", "stands already in row 2"),
        (lambda w: lambda t: t.replace(",test,", ",train,"), "no test partition"),
        (write_other_mask, "other-mask.npy"),
        (write_nan_image, "nan-image.npy"),
        (lambda w: lambda t: t.splitlines()[0] + "\n", "case"),
    ],
    ids=["missing file", "missing column", "duplicate case", "no test partition", "mask shape", "NaN image", "no rows"],
)
def test_a_broken_dataset_ends_with_2_one_message_and_no_folder(workshop, changed, tmp_path, capsys, edit, said):
    data = changed("broken", edit(workshop))

    assert audit(workshop, "faithful.pt", data=data.name, out=tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert said in message
    assert "what to do" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nowhere.pt", "does not exist"),
        ("half.pt", "(1, 1, 16, 16)"),
        ("threechannel.pt", "number of channels"),
        ("detector.pt", "another task"),
    ],
)
def test_a_model_that_cannot_be_audited_ends_with_2(workshop, tmp_path, capsys, model, said):
    assert audit(workshop, model, out=tmp_path / "run") == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_patient_is_inconclusive(workshop, changed, tmp_path, capsys):
    head_and_four = lambda text: "\n".join(text.splitlines()[:9]).replace(",000,", ",000,")  # noqa: E731
    one = changed("one", lambda text: _one_patient(head_and_four(text)))

    assert audit(workshop, "faithful.pt", data=one.name, out=tmp_path / "run") == 3
    assert "INCONCLUSIVE" in capsys.readouterr().out


def _one_patient(text):
    rows = [line.split(",") for line in text.splitlines()]
    return "\n".join(",".join([r[0], "patient_id" if k == 0 else "only", *r[2:]]) for k, r in enumerate(rows)) + "\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "x.pt"], "--suite"),
        (["audit", "x.pt", "--suite", "nonsense"], "no such suite"),
        (["audit", "reference:nonsense", "--suite", "translation"], "No shipped model"),
        (["audit", "x.pt", "--suite", "translation", "--wrong"], "No such option"),
        (["nonsense"], "No such command"),
        (["explain", "XXX-001"], "no audit of that code"),
        (["train", "nonsense"], "can be trained"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert _run(arguments, debug=False) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_output_place_that_cannot_be_written_is_refused_before_anything_is_computed(workshop, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")

    assert audit(workshop, "faithful.pt", out=tmp_path / "file") == 2
    assert audit(workshop, "faithful.pt", out=tmp_path / "file" / "run") == 2
    assert (tmp_path / "file").read_text() == "mine"
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_nothing(workshop, tmp_path, number):
    arguments = [
        "audit",
        str(workshop / "faithful.pt"),
        "--suite",
        "translation",
        "--data",
        str(workshop / "data.toml"),
    ]
    command = [sys.executable, "-m", "medgan_qa.cli", *arguments, "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "env": environment}
    with subprocess.Popen(command, **pipes, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as process:
        assert process.stderr is not None
        for line in process.stderr:  # the run has begun
            if b"Translating" in line:
                break
        process.send_signal(number)
        process.stderr.read()

    assert process.returncode not in (None, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_internal_error_ends_with_5_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr("medgan_qa.suites.names", lambda: 1 / 0)

    assert _run(["list", "suites"], debug=False) == 5
    message = capsys.readouterr().err
    assert "internal error: ZeroDivisionError" in message
    assert "Traceback" not in message
    with pytest.raises(ZeroDivisionError):
        _run(["list", "suites"], debug=True)
