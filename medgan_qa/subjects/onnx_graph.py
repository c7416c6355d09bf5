"""What an ONNX graph holds, and whether its sizes and its order can be right.

Everything here walks the main graph, the local functions and the graphs that nodes carry (branches, bodies of loops).
"""

from __future__ import annotations

import graphlib
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

MOST_ELEMENTS = 2**31
"""Elements of one tensor that a graph declares: 8 GiB of float32."""
DEEPEST = 20
"""Graphs within graphs; the format's own reader ends at a few more."""
TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


class Objection(Exception):
    """Why a file is refused."""


def all_graphs(model: Any) -> Iterator[tuple[str, Any]]:
    """The graph, the local functions, and every graph that a node of theirs carries, each with its place."""
    yield from _below(model.graph, "the graph")
    for function in model.functions:
        yield from _below(function, f"the function {function.name}")


def _below(graph: Any, place: str) -> Iterator[tuple[str, Any]]:
    left = [(place, graph, 0)]
    while left:
        place, graph, depth = left.pop()
        if depth > DEEPEST:
            raise Objection(f"graphs nested more than {DEEPEST} deep")
        yield place, graph
        for node in graph.node:
            left += [(f"{place}, node {_title(node)}", carried, depth + 1) for carried in _carried(node)]


def _title(node: Any) -> str:
    return str(node.name or node.op_type)


