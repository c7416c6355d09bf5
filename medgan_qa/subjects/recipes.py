"""Training recipes that installed packages register (entry-point group `medgan_qa.recipes`)."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, NamedTuple

from medgan_qa.errors import ConfigurationError


class Trainer(NamedTuple):
    """How to train one name: `train(recipe(name, size), out, device=..., checkpoint_every=..., report=...)`."""

    title: str
    recipe: Any
    train: Any


def _trainers() -> dict[str, Trainer]:
    found: dict[str, Trainer] = {}
    for point in sorted(entry_points(group="medgan_qa.recipes"), key=lambda p: p.name):
        registered = point.load()()
        found |= {n: Trainer(t, registered["recipe"], registered["train"]) for n, t in registered["names"].items()}
    return found


def trainable() -> dict[str, str]:
    """Titles of what can be trained, by name."""
    return {name: trainer.title for name, trainer in _trainers().items()}


def trainer(name: str) -> Trainer:
    """How to train `name`.

    Raises:
        ConfigurationError: nothing of that name is registered.
    """
    trainers = _trainers()
    if name not in trainers:
        raise ConfigurationError(
            "Nothing of that name can be trained.",
            expected=f"one of {', '.join(trainers) or '(no recipes are installed)'}",
            found=name,
            todo="`medgan-qa list models` shows what there is.",
        )
    return trainers[name]
