"""The loop: deterministic, resumable to the bit, and what it writes is a model that can be audited."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.errors import ConfigurationError, OutputError
from medgan_qa.subjects.load import load_subject
from reference_models.recipes import Recipe
from reference_models.training import train

SYSTEMS = ["cyclegan-balanced", "dcgan-balanced", "features-flair", "pix2pix-balanced", "detector-flair"]


class Interrupted(Exception):
    """What stops a run in the middle."""


def stop_after(step: int):
    def report(done: int, losses: dict[str, float]) -> None:
        if done == step:
            raise Interrupted

    return report


def same_tensors(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    assert list(a) == list(b)
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stop", [3, 5])
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_resumed_run_gives_the_same_weights_to_the_bit(tiny, tmp_path: Path, name: str, stop: int) -> None:
    """Stopped right at a saved state, and two steps after it, which are then done again."""
    chosen: Recipe = tiny(name)
    straight = train(chosen, tmp_path / "straight", checkpoint_every=3)
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "resumed", checkpoint_every=3, report=stop_after(stop))
    assert not (tmp_path / "resumed" / "model.safetensors").exists()
    steps = []
    resumed = train(chosen, tmp_path / "resumed", checkpoint_every=3, report=lambda done, _: steps.append(done))
    assert steps == [4, 5, 6]
    assert same_tensors(straight, resumed)


@pytest.mark.parametrize("name", SYSTEMS)
def test_another_seed_gives_other_weights(tiny, tmp_path: Path, name: str) -> None:
    chosen = tiny(name, steps=2)
    other = dataclasses.replace(chosen, seed=chosen.seed + 1)
    assert not same_tensors(train(chosen, tmp_path / "a"), train(other, tmp_path / "b"))


def test_training_leaves_the_global_generator_alone(tiny, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first = train(tiny("pix2pix-balanced", steps=2), tmp_path / "a")
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert same_tensors(first, train(tiny("pix2pix-balanced", steps=2), tmp_path / "b"))


def test_a_finished_run_is_not_trained_further(tiny, tmp_path: Path) -> None:
    chosen = tiny("detector-flair", steps=2)
    content = load_file(train(chosen, tmp_path))
    again = load_file(train(chosen, tmp_path, report=stop_after(3)))
    assert all(torch.equal(content[name], again[name]) for name in content)


@pytest.mark.parametrize("change", [{"seed": 8}, {"steps": 7}, {"name": "pix2pix-healthy"}])
def test_the_state_of_another_recipe_is_refused(tiny, tmp_path: Path, change: dict[str, object]) -> None:
    chosen = tiny("pix2pix-balanced")
    with pytest.raises(Interrupted):
        train(chosen, tmp_path, checkpoint_every=1, report=stop_after(1))
    with pytest.raises(ConfigurationError, match="another recipe") as caught:
        train(dataclasses.replace(chosen, **change), tmp_path)
    error = caught.value
    assert error.where == str(tmp_path / "state.pt")
    assert error.found
    assert "pix2pix-balanced" in error.found
    assert error.expected
    assert error.todo


def test_an_output_that_is_no_folder_is_refused(tiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        train(tiny("detector-flair"), tmp_path / "file")
    assert caught.value.where == str(tmp_path / "file")


def test_weights_are_the_moving_average_of_the_exported_network(tiny, tmp_path: Path) -> None:
    """With a decay of zero the average is the network itself, as the last state holds it."""
    chosen = tiny("cyclegan-balanced", ema=0.0, steps=3)
    model = load_file(train(chosen, tmp_path / "none"))
    state = torch.load(tmp_path / "none" / "state.pt", weights_only=True)["system"]
    for name, tensor in model.items():
        assert torch.equal(tensor, state[f"forward_generator.{name}"]), name
    averaged = load_file(train(dataclasses.replace(chosen, ema=0.995), tmp_path / "averaged"))
    assert any(not torch.equal(averaged[name], model[name]) for name in model)


def test_learning_rate_falls_to_zero_after_its_share_of_the_steps(tiny, tmp_path: Path) -> None:
    chosen = tiny("detector-flair", steps=4, decay_from=0.5)
    rates = []

    def report(done: int, losses: dict[str, float]) -> None:
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        rates.append(state["optimizers"]["g"]["param_groups"][0]["lr"])

    train(chosen, tmp_path, checkpoint_every=1, report=report)
    assert rates == pytest.approx([chosen.options["lr"] * share for share in (1.0, 1.0, 1.0, 0.5)])


def test_losses_are_logged_every_fifty_steps(tiny, tmp_path: Path) -> None:
    chosen = tiny(
        "detector-flair", steps=100, batch=1, data=dataclasses.replace(tiny("detector-flair").data, patients=1)
    )
    train(chosen, tmp_path, checkpoint_every=100)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100]
    assert all(np.isfinite(line["bce"]) for line in lines)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_written_model_loads_with_its_card_and_runs(tiny, tmp_path: Path, name: str) -> None:
    chosen = tiny(name, steps=2)
    path = train(chosen, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "state.pt"]
    subject = load_subject(str(path))
    assert (subject.card.name, subject.card.task) == (chosen.title, chosen.card["task"])
    training = subject.card.extra["training"]
    assert (training["recipe"], training["steps"], training["patients_a_domain"]) == (name, 2, 3)
    assert subject.parameters is not None
    assert subject.parameters > 100
    cohort = BrainPhantoms(size=32, people=1)
    images = np.stack([cohort.load(case).image for case in cohort.cases])
    if subject.card.task == "segmentation":
        assert subject.read(images).shape == (2, 32, 32)
        assert np.isfinite(subject.read(images)).all()
    elif subject.card.task == "synthesis":
        out = subject.sample(3, seed=1)
        assert out.shape == (3, 1, 32, 32)
        assert out.min() >= 0
        assert out.max() <= 1
    elif subject.card.task == "discriminator":
        assert np.isfinite(subject.network(images, 0)).all()
        assert subject.network(images, 0).shape == (2, 2)
    else:
        out = subject.translate(images)
        assert out.shape == images.shape
        assert out.min() >= 0
        assert out.max() <= 1