def _carried(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor that is stored with its values, with its place."""
    for place, graph in all_graphs(model):
        sparse = [*getattr(graph, "sparse_initializer", ())]
        yield from ((place, tensor) for tensor in getattr(graph, "initializer", ()))
        # A function has defaults for attributes, which hold tensors as those of a node do.
        for attribute in [*getattr(graph, "attribute_proto", ()), *(a for node in graph.node for a in node.attribute)]:
            if attribute.HasField("t"):
                yield place, attribute.t
            if attribute.HasField("sparse_tensor"):
                sparse.append(attribute.sparse_tensor)
            yield from ((place, tensor) for tensor in attribute.tensors)
            sparse += attribute.sparse_tensors
        yield from ((place, tensor) for pair in sparse for tensor in (pair.values, pair.indices))


def require_data(tensor: Any, file: Path | None, place: str) -> None:
    """Hold what a tensor declares against what there is of it, in the model's file or in one of its own.

    Raises:
        Objection: there is less, or the size is absurd.
    """
    count = _elements(tensor.dims, tensor.name, place)
    needed = math.ceil(count * _bits(tensor.data_type) / 8)
    if file is not None:
        there = _bytes_beside(tensor, file, place)
    elif tensor.HasField("raw_data"):
        there = len(tensor.raw_data)
    else:
        # Narrow numbers stand one to a wider entry; a complex number takes two.
        there = math.ceil(sum(len(getattr(tensor, name)) for name in TYPED) * _bits(tensor.data_type) / 8)
    if there < needed:
        raise Objection(f"a tensor {tensor.name} of {list(tensor.dims)} with {max(there, 0)} bytes, in {place}")


def _bytes_beside(tensor: Any, file: Path, place: str) -> int:
    facts, size = {entry.key: entry.value for entry in tensor.external_data}, file.stat().st_size
    try:
        offset = int(facts.get("offset") or 0)
        length = int(facts.get("length") or size - offset)
    except ValueError as error:
        raise Objection(f"a tensor {tensor.name} at no number, in {place}") from error
    return min(length, size - offset) if offset >= 0 else -1


def _bits(data_type: int) -> int:
    """Bits of an element; 0 for texts and for types of later versions, whose entries are counted by onnxruntime."""
    import onnx

    kind = onnx.TensorProto
    wide: dict[int, int] = {kind.FLOAT: 32, kind.DOUBLE: 64, kind.FLOAT16: 16, kind.BFLOAT16: 16, kind.BOOL: 8}
    wide |= {kind.INT8: 8, kind.UINT8: 8, kind.INT16: 16, kind.UINT16: 16, kind.INT32: 32, kind.UINT32: 32}
    wide |= {kind.INT64: 64, kind.UINT64: 64, kind.COMPLEX64: 64, kind.COMPLEX128: 128}
    return wide.get(data_type, 0)


def _elements(dims: Iterable[int], name: str, place: str) -> int:
    sizes = list(dims)
    if any(size < 0 for size in sizes) or math.prod(sizes) > MOST_ELEMENTS:
        raise Objection(f"a tensor {name} of {sizes}, in {place}")
    return math.prod(sizes)


def require_sizes(model: Any) -> None:
    """Refuse absurd sizes where a graph declares them: of its values, and of tensors that it fills.

    Raises:
        Objection: one is absurd.
    """
    for place, graph in all_graphs(model):
        for value in [*graph.input, *graph.output, *graph.value_info]:
            if not isinstance(value, str):  # a function names its inputs and outputs, without shapes
                dims = value.type.tensor_type.shape.dim
                _elements((d.dim_value for d in dims if d.HasField("dim_value")), value.name, place)
        constants = {tensor.name: tensor for tensor in getattr(graph, "initializer", ())}
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name == "shape":
                    _elements(attribute.ints, _title(node), place)
                if attribute.name == "value" and node.op_type == "Constant" and node.output:
                    constants[node.output[0]] = attribute.t
            asked = {"ConstantOfShape": 0, "Expand": 1}.get(node.op_type, len(node.input))
            if asked < len(node.input) and (sizes := constants.get(node.input[asked])) is not None:
                _elements(_numbers(sizes), _title(node), place)


def _numbers(tensor: Any) -> list[int]:
    """The numbers of a small tensor of int64; none where it holds something else or lies in another file."""
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        return [int.from_bytes(raw[k : k + 8], "little", signed=True) for k in range(0, min(len(raw), 256), 8)]
    return list(tensor.int64_data[:32])


def require_order(model: Any) -> None:
    """Refuse a model that reads what nothing produces, or that goes in a circle.

    Raises:
        Objection: it does.
    """
    _require_sources(model.graph, frozenset(), "the graph")
    for function in model.functions:
        _require_sources(function, frozenset(), f"the function {function.name}")
    local = {(function.domain, function.name): function for function in model.functions}
    calls = {
        name: {(n.domain, n.op_type) for _, graph in _below(function, name[1]) for n in graph.node} & local.keys()
        for name, function in local.items()
    }
    _require_no_circle(calls, lambda name: name[1], "the local functions")


def _require_sources(graph: Any, outer: frozenset[str], place: str) -> None:
    known = outer | _given(graph)
    maker = {name: k for k, node in enumerate(graph.node) for name in node.output if name}
    if len(maker) < sum(bool(name) for node in graph.node for name in node.output):
        raise Objection(f"two nodes that produce one value, in {place}")
    known |= maker.keys()
    sources: dict[int, set[int]] = {}
    for k, node in enumerate(graph.node):
        if missing := [name for name in node.input if name and name not in known]:
            raise Objection(f"node {_title(node)} reads {missing[0]!r}, which nothing produces, in {place}")
        reads = set(node.input)
        for carried in _carried(node):
            inside = f"{place}, node {_title(node)}"
            _require_sources(carried, known, inside)
            reads |= {name for _, g in _below(carried, inside) for n in g.node for name in n.input} - _made(carried)
        sources[k] = {maker[name] for name in reads & maker.keys()}
    if missing := [name for name in map(_name, graph.output) if name not in known]:
        raise Objection(f"an output {missing[0]!r}, which nothing produces, in {place}")
    _require_no_circle(sources, lambda k: _title(graph.node[k]), place)


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(value.name)


def _given(graph: Any) -> frozenset[str]:
    """What a graph holds before any of its nodes runs."""
    tensors = [*getattr(graph, "initializer", ()), *(s.values for s in getattr(graph, "sparse_initializer", ()))]
    return frozenset(map(_name, [*graph.input, *tensors]))


def _made(graph: Any) -> set[str]:
    """What a graph and those within it produce themselves."""
    return {name for _, g in _below(graph, "") for node in g.node for name in node.output} | _given(graph)


def _require_no_circle(sources: dict[Any, set[Any]], title: Callable[[Any], str], place: str) -> None:
    try:
        graphlib.TopologicalSorter(sources).prepare()
    except graphlib.CycleError as error:
        ring = " <- ".join(title(k) for k in error.args[1][:6])
        raise Objection(f"a circle in {place}: {ring}") from error
