"""Writing a card as TOML."""

from __future__ import annotations

import json
from typing import Any

from medgan_qa.subjects.card import SCHEMA


def card_toml(keys: dict[str, Any]) -> str:
    """A card's text: numbers and texts first, tables after them.

    Args:
        keys: texts, numbers, booleans, lists of them, and tables of these.
    """
    plain = {key: value for key, value in keys.items() if not isinstance(value, dict) and key != "schema"}
    lines = [f"schema = {json.dumps(SCHEMA)}", *(f"{key} = {_value(value)}" for key, value in plain.items())]
    for key, value in keys.items():
        if isinstance(value, dict):
            lines += ["", f"[{_key(key)}]", *(f"{_key(k)} = {_value(v)}" for k, v in value.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "a").replace("-", "a").isalnum() and name.isascii() else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    # A text of JSON is one of TOML as long as it escapes what is beyond ASCII in pairs of neither.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
