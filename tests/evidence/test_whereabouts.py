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


def test_what_is_noted_is_recalled_and_stays(folder: Path) -> None:
    assert recall(RUN) == {}
    assert remember(RUN, {"data": "/clinic/dataset.toml"})
    assert not remember(RUN, {"data": "/elsewhere"})
    assert recall(RUN) == {"data": "/clinic/dataset.toml"}
    assert stat.S_IMODE((folder / f"{RUN}.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "", "a/b" * 4, "x" * 65])
def test_a_run_with_another_name_is_not_noted(folder: Path, run_id: str) -> None:
    assert not remember(run_id, {"data": "x"})
    assert recall(run_id) == {}
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"data": 3}'])
def test_a_damaged_note_is_none(folder: Path, content: bytes) -> None:
    assert remember(RUN, {"data": "x"})
    (folder / f"{RUN}.json").write_bytes(content)
    assert recall(RUN) == {}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "file"))
    assert not remember(RUN, {"data": "x"})
    assert recall(RUN) == {}
