"""`medgan-qa cache`: what is kept, and emptying it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medgan_qa import cli
from medgan_qa.cli import _run
from medgan_qa.features.extractor import extractor
from medgan_qa.features.store import FOLDER_VARIABLE, LIMIT_VARIABLE, FeatureStore


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "cache", "Show or clear the feature store.")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def filled(folder):
    images = np.random.default_rng(0).random((3, 1, 16, 16), dtype=np.float32)
    FeatureStore().compute(extractor("pixels"), images)
    FeatureStore().compute(extractor("radiomic"), images[:2])
    return folder


def test_shows_folder_size_and_entries(filled, capsys):
    assert _run(["cache"], debug=False) == 0
    first, size, *entries = capsys.readouterr().out.splitlines()
    assert first == str(filled / "features-1.sqlite3")
    assert size.endswith("MB of at most 2000 MB")
    assert [(line.split()[0], line.rpartition(": ")[2]) for line in entries] == [
        ("pixels", "3 images"),
        ("radiomic", "2 images"),
    ]


def test_as_json(filled, capsys, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "5MB")
    assert _run(["cache", "--json"], debug=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(filled / "features-1.sqlite3")
    assert found["bytes"] == (filled / "features-1.sqlite3").stat().st_size
    assert found["max_bytes"] == 5_000_000
    assert [(entry["name"], entry["images"]) for entry in found["entries"]] == [("pixels", 3), ("radiomic", 2)]


def test_an_empty_store_is_shown_and_not_made(folder, capsys):
    assert _run(["cache"], debug=False) == 0
    assert "0.0 MB" in capsys.readouterr().out
    assert not folder.exists()
    assert _run(["cache", "clear"], debug=False) == 0
    assert "0 images" in capsys.readouterr().out
    assert not folder.exists()


def test_clears_all_or_one(filled, capsys):
    assert _run(["cache", "clear", "--extractor", "pixels"], debug=False) == 0
    assert "3 images" in capsys.readouterr().out
    assert [entry.name for entry in FeatureStore().contents().entries] == ["radiomic"]
    assert _run(["cache", "clear"], debug=False) == 0
    assert "2 images" in capsys.readouterr().out
    assert FeatureStore().contents().entries == []


def test_an_extractor_of_which_nothing_is_kept_ends_with_2(filled, capsys):
    assert _run(["cache", "clear", "--extractor", "pixel"], debug=False) == 2
    assert "pixels, radiomic" in capsys.readouterr().err
    assert len(FeatureStore().contents().entries) == 2


def test_a_damaged_store_is_said_and_cleared(filled, capsys):
    path = filled / "features-1.sqlite3"
    path.write_bytes(b"broken" * 1000)
    assert _run(["cache"], debug=False) == 0
    assert "is damaged" in capsys.readouterr().err
    assert sorted(entry.name for entry in filled.iterdir()) == ["features-1.damaged.sqlite3"]
    assert _run(["cache", "clear"], debug=False) == 0
    assert not (filled / "features-1.damaged.sqlite3").exists()


def test_a_store_that_cannot_be_used_ends_with_2(tmp_path, capsys, monkeypatch):
    (tmp_path / "features-1.sqlite3").mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert _run(["cache", "clear"], debug=False) == 2
    assert "could not be cleared" in capsys.readouterr().err


def test_a_bound_that_is_no_size_ends_with_2(capsys, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "a lot")
    assert _run(["cache"], debug=False) == 2
    assert LIMIT_VARIABLE in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["cache"], ["cache", "clear"]])
def test_help(arguments, capsys):
    assert _run([*arguments, "--help"], debug=False) == 0
    assert "--debug" in capsys.readouterr().out
