"""Model cards: what a model says of itself, as TOML in its archive or beside it."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from medgan_qa.errors import ModelError

SCHEMA = "medgan-qa/card/1"
EXTRA_FILE = "medgan_qa_card.toml"
"""The card's name inside an archive."""
TASKS = ("synthesis", "translation", "super-resolution", "discriminator", "segmentation")
LARGEST = 1e30  # images are float32, whose numbers end at 3e38
ROLES = ("viewed", "pipeline_input", "training_only", "not declared")
READS = ("disease", "real_fake")

EXAMPLE = """schema = "medgan-qa/card/1"
name = "brain T2 to FLAIR"
version = "1.0.0"
task = "translation"
channels_in = 1
channels_out = 1
range_in = [-1.0, 1.0]
range_out = [-1.0, 1.0]"""


@dataclass(frozen=True)
class Card:
    """A model card: what the audit has to know to run the model, and what the model says of itself."""

    name: str
    version: str
    task: str
    channels_in: int
    channels_out: int
    range_in: tuple[float, float]
    range_out: tuple[float, float]
    latent_dim: int | None = None
    scale: tuple[int, int] | None = None
    """Super-resolution: how many times the rows and the columns of the input; (1, 1) for restoration on one grid."""
    degradation: dict[str, Any] | None = None
    """Super-resolution: how the input came from the truth, as `medgan_qa.metrics.degradation` takes it."""
    classes: tuple[str, ...] = ()
    """Synthesis: the classes that the sampler draws on demand; the latent vector then ends in as many numbers more, all
    0 but the asked class's 1. Discriminator: the two classes that it tells apart, the one with larger logits last."""
    threshold: float | None = None
    """Discriminator: the probability of the last class from which on it calls that class."""
    reads: str | None = None
    """Discriminator: what its logit was trained to tell, `disease` or `real_fake`."""
    comparator: str | None = None
    """Discriminator: the same network trained from scratch, named as `inverse` is."""
    output_role: str = "not declared"
    training_data: str = "not declared"
    inverse: str | None = None
    """Translation: the model of the other direction, a path relative to this one's file, or `reference:NAME`."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Everything else the card says, kept as it stands."""

    def as_dict(self) -> dict[str, Any]:
        """The card as JSON-able data."""
        own = {k: v for k, v in vars(self).items() if k != "extra" and v is not None and v != ()}
        if self.scale is not None and self.scale[0] == self.scale[1]:
            own["scale"] = self.scale[0]
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}, **self.extra}


def sidecar(model: Path) -> Path:
    """Where the card of `model.pt` stands: `model.card.toml`."""
    return model.with_name(f"{model.stem}.card.toml")


