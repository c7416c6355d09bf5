"""What a model's file tells without being run: the shapes of its weights, its inputs and its outputs.

Nothing here loads a network. Pickles are gone through by an unpickler that makes inert stand-ins of whatever they name.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgan_qa.errors import MedganQAError
from medgan_qa.subjects.archives import members_of

Shape = tuple[int | None, ...]
LARGEST = 64 * 2**20
"""Bytes of a pickle, header or graph that is gone through; beyond, nothing is told."""


@dataclass(frozen=True)
class FileFacts:
    """What a file tells; empty where it tells nothing."""

    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes by name, in the order of the file."""
    transposed: frozenset[str] = frozenset()
    """Weights of transposed convolutions, whose shape begins with the channels that they take."""
    inputs: tuple[Shape, ...] = ()
    """Shapes of the inputs of a graph, None for a free size."""
    outputs: tuple[Shape, ...] = ()
    name: str | None = None
    version: str | None = None

    def convolutions(self) -> list[tuple[int, int]]:
        """Channels in and out of each convolution over images, in the order of the file."""
        kernels = {name: shape for name, shape in self.weights.items() if len(shape) == 4}
        return [(s[0], s[1]) if name in self.transposed else (s[1], s[0]) for name, s in kernels.items()]

    def first_width(self) -> int | None:
        """How many numbers the first layer takes, where it is no convolution: the length of a latent vector."""
        first = next((shape for shape in self.weights.values() if len(shape) > 1), None)
        return first[1] if first is not None and len(first) == 2 else None


def facts_of(path: Path) -> FileFacts:
    """What a model's file or bundle tells. A file that tells nothing, for whatever reason, is no error here."""
    try:
        if path.is_dir():
            return _of_bundle(path)
        if path.suffix.lower() == ".safetensors":
            return FileFacts(_of_safetensors(path))
        if path.suffix.lower() == ".onnx":
            return _of_onnx(path)
        with path.open("rb") as stream:
            packed = stream.read(2) == b"PK"
        return _of_archive(path) if packed else FileFacts()
    except (MedganQAError, OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        return FileFacts()


def _of_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length)) if length <= LARGEST else {}
    return {name: tuple(value["shape"]) for name, value in header.items() if name != "__metadata__"}


def _of_onnx(path: Path) -> FileFacts:
    from medgan_qa.subjects.onnx_check import read_graph

    graph = read_graph(path).model.graph
    held = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_onnx_shape(value) for value in graph.input if value.name not in held)
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return FileFacts(weights, inputs=inputs, outputs=tuple(map(_onnx_shape, graph.output)))


def _onnx_shape(value: Any) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)


def _of_archive(path: Path) -> FileFacts:
    infos = {info.filename.partition("/")[2]: info for info in members_of(path, one_folder=False)}
    with zipfile.ZipFile(path) as archive:
        wanted = next((name for name in ("models/model.json", "data.pkl") if name in infos), None)
        if wanted is None or infos[wanted].file_size > LARGEST:
            return FileFacts()
        content = archive.read(infos[wanted])
    return _of_program(json.loads(content)) if wanted.endswith(".json") else _of_pickle(content)


def _of_program(program: dict[str, Any]) -> FileFacts:
    """An exported program: which values of its graph are weights, and which the user gives and takes."""
    module = program["graph_module"]
    shapes = {name: _sizes(value) for name, value in module["graph"]["tensor_values"].items()}
    weights: dict[str, tuple[int, ...]] = {}
    inputs: list[Shape] = []
    for given in module["signature"]["input_specs"]:
        (kind, spec), *_ = given.items()
        argument = spec.get("arg", {})
        value = shapes.get(str(argument.get("name") or argument.get("as_tensor", {}).get("name")), ())
        if kind == "user_input":
            inputs.append(value)
        elif kind == "parameter":
            weights[str(spec.get("parameter_name"))] = tuple(size or 0 for size in value)
    results = [spec["user_output"]["arg"] for spec in module["signature"]["output_specs"] if "user_output" in spec]
    outputs = tuple(shapes[r["as_tensor"]["name"]] for r in results if "as_tensor" in r)
    return FileFacts(weights, inputs=tuple(inputs), outputs=outputs)


def _sizes(value: dict[str, Any]) -> Shape:
    return tuple(size.get("as_int") for size in value["sizes"])


def _of_bundle(path: Path) -> FileFacts:
    from medgan_qa.subjects.bundle import WEIGHTS, metadata_of

    about = metadata_of(path)
    formats = about.get("network_data_format", {})
    # Spatial sizes of a bundle are those of its training, or formulas; only the channels are certain.
    inputs, outputs = (
        tuple((None, int(value["num_channels"]), None, None) for value in formats.get(side, {}).values())
        for side in ("inputs", "outputs")
    )
    held = facts_of(path / WEIGHTS)
    name, version = (str(about[key]) if key in about else None for key in ("name", "version"))
    return FileFacts(held.weights, held.transposed, inputs, outputs, name, version)


class _Thing:
    """Stands for anything that a pickle names: a class, a function, or what came of calling one."""

    def __new__(cls, *arguments: Any) -> Any:
        # The unpickler makes an instance of a class by `named.__new__(named)`, and here a name is no class.
        return cls(*arguments) if isinstance(cls, _Thing) else super().__new__(cls)

    def __init__(self, kind: str, arguments: tuple[Any, ...] = ()) -> None:
        self.kind, self.arguments = kind, arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *arguments: Any) -> Any:
        if self.kind in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_qtensor"):
            return _Thing("tensor", tuple(arguments[2]))
        return arguments[0] if self.kind == "torch._utils._rebuild_parameter" else _Thing(self.kind, arguments)


class _Table(dict[Any, Any]):
    """Stands for an ordered dictionary, whose further attributes nobody asks for."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Looker(pickle._Unpickler):  # Python's own, whose memo is no array of any size
    """Makes stand-ins of everything; imports and calls nothing that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        return _Table if (module, name) == ("collections", "OrderedDict") else _Thing(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return _Thing("storage")


def _of_pickle(content: bytes) -> FileFacts:
    try:
        found = _Looker(io.BytesIO(content)).load()
    except Exception:  # a hostile pickle ends the unpickler in errors of many kinds
        return FileFacts()
    weights: dict[str, tuple[int, ...]] = {}
    transposed = set()
    for name, shape, owner in _tensors(found):
        weights[name] = shape
        if "ConvTranspose" in owner:
            transposed.add(name)
    return FileFacts(weights, frozenset(transposed))


def _tensors(root: Any) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Tensors by name, in order, with the class that holds each."""
    left: list[tuple[str, Any, str]] = [("", root, "")]
    seen: set[int] = set()
    while left:
        name, value, owner = left.pop()
        if isinstance(value, _Thing) and value.kind == "tensor":
            if all(isinstance(size, int) for size in value.arguments):
                yield name, value.arguments, owner
            continue
        inner = value.state if isinstance(value, _Thing) else value
        # Things may hold each other, or be held from many sides.
        if isinstance(inner, dict) and id(inner) not in seen:
            seen.add(id(inner))
            kind = value.kind if isinstance(value, _Thing) else owner
            items = [(f"{name}.{key}".lstrip("."), child, kind) for key, child in inner.items()]
            left += reversed(items)
