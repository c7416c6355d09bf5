"""A card for a model that has none: what its file tells, what a trial shows, what is guessed from that.

The model is run like any other, in a process of its own, on an image or a latent vector that the file's shapes suggest;
what comes out tells which of the tasks it can be and how its output is scaled. What two tasks share stays a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medgan_qa.errors import ModelError
from medgan_qa.rng import child
from medgan_qa.subjects.dry_run import IMAGES, SLACK, image_batch, span_of
from medgan_qa.subjects.file_facts import FileFacts, Shape
from medgan_qa.subjects.networks import Float, Network

CHANNELS = (1, 3, 2, 4)
"""Channels that are tried where the file suggests none, in this order."""
LATENTS = (128, 512, 64, 256, 100)
RANGES = ((0.0, 1.0), (-1.0, 1.0))


@dataclass(frozen=True)
class Told:
    """A value for a card, and where it comes from."""

    value: Any
    why: str
    guess: bool = False
    """Whether another value would fit what was seen as well."""


@dataclass
class Proposal:
    """What can be said of a model without asking anybody."""

    keys: dict[str, Told] = field(default_factory=dict)
    taken: tuple[int, ...] = ()
    """The shape that a trial gave the model; empty where none was accepted."""
    returned: tuple[int, ...] = ()
    span: tuple[float, float] | None = None
    """What the output's values lie between, see `span_of`."""
    refusals: list[str] = field(default_factory=list)
    """What the model said to the trials that it did not accept."""


def propose(network: Network, facts: FileFacts, size: int, known: dict[str, Any]) -> Proposal:
    """Try a model, and put together what its card has to say.

    Args:
        network: the model, opened.
        facts: what its file tells.
        size: rows and columns of the images of a trial, where the file fixes no other.
        known: keys of the card that the user gave; they are tried first, and alone.

    Raises:
        ModelCrashError: the model took its process down.
    """
    proposal = Proposal()
    for x in _trials(facts, size, known):
        try:
            y = network(_as_asked(x, known), 0)
        except ModelError as error:
            proposal.refusals.append(f"{tuple(x.shape)}: {error.found}")
            continue
        if not y.size:
            # A slice of channels that are not there is empty, and no error.
            proposal.refusals.append(f"{tuple(x.shape)}: an empty output of shape {tuple(y.shape)}")
            continue
        proposal.taken, proposal.returned = tuple(x.shape), tuple(y.shape)
        if np.isfinite(y).any():
            proposal.span = span_of(y)
        break
    proposal.keys = _keys(proposal, facts, known)
    return proposal


def _trials(facts: FileFacts, size: int, known: dict[str, Any]) -> Iterator[Float]:
    images, latents = _channels(facts, known), _latents(facts, known)
    shape: Shape = facts.inputs[0] if facts.inputs else ()
    rows, columns = (n or size for n in shape[2:4]) if len(shape) == 4 else (size, size)
    as_image = (image_batch(IMAGES, c, rows, columns) for c in images)
    as_latent = (child(0, "trial latent").standard_normal((IMAGES, d)).astype(np.float32) for d in latents)
    if known.get("task") == "synthesis":
        yield from as_latent
    elif known.get("task") is not None:
        yield from as_image
    elif len(shape) == 2 or (not shape and facts.first_width() is not None):
        yield from as_latent
        yield from as_image
    else:
        yield from as_image
        yield from as_latent


def _channels(facts: FileFacts, known: dict[str, Any]) -> list[int]:
    if known.get("channels_in"):
        return [known["channels_in"]]
    shape: Shape = facts.inputs[0] if facts.inputs else ()
    if len(shape) == 4 and shape[1]:
        return [shape[1]]
    first = [taken for taken, _ in facts.convolutions()[:1]]
    return list(dict.fromkeys([*first, *CHANNELS]))


def _latents(facts: FileFacts, known: dict[str, Any]) -> list[int]:
    if known.get("latent_dim"):
        return [known["latent_dim"] + len(known.get("classes") or ())]
    shape: Shape = facts.inputs[0] if facts.inputs else ()
    if len(shape) == 2 and shape[1]:
        return [shape[1]]
    first = [width for width in (facts.first_width(), *(taken for taken, _ in facts.convolutions()[:1])) if width]
    return list(dict.fromkeys([*first, *LATENTS]))


def _as_asked(x: Float, known: dict[str, Any]) -> Float:
    """Images in the range that the user says the model wants; latent vectors as they are."""
    if x.ndim == 2 or "range_in" not in known:
        return x
    low, high = known["range_in"]
    scaled: Float = (x * (high - low) + low).astype(np.float32)
    return scaled


def _keys(proposal: Proposal, facts: FileFacts, known: dict[str, Any]) -> dict[str, Told]:
    found: dict[str, Told] = {}
    if facts.name:
        found["name"] = Told(facts.name, "the bundle's metadata")
    if facts.version:
        found["version"] = Told(facts.version, "the bundle's metadata")
    taken, returned = proposal.taken, proposal.returned
    if not taken:
        return found
    shown = f"a trial: {taken} gave {returned}"
    if len(taken) == 2:
        found["latent_dim"] = Told(taken[1] - len(known.get("classes") or ()), shown)
    else:
        found["channels_in"] = Told(taken[1], shown)
    if len(returned) == 4:
        found["channels_out"] = Told(returned[1], shown)
    found |= _task(taken, returned, known.get("task"), shown)
    task = known.get("task") or (found["task"].value if "task" in found else None)
    if task not in (None, "discriminator", "segmentation") and proposal.span is not None:
        found |= _range_out(proposal.span)
    if task not in (None, "synthesis"):
        same = known.get("range_out") or (found["range_out"].value if "range_out" in found else None)
        if same is not None:
            found["range_in"] = Told(list(same), "the range of the output, which networks mostly share", guess=True)
    if task == "segmentation":
        found["range_out"] = Told([0.0, 1.0], "a detector's logits are read as they are")
    return found


def _task(taken: Shape, returned: Shape, asked: str | None, shown: str) -> dict[str, Told]:
    if len(taken) == 2:
        return {"task": Told("synthesis", f"{shown}, images from vectors")} if len(returned) == 4 else {}
    if len(returned) == 1 or (len(returned) == 2 and returned[1] == 1):
        return {"task": Told("discriminator", f"{shown}, one number an image")}
    if len(returned) != 4:
        return {}
    rows, columns = (_times(out, given) for out, given in zip(returned[2:], taken[2:], strict=True))
    if rows is None or columns is None:
        return {}
    if (rows, columns) != (1, 1) or asked == "super-resolution":
        scale = rows if rows == columns else [rows, columns]
        return {"task": Told("super-resolution", f"{shown}, a finer grid"), "scale": Told(scale, shown)}
    # Restorers and detectors keep the size as well.
    return {"task": Told("translation", f"{shown}, images of the same size", guess=True)}


def _times(out: int | None, given: int | None) -> int | None:
    return out // given if out and given and out % given == 0 else None


def _range_out(span: tuple[float, float]) -> dict[str, Told]:
    for low, high in RANGES:
        slack = SLACK * (high - low)
        if low - slack <= span[0] and span[1] <= high + slack:
            return {"range_out": Told([low, high], f"outputs between {span[0]:.3g} and {span[1]:.3g}", guess=True)}
    return {}
