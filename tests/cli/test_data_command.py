"""`medgan-qa data`: from a folder to a proposal, from a proposal to a check, and back from a pseudonym."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgan_qa import cli
from medgan_qa.cohorts.pseudonyms import Pseudonyms


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "data", "Propose and check datasets.")


def data(*arguments: object) -> int:
    return cli._run(["data", *map(str, arguments)], debug=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images and masks of four patients in train and test."""
    g = np.random.default_rng(0)
    for part in ("train", "test"):
        for number in range(2):
            for kind in ("images", "masks"):
                path = tmp_path / "set" / part / kind / f"patient{number + 2 * (part == 'test')}_1.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                array = g.integers(0, 200, (40, 40)) if kind == "images" else np.eye(40) * 255
                Image.fromarray(array.astype(np.uint8)).save(path)
    return tmp_path / "set"


def test_what_is_proposed_passes_its_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("init", folder) == 0
    said = capsys.readouterr().out
    headings = [line for line in said.splitlines() if not line.startswith("  ")]
    assert headings[0] == "Written: dataset.toml and cases.csv"
    assert headings[1:4] == ["Understood:", "Guessed, to be checked:", "To be filled in:"]
    assert data("check", folder, "--html", folder / "check.html") == 0
    shown = capsys.readouterr()
    assert "usable" in shown.out
    assert "Reading the cases" in shown.err
    assert (folder / "dataset-check.png").read_bytes().startswith(b"\x89PNG")
    assert "<table>" in (folder / "check.html").read_text()
    # What the check wrote is no image of the set.
    assert data("check", folder, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [facts["cases"] for facts in found["partitions"]] == [2, 2]
    assert "unlisted-file" not in {one["kind"] for one in found["findings"]}


def test_files_that_are_there_are_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cases.csv").write_text("mine")
    assert data("init", folder) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "cases.csv").read_text() == "mine"
    assert not (folder / "dataset.toml").exists()
    assert data("init", folder, "--force") == 0
    assert (folder / "cases.csv").read_text() != "mine"


def test_a_dataset_file_above_the_images_names_them_from_there(folder: Path) -> None:
    place = folder.parent / "mine.toml"
    assert data("init", folder, "--out", place, "--name", 'a "b" \\', "--value-range", 0, 300) == 0
    content = tomllib.loads(place.read_text())
    assert (content["name"], content["cases"], content["value_range"]) == ('a "b" \\', "mine.csv", [0.0, 300.0])
    rows = list(csv.DictReader((folder.parent / "mine.csv").read_text().splitlines()))
    assert rows[0]["image"].startswith("set/")
    assert data("check", place) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--value-range", 1, 1], "LOW below HIGH"),
        (["--value-range", 0, 1, "--window", 0, 1], "both"),
        (["--out", "elsewhere/dataset.toml"], "--out"),
        (["--source", "T9"], "--source"),
    ],
)
def test_what_cannot_be_is_refused(
    folder: Path, arguments: list[object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data("init", folder, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "dataset.toml").exists()


def test_an_unusable_dataset_ends_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("init", folder) == 0
    next((folder / "test" / "images").iterdir()).write_bytes(b"no picture")
    capsys.readouterr()
    assert data("check", folder, "--partition", "train") == 0
    capsys.readouterr()
    assert data("check", folder) == 2
    assert "not usable: 1 error" in capsys.readouterr().out
    assert data("check", folder / "nowhere.toml") == 2


def test_a_pseudonym_is_told_to_who_has_the_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDGAN_QA_KEYS", str(tmp_path / "keys"))
    assert data("init", folder) == 0
    with (folder / "dataset.toml").open("a") as file:
        file.write('identifiers = "direct"\n')
    capsys.readouterr()
    patient = Pseudonyms().of("patient", "patient0")
    assert data("names", folder, patient) == 0
    assert "patient patient0" in capsys.readouterr().out
    assert data("names", folder, "P-00000000") == 2
    assert "not of this dataset" in capsys.readouterr().out


def test_the_group_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert data("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("init", "check", "names"))
