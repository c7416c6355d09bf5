"""Where files of a run lie: noted once, for its owner alone, and no reason for a run to fail."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from medgan_qa.evidence.whereabouts import FOLDER, recall, remember

RUN = "20260131T101112Z-0123abcd"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys" / FOLDER


def test_what_is_noted_is_recalled(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert recall(RUN) == {}
    remember(RUN, {"data": "dataset.toml", "detector": None, "criteria": "phantom:brain"})
    remember(RUN, {"criteria": "phantom:other", "ledger": Path("book.jsonl")})
    noted = {"data": str(tmp_path / "dataset.toml"), "criteria": "phantom:other", "ledger": "book.jsonl"}
    assert recall(RUN) == noted
    assert stat.S_IMODE((folder / RUN / "data").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / RUN).stat().st_mode) == 0o700


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "", "a/b", ".hidden", "x" * 65])
def test_a_run_with_another_name_is_not_noted(folder: Path, run_id: str) -> None:
    remember(run_id, {"data": "x"})
    assert recall(run_id) == {}
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "file"))
    remember(RUN, {"data": "x"})
    assert recall(RUN) == {}
