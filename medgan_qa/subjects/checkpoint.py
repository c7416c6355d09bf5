"""Reference-model checkpoints: an architecture's name, its configuration, its tensors and its card. Nothing executable.

Two containers hold the same content. `.safetensors` carries the texts as metadata; `.pt` is a `torch.save` of plain values and
tensors, read with `weights_only`, so that a pickle which needs more is refused and never run.
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
        os.chmod(name, 0o644)
        os.replace(name, path)
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
            found=f"a {type(content).__name__}" + (f" with keys {list(content)[:5]}" if isinstance(content, dict) else ""),
            where=path,
            todo="Export the model: torch.jit.script(model.eval()).save('model.pt').",
        )
    return _checked({k: v for k, v in content.items() if isinstance(v, str)}, content["tensors"], path)


def _checked(texts: dict[str, str], tensors: dict[str, Tensor], path: Path) -> Checkpoint:
    if texts.get("format") != FORMAT or "architecture" not in texts:
        raise ModelError(
            "The model file is no checkpoint that medgan-qa knows.",
            expected=f"format {FORMAT!r} and an architecture name in the file's metadata",
            found=f"format {texts.get('format')!r}, keys {sorted(texts)[:6]}",
            where=path,
            todo="Export the model as TorchScript, or write it with medgan_qa.subjects.checkpoint.write_checkpoint.",
        )
    try:
        config = json.loads(texts.get("config", "{}"))
    except json.JSONDecodeError as error:
        raise ModelError(
            "The checkpoint's configuration cannot be read.",
            expected="JSON",
            found=str(error),
            where=path,
            todo="Write the checkpoint again.",
        ) from error
    return Checkpoint(texts["architecture"], config, tensors, texts.get("card", ""))
