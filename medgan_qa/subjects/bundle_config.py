"""The network's definition in the configuration of a MONAI bundle, read as data and never evaluated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.errors import ModelError
from medgan_qa.subjects.refusals import damaged

CONFIGS = tuple(f"configs/inference.{kind}" for kind in ("json", "yaml", "yml"))
NETWORK_KEYS = ("network_def", "net_def", "network", "net", "model")
TARGET = re.compile(r"(?:monai\.networks\.nets\.(?:[a-z_]\w*\.)*)?([A-Z]\w*)")
REFERENCE = re.compile(r"@\w+(?:(?:::|#)\w+)*")
DEEPEST = 16
HARMLESS = ("_desc_",)


class Definition(NamedTuple):
    """A network as a bundle defines it."""

    target: str
    """As it stands."""
    name: str
    """The class, without the module."""
    arguments: dict[str, Any]
    where: str

    def refused(self, found: str) -> ModelError:
        """The error for a definition that is more than a class with plain arguments."""
        return refused(found, self.where)


def refused(found: str, where: str) -> ModelError:
    """The error for a bundle whose network is defined in a way that would have to be run to be known."""
    return ModelError(
        "The bundle's network is defined by more than a class of MONAI with plain arguments, and was refused.",
        expected="network_def with _target_ in monai.networks.nets and arguments that are numbers, words and lists",
        found=found,
        where=where,
        todo="Export it: `python -m monai.bundle ckpt_export` writes models/model.ts; name that file as the model.",
    )


def parse_config(content: bytes, name: str, path: Path) -> dict[str, Any]:
    """A configuration as data.

    Args:
        content: the file.
        name: its name in the bundle; `.json` is JSON, others are YAML.
        path: the bundle, for messages.

    Raises:
        ModelError: it is neither, or no table.
    """
    try:
        parsed = json.loads(content) if name.endswith(".json") else _yaml(content)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"{name}: {error}") from error
    if not isinstance(parsed, dict):
        raise damaged(path, f"{name} holds a {type(parsed).__name__} and no table")
    return parsed


def _yaml(content: bytes) -> Any:
    import yaml

    try:
        # One line of references to references can stand for more than memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader)):
            raise ValueError("a YAML alias")
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def definition_in(config: dict[str, Any], name: str, path: Path) -> Definition:
    """The network's definition in a configuration.

    Raises:
        ModelError: there is none, or it holds anything that MONAI would have to evaluate.
    """
    where = f"{path} ({name})"
    key = next((k for k in NETWORK_KEYS if isinstance(config.get(k), dict) and "_target_" in config[k]), None)
    if key is None:
        shown = {k: str(config[k])[:80] for k in NETWORK_KEYS if k in config}
        raise refused(f"no table with _target_ under {', '.join(NETWORK_KEYS[:3])}; {shown or list(config)[:8]}", where)
    table = config[key]
    target = table["_target_"]
    named = TARGET.fullmatch(target) if isinstance(target, str) else None
    if named is None:
        raise refused(f"_target_ {str(target)[:120]!r} in {key}", where)
    resolver = _Resolver(config, where)
    arguments = {k: resolver.plain(v, f"{key}.{k}", 0) for k, v in table.items() if k not in ("_target_", *HARMLESS)}
    if own := [k for k in arguments if k.startswith("_")]:
        raise refused(f"{own[0]} in {key}", where)
    if fetched := [k for k, v in arguments.items() if "pretrained" in k and v]:
        # Such a network fetches its weights from elsewhere before it is given those of the bundle.
        raise refused(f"{fetched[0]} = {arguments[fetched[0]]!r} in {key}", where)
    return Definition(target, named.group(1), arguments, where)


class _Resolver:
    """Arguments with references put in place."""

    def __init__(self, config: dict[str, Any], where: str) -> None:
        self.config, self.where = config, where

    def plain(self, value: Any, place: str, depth: int) -> Any:
        """A value without anything to evaluate in it."""
        if depth > DEEPEST:
            raise refused(f"references that go in a circle, or too deep, at {place}", self.where)
        if isinstance(value, dict):
            if own := [k for k in value if not isinstance(k, str) or k.startswith("_")]:
                raise refused(f"{own[0]} in {place}", self.where)
            return {k: self.plain(v, f"{place}.{k}", depth + 1) for k, v in value.items()}
        if isinstance(value, list):
            return [self.plain(v, f"{place}[{k}]", depth + 1) for k, v in enumerate(value)]
        if isinstance(value, str):
            return self._text(value, place, depth)
        if value is None or isinstance(value, bool | int | float):
            return value
        raise refused(f"a {type(value).__name__} in {place}", self.where)

    def _text(self, value: str, place: str, depth: int) -> Any:
        if REFERENCE.fullmatch(value) is not None:
            return self.plain(self._meant(value, place), f"{place} ({value})", depth + 1)
        # $ is Python, % another file, @ within a text is both; a path has no business in a network.
        if value.startswith(("$", "%")) or "@" in value or "/" in value or "\\" in value:
            raise refused(f"{value[:120]!r} in {place}", self.where)
        return value

    def _meant(self, reference: str, place: str) -> Any:
        found: Any = self.config
        for part in re.split("::|#", reference[1:]):
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                raise refused(f"{reference} in {place}, which the configuration does not hold", self.where)
        return found
