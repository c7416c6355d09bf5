"""The translation suite as it is shipped, on files: all of its audits, from the command line to the report."""

from __future__ import annotations

import pytest

from medgan_qa.cli import _run
from medgan_qa.evidence.observations import read_observations
from medgan_qa.record import Record
from medgan_qa.suites import suite


@pytest.fixture(scope="module", autouse=True)
def quick_suites():
    """Nothing is left out here."""


@pytest.mark.parametrize(("model", "code"), [("faithful.pt", 0), ("eraser.pt", 1)])
def test_every_audit_runs_on_files_and_only_a_faithful_model_passes(workshop, tmp_path, model, code):
    out = tmp_path / "run"
    data = ["--data", str(workshop / "data.toml"), "--detector", str(workshop / "detector.pt")]

    assert (
        _run(["audit", str(workshop / model), "--suite", "translation", *data, "--out", str(out)], debug=False) == code
    )
    record = Record.from_json((out / "record.json").read_text())
    assert [result.code for result in record.audits] == [audit.code for audit in suite("translation").audits]
    assert {result.code for result in record.audits if result.verdict == "error"} == set()
    read_observations(out / "observations.csv")
    assert _run(["verify", str(out)], debug=False) == 0
