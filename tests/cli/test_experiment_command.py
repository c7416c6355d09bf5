"""experiment: the list, the options that reach an experiment, and its errors."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from medgan_qa.cli import _run, experiment_command
from medgan_qa.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent.parent


class Recorded:
    """An experiment that writes down what it was asked for."""

    title = "What was asked."
    options = {"shares": "Shares, separated by commas."}  # noqa: RUF012  # as an experiment declares them

    def __init__(self) -> None:
        self.calls: list[tuple[Path, dict[str, Any]]] = []

    def run(self, out: Path, **given: Any) -> Path:
        given.pop("report")("arm", 1, 2)
        self.calls.append((out, given))
        if given["shares"] == "wrong":
            raise ConfigurationError("No such share.", expected="0", found="wrong", where="--shares", todo="Use 0.")
        return out / "figure.svg"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    monkeypatch.setattr(experiment_command, "installed", lambda: {"asked": made})
    return made


def test_without_a_name_the_experiments_are_listed(recorded, capsys) -> None:
    assert _run(["experiment"], debug=False) == 0
    assert capsys.readouterr().out.split() == ["asked", "What", "was", "asked."]
    assert recorded.calls == []


def test_options_reach_the_experiment(recorded, tmp_path, capsys) -> None:
    arguments = ["--out", str(tmp_path), "--size", "gpu", "--device", "cpu", "--seed", "3", "--steps", "9"]
    assert _run(["experiment", "asked", *arguments, "--shares", "0,1"], debug=False) == 0
    expected = {"size": "gpu", "device": "cpu", "seed": 3, "steps": 9, "shares": "0,1"}
    assert recorded.calls == [(tmp_path, expected)]
    streams = capsys.readouterr()
    assert streams.out.strip() == str(tmp_path / "figure.svg")
    assert "arm" in streams.err


def test_what_is_not_given_is_left_to_the_experiment(recorded) -> None:
    assert _run(["experiment", "asked", "--device", "cpu"], debug=False) == 0
    [(out, given)] = recorded.calls
    assert out == Path("runs") / "asked"
    assert given == {"size": "cpu", "device": "cpu", "seed": None, "steps": None, "shares": None}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "nothing"),
        (["asked", "--shares", "wrong"], "No such share."),
        (["asked", "--steps", "0"], "--steps"),
        (["asked", "--device", "abacus"], "device"),
    ],
)
def test_a_wrong_choice_ends_with_2(recorded, capsys, arguments, said) -> None:
    assert _run(["experiment", *arguments], debug=False) == 2
    assert said in capsys.readouterr().err


def test_the_declared_entry_point_gives_the_experiments() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    [(name, value)] = declared["medgan_qa.experiments"].items()
    found = EntryPoint(name, value, "medgan_qa.experiments").load()()
    assert "dose-response" in found
    assert all(e.title and all(e.options.values()) and callable(e.run) for e in found.values())


def test_installed_experiments_are_found(capsys) -> None:
    assert "dose-response" in experiment_command.installed()
    assert _run(["experiment", "dose-response", "--help"], debug=False) == 0
    help_text = capsys.readouterr().out
    assert all(option in help_text for option in ("--out", "--shares", "--losses", "--steps", "--size", "--debug"))
