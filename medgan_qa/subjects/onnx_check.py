"""The safety check of ONNX files: nothing outside the model's folder, no operators of strangers, no absurd sizes.

An ONNX file is a graph of operators that onnxruntime knows by name. What it can reach beyond its tensors is a file that
it names as the place of a tensor (external data), and an operator of another domain that a library brings. Both are
looked for everywhere in the graph, with its branches, loops and local functions, before onnxruntime sees the file.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from medgan_qa.errors import MissingDependencyError, ModelError
from medgan_qa.subjects.onnx_graph import Objection, all_graphs, all_tensors, require_data, require_order, require_sizes
from medgan_qa.subjects.refusals import damaged

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Not com.microsoft: exporters do not write it for a network, onnxruntime writes it into graphs that it has optimised
for one machine, and one of its operators (EPContext) names a file of compiled code."""
LARGEST_FILE = 2**31 - 1
"""Bytes; the format itself ends here, and larger models keep their tensors beside it."""


class Graph(NamedTuple):
    """An ONNX file that was let through."""

    content: bytes
    external: tuple[Path, ...]
    """Files with tensors, beside the model."""
    model: Any
    """The `onnx.ModelProto`."""


def read_graph(path: Path) -> Graph:
    """Read and check an ONNX file, without the tensors that lie beside it.

    Raises:
        ModelError: it is damaged, reaches beyond its folder, uses operators of another domain, declares what does not
            fit, or cannot be computed.
        MissingDependencyError: the onnx package is not installed.
        OSError: it cannot be opened.
    """
    onnx = _library(path)
    if path.stat().st_size > LARGEST_FILE:
        raise _refused(path, f"{path.stat().st_size} bytes, where the format ends at 2 GB")
    content = path.read_bytes()
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's errors share no public base class
        raise damaged(path, str(error)) from error
    if not model.HasField("graph") or not model.graph.node:
        raise damaged(path, "no graph")
    try:
        external = _check(model, content, path.parent)
    except Objection as error:
        raise _refused(path, str(error)) from error
    return Graph(content, external, model)


def _library(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX models need the onnx package, which reads them before they run.",
            expected="the onnx extra",
            found=str(error),
            where=path,
            todo="pip install 'medgan-qa[onnx]'",
        ) from error
    return onnx


def _refused(path: Path, found: str) -> ModelError:
    return ModelError(
        "The ONNX file asks for more than a graph that can be computed from itself, and was refused.",
        expected="operators of ai.onnx and ai.onnx.ml; tensors in the file, or in files within its folder",
        found=found,
        where=path,
        todo="Export the model again: torch.onnx.export(model.eval(), example, 'model.onnx').",
    )


def _check(model: Any, content: bytes, folder: Path) -> tuple[Path, ...]:
    if content[4:8] == b"ORTM":
        raise Objection("a file that onnxruntime would take for its own format")
    if any(entry.key == "ort_config" for entry in model.metadata_props):
        raise Objection("settings for onnxruntime (ort_config)")
    if model.training_info:
        raise Objection("a graph for training")
    local = {(function.domain, function.name) for function in model.functions}
    if len(local) < len(model.functions):
        raise Objection("two local functions of one name")
    _require_known_operators(model, local)
    external: dict[Path, None] = {}
    for place, tensor in all_tensors(model):
        if (file := _external(tensor, folder)) is not None:
            external[file] = None
        require_data(tensor, file, place)
    require_sizes(model)
    require_order(model)
    return tuple(external)


def _require_known_operators(model: Any, local: set[tuple[str, str]]) -> None:
    # A domain that is imported and not used brings nothing; exporters leave such lines behind.
    if taken := [name for domain, name in sorted(local) if domain in DOMAINS]:
        raise Objection(f"a local function {taken[0]} in the place of an operator")
    for place, graph in all_graphs(model):
        for node in graph.node:
            if node.domain not in DOMAINS and (node.domain, node.op_type) not in local:
                raise Objection(f"the operator {node.domain}::{node.op_type} in {place}")


def _external(tensor: Any, folder: Path) -> Path | None:
    """The file of a tensor that lies beside the model; None where it lies inside."""
    if not tensor.external_data and tensor.data_location == 0:
        return None
    facts: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    if len(facts) < len(tensor.external_data) or "basepath" in facts:
        raise Objection(f"a tensor {tensor.name} with two places")
    parts = PurePosixPath(location).parts
    outside = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ".." in parts
    if not parts or outside or "\\" in location or "\0" in location:
        raise Objection(f"a tensor {tensor.name} outside the model's folder: {location[:120]!r}")
    file: Path = folder / location
    try:
        within, status = file.resolve(strict=True).is_relative_to(folder.resolve()), file.stat()
    except OSError as error:
        raise Objection(f"a tensor {tensor.name} in {location[:120]!r}: {error.strerror}") from error
    if not within or not stat.S_ISREG(status.st_mode):
        raise Objection(f"a tensor {tensor.name} outside the model's folder: {location[:120]!r} leads elsewhere")
    return file
