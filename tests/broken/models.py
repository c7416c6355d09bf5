"""Broken model files: TorchScript, exported programs, checkpoints, safetensors and ONNX."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.broken.mutants import Mutant, bomb, generic, mutant
from tests.broken.pictures import Canary, archive, patched
from tests.broken.texts import CARD


@cache
def network() -> Any:
    """One convolution."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Conv2d(1, 1, 3, padding=1).eval()


@cache
def torchscript() -> bytes:
    """A valid TorchScript model."""
    import torch

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network(), torch.rand(1, 1, 16, 16)), stream)
    return stream.getvalue()


@cache
def exported() -> bytes:
    """A valid exported program."""
    import torch

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network(), (torch.rand(1, 1, 16, 16),)), stream)
    return stream.getvalue()


def _texts(**changed: str) -> dict[str, str]:
    known = {"format": "medgan-qa/checkpoint/1", "architecture": "dcgan-generator", "config": "{}", "card": CARD}
    return {**known, **changed}


@cache
def safetensors() -> bytes:
    """Tensors with the texts of a checkpoint, of no architecture that there is."""
    import torch
    from safetensors.torch import save

    return bytes(save({"weight": torch.ones(2, 2)}, metadata=_texts(architecture="none-such")))


def checkpoint(**changed: Any) -> bytes:
    """A checkpoint as torch saves it."""
    import torch

    stream = io.BytesIO()
    torch.save({**_texts(architecture="none-such"), "tensors": {"weight": torch.ones(2, 2)}, **changed}, stream)
    return stream.getvalue()


def mutants() -> Iterator[Mutant]:
    """All of them."""
    yield from generic("torchscript", "model", "model.pt", torchscript(), flips=10)
    yield from generic("exported", "model", "model.pt2", exported(), flips=6)
    yield from generic("checkpoint", "model", "model.pt", checkpoint(), flips=6)
    yield from generic("safetensors", "model", "model.safetensors", safetensors(), flips=6)
    yield from generic("onnx", "model", "model.onnx", onnx().SerializeToString(), flips=10)
    yield from _archives("torchscript", "model.pt", torchscript())
    yield from _archives("exported", "model.pt2", exported())
    yield from _code()
    yield from _pickles()
    yield from _safetensors()
    yield from _onnx()


