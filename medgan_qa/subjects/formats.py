"""The model file formats: which one a file is, by its content, and how its network is read."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from medgan_qa.errors import MissingDependencyError, ModelError
from medgan_qa.subjects.archives import members_of
from medgan_qa.subjects.bundle import is_packed_bundle
from medgan_qa.subjects.card import EXTRA_FILE
from medgan_qa.subjects.checkpoint import Checkpoint, from_plain, read_safetensors
from medgan_qa.subjects.exported import nothing_unpickled_but_tensors, objection
from medgan_qa.subjects.networks import Network, OneAtATime, OnnxNetwork, TorchNetwork
from medgan_qa.subjects.refusals import EXPORT, damaged, refused_by_unpickler, unsafe
from medgan_qa.subjects.state import load_plain

Loaded = tuple[Network, str | bytes, int | None]
"""The network, the card in the file (empty if it holds none), and the number of parameters where the format tells."""
Reader = Callable[[Path, str], Loaded]


def reader_of(path: Path) -> tuple[str, Reader]:
    """The name of a file's format and how to read it, by content: a `.pt` may be any of three things.

    A folder is taken for a MONAI bundle.

    Raises:
        ModelError: it is of no known format.
        OSError: it cannot be opened.
    """
    if path.is_dir():
        return "MONAI bundle", _read_bundle
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return "reference checkpoint (safetensors)", _read_safetensors
    if suffix == ".onnx":
        return "ONNX", _read_onnx
    with path.open("rb") as stream:
        magic = stream.read(4)
    found = f"a file that begins with {magic!r}"
    if magic[:2] == b"PK":
        members = [info.filename.lower() for info in members_of(path, one_folder=False)]
        if any("/code/" in name or name.endswith("constants.pkl") for name in members):
            return "TorchScript", _read_torchscript
        if suffix == ".pt2" or any(name.endswith("archive_format") for name in members):
            return "exported program", _read_exported
        if any(name.endswith("data.pkl") for name in members):
            return "reference checkpoint (pt)", _read_plain
        if is_packed_bundle(path):
            return "MONAI bundle", _read_bundle
        found = f"a zip archive of {len(members)} files without a model: {', '.join(members[:3])}"
    if magic[:1] == b"\x80":
        return "reference checkpoint (pt)", _read_plain
    raise ModelError(
        "The model file is of no known format.",
        expected="TorchScript (.pt), exported program (.pt2), ONNX (.onnx) or a checkpoint (.pt, .safetensors)",
        found=found,
        where=path,
        todo=f"{EXPORT} A truncated copy looks like this too.",
    )


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def _read_torchscript(path: Path, device: str) -> Loaded:
    from medgan_qa.subjects.torchscript import read_torchscript

    script = read_torchscript(path, device, (EXTRA_FILE,))
    return TorchNetwork(script.module, device), script.extra[EXTRA_FILE], _count(script.module)


def _read_exported(path: Path, device: str) -> Loaded:
    import torch

    members_of(path)
    archive, extra = path.read_bytes(), {EXTRA_FILE: ""}
    try:
        objectionable = objection(archive)
    # What zipfile raises on damaged members: bad data, encryption flags, unknown compression.
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, NotImplementedError) as error:
        raise damaged(path, str(error)) from error
    if objectionable is not None:
        raise unsafe(path, objectionable)
    try:
        with nothing_unpickled_but_tensors():
            program = torch.export.load(io.BytesIO(archive), extra_files=extra)
            module = program.module().to(device)
    except Exception as error:  # torch.export raises many kinds, zipfile's among them
        if "weights_only" in str(error):
            raise unsafe(path, refused_by_unpickler(str(error)) or "a pickle that needs more than tensors") from error
        raise damaged(path, str(error)) from error
    network: Network = TorchNetwork(module, device)
    if _example_batch(program) == 1:
        network = OneAtATime(network)
    return network, extra[EXTRA_FILE] or "", _count(module)


def _example_batch(program: Any) -> int | None:
    """The batch size that the program was fixed to when it was exported; None if it takes any."""
    taken = program.graph_signature.user_inputs
    batch = [n.meta["val"].shape[0] for n in program.graph.nodes if n.name in taken[:1] and n.meta["val"].ndim]
    return batch[0] if batch and isinstance(batch[0], int) else None


def _read_onnx(path: Path, device: str) -> Loaded:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX models need onnxruntime.",
            expected="the onnx extra",
            found=str(error),
            where=path,
            todo="pip install 'medgan-qa[onnx]'",
        ) from error
    from medgan_qa.subjects.onnx_check import read_graph

    graph = read_graph(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        # From memory there is no folder to look for tensors in; only a graph that was seen to need one is given it.
        given = str(path) if graph.external else graph.content
        session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        card = session.get_modelmeta().custom_metadata_map.get(EXTRA_FILE, "")
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise damaged(path, str(error)) from error
    network: Network = OnnxNetwork(session)
    # A free batch size is a name or None.
    if [given.shape[:1] for given in session.get_inputs()] == [[1]]:
        network = OneAtATime(network)
    return network, card, None


def _read_plain(path: Path, device: str) -> Loaded:
    if zipfile.is_zipfile(path):
        members_of(path)
    with path.open("rb") as stream:
        return _build(from_plain(load_plain(stream, path), path), path, device)


def _read_bundle(path: Path, device: str) -> Loaded:
    from medgan_qa.subjects.bundle import read_bundle

    return read_bundle(path, device)


def _read_safetensors(path: Path, device: str) -> Loaded:
    return _build(read_safetensors(path), path, device)


def _build(checkpoint: Checkpoint, path: Path, device: str) -> Loaded:
    known: dict[str, Any] = {}
    for point in sorted(entry_points(group="medgan_qa.architectures"), key=lambda p: p.name):
        known.update(point.load()())
    if checkpoint.architecture not in known:
        raise ModelError(
            "The checkpoint names a network that is not installed.",
            expected=f"one of {', '.join(known) or '(no architectures are installed)'}",
            found=checkpoint.architecture,
            where=path,
            todo="Install the package that registers it (entry-point group medgan_qa.architectures). Or: " + EXPORT,
        )
    try:
        module = known[checkpoint.architecture](**checkpoint.config)
        module.load_state_dict(checkpoint.tensors)
    except Exception as error:  # a network of another package may raise anything on a wrong configuration
        raise ModelError(
            "The checkpoint's tensors do not fit the network it names.",
            expected=f"the tensors of {checkpoint.architecture} with {checkpoint.config}",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            where=path,
            todo="Write the checkpoint again with the configuration that it was trained with.",
        ) from error
    return TorchNetwork(module.eval().to(device), device), checkpoint.card, _count(module)
