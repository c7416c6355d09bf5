"""The training loop, shared by every system.

Everything that is random is drawn from the seed and the step, so a run that was interrupted and resumed gives the same
weights on a CPU as one that was not.
"""

from __future__ import annotations

import copy
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medgan_qa import __version__, rng
from medgan_qa.errors import ConfigurationError, OutputError
from medgan_qa.subjects.checkpoint import Checkpoint, write_checkpoint
from reference_models.data import DataConfig, Pool
from reference_models.recipes import Recipe
from reference_models.systems import SYSTEMS, System

Report = Callable[[int, dict[str, float]], None]
"""Called after every step with the number of steps done and the smoothed losses."""


def build(recipe: Recipe, device: torch.device) -> System:
    """The recipe's networks, freshly initialised from its seed."""
    with torch.random.fork_rng():
        torch.manual_seed(rng.child_seed(recipe.seed, "init") % 2**63)
        return SYSTEMS[recipe.system](**recipe.options).to(device)


def train(
    recipe: Recipe, out: Path, *, device: str = "cpu", checkpoint_every: int = 250, report: Report | None = None
) -> Path:
    """Train a recipe, or go on with an interrupted run of it.

    Args:
        recipe: what to train.
        out: folder for `state.pt` (resume), `log.jsonl` (losses) and, at the end, `model.safetensors`.
        device: `cpu` or a CUDA device.
        checkpoint_every: steps between states that a killed run can resume from.
        report: for a progress display.

    Returns:
        The path of the finished model.

    Raises:
        ConfigurationError: `out` holds the state of another recipe.
        OutputError: `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "The output folder cannot be made.", found=str(error), where=out, todo="Choose another --out."
        ) from error
    where = torch.device(device)
    pool = Pool(recipe.data, recipe.seed, where)
    system = build(recipe, where)
    ema = copy.deepcopy(system.exported).eval().requires_grad_(False)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in system.optimizers.items()}
    start, seconds = _resume(out / "state.pt", recipe, system, ema, where)
    smoothed: dict[str, float] = {}
    log = out / "log.jsonl"
    began = time.monotonic() - seconds

    for step in range(start, recipe.steps):
        # Learning rate: constant, then linear to zero.
        share = step / recipe.steps
        factor = min(1.0, (1.0 - share) / (1.0 - recipe.decay_from))
        for name, optimizer in system.optimizers.items():
            optimizer.param_groups[0]["lr"] = rates[name] * factor

        # One step, with randomness of its own.
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            torch.manual_seed(rng.child_seed(recipe.seed, "step", step) % 2**63)
            losses = system.train().step(pool.batch(step, recipe.batch))

        # Moving average of the exported network, the one that is released.
        decay = min(recipe.ema, (1 + step) / (10 + step))
        _average(ema, system.exported, decay)

        # Log, state, progress.
        smoothed = {k: v if not smoothed else 0.98 * smoothed[k] + 0.02 * v for k, v in losses.items()}
        done = step + 1
        if done % 50 == 0:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": done, **{k: round(v, 5) for k, v in smoothed.items()}}) + "\n")
        if done % checkpoint_every == 0 or done == recipe.steps:
            _save_state(out / "state.pt", recipe, system, ema, done, time.monotonic() - began)
        if report is not None:
            report(done, smoothed)

    path = out / "model.safetensors"
    card = card_text(recipe, pool.partitions, device=device, seconds=time.monotonic() - began)
    write_checkpoint(path, Checkpoint(system.architecture, system.config, ema.state_dict(), card))
    return path


@torch.no_grad()
def _average(ema: nn.Module, net: nn.Module, decay: float) -> None:
    for slow, fast in zip(ema.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    # Running statistics of a normalisation are averages already.
    for kept, current in zip(ema.buffers(), net.buffers(), strict=True):
        kept.copy_(current)


def _identity(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def _save_state(path: Path, recipe: Recipe, system: System, ema: nn.Module, step: int, seconds: float) -> None:
    state = {
        "recipe": _identity(recipe),
        "step": step,
        "seconds": seconds,
        "system": system.state_dict(),
        "ema": ema.state_dict(),
        "optimizers": {k: o.state_dict() for k, o in system.optimizers.items()},
        "extra": system.extra_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, recipe: Recipe, system: System, ema: nn.Module, device: torch.device) -> tuple[int, float]:
    """Put an earlier state back, if there is one; steps done and seconds spent so far."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location=device, weights_only=True)
    if state["recipe"] != _identity(recipe):
        raise ConfigurationError(
            "The folder holds an interrupted run of another recipe.",
            expected=f"a state of {recipe.name} ({recipe.size})",
            found=f"a state of {json.loads(state['recipe'])['name']}, or of this recipe before it was changed",
            where=path,
            todo="Choose another --out, or delete the state to start again.",
        )
    system.load_state_dict(state["system"])
    ema.load_state_dict(state["ema"])
    for name, optimizer in system.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    system.load_extra_state(state["extra"])
    return int(state["step"]), float(state["seconds"])


def card_text(recipe: Recipe, partitions: list[str], *, device: str, seconds: float) -> str:
    """The model card as TOML, with a `[training]` table that says how the file came to be."""
    contrasts = list(dict.fromkeys((recipe.data.source, recipe.data.target)))
    training: dict[str, Any] = {
        "recipe": recipe.name,
        "size": recipe.size,
        "method": recipe.method,
        "phantoms": f"brain, {' and '.join(contrasts)}, {recipe.data.size} x {recipe.data.size}",
        "partitions": partitions,
        "patients_a_domain": recipe.data.patients,
        **({"paired": recipe.data.paired} if len(contrasts) == 2 else {}),
        "tumours_in_target": _tumours(recipe.data),
        "steps": recipe.steps,
        "batch": recipe.batch,
        "seed": recipe.seed,
        "moving_average": recipe.ema,
        "device": "CUDA" if device.startswith("cuda") else f"CPU, {torch.get_num_threads()} thread(s)",
        "minutes": round(seconds / 60, 1),
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "finished_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "initialised_from": "random weights",
    }
    head = {"schema": "medgan-qa/card/1", "name": recipe.title, "version": __version__, **recipe.card}
    lines = [f"{k} = {_toml(v)}" for k, v in head.items()]
    return "\n".join([*lines, "", "[training]", *(f"{k} = {_toml(v)}" for k, v in training.items()), ""])


def _tumours(data: DataConfig) -> str:
    if data.target_share is not None:
        return f"{data.target_share:.4g} of the slices"
    return "half of the slices" if data.target_lesions else "none"


def _toml(value: Any) -> str:
    """JSON is TOML for strings, numbers, booleans and arrays of them."""
    return json.dumps(value, ensure_ascii=False)