def members(content: bytes) -> dict[str, bytes]:
    """The members of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as held:
        return {name: held.read(name) for name in held.namelist()}


def _archives(format_: str, cell: str, seed: bytes) -> Iterator[Mutant]:
    """Archives that lie, unpack to too much, or name files elsewhere."""
    held = members(seed)
    top = next(iter(held)).partition("/")[0]
    made = {
        "bomb": bomb(f"{top}/data.pkl", b"\x80\x02", 3900),
        "bomb-of-another-size": bomb(f"{top}/data.pkl", b"\x80\x02", 3900, said=100),
        "encrypted": patched(seed, 6, 8, 1),
        "unknown-compression": patched(seed, 8, 10, 77),
        "leaving-name": archive({**held, "../../../outside": b"x"}),
        "absolute-name": archive({**held, "/tmp/outside": b"x"}),
        "no-members": archive({}),
        "one-member": archive({f"{top}/data.pkl": held.get(f"{top}/data.pkl", b"")}),
        "directory-alone": seed[seed.index(b"PK\1\2") :],
    }
    for name, content in made.items():
        yield mutant(f"{format_}/{name}", "model", cell, content, name != "encrypted")
    packed = archive({**held, f"{top}/extra/notes.txt": bytes(2**26)}, compress=True)
    yield mutant(f"{format_}/bomb-beside", "model", cell, packed, False)
    yield mutant(
        f"{format_}/many-members",
        "model",
        cell,
        archive({**held, **{f"{top}/extra/{k}": b"" for k in range(3000)}}),
        False,
    )


def _code() -> Iterator[Mutant]:
    """TorchScript whose code, constants or data are other ones."""
    held = members(torchscript())
    code = next(name for name in held if name.endswith(".py"))
    data = next(name for name in held if name.endswith("/data.pkl"))
    constants = next((name for name in held if name.endswith("constants.pkl")), data)
    text = held[code].decode()
    made = {
        "code-that-is-none": {code: b"def forward(:\n"},
        "code-empty": {code: b""},
        "code-no-text": {code: bytes(range(256))},
        "code-imports": {code: (text + "\nimport os\n").encode()},
        "code-deep": {code: (text + "\n" + "x = " + "(" * 20_000 + "1" + ")" * 20_000).encode()},
        "code-calls-itself": {code: text.replace("return ", "return self.forward(x) if True else ", 1).encode()},
        "data-of-code": {data: pickle.dumps(Canary())},
        "data-empty": {data: b""},
        "data-no-pickle": {data: b"\xff" * 100},
        "data-deep": {data: b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b"."},
        "constants-of-code": {constants: pickle.dumps(Canary())},
    }
    for name, changed in made.items():
        yield mutant(f"torchscript/{name}", "model", "model.pt", archive({**held, **changed}))
    gone = {name: content for name, content in held.items() if "/data/" not in name and not name.endswith("data/0")}
    yield mutant("torchscript/tensors-lost", "model", "model.pt", archive(gone))


class Circle:
    """Pickled, it holds itself."""

    def __init__(self) -> None:
        self.self = self


def _pickles() -> Iterator[Mutant]:
    """What weights may not be: pickles with code in them, of themselves, of too much."""
    circle: list[Any] = []
    circle.append(circle)
    made = {
        "code": pickle.dumps(Canary()),
        "code-beside-tensors": checkpoint(extra=Canary()),
        "code-protocol-0": pickle.dumps(Canary(), 0),
        "code-in-an-archive": archive({"archive/data.pkl": pickle.dumps(Canary()), "archive/version": b"3\n"}),
        "list-in-itself": pickle.dumps(circle),
        "list-in-itself-in-an-archive": archive({"archive/data.pkl": pickle.dumps(circle), "archive/version": b"3\n"}),
        "object-in-itself": pickle.dumps(Circle()),
        "bytes-of-4-gigabytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**32) + b"x",
        "memo-of-2-billion": b"\x80\x04Nr" + struct.pack("<I", 2**31 - 1) + b".",
        "deep": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "state-dict-alone": archive({"archive/data.pkl": pickle.dumps({"a": 1}), "archive/version": b"3\n"}),
        "tensors-of-words": checkpoint(tensors={"a": "word"}),
        "tensors-by-number": checkpoint(tensors={7: 1}),
        "config-no-json": checkpoint(config="{"),
        "config-deep": checkpoint(config="[" * 100_000 + "]" * 100_000),
        "config-a-list": checkpoint(config="[]"),
        "unknown-format": checkpoint(format="medgan-qa/checkpoint/99"),
        "unknown-architecture": checkpoint(),
    }
    for name, content in made.items():
        yield mutant(f"checkpoint/{name}", "model", "model.pt", content)


def described(header: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _safetensors() -> Iterator[Mutant]:
    weight = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    texts = {"__metadata__": _texts(architecture="none-such")}
    made = {
        "header-of-18-exabytes": described({}, length=2**64 - 1),
        "header-of-2-gigabytes": described({}, length=2**31),
        "header-no-json": described(b"{'a': 1}"),
        "header-deep": described(b"[" * 200_000 + b"]" * 200_000),
        "header-no-text": described(bytes(range(256))),
        "offsets-beyond": described({**texts, "weight": {**weight, "data_offsets": [0, 10**12]}}),
        "offsets-reversed": described({**texts, "weight": {**weight, "data_offsets": [16, 0]}}),
        "offsets-shared": described({**texts, "weight": weight, "other": weight}),
        "shape-huge": described({**texts, "weight": {**weight, "shape": [2**62, 2**62]}}),
        "shape-negative": described({**texts, "weight": {**weight, "shape": [-2, 2]}}),
        "unknown-type": described({**texts, "weight": {**weight, "dtype": "F3"}}),
        "no-texts": described({"weight": weight}),
        "texts-of-numbers": described({"__metadata__": {"format": 1}, "weight": weight}),
        "unknown-format": described({"__metadata__": _texts(format="other"), "weight": weight}),
        "unknown-architecture": safetensors(),
        "architecture-of-code": described({"__metadata__": _texts(architecture="os:system"), "weight": weight}),
        "config-no-json": described({"__metadata__": _texts(config="{"), "weight": weight}),
        "config-deep": described({"__metadata__": _texts(config="[" * 100_000 + "]" * 100_000), "weight": weight}),
        "config-long-integer": described(
            {"__metadata__": _texts(config='{"a": ' + "9" * 10_000 + "}"), "weight": weight}
        ),
        "config-of-other-keys": described({"__metadata__": _texts(config='{"nonsense": 1}'), "weight": weight}),
        "tensors-of-another-network": described({"__metadata__": _texts(), "weight": weight}),
    }
    for name, content in made.items():
        yield mutant(f"safetensors/{name}", "model", "model.safetensors", content)


def onnx(nodes: list[Any] | None = None, tensors: list[Any] | None = None, **options: Any) -> Any:
    """An ONNX model of one or other nodes."""
    from onnx import TensorProto, helper

    shape = ["n", 1, "h", "w"]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes or [helper.make_node("Relu", ["x"], ["y"])], "graph", given, made, tensors or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **options)


def _outside(location: str, **entries: str) -> Any:
    """A tensor whose numbers are said to lie in another file."""
    from onnx import TensorProto

    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend([4])
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _onnx() -> Iterator[Mutant]:
    from onnx import TensorProto, helper

    add = [helper.make_node("Add", ["x", "w"], ["y"])]
    whole = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.5])
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT)
    huge.dims.extend([2**31, 2**31])
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT)
    negative.dims.extend([-4])
    unknown = TensorProto(name="w", data_type=99)
    circle = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    made = {
        "data-leaves": onnx(add, [_outside("../../../../etc/passwd", length="16")]),
        "data-absolute": onnx(add, [_outside("/etc/passwd", length="16")]),
        "data-is-a-device": onnx(add, [_outside("/dev/zero", length="16")]),
        "data-not-there": onnx(add, [_outside("weights.bin", length="16")]),
        "data-is-the-model": onnx(add, [_outside("model.onnx", offset="999999", length="16")]),
        "data-offset-negative": onnx(add, [_outside("model.onnx", offset="-5", length="16")]),
        "data-length-of-words": onnx(add, [_outside("model.onnx", length="many")]),
        "nodes-in-a-circle": onnx(circle),
        "node-feeds-itself": onnx([helper.make_node("Add", ["x", "y"], ["y"])]),
        "input-from-nowhere": onnx([helper.make_node("Add", ["x", "nowhere"], ["y"])]),
        "unknown-operator": onnx([helper.make_node("Surprise", ["x"], ["y"])]),
        "custom-domain": onnx([helper.make_node("Relu", ["x"], ["y"], domain="com.example")]),
        "tensor-huge": onnx(add, [huge]),
        "tensor-negative": onnx(add, [negative]),
        "tensor-unknown-type": onnx(add, [unknown]),
        "tensor-too-short": onnx(add, [_short(whole)]),
        "output-of-no-node": onnx([helper.make_node("Relu", ["x"], ["z"])]),
        "functions-in-a-circle": _functions(),
        "deep-branches": _branches(20),
    }
    for name, model in made.items():
        yield mutant(f"onnx/{name}", "model", "model.onnx", model.SerializeToString(), name != "deep-branches")
    fill = helper.make_node("ConstantOfShape", ["s"], ["c"])
    sizes = helper.make_tensor("s", TensorProto.INT64, [2], [2**20, 2**20])
    grown = onnx([fill, helper.make_node("Add", ["x", "c"], ["y"])], [sizes])
    yield mutant("onnx/constant-of-4-terabytes", "model", "model.onnx", grown.SerializeToString())


def _short(tensor: Any) -> Any:
    from onnx import TensorProto

    made = TensorProto()
    made.CopyFrom(tensor)
    made.dims[0] = 1000
    return made


def _functions() -> Any:
    """Two functions that call each other."""
    from onnx import helper

    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    one = helper.make_function("own", "One", ["x"], ["y"], [helper.make_node("Two", ["x"], ["y"], domain="own")], opset)
    two = helper.make_function("own", "Two", ["x"], ["y"], [helper.make_node("One", ["x"], ["y"], domain="own")], opset)
    model = onnx([helper.make_node("One", ["x"], ["y"], domain="own")], functions=[one, two])
    model.opset_import.extend([helper.make_opsetid("own", 1)])
    return model


def _branches(depth: int) -> Any:
    """Conditions in conditions in conditions."""
    from onnx import TensorProto, helper

    true = helper.make_tensor("t", TensorProto.BOOL, [], [True])
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y0"])], "g0", [], [helper.make_tensor_value_info("y0", 1, None)]
    )
    for k in range(1, depth):
        node = helper.make_node("If", ["t"], [f"y{k}"], then_branch=inner, else_branch=_leaf(k))
        inner = helper.make_graph([node], f"g{k}", [], [helper.make_tensor_value_info(f"y{k}", 1, None)])
    return onnx([helper.make_node("If", ["t"], ["y"], then_branch=inner, else_branch=_leaf(0))], [true])


def _leaf(k: int) -> Any:
    from onnx import helper

    name = f"leaf{k}"
    return helper.make_graph(
        [helper.make_node("Relu", ["x"], [name])], name, [], [helper.make_tensor_value_info(name, 1, None)]
    )
