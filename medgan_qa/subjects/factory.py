"""A team's own code as a model: `package.module:build`, with weights in a file of their own.

The code is the user's and runs with the rights that the audit gives it; only the weights are read as what they are,
tensors. `build()` returns a `torch.nn.Module`, or any callable that takes a float32 tensor (N, C, H, W) or, for a
sampler, (N, latent_dim), and returns a tensor or array. A `build` that has a parameter `weights` is given the path and
loads them itself.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgan_qa.errors import MedganQAError, ModelError
from medgan_qa.subjects.networks import TorchNetwork
from medgan_qa.subjects.sources import code_file, file_sha256
from medgan_qa.subjects.state import load_strictly, read_state

if TYPE_CHECKING:
    from medgan_qa.subjects.formats import Loaded

SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
RESERVED = ("reference", "control")
"""Prefixes of shipped models and of planted controls, which look alike."""


def is_factory(model: str) -> bool:
    """Whether a command-line argument means a team's own code: `package.module:build`."""
    return SPEC.fullmatch(model) is not None and model.partition(":")[0] not in RESERVED


def build(spec: str, weights: Path | None, device: str) -> Loaded:
    """Build a network by calling a team's own code, and load its weights.

    Args:
        spec: `package.module:build`; the working directory is looked in first.
        weights: a `.safetensors` or weights-only `.pt` file; None where the code brings its own.
        device: where it is to run.

    Returns:
        Network; card (the attribute `card` of `build`, empty without it); number of parameters.

    Raises:
        ModelError: there is no such code, it raised, it returned no network, or the weights do not fit.
        OSError: the weights cannot be opened.
    """
    import torch

    made_by = _found(spec)
    loads_itself = "weights" in _parameters(made_by)
    made = _called(made_by, spec, {"weights": weights} if loads_itself and weights is not None else {})
    if not callable(made):
        raise _wrong(spec, f"a {type(made).__name__}", "return a torch.nn.Module, or a callable")
    parameters = None
    if isinstance(made, torch.nn.Module):
        if weights is not None and not loads_itself:
            load_strictly(made, read_state(weights), weights)
        made = made.eval().to(device)
        parameters = sum(p.numel() for p in made.parameters())
    elif weights is not None and not loads_itself:
        raise _wrong(spec, f"a {type(made).__name__} and --weights", "return a torch.nn.Module, or take weights=")
    return TorchNetwork(made, device), _card(made_by, spec), parameters


def origin(spec: str, weights: Path | None = None) -> dict[str, Any]:
    """Which code and weights stand behind a factory, for the Record.

    Modules that were imported from the working directory are named with their digests if this process imported them.

    Raises:
        ModelError: there is no such module.
        OSError: a file cannot be read.
    """
    file = code_file(spec)
    facts: dict[str, Any] = {"factory": spec, "code": file.name, "code_sha256": file_sha256(file)}
    if weights is not None:
        facts |= {"weights": weights.name, "weights_sha256": file_sha256(weights)}
    # The module alone says little where it imports the network from the file next to it.
    files = {name: getattr(module, "__file__", None) for name, module in sorted(sys.modules.items())}
    beside = {name: file_sha256(Path(place)) for name, place in files.items() if place and _is_own(Path(place))}
    return facts | ({"imported": beside} if beside else {})


def _is_own(file: Path) -> bool:
    """Whether a module stands in the working directory, and not in an environment that stands there."""
    return file.is_relative_to(Path.cwd()) and file.is_file() and not {"site-packages", "dist-packages"} & {*file.parts}


def _found(spec: str) -> Callable[..., Any]:
    module_name, _, names = spec.partition(":")
    code_file(spec)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a team's own code raises what it likes
        raise _raised(spec, f"import {module_name}", error) from error
    for name in names.split("."):
        if not hasattr(found, name):
            raise _wrong(spec, f"no {names} in {module_name}", f"define {names}")
        found = getattr(found, name)
    if not callable(found):
        raise _wrong(spec, f"{names} is a {type(found).__name__}", "name a function or class")
    made_by: Callable[..., Any] = found
    return made_by


def _parameters(made_by: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(made_by).parameters)
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return ()


def _called(made_by: Callable[..., Any], spec: str, options: dict[str, Any]) -> Any:
    try:
        return made_by(**options)
    except MedganQAError:
        raise
    except Exception as error:  # a team's own code raises what it likes
        raise _raised(spec, f"{spec.partition(':')[2]}()", error) from error


def _card(made_by: Callable[..., Any], spec: str) -> str:
    card = getattr(made_by, "card", "")
    if not isinstance(card, str):
        raise _wrong(spec, f"build.card is a {type(card).__name__}", "set it to the card's TOML text")
    return card


def _raised(spec: str, step: str, error: Exception) -> ModelError:
    said = " ".join(str(error).split())[:300]
    return ModelError(
        "The model's code raised an error.",
        expected=f"`{step}` to work in the folder {Path.cwd().name}",
        found=f"{type(error).__name__}: {said}" if said else type(error).__name__,
        where=spec,
        todo=f"Try `python -c 'import {spec.partition(':')[0]}'` in the same folder.",
    )


def _wrong(spec: str, found: str, todo: str) -> ModelError:
    return ModelError(
        "The model's code makes no network.",
        expected="a function that returns a torch.nn.Module, or a callable from tensor to tensor",
        found=found,
        where=spec,
        todo=f"Let {spec} {todo}." if not todo.startswith(("define", "name")) else f"In {spec}: {todo}.",
    )
