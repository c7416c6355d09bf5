"""Recipes: one TOML a method, with its arms and its sizes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from medgan_qa.errors import ConfigurationError
from reference_models.data import DataConfig


@dataclass(frozen=True)
class Recipe:
    """What `medgan-qa train NAME` does."""

    name: str
    title: str
    method: str
    system: str
    options: dict[str, Any]
    data: DataConfig
    steps: int
    batch: int
    ema: float
    seed: int
    decay_from: float
    """Share of the steps after which the learning rate falls linearly to zero."""
    card: dict[str, Any]
    size: str


def _methods() -> dict[str, dict[str, Any]]:
    """Every recipe file by method name, in alphabetical order."""
    folder = files("reference_models.recipes")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): tomllib.loads(f.read_text(encoding="utf-8")) for f in found}


def names() -> dict[str, str]:
    """Every trainable name with its title."""
    return {
        f"{method}-{arm}": f"{content['title']}: {options['title']}"
        for method, content in _methods().items()
        for arm, options in content["arm"].items()
    }


def recipe(name: str, size: str = "cpu") -> Recipe:
    """The recipe of a name such as `cyclegan-balanced`.

    Args:
        name: method and arm.
        size: `cpu` or `gpu`.

    Raises:
        ConfigurationError: there is no such recipe or size.
    """
    if name not in names():
        raise ConfigurationError(
            "There is no such recipe.",
            expected=f"one of {', '.join(names())}",
            found=name,
            todo="`medgan-qa list models` shows what can be trained.",
        )
    method, arm = name.rsplit("-", 1)
    content = _methods()[method]
    if size not in content["size"]:
        raise ConfigurationError(
            "The recipe has no such size.",
            expected=f"one of {', '.join(content['size'])}",
            found=size,
            todo="Choose a size from the list.",
        )
    choice, scale = content["arm"][arm], content["size"][size]
    return Recipe(
        name=name,
        title=f"{content['title']}: {choice['title']}",
        method=method,
        system=content["system"],
        options={**content.get("options", {}), **scale.get("options", {}), **choice.get("options", {})},
        data=DataConfig(**{**content["data"], **choice.get("data", {}), **scale.get("data", {})}),
        steps=choice.get("steps", scale["steps"]),
        batch=scale["batch"],
        ema=choice.get("ema", content["ema"]),
        seed=content["seed"],
        decay_from=content["decay_from"],
        card={**content["card"], **choice.get("card", {})},
        size=size,
    )
