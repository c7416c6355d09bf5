"""Reference-model checkpoints: an architecture's name, its configuration, its tensors and its card. Nothing executable.

Two containers hold the same content. `.safetensors` carries the texts as metadata; `.pt` is a `torch.save` of plain
values and tensors, read with `weights_only`, so that a pickle which needs more is refused and never run.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medgan_qa.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "medgan-qa/checkpoint/1"


class Checkpoint(NamedTuple):
    """What a checkpoint file holds."""

    architecture: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    card: str
    """The model card as TOML text; empty if the file carries none."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under a temporary name and move it into place; the suffix chooses the container."""
    import torch
    from safetensors.torch import save_file

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    texts = {
        "format": FORMAT,
        "architecture": checkpoint.architecture,
        "config": json.dumps(checkpoint.config, sort_keys=True),
        "card": checkpoint.card,
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    try:
        if path.suffix == ".safetensors":
            save_file(tensors, name, metadata=texts)
        else:
            torch.save({**texts, "tensors": tensors}, name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_safetensors(path: Path) -> Checkpoint:
    """Read a `.safetensors` checkpoint.

    Raises:
        ModelError: the file is damaged or is not a checkpoint of this format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as stored:
            texts = dict(stored.metadata() or {})
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            "The model file cannot be read as safetensors.",
            expected="a whole .safetensors file",
            found=str(error),
            where=path,
            todo="Copy or export the file again; it may be truncated.",
        ) from error
    return _checked(texts, tensors, path)


def from_plain(content: Any, path: Path) -> Checkpoint:
    """A checkpoint from what `torch.load(..., weights_only=True)` gave.

    Raises:
        ModelError: it is something else, e.g. a bare state dict.
    """
    if not isinstance(content, dict) or not isinstance(content.get("tensors"), dict):
        raise ModelError(
            "The model file holds tensors but does not say which network they belong to.",
            expected=f"a TorchScript model, or a checkpoint with format, architecture, config, tensors ({FORMAT})",
            found=f"a {type(content).__name__}"
            + (f" with keys {list(content)[:5]}" if isinstance(content, dict) else ""),
            where=path,
            todo="Export the model: torch.jit.trace(model.eval(), example).save('model.pt').",
        )
    return _checked({k: v for k, v in content.items() if isinstance(v, str)}, content["tensors"], path)


def _checked(texts: dict[str, str], tensors: dict[str, Tensor], path: Path) -> Checkpoint:
    import torch

    if texts.get("format") != FORMAT or "architecture" not in texts:
        raise ModelError(
            "The model file is no checkpoint that medgan-qa knows.",
            expected=f"format {FORMAT!r} and an architecture name in the file's metadata",
            found=f"format {texts.get('format')!r}, keys {sorted(texts)[:6]}",
            where=path,
            todo="Export the model as TorchScript, or write it with medgan_qa.subjects.checkpoint.write_checkpoint.",
        )
    other = next((k for k, v in tensors.items() if not isinstance(k, str) or not isinstance(v, torch.Tensor)), None)
    if other is not None:
        raise ModelError(
            "The checkpoint holds something other than tensors.",
            expected="tensors by name",
            found=f"{other!r}: a {type(tensors[other]).__name__}",
            where=path,
            todo="Write the checkpoint again, from a state dict.",
        )
    return Checkpoint(texts["architecture"], _config(texts.get("config", "{}"), path), tensors, texts.get("card", ""))


def _config(text: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(text)
        found = f"a {type(config).__name__}"
    except (ValueError, RecursionError) as error:
        config, found = None, str(error)
    if not isinstance(config, dict):
        raise ModelError(
            "The checkpoint's configuration cannot be read.",
            expected="a JSON object with the arguments of the network",
            found=found,
            where=path,
            todo="Write the checkpoint again.",
        )
    return config
