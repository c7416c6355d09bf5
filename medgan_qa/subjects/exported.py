"""The safety check of exported programs (`.pt2`), which torch loads by running what they hold.

`torch.export.load` unpickles tensors and constants, evaluates symbolic sizes and guards as Python, looks operators up
by their dotted name, and compiles the graph's names into source. A file is therefore let through only if it holds what
`torch.export.save` writes for a network: operators of the list (`operators.txt`), arithmetic on sizes, plain names. The
graphs inside a graph, which branches and loops carry, are looked through with it. Anything else is refused before torch
sees it, and pickles are read as tensors only.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medgan_qa.subjects.operators import allowed

OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.(?!__)\w+)?")
HIGHER_ORDER = frozenset(
    f"higher_order::{name}"
    for name in ("associative_scan", "cond", "map_impl", "scan", "while_loop", "wrap_with_autocast")
) | {"higher_order::wrap_with_set_grad_enabled"}
"""Operators that run graphs of the same file, which are held against the list as the outer one is."""
ARITHMETIC_TARGET = re.compile(
    r"torch\.sym_(float|int|ite|max|min|not|sqrt|sum)"
    r"|_operator\.(abs|add|and_|eq|floordiv|ge|getitem|gt|inv|invert|le|lshift|lt|mod|mul|ne|neg|not_|or_|pos|pow"
    r"|rshift|sub|truediv|xor)"
    r"|math\.(ceil|floor|trunc|sqrt)"
)
WORD = re.compile(r"[\w.\-:+]*")
CODE_FREE = frozenset({"as_string", "torch_version"})
"""Keys whose texts torch keeps as texts, e.g. the mode of an interpolation."""
FORBIDDEN = {
    "opaque_obj": "a pickled object",
    "custom_obj": "a custom object",
    "data/aotinductor/": "compiled code",
}
ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Constant, ast.Name, ast.Call, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip
GUARD_ATTRIBUTES = frozenset(
    {"size", "stride", "storage_offset", "shape", "sym_float", "sym_max", "sym_min", "sym_not"}
)
TREE_TYPES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})


def objection(archive: bytes) -> str | None:
    """What in the archive of an exported program is more than a network, in words; None if nothing is.

    Raises:
        zipfile.BadZipFile: it is no whole archive.
        ValueError: a part that should be JSON is none.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as stored:
        names = [name.lower() for name in stored.namelist()]
        if len(set(names)) < len(names):
            # Two readers could then disagree on which of them they read.
            return "two members of one name"
        for name in names:
            for part, what in FORBIDDEN.items():
                if part in name:
                    return f"{what} ({name})"
        for name in stored.namelist():
            # torch finds members by name whatever the case of its letters.
            if name.lower().endswith(".json") or "models/" in name.lower():
                found = _in_json(json.loads(stored.read(name)))
                if found is not None:
                    return f"{found[:120]} in {name}"
    return None


@contextmanager
def nothing_unpickled_but_tensors() -> Iterator[None]:
    """Have `torch.load` refuse every pickle that needs more than tensors, whatever its caller asked for.

    `torch.export` asks for more where a first attempt fails. Its log, which would print a traceback, is silent
    meanwhile.
    """
    force, forbid = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = {name: os.environ.pop(name, None) for name in (force, forbid)}
    silenced = logging.root.manager.disable
    os.environ[force] = "1"
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(silenced)
        del os.environ[force]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _in_json(content: Any) -> str | None:
    left: list[tuple[str, Any]] = [("", content)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            # Metadata says where a node came from; torch keeps it and runs none of it.
            left += [(k, v) for k, v in value.items() if k != "metadata"]
            left += [("", k) for k in value]
        elif isinstance(value, list):
            left += [(key, v) for v in value]
        elif isinstance(value, str) and not _harmless(key, value):
            return f"{key or 'a name'} {value!r}"
    return None


def _harmless(key: str, text: str) -> bool:
    if key in CODE_FREE:
        return True
    if key in ("target", "as_operator"):
        return _is_target(text)
    if key == "expr_str":
        return _is_arithmetic(text)
    if key == "guards_code":
        return _is_guard(text)
    if key in ("in_spec", "out_spec"):
        return text == "" or _is_tree(json.loads(text))
    return WORD.fullmatch(text) is not None


def _is_target(text: str) -> bool:
    operator = OPERATOR.fullmatch(text)
    if operator is None:
        return ARITHMETIC_TARGET.fullmatch(text) is not None
    return "::".join(operator.groups()) in allowed() | HIGHER_ORDER


def _parse(text: str) -> list[ast.AST] | None:
    try:
        return list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str | bytes) or WORD.fullmatch(str(node.value)) is not None
    return not isinstance(node, ast.Name) or not node.id.startswith("__")


def _is_arithmetic(text: str) -> bool:
    """Numbers, symbols, operators, and calls of names with a capital, as sympy's classes have and built-ins do not."""
    nodes = _parse(text)
    return nodes is not None and all(
        isinstance(node, ARITHMETIC)
        and _is_plain(node)
        and (not isinstance(node, ast.Call) or (isinstance(node.func, ast.Name) and node.func.id[0].isupper()))
        for node in nodes
    )


def _is_guard(text: str) -> bool:
    """Comparisons of sizes of the inputs: `L['x'].size()[2] % 2 == 0`."""
    nodes = _parse(text)
    return nodes is not None and all(
        isinstance(node, (*ARITHMETIC, ast.Subscript, ast.Attribute))
        and _is_plain(node)
        and (not isinstance(node, ast.Attribute) or node.attr in GUARD_ATTRIBUTES)
        and (not isinstance(node, ast.Call) or isinstance(node.func, ast.Attribute))
        for node in nodes
    )


def _is_tree(content: Any) -> bool:
    """Nested tuples, lists and dicts, as `torch.utils._pytree` describes them; others import what they name."""
    left: list[Any] = [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.get("type") not in (None, *TREE_TYPES) or not _is_context(value.get("context")):
                return False
            left += [v for k, v in value.items() if k not in ("type", "context")]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str):
            return False
    return True


def _is_context(context: Any) -> bool:
    """The keys of a dict, as JSON in a text; `null` for what has no keys."""
    keys = json.loads(context) if isinstance(context, str) else context
    if keys is None:
        return True
    return isinstance(keys, list) and all(isinstance(key, str) and key.isidentifier() for key in keys)
