"""The safety check of the source inside a TorchScript file, before torch reads the file.

Loading a TorchScript file runs code: the method `__setstate__` of every object in it that has one. So what the file can
run has to be known while it is still text. torch writes the text as Python, which Python's own parser reads here; what
it may call is held against the list of operators, in every function and not only in those that run at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from medgan_qa.subjects.operators import allowed, foreign_class

LARGEST_SOURCE = 32 * 2**20
"""Bytes of source in one file; traced networks of some hundred layers have one hundredth of it."""
PRINTABLE = re.compile(r"[\x20-\x7e\n]*")


def source_objection(sources: dict[str, bytes]) -> str | None:
    """What in the sources (by member name) a network does not need, in words; None if there is nothing."""
    if sum(map(len, sources.values())) > LARGEST_SOURCE:
        return f"more than {LARGEST_SOURCE >> 20} MB of source"
    trees: dict[str, ast.Module] = {}
    for name, content in sources.items():
        tree = _parse(content)
        if isinstance(tree, str):
            return f"{tree} in {name}"
        # code/__torch__/unet.py holds the classes __torch__.unet.NAME.
        trees[name[len("code/") :].removesuffix(".py").replace("/", ".")] = tree
    declared = frozenset(name for tree in trees.values() for _, name, _ in _declared(tree))
    own = frozenset(_own_methods_called(trees))
    for module, tree in trees.items():
        for place, node in _walk(tree):
            found = _alias_in(node) if isinstance(node, ast.FunctionDef) else _objection(node, declared, own)
            if found is not None:
                return f"{found} in {named(f'{module}.{place}', _places(trees))}"
    return None


def named(function: str, places: dict[str, str]) -> str:
    """A function in words: the method of a submodule, where its class is in `places`.

    Args:
        function: the qualified name, e.g. `__torch__.unet.Block.forward`.
        places: the path of a submodule, by the qualified name of its class.
    """
    owner, _, method = function.rpartition(".")
    if owner not in places:
        return f"the function {function.removeprefix('__torch__.')}"
    return f"the method {method} of " + (f"the submodule {places[owner]}" if places[owner] else "the model itself")


def _places(trees: dict[str, ast.Module]) -> dict[str, str]:
    """The path of one submodule of each class, by the class's qualified name."""
    modules = ((module, owner) for module, tree in trees.items() for owner in _classes(tree) if owner.bases)
    classes = {f"{module}.{owner.name}" for module, owner in modules}
    owners: dict[str, tuple[str, str]] = {}
    for module, tree in trees.items():
        for owner, name, kind in _declared(tree):
            if kind in classes and kind != f"{module}.{owner}":
                owners.setdefault(kind, (f"{module}.{owner}", name))
    found = {}
    for name in classes:
        path: list[str] = []
        above = name
        # A class that holds itself by way of others would be climbed for ever.
        while above in owners and len(path) < len(classes):
            above, attribute = owners[above]
            path.insert(0, attribute)
        found[name] = ".".join(path)
    # A class that only an interface leads to has no owner in the source, any more than the model itself has.
    several = sum(not path for path in found.values()) > 1
    return {name: path for name, path in found.items() if path or not several}


def _parse(content: bytes) -> ast.Module | str:
    """The syntax tree, or why there is none."""
    text = content.decode("ascii", "replace")
    # torch writes neither; both could mean one thing to this parser and another to torch's.
    if PRINTABLE.fullmatch(text) is None or "\\\n" in text:
        return "source with unusual characters"
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"source that is no Python ({type(error).__name__})"


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _declared(tree: ast.Module) -> Iterator[tuple[str, str, str | None]]:
    """The attributes of the classes of a file: class, name, and the type where it is a class itself."""
    for owner in _classes(tree):
        for line in owner.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                yield owner.name, line.target.id, _chain(line.annotation)
            elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Subscript):
                # __annotations__["0"] = ...: a name that is none in Python, as the children of a list have.
                key = line.targets[0].slice
                yield owner.name, str(key.value) if isinstance(key, ast.Constant) else "", _chain(line.value)


