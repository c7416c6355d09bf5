"""Free-form parts of a Record as pairs of words for the page.

The Record's `tool`, `subject`, `data`, `environment` and `parameters` are open dictionaries. What the report knows by
name it prints in a fixed place; everything else is printed as it stands, so that nothing that was recorded is left
out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

_ACRONYMS = {"sha256": "SHA-256", "id": "ID", "utc": "UTC", "cpu": "CPU", "gpu": "GPU", "cuda": "CUDA"}
_ACRONYMS |= {"psnr": "PSNR", "ssim": "SSIM", "db": "dB", "hu": "HU", "gb": "GB"}
_UNITS = ("mm", "dB", "HU", "px", "GB")


class Fact(NamedTuple):
    """A label and what is to be said; `kind` tells the page how to set it."""

    label: str
    text: str
    kind: Literal["text", "digest", "mono"] = "text"


class Grid(NamedTuple):
    """A small table."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Pair(NamedTuple):
    """Facts that share a line of the page: two short ones, or one."""

    left: Fact
    right: Fact | None


def pairs(listed: Sequence[Fact]) -> list[Pair]:
    """Facts in their order, two neighbours on one line where both are short."""
    made: list[Pair] = []
    left = list(listed)
    while left:
        both = len(left) > 1 and _short(left[0]) and _short(left[1])
        made.append(Pair(left[0], left[1] if both else None))
        del left[: 2 if both else 1]
    return made


def _short(one: Fact) -> bool:
    return one.kind != "digest" and len(one.label) <= 30 and len(one.text) <= (30 if one.kind == "mono" else 38)


def words(key: str) -> str:
    """A key as words, e.g. `spacing_mm` as `spacing (mm)`."""
    parts = [_ACRONYMS.get(part.lower(), part) for part in key.replace("_", " ").replace(".", " ").split()]
    if len(parts) > 1 and parts[-1] in _UNITS:
        parts[-1] = f"({parts[-1]})"
    return " ".join(parts)


def title(key: str) -> str:
    """A key as words with a capital, for a place of its own."""
    text = words(key)
    return text[:1].upper() + text[1:] if len(text) > 1 else text


def plain(value: Any) -> str:
    """A value as text: `yes` and `no`, numbers without noise, lists with commas, mappings as `key value`."""
    if value is None or value == "":
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "not a number"
    if isinstance(value, Mapping):
        told = [f"{words(str(key))} {plain(item)}" for key, item in value.items() if item is not None]
        return ", ".join(told) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(item) for item in value) or "none"
    return str(value)


def is_digest(value: Any) -> bool:
    """Whether a value is a hexadecimal digest of 128 bits or more."""
    if not isinstance(value, str):
        return False
    bare = value.removeprefix("sha256:")
    return len(bare) >= 32 and all(character in "0123456789abcdef" for character in bare.lower())


def fact(label: str, value: Any, mono: bool = False) -> Fact:
    """A fact about one value."""
    if is_digest(value):
        return Fact(label, value, "digest")
    return Fact(label, plain(value), "mono" if mono and value not in (None, "") else "text")


def facts(
    mapping: Mapping[str, Any], skip: Collection[str] = (), capital: bool = True, tables: bool = True
) -> list[Fact]:
    """Every entry of a mapping in its order.

    Args:
        mapping: what is to be told.
        skip: keys that are told elsewhere.
        capital: whether a label begins with a capital.
        tables: whether entries that are tables are told too, in one line; False where `grids` shows them.
    """
    name = title if capital else words
    told = {key: value for key, value in mapping.items() if key not in skip and (tables or _table(value) is None)}
    return [fact(name(key), value) for key, value in told.items()]


def grids(mapping: Mapping[str, Any], skip: Collection[str] = ()) -> list[Grid]:
    """The entries of a mapping that are tables: a mapping of mappings, or a list of mappings."""
    found = ((title(key), _table(value)) for key, value in mapping.items() if key not in skip)
    return [Grid(title, *table) for title, table in found if table is not None]


def _table(value: Any) -> tuple[list[str], list[list[str]]] | None:
    if isinstance(value, Mapping) and value and all(isinstance(row, Mapping) for row in value.values()):
        keys = list(dict.fromkeys(key for row in value.values() for key in row))
        rows = [[str(name), *(plain(row[key]) if key in row else "" for key in keys)] for name, row in value.items()]
        return ["", *map(title, keys)], rows
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        keys = list(dict.fromkeys(key for row in value for key in row))
        return list(map(title, keys)), [[plain(row[key]) if key in row else "" for key in keys] for row in value]
    return None
