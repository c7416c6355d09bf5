"""The arms of the dose-response experiment: a recipe for every loss and every share of tumours."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from medgan_qa.errors import ConfigurationError
from reference_models.data import DataConfig
from reference_models.recipes import Recipe


@dataclass(frozen=True)
class Plan:
    """Everything that is fixed before the first arm is trained."""

    size: str
    seed: int
    detector: str
    holdout: int
    """Patients of the holdout, two slices each."""
    losses: dict[str, str]
    """Titles of the losses, in the order of the figure."""
    shares: tuple[float, ...]
    arms: tuple[Arm, ...]


@dataclass(frozen=True)
class Arm:
    """One translator to train."""

    loss: str
    share: float
    recipe: Recipe

    @property
    def name(self) -> str:
        """Unique in the experiment, and fit for a file."""
        return f"{self.loss}-{self.share:g}"

    @property
    def settings(self) -> str:
        """What it is trained with, as one line of JSON."""
        return json.dumps(asdict(self.recipe), sort_keys=True)


def plan(
    *,
    size: str,
    seed: int | None = None,
    steps: int | None = None,
    shares: str | None = None,
    losses: str | None = None,
) -> Plan:
    """The experiment as `dose_response.toml` and the command line describe it.

    Args:
        size: `cpu` or `gpu`.
        seed: of the networks and batches, in place of the file's; the phantoms stay the same.
        steps: of every arm, in place of the file's.
        shares: of tumours, separated by commas, in place of the file's.
        losses: separated by commas, in place of all.

    Raises:
        ConfigurationError: a size, share or loss that there is not.
    """
    content = tomllib.loads((files("reference_models.experiments") / "dose_response.toml").read_text(encoding="utf-8"))
    if size not in content["size"]:
        raise _unknown("size", content["size"], size)
    scale = content["size"][size]
    chosen = _losses(losses, content["loss"])
    doses = tuple(scale["shares"]) if shares is None else _shares(shares)
    seed = content["seed"] if seed is None else seed
    return Plan(
        size=size,
        seed=seed,
        detector=content["detector"],
        holdout=scale["holdout"],
        losses={loss: content["loss"][loss]["title"] for loss in chosen},
        shares=doses,
        arms=tuple(
            Arm(loss, dose, _recipe(content, loss, dose, size, seed, steps)) for loss in chosen for dose in doses
        ),
    )


def _recipe(content: dict[str, Any], loss: str, share: float, size: str, seed: int, steps: int | None) -> Recipe:
    method = content["loss"][loss]
    scale = method["size"][size]
    return Recipe(
        name=f"dose-response-{loss}-{share:g}",
        title=f"{method['title']}, tumours in {share:.0%} of the target slices",
        method="dose-response",
        system=method["system"],
        options={**method["options"], **scale["options"]},
        data=DataConfig(
            **content["data"],
            patients=content["size"][size]["patients"],
            paired=method["paired"],
            target_lesions=share > 0,
            target_share=share,
        ),
        steps=scale["steps"] if steps is None else steps,
        batch=scale["batch"],
        ema=method["ema"],
        seed=seed,
        decay_from=method["decay_from"],
        card=content["card"],
        size=size,
    )


def _losses(given: str | None, there: dict[str, Any]) -> Sequence[str]:
    wanted = list(there) if given is None else _parts(given)
    for loss in wanted or [str(given)]:
        if loss not in there:
            raise _unknown("losses", there, loss)
    return [loss for loss in there if loss in wanted]


def _shares(given: str) -> tuple[float, ...]:
    try:
        values = sorted({float(part) for part in _parts(given)})
    except ValueError:
        values = []
    if not values or not all(0.0 <= value <= 1.0 for value in values):
        raise ConfigurationError(
            "The shares cannot be used.",
            expected="numbers from 0 to 1, separated by commas",
            found=given,
            where="--shares",
            todo="For example: --shares 0,0.5,1",
        )
    return tuple(values)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _unknown(option: str, there: dict[str, Any], found: str) -> ConfigurationError:
    return ConfigurationError(
        "The dose-response experiment has no such choice.",
        expected=f"one of {', '.join(there)}",
        found=found,
        where=f"--{option}",
        todo="Choose from the list.",
    )
