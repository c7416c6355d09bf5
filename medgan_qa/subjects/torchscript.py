"""Reading a TorchScript file, once nothing in it can do more than compute.

Three looks, each before the next may begin: at the archive, at the source and the pickles inside it as text, and at
the functions that torch made of the source. The first two come before torch reads anything, because loading already
runs code (`medgan_qa.subjects.torchscript_source`); the third is torch's own understanding of the file, and covers
every function, of every class, whether `forward` calls it or not.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.subjects.archives import members_of
from medgan_qa.subjects.operators import allowed, foreign_class
from medgan_qa.subjects.refusals import damaged, forbidden, unsafe
from medgan_qa.subjects.torchscript_source import named, source_objection

PICKLES = ("data.pkl", "constants.pkl", "traced_inputs.pkl")
"""The pickles that torch reads; it does so with a reader of its own that runs no Python."""
PICKLED = re.compile(
    r"__torch__[\w.]*|collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|qtensor|parameter)"
    r"|torch\.jit\._pickle\.(build_(int|tensor|double|bool)list|build_tensor_from_id|restore_type_tag)"
    r"|torch\.\w+Storage|torch\.device|torch\.per_(tensor|channel)_(affine|symmetric)\w*|builtins\.complex"
)
LARGEST_PICKLE = 64 * 2**20


class Script(NamedTuple):
    """A TorchScript file that was let through and read."""

    module: Any
    extra: dict[str, str | bytes]
    """The extra files that were asked for, empty where the archive holds none."""


def read_torchscript(path: Path, device: str, extra: tuple[str, ...] = ()) -> Script:
    """Read a TorchScript file onto a device.

    Raises:
        ModelError: it is damaged, could be read in two ways, or uses an operator or class outside the list.
        OSError: it cannot be opened.
    """
    import torch
    from torch.jit._recursive import wrap_cpp_module

    _look_inside(path)
    unit = torch._C.CompilationUnit()
    found: dict[str, str | bytes] = dict.fromkeys(extra, "")
    # What `torch.jit.load` does, but for the unit, which knows every function of the file and stays in hand here.
    load: Any = torch._C.import_ir_module
    try:
        inner = load(unit, str(path), torch.device(device), found, False)
    except Exception as error:  # a flipped byte lets the reader end in errors of many kinds
        raise damaged(path, str(error)) from error
    objection = graph_objection(unit, inner)
    if objection is not None:
        raise forbidden(path, objection)
    return Script(wrap_cpp_module(inner).eval(), found)


def _look_inside(path: Path) -> None:
    # torch finds members by name whatever the case of its letters.
    below = {info.filename.partition("/")[2].lower(): info for info in members_of(path)}
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for name, info in below.items() if _is_source(name)]
            sources = {info.filename.partition("/")[2]: archive.read(info) for info in found}
            pickles = {name: archive.read(below[name]) for name in PICKLES if name in below and _fits(below[name])}
    # What zipfile raises on damaged members.
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if any(name in below for name in ("model.json", "attributes.pkl")):
        raise unsafe(path, "a TorchScript file in the layout of torch 1.3 and before")
    if too_large := [name for name in PICKLES if name in below and not _fits(below[name])]:
        raise unsafe(path, f"{too_large[0]} of more than {LARGEST_PICKLE >> 20} MB")
    try:
        objection = next(filter(None, map(pickle_objection, pickles.values())), None)
    except Exception as error:  # pickletools on random bytes ends in errors of many kinds
        raise damaged(path, str(error)) from error
    if objection is not None:
        raise unsafe(path, objection)
    objection = source_objection(sources)
    if objection is not None:
        raise forbidden(path, objection)


def _is_source(name: str) -> bool:
    # Whatever stands under code/ and is no pickle.
    return name.startswith("code/") and not name.endswith(("/", ".debug_pkl"))


def _fits(info: zipfile.ZipInfo) -> bool:
    return info.file_size <= LARGEST_PICKLE


def pickle_objection(content: bytes) -> str | None:
    """What a pickle of a TorchScript file names that such a file does not need, in words; None if there is nothing.

    Raises:
        ValueError: it is no pickle.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            return f"a pickle with {opcode.name}"
        if opcode.name == "GLOBAL":
            name = str(argument).replace(" ", ".")
            if PICKLED.fullmatch(name) is None or foreign_class(name):
                return f"an object of {name.removeprefix('__torch__.')}"
    return None


def graph_objection(unit: Any, module: Any) -> str | None:
    """The first operator or class outside the list, with method and submodule; None if there is none.

    Args:
        unit: the compilation unit (`torch._C.CompilationUnit`) that holds every function of a file.
        module: the module in it, in C++ (`torch._C.ScriptModule`).
    """
    places = _places(module)
    for function in unit.get_functions():
        for node in _nodes(function.graph):
            found = _node_objection(node)
            if found is not None:
                return f"{found} in {named(function.qualified_name, places)}"
    return None


def _places(module: Any) -> dict[str, str]:
    """The path of the first submodule of each class."""
    import torch

    found: dict[str, str] = {}
    left = [("", module)]
    while left:
        path, inner = left.pop()
        found.setdefault(str(inner._type()), path)
        left += [(f"{path}.{name}".lstrip("."), child) for name, child in torch._C.ModuleDict(inner).items()]
    return found


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph, of its blocks, and of the graphs that its nodes carry."""
    left = [graph]
    while left:
        for node in left.pop().nodes():
            yield node
            left += node.blocks()
            for name in node.attributeNames():
                kind = node.kindOf(name)
                left += [node.g(name)] if kind == "g" else node.gs(name) if kind == "gs" else []


def _node_objection(node: Any) -> str | None:
    kind = node.kind()
    if kind not in allowed():
        return f"the operator {kind}"
    if kind not in ("prim::CallMethod", "prim::CreateObject", "prim::GetAttr", "prim::Constant"):
        return None
    for value in [*node.inputs(), *node.outputs()]:
        if (found := foreign_class(str(value.type()))) is not None:
            return f"the class {found.removeprefix('__torch__.')}"
    return None
