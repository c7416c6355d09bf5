"""Which transforms a loader applies, and which of them are random, found by looking at its objects.

Nothing is called and no library is imported: what a transform is, its class and its ancestors say by their names and
modules. Containers are gone into (compositions, datasets within datasets, lists, mappings, partial functions, closures
and the globals that a function names), so that the place of a transform can be told:
`loader.dataset.transform.transforms[2]`.

Random are, unless their probability is 0:

- MONAI: what derives from `Randomizable` but `Compose`; a `OneOf`, `SomeOf` or `RandomOrder` itself;
- TorchIO: what derives from `RandomTransform`, and any transform whose probability lies between 0 and 1;
- torchvision (v1 and v2): the classes whose name begins with `Random` and those listed here;
- albumentations: every transform but those listed here as fixed, any with a probability between 0 and 1, and the
  compositions that choose;
- classes of other libraries, and a team's own, whose name begins with `Random` or `Rand`.

A function, and a class of the team's own, is not understood; where its code names a source of random numbers, that is
said.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from medgan_qa.cohorts.transform_rules import RULES, kin_of, library_of, probability

DEEPEST, LARGEST, MEMBERS = 24, 20_000, 256
"""Steps from the loader, objects in all, and members of one list or mapping that are looked at."""

DRAWS = frozenset(
    {"rand", "randint", "randn", "randrange", "random", "shuffle", "uniform", "default_rng", "choice", "normal"}
)
"""Names in code that stand for random numbers."""
PLAIN = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType)
"""What holds no transform."""
LIBRARIES = ("monai", "torchio", "torchvision", "albumentations", "torch", "numpy", "kornia", "PIL")


class Found(NamedTuple):
    """One object on the way of an image."""

    path: str
    """How it is reached from the loader."""
    words: str
    """Its class, with its probability where it has one: `RandomHorizontalFlip(p=0.5)`."""

    def __str__(self) -> str:
        return f"{self.path}: {self.words}"


@dataclass
class Inspection:
    """What was found, in the order in which it was met."""

    random: list[Found] = field(default_factory=list)
    """Transforms that draw something for every image."""
    fixed: list[Found] = field(default_factory=list)
    """Transforms of a known library that do the same to every image."""
    unknown: list[Found] = field(default_factory=list)
    """Functions and objects that can be called and whose code was not understood."""
    draws: list[Found] = field(default_factory=list)
    """Those among them, and methods of datasets, whose code names a source of random numbers."""
    complete: bool = True
    """Nothing was left out for its depth or number."""


def inspect_pipeline(built: Any, name: str = "loader") -> Inspection:
    """Every transform that can be reached from a dataset or loader.

    Args:
        built: a dataset, a loader, a composition or a single transform; nothing of it is called.
        name: what paths begin with.
    """
    walk = _Walk()
    walk.visit(built, name, 0)
    return walk.found


class _Walk:
    """Goes through objects, each once, nearest first in order of their members."""

    def __init__(self) -> None:
        self.found = Inspection()
        self._seen: dict[int, Any] = {}

    def visit(self, thing: Any, path: str, depth: int) -> None:
        if isinstance(thing, PLAIN) or id(thing) in self._seen or _is_data(thing):
            return
        if depth > DEEPEST or len(self._seen) >= LARGEST:
            self.found.complete = False
            return
        # Kept, so that no other object can get the same id.
        self._seen[id(thing)] = thing
        self._judge(thing, path)
        for step, member in self._members(thing):
            self.visit(member, path + step, depth + 1)

    def _judge(self, thing: Any, path: str) -> None:
        if isinstance(thing, Mapping | list | tuple | set | frozenset | functools.partial | types.MethodType):
            return
        if isinstance(thing, types.FunctionType | types.BuiltinFunctionType):
            self._function(thing, path)
            return
        words, kin = described(thing), kin_of(thing)
        verdict = None if kin is None else RULES[library_of(kin)](thing, kin)
        if verdict:
            self.found.random.append(Found(path, words))
        elif library_of(thing) not in LIBRARIES:
            # What a team derived from a library's class does otherwise than that one, nobody knows.
            self._own(thing, path, words)
        elif verdict is not None:
            self.found.fixed.append(Found(path, words))

    def _function(self, thing: Any, path: str) -> None:
        if library_of(thing) in LIBRARIES:
            return
        names = drawn(thing)
        self.found.unknown.append(Found(path, getattr(thing, "__qualname__", "function")))
        if names:
            self.found.draws.append(Found(path, f"its code names {', '.join(names)}"))

    def _own(self, thing: Any, path: str, words: str) -> None:
        """An object of a class that no rule knows."""
        if type(thing).__name__.startswith("Rand") and callable(thing):
            if probability(thing) != 0:
                self.found.random.append(Found(path, words))
            return
        if callable(thing):
            self.found.unknown.append(Found(path, words))
        for method in ("__getitem__", "__iter__", "__call__", "forward"):
            function = getattr(type(thing), method, None)
            names = drawn(function) if library_of(function) not in LIBRARIES else []
            if names:
                self.found.draws.append(Found(f"{path}.{method}", f"its code names {', '.join(names)}"))

    def _members(self, thing: Any) -> Iterator[tuple[str, Any]]:
        """Steps and what they lead to."""
        if isinstance(thing, Mapping):
            yield from self._some((_key(key, k), thing[key]) for k, key in enumerate(thing))
        elif isinstance(thing, list | tuple | set | frozenset):
            yield from self._some((f"[{k}]", member) for k, member in enumerate(thing))
        elif isinstance(thing, functools.partial):
            yield from ((".func", thing.func), (".args", thing.args), (".keywords", thing.keywords))
        elif isinstance(thing, types.MethodType):
            yield from ((".__self__", thing.__self__), (".__func__", thing.__func__))
        elif isinstance(thing, types.FunctionType):
            yield from _of_function(thing)
        elif not isinstance(thing, types.BuiltinFunctionType):
            yield from _of_object(thing)

    def _some(self, members: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """The first members; a list of file names or records is no list of transforms."""
        for k, member in enumerate(members):
            if k >= MEMBERS:
                # Of many the first ones show of what kind they are.
                return
            yield member


def _of_function(thing: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function was given when it was made, and the globals that its code names."""
    for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
        try:
            yield f".{name}", cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from ((".__defaults__", thing.__defaults__), (".__kwdefaults__", thing.__kwdefaults__))
    if library_of(thing) not in LIBRARIES:
        for name in thing.__code__.co_names:
            if name in thing.__globals__:
                yield f".{name}", thing.__globals__[name]


