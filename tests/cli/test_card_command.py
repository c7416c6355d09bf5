"""`medgan-qa card`: a card from what a model tells, from options, and from answers on a terminal."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from medgan_qa.cli import card_command
from medgan_qa.errors import ConfigurationError, MedganQAError, ModelError, OutputError
from medgan_qa.subjects.card import parse_card
from medgan_qa.subjects.load import load_subject


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 1, 1, bias=False)
        nn.init.constant_(self.mix.weight[:, 0], 2.0)
        nn.init.constant_(self.mix.weight[:, 1], -4.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.mix(x))


class Upscaler(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(4 * torch.repeat_interleave(x, 3, 2))


class Sampler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 64)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.first(z).view(-1, 1, 8, 8))


class Writer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "code-ran")
        return x


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(Translator(), tmp_path / "t2-flair.pt")


def saved(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def card(*arguments: Any, answers: str | None = None, ends: type[MedganQAError] | None = None) -> Result:
    result = CliRunner().invoke(card_command.command, [*map(str, arguments)], input=answers, standalone_mode=False)
    if ends is None:
        assert result.exception is None, result.exception
    else:
        assert isinstance(result.exception, ends), result.output
    return result


GIVEN = ("--name", "T2 to FLAIR", "--version", "2.1")


def written(model: Path) -> dict[str, Any]:
    text = model.with_suffix("").with_suffix(".card.toml").read_text(encoding="utf-8")
    parse_card(text, "card")
    return tomllib.loads(text)


def test_writes_a_card_that_an_audit_reads(model: Path) -> None:
    result = card("init", model, *GIVEN, "--yes", "--output-role", "viewed", "--training-data", "train")
    assert written(model) == {
        "schema": "medgan-qa/card/1",
        "name": "T2 to FLAIR",
        "version": "2.1",
        "task": "translation",
        "channels_in": 2,
        "channels_out": 1,
        "range_in": [-1.0, 1.0],
        "range_out": [-1.0, 1.0],
        "output_role": "viewed",
        "training_data": "train",
    }
    assert 'task = "translation"' in result.stdout
    assert "Dry run: (4, 2, 64, 64) gave (4, 1, 64, 64), values between" in result.stdout
    assert str(model.with_suffix(".card.toml")) in result.stderr
    assert load_subject(str(model)).card.version == "2.1"


def test_without_anybody_to_ask_everything_missing_is_listed_at_once(model: Path) -> None:
    error = card("init", model, ends=ConfigurationError).exception
    assert isinstance(error, ConfigurationError)
    assert error.exit_code == 2
    assert error.expected == "--name, --version, --task, --range-in, --range-out"
    assert 'task: perhaps "translation"' in str(error.found)
    assert "range_out: perhaps [-1.0, 1.0]" in str(error.found)
    assert "--yes" in str(error.todo)
    assert list(model.parent.iterdir()) == [model]


def test_guesses_do_not_make_a_version(model: Path) -> None:
    error = card("init", model, "--yes", ends=ConfigurationError).exception
    assert isinstance(error, ConfigurationError)
    assert error.expected == "--version"


def test_options_answer_everything(model: Path) -> None:
    given = (
        "--task",
        "translation",
        "--channels-in",
        2,
        "--channels-out",
        1,
        "--range-in",
        -1,
        1,
        "--range-out",
        -2,
        2,
    )
    card("init", model, *GIVEN, *given, "--size", 32)
    assert written(model)["range_out"] == [-2.0, 2.0]


@pytest.mark.parametrize(
    ("module", "keys"),
    [
        (Upscaler(), {"task": "super-resolution", "scale": [3, 1], "channels_in": 1, "range_out": [0.0, 1.0]}),
        (Sampler(), {"task": "synthesis", "latent_dim": 12, "channels_out": 1, "range_out": [-1.0, 1.0]}),
    ],
)
def test_other_tasks(tmp_path: Path, module: nn.Module, keys: dict[str, Any]) -> None:
    path = saved(module, tmp_path / "model.pt")
    card("init", path, *GIVEN, "--yes")
    assert written(path).items() >= keys.items()


def test_asks_on_a_terminal(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_command, "_is_terminal", lambda: True)
    # Name, version, task and the two ranges; then role and training data.
    result = card("init", model, answers="FLAIR maker\n3.0\n\n0, 1\n\nviewed\n\n")
    assert written(model) == {
        "schema": "medgan-qa/card/1",
        "name": "FLAIR maker",
        "version": "3.0",
        "task": "translation",
        "channels_in": 2,
        "channels_out": 1,
        "range_in": [0.0, 1.0],
        "range_out": [-1.0, 1.0],
        "output_role": "viewed",
    }
    assert "images of the same size" in result.stderr
    assert "channels_in" not in result.stderr


def test_an_answer_that_is_none(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_command, "_is_terminal", lambda: True)
    error = card("init", model, answers="n\n1\n\nwide\n", ends=ConfigurationError).exception
    assert "range_in cannot be read" in str(error)


def test_a_card_is_never_replaced_unasked(model: Path) -> None:
    beside = model.with_suffix(".card.toml")
    beside.write_text("kept")
    error = card("init", model, *GIVEN, "--yes", ends=OutputError).exception
    assert "--force" in str(error)
    assert beside.read_text() == "kept"
    card("init", model, *GIVEN, "--yes", "--force")
    assert written(model)["version"] == "2.1"


def test_another_place(model: Path, tmp_path: Path) -> None:
    card("init", model, *GIVEN, "--yes", "--out", tmp_path / "other.toml")
    assert (tmp_path / "other.toml").is_file()
    assert not model.with_suffix(".card.toml").exists()


def test_a_card_that_does_not_fit_is_not_written(model: Path) -> None:
    error = card("init", model, *GIVEN, "--yes", "--channels-out", 3, ends=ModelError).exception
    assert "output of another shape" in str(error)
    assert list(model.parent.iterdir()) == [model]


def test_outputs_beyond_their_range_are_warned_about(model: Path) -> None:
    result = card("init", model, *GIVEN, "--yes", "--range-out", 0, 1, "--range-in", -1, 1)
    assert "beyond range_out = [0, 1]" in result.stderr


def test_as_json(model: Path) -> None:
    content = json.loads(card("init", model, *GIVEN, "--yes", "--json").stdout)
    assert content["card"]["name"] == "T2 to FLAIR"
    assert content["dry_run"]["taken"] == [4, 2, 64, 64]
    assert content["file"] == str(model.with_suffix(".card.toml"))


def test_checks_a_card_that_is_there(model: Path) -> None:
    card("init", model, *GIVEN, "--yes")
    content = json.loads(card("check", model, "--size", 16, "--json").stdout)
    assert content["dry_run"]["returned"] == [4, 1, 16, 16]
    beside = model.with_suffix(".card.toml")
    beside.write_text(beside.read_text().replace("channels_in = 2", "channels_in = 1"))
    card("check", model, ends=ModelError)


def test_a_hostile_model_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(Writer(), tmp_path / "model.pt")
    error = card("init", path, *GIVEN, "--yes", ends=ModelError).exception
    assert "aten::save" in str(error)
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh())\n"
    (tmp_path / "card_team_code.py").write_text(source)
    state = {f"0.{name}": tensor for name, tensor in nn.Conv2d(1, 1, 3, padding=1).state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    card("init", "card_team_code:build", "--weights", tmp_path / "weights.pt", *GIVEN, "--yes")
    assert written(tmp_path / "weights.pt")["task"] == "translation"


def test_an_unknown_task_is_a_usage_error(model: Path) -> None:
    result = CliRunner().invoke(card_command.command, ["init", str(model), "--task", "painting"])
    assert result.exit_code == 2
    assert "painting" in result.output
