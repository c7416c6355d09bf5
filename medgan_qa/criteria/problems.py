"""How a criteria file is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from medgan_qa.errors import ConfigurationError


def problem(text: str, expected: str, found: str, where: str) -> ConfigurationError:
    """The error for something that a criteria file says."""
    return ConfigurationError(text, expected=expected, found=found, where=where, todo="Correct the criteria file.")


def known(table: Any, keys: Iterable[str], where: str) -> None:
    """Refuse anything but a table with keys among `keys`.

    Raises:
        ConfigurationError: it is no table, or has another key.
    """
    if not isinstance(table, Mapping):
        raise problem("A table was expected.", f"a table with keys among {', '.join(keys)}", repr(table), where)
    for key in table:
        if key not in keys:
            raise problem(f"Unknown key {key!r}{hint(key, keys)}.", f"one of {', '.join(keys)}", key, where)


def hint(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'X'?)` where one of `names` is near, else nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