def _of_object(thing: Any) -> Iterator[tuple[str, Any]]:
    """Its attributes, none of them computed, and those of a class that is the team's own."""
    own = dict(getattr(thing, "__dict__", {}))
    own.update(own.pop("_modules", None) or {})
    for c in type(thing).__mro__:
        slots = c.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if (
                slot not in own
                and isinstance(c.__dict__.get(slot), types.MemberDescriptorType)
                and hasattr(thing, slot)
            ):
                own[slot] = getattr(thing, slot)
        if library_of(c) not in (*LIBRARIES, "builtins", "abc", "typing", "collections"):
            own |= {k: v for k, v in vars(c).items() if k not in own and not k.startswith("__") and not _is_code(v)}
            own |= {k: vars(c)[k] for k in ("__getitem__", "__call__", "__iter__") if _is_code(vars(c).get(k))}
    yield from ((f".{name}", member) for name, member in own.items())


def _key(key: Any, place: int) -> str:
    """A key as a step; by its place where it is no plain name, as it may be that of a file or a person."""
    return f"[{key!r}]" if isinstance(key, str) and key.isidentifier() else f"[member {place}]"


def _is_code(value: Any) -> bool:
    return isinstance(value, types.FunctionType | property | classmethod | staticmethod)


def _is_data(thing: Any) -> bool:
    """An array, a tensor or a table: data, not a way to change them."""
    return hasattr(thing, "__array_interface__") or (hasattr(thing, "dtype") and hasattr(thing, "shape"))


def described(thing: Any) -> str:
    """Class name, with the probability where there is one."""
    p = probability(thing)
    return type(thing).__name__ + ("" if p is None else f"(p={p:g})")


def drawn(function: Any) -> list[str]:
    """Names in a function's code, and in functions within it, that stand for random numbers."""
    code = getattr(function, "__code__", None)
    names: set[str] = set()
    left = [code] if code is not None else []
    while left:
        code = left.pop()
        names |= DRAWS & set(code.co_names)
        left += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
    return sorted(names)
