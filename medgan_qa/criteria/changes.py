"""What differs between two versions of the same content, key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from medgan_qa.digests import canonical_json

_LONG = 80  # characters of a value that a message shows
_IDENTITY = {"criterion": ("id",), "hazard": ("id",), "sentinel": ("case", "audit")}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line a difference between two `Criteria.content()`: `criterion.AC-01.limit.max: 0.05 -> 0.1`.

    Criteria, hazards and sentinels are told apart by their ids, so that one in another place is no change of it; where
    nothing else differs, the order is named.
    """
    found = list(_walk("", _by_identity(old), _by_identity(new)))
    if not found and canonical_json(old) != canonical_json(new):
        return [f"{key}: the order of the entries" for key in _IDENTITY if old.get(key) != new.get(key)]
    return found


def _by_identity(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {" in ".join(str(entry[k]) for k in _IDENTITY[key]): entry for entry in value}
        if key in _IDENTITY
        else value
        for key, value in content.items()
    }


def _walk(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*old, *new}):
        place = f"{path}.{key}" if path else key
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _walk(place, before, after)
        elif isinstance(before, Mapping) and key not in new:
            yield f"{place}: removed"
        elif isinstance(after, Mapping) and key not in old:
            yield f"{place}: added"
        elif canonical_json(before) != canonical_json(after):
            yield f"{place}: {' -> '.join(_shown(before, after))}"


def _shown(before: Any, after: Any) -> tuple[str, str]:
    first, second = ("not set" if value is None else json.dumps(value, ensure_ascii=False) for value in (before, after))
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    # Of long texts the part is shown in which they differ.
    start = max(0, same - _LONG // 4) if max(len(first), len(second)) > _LONG else 0
    return _cut(first, start), _cut(second, start)


def _cut(text: str, start: int) -> str:
    end = start + _LONG
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")