def _walk(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every node, with the class and function that it stands in; a chain of names counts once, as a whole."""
    left: list[tuple[str, ast.AST]] = [("", tree)]
    while left:
        place, node = left.pop()
        inner = place
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            inner = f"{place}.{node.name}".lstrip(".")
        yield inner, node
        if not isinstance(node, ast.Attribute) or _chain(node) is None:
            left += [(inner, child) for child in ast.iter_child_nodes(node)]


def _own_methods_called(trees: dict[str, ast.Module]) -> Iterator[int]:
    """The `self.name` of calls to a method that the class of `self` defines, by `id`.

    Such a call means the method and never torch's operator of that name, as long as nothing else is called `self`.
    """
    for module, tree in trees.items():
        for owner in _classes(tree):
            methods = {line.name: line for line in owner.body if isinstance(line, ast.FunctionDef)}
            for method in methods.values():
                first = method.args.args[0] if method.args.args else None
                if first is None or first.annotation is None or _chain(first.annotation) != f"{module}.{owner.name}":
                    continue
                names = [n for n in ast.walk(method) if isinstance(n, ast.Name) and n.id == first.arg]
                if all(isinstance(n.ctx, ast.Load) for n in names):
                    yield from (id(f) for f in _called_on(method, first.arg) if f.attr in methods)


def _called_on(method: ast.FunctionDef, name: str) -> Iterator[ast.Attribute]:
    """What is called on the variable `name` in a method; functions within it may mean another by that name."""
    if any(isinstance(n, ast.FunctionDef | ast.Lambda) and n is not method for n in ast.walk(method)):
        return
    for node in ast.walk(method):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _chain(node.func.value) == name:
            yield node.func


def _chain(node: ast.AST) -> str | None:
    """`a.b.c` as text; None for anything else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


def _objection(node: ast.AST, declared: frozenset[str], own: frozenset[int]) -> str | None:
    """What is wrong with one node; `own` are the attributes that are methods of the file's own for certain."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    ):
        return "source that torch does not write"
    if isinstance(node, ast.Name):
        # A library that is given another name could be asked for anything under it.
        return f"the library {node.id} as a value" if node.id in ("torch", "ops", "__torch__") else None
    if isinstance(node, ast.Call):
        return _call_objection(node, declared) if id(node.func) not in own else None
    if not isinstance(node, ast.Attribute) or id(node) in own:
        return None
    chain = _chain(node)
    root, _, below = (chain or "").partition(".")
    if root == "torch":
        return _operator_objection(f"aten::{below}")
    if root == "ops":
        return _operator_objection(below.replace(".", "::"))
    if root == "__torch__":
        found = foreign_class(chain or "")
        return None if found is None else f"the class {found.removeprefix('__torch__.')}"
    names = (chain or node.attr).split(".")[1:] if chain else [node.attr]
    return next((f"the operator {n}" for n in names if n not in declared and _is_forbidden(n)), None)


def _operator_objection(name: str) -> str | None:
    return None if name in allowed() else f"the operator {name}"


def _call_objection(node: ast.Call, declared: frozenset[str]) -> str | None:
    called = node.func
    if isinstance(called, ast.Attribute) and _is_forbidden(called.attr):
        chain = _chain(called) or ""
        # `x.save(y)` means the operator `aten::save` wherever x is a tensor.
        return None if chain.startswith(("torch.", "ops.", "__torch__.")) else f"the operator {called.attr}"
    if isinstance(called, ast.Name) and called.id == "getattr":
        named = node.args[1] if len(node.args) == 2 else None
        if not isinstance(named, ast.Constant) or not isinstance(named.value, str):
            return "an attribute without a name"
        return f"the operator {named.value}" if named.value not in declared and _is_forbidden(named.value) else None
    return "a call of an attribute by name" if _is_getattr(called) else None


def _is_getattr(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"


def _alias_in(function: ast.FunctionDef) -> str | None:
    """A variable that holds what has the name of a forbidden operator and is then called."""
    nodes = list(ast.walk(function))
    called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    for node in nodes:
        if not isinstance(node, ast.Assign):
            continue
        names = called & {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        held = (
            _is_getattr(n) or (isinstance(n, ast.Attribute) and _is_forbidden(n.attr)) for n in ast.walk(node.value)
        )
        if names and any(held):
            return f"a call of {sorted(names)[0]}, which stands for an attribute"
    return None


@cache
def _is_forbidden(name: str) -> bool:
    """Whether torch has an operator of that name that is not in the list."""
    import torch

    if f"aten::{name}" in allowed() or f"prim::{name}" in allowed():
        return False
    return any(torch._C._jit_get_schemas_for_operator(f"{space}::{name}") for space in ("aten", "prim"))
