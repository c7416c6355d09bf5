"""Loading a model: what it is, by its content; its card; its digest.

A model is opened and run in a process of its own that may do little but compute (`medgan_qa.subjects.isolation`),
unless whoever runs the audit trusts it. Nothing of it is unpickled, parsed or run here.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from medgan_qa.errors import ConfigurationError, MedganQAError, ModelError
from medgan_qa.subjects.card import EXAMPLE, EXTRA_FILE, Card, parse_card, sidecar
from medgan_qa.subjects.isolation.batches import FittedNetwork
from medgan_qa.subjects.isolation.confine import cuda_devices
from medgan_qa.subjects.isolation.job import Job
from medgan_qa.subjects.isolation.limits import limits
from medgan_qa.subjects.isolation.network import IsolatedNetwork
from medgan_qa.subjects.networks import Network
from medgan_qa.subjects.protocols import Subject
from medgan_qa.subjects.sources import Source, code_file, file_sha256, no_weights_for

__all__ = [
    "choose_device",
    "comparator_of",
    "file_sha256",
    "inverse_of",
    "load_again",
    "load_subject",
    "resolve",
    "shipped_models",
]

REFERENCE = "reference:"
"""Prefix of a shipped model's name on the command line."""
LONGEST_CARD = 1 << 18
"""Bytes of a card."""
TRUSTED = {"process": "none: it ran in the process of the audit (--trust)"}


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


def load_subject(model: str, device: str = "cpu", *, weights: Path | None = None, trust: bool = False) -> Subject:
    """Load a model with its card.

    Args:
        model: a path, `reference:NAME`, or `package.module:build` for a team's own code.
        device: `cpu`, `cuda`, or `auto` for CUDA where there is one.
        weights: a file that a team's own code reads.
        trust: open and run it in this process, without protection from it.

    Raises:
        ModelError: missing, damaged, unsafe or unknown file; missing or malformed card.
        ConfigurationError: unknown reference name or device.
        MissingDependencyError: an ONNX file without onnxruntime.
        ModelCrashError: the model's process crashed, hung or ran out of memory while it was opened.
    """
    source, device = source_of(model, weights), choose_device(device)
    try:
        digest, size = source.digest(), source.size()
    except OSError as error:
        raise _unreadable(source.path, error) from error
    if trust:
        network, format_, inner, parameters, origin = _in_this_process(source, device)
        facts: dict[str, Any] = dict(TRUSTED)
    else:
        job = job_of(source, device, size)
        try:
            isolated = IsolatedNetwork(job, limits(), source.digest, digest)
        except MedganQAError as error:
            raise _as_named(error, source) from error
        network, facts = isolated, isolated.facts
        format_, inner, parameters = isolated.format, isolated.card, isolated.parameters
        origin = isolated.origin
    return Subject(
        FittedNetwork(network, facts),
        _card(source.path, inner),
        source.path,
        format_,
        digest,
        device,
        parameters,
        isolation=facts,
        trusted=trust,
        named=source.model,
        weights=source.weights,
        origin=origin,
    )


def load_again(subject: Subject, device: str) -> Subject:
    """The same model once more, on a device.

    Raises:
        MedganQAError: as `load_subject`.
    """
    named = subject.named or str(subject.path)
    return load_subject(named, device, weights=subject.weights, trust=subject.trusted)


def source_of(model: str, weights: Path | None = None) -> Source:
    """What a command-line argument means as a model.

    Raises:
        ModelError: there is no such model or no such file with weights.
        ConfigurationError: no shipped model has that name, or weights are given to a model that has its own.
    """
    from medgan_qa.subjects.factory import is_factory

    if not model.startswith(REFERENCE) and is_factory(model):
        held = None if weights is None else resolve(str(weights))
        return Source(model, "code", held or code_file(model), held)
    if weights is not None:
        raise no_weights_for(model)
    path = Path(model)
    if _is_bundle(path):
        return Source(model, "bundle", path)
    return Source(model, "file", resolve(model))


def _is_bundle(folder: Path) -> bool:
    from medgan_qa.subjects.bundle import is_bundle

    try:
        return folder.is_dir() and is_bundle(folder)
    except OSError:  # a name too long for the file system, a folder that may not be entered
        return False


def _in_this_process(source: Source, device: str) -> tuple[Network, str, str | bytes, int | None, dict[str, Any]]:
    from medgan_qa.subjects.reading import origin_of, read

    weights = None if source.weights is None else str(source.weights)
    named = source.model if source.kind == "code" else str(source.path)
    format_, (network, card, parameters) = read(source.kind, named, weights, device)
    return network, format_, card, parameters, origin_of(source.kind, named, weights)


def job_of(source: Source, device: str, size: int) -> Job:
    """What a model's own process is asked to open, and what it may take."""
    torch = sys.modules.get("torch")
    may_take, code = limits(), source.kind == "code"
    return Job(
        model=source.opened,
        device=device,
        kind=source.kind,
        weights=None if source.weights is None else str(source.weights.absolute()),
        folder=str(Path.cwd()) if code else None,
        threads=None if torch is None else torch.get_num_threads(),
        size=size,
        memory_mb=may_take.memory_mb,
        reading_mb=may_take.reading_mb(size, code=code),
        scratch_mb=may_take.scratch_mb(size),
    )


def _as_named(error: MedganQAError, source: Source) -> MedganQAError:
    """An error of a model's process with the path as the user gave it."""
    whole, given = str(source.path.absolute()), str(source.path)
    parts = (None if part is None else part.replace(whole, given) for part in (error.expected, error.found, error.todo))
    expected, found, todo = parts
    where = given if error.where is None else error.where.replace(whole, given)
    return type(error)(error.problem.replace(whole, given), expected=expected, found=found, where=where, todo=todo)


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        "The model file cannot be read.",
        expected="a file that may be read",
        found=str(error),
        where=path,
        todo="Correct its permissions, or copy it again.",
    )


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
    """A companion as a card names it: shipped, or beside the model; trusted as the model is."""
    place = named if named.startswith(REFERENCE) else str(subject.path.parent / named)
    return load_subject(place, subject.device, trust=subject.trusted)


def choose_device(device: str) -> str:
    """The device a flag means: `auto` is CUDA where torch sees a GPU.

    Raises:
        ConfigurationError: no such device.
    """
    if device == "cpu" or (device == "auto" and "torch" not in sys.modules and not cuda_devices()):
        # Known without torch, which takes seconds to import.
        return "cpu"
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
        text = _read_card(beside) if beside.exists() else inner
        if len(text) > LONGEST_CARD:
            raise ValueError(f"more than {LONGEST_CARD >> 10} KB")
        return parse_card(text if isinstance(text, str) else text.decode(), where)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            "The model card cannot be read.",
            expected="a TOML file in UTF-8",
            found=str(error),
            where=where,
            todo="Write the card again.",
        ) from error


def _read_card(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(LONGEST_CARD + 1)
