"""Weights for a network that is already there: a state dict from a file, loaded key by key."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from medgan_qa.errors import ModelError
from medgan_qa.subjects.archives import members_of
from medgan_qa.subjects.refusals import damaged, refused_by_unpickler, unsafe

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model", "tensors", "network", "net", "generator", "params_ema", "params")
"""Keys under which training scripts keep a state dict, in the order in which they are looked for."""
SHOWN = 5
SAVE = "Save the weights: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file (`.safetensors`; `.pt`, `.pth`, `.bin`, read with `weights_only`), by name.

    Raises:
        ModelError: it is damaged, would run code, or holds something other than tensors by name.
        OSError: it cannot be opened.
    """
    if path.suffix.lower() == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, ValueError) as error:
            raise damaged(path, str(error)) from error
    if zipfile.is_zipfile(path):
        members_of(path)
    with path.open("rb") as stream:
        return tensors_in(load_plain(stream, path), path)


def load_plain(stream: BinaryIO, path: Path) -> Any:
    """What `torch.save` wrote, if it holds tensors and plain values only.

    Args:
        stream: the bytes.
        path: the file they come from, for messages.

    Raises:
        ModelError: it is damaged, or a pickle that would run code.
    """
    import torch

    try:
        with warnings.catch_warnings():
            # Said of pickles by other writers, which this goes on to read or refuse by itself.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # random bytes lead the unpickler into errors of any kind
        refused = refused_by_unpickler(str(error))
        if refused:
            raise unsafe(path, refused) from error
        raise damaged(path, str(error)) from error


def tensors_in(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a weights file holds: itself, or under a key of `WRAPPERS`.

    Raises:
        ModelError: there is none.
    """
    import torch

    candidates = [content]
    if isinstance(content, Mapping):
        candidates += [content[key] for key in WRAPPERS if key in content]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate:
            values = candidate.items()
            if all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in values):
                return dict(candidate)
    found = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        found += f" with keys {list(content)[:SHOWN]}"
    raise ModelError(
        "The weights file holds no tensors by name.",
        expected=f"a state dict, or one under a key such as {', '.join(WRAPPERS[:3])}",
        found=found,
        where=path,
        todo=SAVE,
    )


def load_strictly(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load a state dict into a network; every tensor has its place and every place its tensor.

    A prefix `module.` on every name, which parallel training leaves behind, is dropped.

    Raises:
        ModelError: tensors are missing, left over, or of another shape.
    """
    wanted = module.state_dict()
    if state.keys() != wanted.keys() and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    missing, left = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    shapes = {k: (tuple(state[k].shape), tuple(wanted[k].shape)) for k in wanted.keys() & state.keys()}
    other = [f"{k} of shape {mine} for {its}" for k, (mine, its) in sorted(shapes.items()) if mine != its]
    found = [_listed("missing", missing), _listed("unexpected", left), _listed("another shape", other)]
    if any(found):
        raise ModelError(
            "The weights do not fit the network.",
            expected=f"the {len(wanted)} tensors of {type(module).__name__}",
            found="; ".join(filter(None, found)),
            where=path,
            todo="Build the network with the configuration that it was trained with, or name its own weights.",
        )
    module.load_state_dict(state)


def _listed(what: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return ""
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f"{what}: {', '.join(ordered[:SHOWN])}{more}"