def parse_card(text: str, where: str | Path) -> Card:
    """Read a card.

    Raises:
        ModelError: no TOML, another schema, a missing or malformed key.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _problem("The model card is no TOML.", "a card such as\n" + EXAMPLE, str(error), where) from error
    if content.get("schema") != SCHEMA:
        raise _problem("The model card has another schema.", f'schema = "{SCHEMA}"', repr(content.get("schema")), where)
    task = content.get("task")
    if task not in TASKS:
        raise _problem("The model card names no known task.", f"task = one of {', '.join(TASKS)}", repr(task), where)
    missing = [k for k in needed_keys(task) if content.get(k) in (None, "")]
    if missing:
        raise _problem(
            f"The model card lacks {', '.join(missing)}.", "a card such as\n" + EXAMPLE, _keys(content), where
        )
    for key in ("channels_in", "channels_out", "latent_dim"):
        value = content.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _problem(f"{key} is no count.", "a whole number of at least 1", repr(value), where)
    role = str(content.get("output_role", "not declared"))
    if role not in ROLES:
        raise _problem("output_role is unknown.", " or ".join(ROLES[:3]), repr(role), where)
    ranges = {key: _range(content.get(key, [0.0, 1.0]), key, where) for key in ("range_in", "range_out")}
    if not _is_finite(content):
        raise _problem("The model card holds a number that is none.", "finite numbers", "nan or inf", where)
    known = ("schema", *(f for f in Card.__dataclass_fields__ if f != "extra"))
    return Card(
        name=str(content["name"]),
        version=str(content["version"]),
        task=task,
        channels_in=content.get("channels_in", 1),
        channels_out=content.get("channels_out", 1),
        range_in=ranges["range_in"],
        range_out=ranges["range_out"],
        latent_dim=content.get("latent_dim"),
        scale=_scale(content.get("scale"), where),
        degradation=_degradation(content, where),
        classes=_classes(content.get("classes"), task, where),
        threshold=_threshold(content.get("threshold"), task, where),
        reads=_reads(content.get("reads"), task, where),
        comparator=_other(content, "comparator", "discriminator", where),
        output_role=role,
        training_data=str(content.get("training_data", "not declared")),
        inverse=_other(content, "inverse", "translation", where),
        extra={k: v for k, v in content.items() if k not in known},
    )


def needed_keys(task: str) -> list[str]:
    """The keys that the card of a task has to hold, in order."""
    needed = ["name", "version"]
    needed += ["latent_dim"] if task == "synthesis" else ["channels_in", "range_in"]
    needed += ["scale"] if task == "super-resolution" else []
    needed += ["channels_out", "range_out"] if task != "discriminator" else []
    return needed


def _range(value: Any, key: str, where: str | Path) -> tuple[float, float]:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not numbers or not value[0] < value[1] or max(abs(v) for v in value) > LARGEST:
        raise _problem(f"{key} is no range.", f"{key} = [low, high], finite, with low < high", repr(value), where)
    return float(value[0]), float(value[1])


def _other(content: dict[str, Any], key: str, owner: str, where: str | Path) -> str | None:
    """Another model that the card names, for a task that has such a companion."""
    value = content.get(key)
    if value is None:
        return None
    _require_task(content["task"], owner, key, value, where)
    named = isinstance(value, str) and value.strip() not in ("", "reference:")
    # A card travels with its models, so a path of one machine would lead nowhere on another.
    if not named or PurePosixPath(value).is_absolute() or PureWindowsPath(value).anchor:
        raise _problem(f"{key} names no model.", "a path relative to the model, or reference:NAME", repr(value), where)
    return str(value)


def _require_task(task: str, owner: str, key: str, value: Any, where: str | Path) -> None:
    if task != owner:
        raise _problem(f"{key} belongs to task {owner}.", f"no key {key} for task {task}", repr(value), where)


def _scale(value: Any, where: str | Path) -> tuple[int, int] | None:
    if value is None:
        return None
    factors = value if isinstance(value, list) else [value, value]
    if len(factors) != 2 or any(type(f) is not int or f < 1 for f in factors):
        wanted = "a whole number of at least 1, or [rows, columns] of such"
        raise _problem("scale is no factor.", wanted, repr(value), where)
    return factors[0], factors[1]


def _degradation(content: dict[str, Any], where: str | Path) -> dict[str, Any] | None:
    value = content.get("degradation")
    if value is None:
        return None
    _require_task(content["task"], "super-resolution", "degradation", value, where)
    if not isinstance(value, dict):
        raise _problem("degradation is no table.", "a table [degradation]", repr(value), where)
    # Cards of other models are read without waiting for scipy.
    from medgan_qa.metrics.degradation import declared

    try:
        declared(value, _scale(content["scale"], where) or (1, 1))
    except ValueError as error:
        raise _problem(
            "degradation is malformed.", "a table [degradation] of an operator", str(error), where
        ) from error
    return dict(value)


def _classes(value: Any, task: str, where: str | Path) -> tuple[str, ...]:
    if value is None:
        return ()
    named = isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value)
    if task not in ("synthesis", "discriminator"):
        raise _problem("classes belong to samplers and discriminators.", f"none for task {task}", repr(value), where)
    if not named or len(set(value)) != len(value) or len(value) < 2 or (task == "discriminator" and len(value) != 2):
        wanted = "two names" if task == "discriminator" else "at least two names"
        raise _problem("classes are no names.", f"{wanted}, each once", repr(value), where)
    return tuple(value)


def _threshold(value: Any, task: str, where: str | Path) -> float | None:
    if value is None:
        return None
    _require_task(task, "discriminator", "threshold", value, where)
    if type(value) not in (int, float) or not 0 < value < 1:
        raise _problem("threshold is no probability.", "a number between 0 and 1", repr(value), where)
    return float(value)


def _reads(value: Any, task: str, where: str | Path) -> str | None:
    if value is None:
        return None
    _require_task(task, "discriminator", "reads", value, where)
    if value not in READS:
        raise _problem("reads is unknown.", " or ".join(READS), repr(value), where)
    return str(value)


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _keys(content: dict[str, Any]) -> str:
    return "keys " + ", ".join(content) if content else "an empty card"


def _problem(problem: str, expected: str, found: str, where: str | Path) -> ModelError:
    return ModelError(problem, expected=expected, found=found, where=where, todo="Correct the card.")
