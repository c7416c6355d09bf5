"""Loading a model file: what it is, by its content; its card; its digest.

Nothing in a file is executed while it is read: pickles are read as tensors and plain values only, exported programs are
looked through first (`medgan_qa.subjects.exported`).
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import entry_points
from pathlib import Path

from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.subjects.card import EXAMPLE, EXTRA_FILE, Card, parse_card, sidecar
from medgan_qa.subjects.formats import reader_of
from medgan_qa.subjects.protocols import Subject

REFERENCE = "reference:"
"""Prefix of a shipped model's name on the command line."""


def shipped_models() -> dict[str, Path]:
    """Models that installed packages ship, by name (entry-point group `medgan_qa.weights`)."""
    found: dict[str, Path] = {}
    for point in sorted(entry_points(group="medgan_qa.weights"), key=lambda p: p.name):
        found.update(point.load()())
    return found


def resolve(model: str) -> Path:
    """The file that a command-line argument means: a path, or `reference:NAME`.

    Raises:
        ConfigurationError: no shipped model has that name.
        ModelError: there is no such file, or nothing in it.
    """
    if model.startswith(REFERENCE):
        name, shipped = model.removeprefix(REFERENCE), shipped_models()
        if name not in shipped:
            raise ConfigurationError(
                "No shipped model has that name.",
                expected=f"one of {', '.join(shipped) or '(none is installed)'}",
                found=name,
                todo="`medgan-qa list models` shows what there is.",
            )
        return shipped[name]
    path = Path(model)
    if not _exists(path):
        raise ModelError(
            "The model file does not exist.",
            expected="a model file (.pt, .pt2, .onnx, .safetensors) or reference:NAME",
            found="nothing at that path",
            where=path,
            todo="Check the path; `medgan-qa list models` shows the shipped models.",
        )
    if not path.is_file():
        found = "a folder" if path.is_dir() else "neither a file nor a folder"
        raise ModelError(
            "The model is not a file.", expected="one file", found=found, where=path, todo="Name the model's own file."
        )
    if path.stat().st_size == 0:
        raise ModelError(
            "The model file is empty.",
            expected="a model",
            found="0 bytes",
            where=path,
            todo="Export or copy the model again.",
        )
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system, a folder that may not be entered
        return False


def load_subject(model: str, device: str = "cpu") -> Subject:
    """Load a model with its card.

    Args:
        model: a path or `reference:NAME`.
        device: `cpu`, `cuda`, or `auto` for CUDA where there is one.

    Raises:
        ModelError: missing, damaged, unsafe or unknown file; missing or malformed card.
        ConfigurationError: unknown reference name or device.
        MissingDependencyError: an ONNX file without onnxruntime.
    """
    path = resolve(model)
    device = choose_device(device)
    try:
        format_, reader = reader_of(path)
        digest = file_sha256(path)
    except OSError as error:
        raise ModelError(
            "The model file cannot be read.",
            expected="a file that may be read",
            found=str(error),
            where=path,
            todo="Correct its permissions, or copy it again.",
        ) from error
    network, inner_card, parameters = reader(path, device)
    card = _card(path, inner_card)
    return Subject(network, card, path, format_, digest, device, parameters)


def inverse_of(subject: Subject) -> Subject | None:
    """The translator back from the target domain to the source; None where there is none. Read when it is asked for.

    Raises:
        ModelError: what the card names cannot be loaded, is no translator, or does not take the model's output back to
            its input.
        ConfigurationError: the card names a shipped model that there is not.
    """
    if subject.inverse is not None or subject.card.inverse is None:
        return subject.inverse
    other = _named(subject, subject.card.inverse)
    there, back = subject.card, other.card
    if back.task != "translation" or (back.channels_in, back.channels_out) != (there.channels_out, there.channels_in):
        raise ModelError(
            "The inverse model does not translate back.",
            expected=f"a translation of {there.channels_out} channels into {there.channels_in}",
            found=f"{back.task}, {back.channels_in} channels into {back.channels_out}",
            where=other.path,
            todo=f"Correct inverse = {there.inverse!r} in the card of {subject.path.name}.",
        )
    return other


def comparator_of(subject: Subject) -> Subject | None:
    """The same classifier trained from scratch; None where there is none. Read when it is asked for.

    Raises:
        ModelError: what the card names cannot be loaded, is no discriminator, or takes other images.
        ConfigurationError: the card names a shipped model that there is not.
    """
    if subject.comparator is not None or subject.card.comparator is None:
        return subject.comparator
    other = _named(subject, subject.card.comparator)
    mine, its = subject.card, other.card
    if its.task != "discriminator" or its.channels_in != mine.channels_in:
        raise ModelError(
            "The comparator does not classify the same images.",
            expected=f"a discriminator of {mine.channels_in} channels",
            found=f"{its.task}, {its.channels_in} channels",
            where=other.path,
            todo=f"Correct comparator = {mine.comparator!r} in the card of {subject.path.name}.",
        )
    return other


def _named(subject: Subject, named: str) -> Subject:
    """A companion as a card names it: shipped, or beside the model."""
    return load_subject(named if named.startswith(REFERENCE) else str(subject.path.parent / named), subject.device)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def choose_device(device: str) -> str:
    """The device a flag means: `auto` is CUDA where torch sees a GPU.

    Raises:
        ConfigurationError: no such device.
    """
    import torch

    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", device) is None:
        raise ConfigurationError(
            "The device is unknown.",
            expected="cpu, cuda, cuda:N or auto",
            found=device,
            where="--device",
            todo="Name one of them.",
        )
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if there else "cpu"
    if device != "cpu" and int(device.partition(":")[2] or 0) >= there:
        raise ConfigurationError(
            "There is no such CUDA device.",
            expected=f"{device}, a GPU that torch sees",
            found=f"{there} GPUs",
            where="--device",
            todo="Use --device cpu or auto.",
        )
    return device


def _card(path: Path, inner: str | bytes) -> Card:
    beside = sidecar(path)
    if not beside.exists() and not inner:
        raise ModelError(
            "The model has no card.",
            expected=f"{beside.name} beside the file, or {EXTRA_FILE} inside it, such as\n{EXAMPLE}",
            found="neither",
            where=path,
            todo=f"Write {beside}.",
        )
    # A card beside the file is the one a person wrote last; it wins over the archive's.
    where = str(beside) if beside.exists() else f"{path} ({EXTRA_FILE})"
    try:
        text = beside.read_bytes() if beside.exists() else inner
        return parse_card(text if isinstance(text, str) else text.decode(), where)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            "The model card cannot be read.",
            expected="a TOML file in UTF-8",
            found=str(error),
            where=where,
            todo="Write the card again.",
        ) from error
