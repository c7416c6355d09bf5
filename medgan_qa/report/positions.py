"""What has been said and done about the kind of product that a suite is about: dated context, and no verdict.

It stands in a table, `positions.toml`, that a company lays its own over. What holds for a run follows from its suite
and from the declared role of the output; where no role was declared, the report says what it would depend on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from medgan_qa.errors import ConfigurationError
from medgan_qa.report.declared import ROLES
from medgan_qa.report.regulations import CHECK
from medgan_qa.report.resources import Templates

UNDECLARED = "not declared"
_FILE = "positions.toml"
_TOP = {"edition", "date", "source", "position", "depends"}
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "source": ({"name", "date"}, {"check"}),
    "position": ({"source", "text"}, {"suites", "roles"}),
    "depends": ({"text"}, {"suites"}),
}
"""Needed and further keys of the entries."""


class Position(NamedTuple):
    """What one source says, and when it said so."""

    date: str
    source: str
    texts: list[str]


class Positions(NamedTuple):
    """What the table holds on a suite and a role."""

    edition: str
    date: str
    role: str
    """The role in words."""
    said: list[str]
    """What the table cannot say, and what it depends on; empty where suite and role are in it."""
    entries: list[Position]


def positions(templates: Templates, suite: str, role: str) -> Positions:
    """What the table holds on a run's suite and role.

    Args:
        templates: where the table is read from.
        suite: the run's suite.
        role: the declared role of the output; empty where none was declared.

    Raises:
        ConfigurationError: the table has no edition, or an entry of it is malformed.
    """
    table = templates.table(_FILE)
    _check(table, templates)
    known = role in ROLES
    by_source: dict[str, list[str]] = {}
    for entry in table.get("position", []):
        if _holds(entry, "suites", suite) and _holds(entry, "roles", role if known else UNDECLARED):
            by_source.setdefault(entry["source"], []).append(entry["text"])
    entries = [_position(table["source"][key], texts) for key, texts in by_source.items()]
    said = [] if known else _depends(table, suite, role)
    if not entries:
        said.append(f"The table of positions holds nothing on the suite {suite} in this role.")
    return Positions(str(table["edition"]), str(table["date"]), ROLES.get(role, role or UNDECLARED), said, entries)


def _holds(entry: Mapping[str, Any], key: str, value: str) -> bool:
    return key not in entry or value in entry[key]


def _position(source: Mapping[str, Any], texts: list[str]) -> Position:
    return Position(str(source["date"]), source["name"], [*texts, *([CHECK] if source.get("check") else [])])


def _depends(table: Mapping[str, Any], suite: str, role: str) -> list[str]:
    """What it depends on: the entry of the suite, else one that names no suite, and that nobody said it."""
    listed = table.get("depends", [])
    own = [entry["text"] for entry in listed if suite in entry.get("suites", [])]
    other = [entry["text"] for entry in listed if not entry.get("suites")]
    words = (
        f'The declared role, "{role}", is none that the table knows.'
        if role
        else "Neither the model card nor the criteria say what becomes of the output (output_role)."
    )
    return [*(own or other)[:1], words]


def _check(table: Mapping[str, Any], templates: Templates) -> None:
    if not table.get("edition") or not table.get("date"):
        raise _wrong("The table of positions has no edition", "edition and date", str(sorted(table)), templates)
    if set(table) - _TOP:
        unknown = ", ".join(sorted(set(table) - _TOP))
        raise _wrong("The table of positions holds an unknown key", ", ".join(sorted(_TOP)), unknown, templates)
    listed = {"source": list(table.get("source", {}).values())}
    listed |= {name: table.get(name, []) for name in ("position", "depends")}
    for name, entries in listed.items():
        for entry in entries:
            _check_entry(name, entry, templates)
    for entry in table.get("position", []):
        if entry["source"] not in table.get("source", {}):
            expected = f"one of {', '.join(table.get('source', {})) or 'the sources, of which there are none'}"
            raise _wrong("A position names an unknown source", expected, entry["source"], templates)


def _check_entry(name: str, entry: Any, templates: Templates) -> None:
    needed, further = _KEYS[name]
    keys = set(entry) if isinstance(entry, Mapping) else set()
    if not needed <= keys <= needed | further or not all(str(entry[key]).strip() for key in needed):
        expected = f"the keys {', '.join(sorted(needed))}, and of the others {', '.join(sorted(further))}"
        raise _wrong(f"A {name} of the table of positions is malformed", expected, str(entry), templates)
    for key in ("suites", "roles"):
        value = entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _wrong(
                f"{key} of a {name} is no list of texts", 'for instance ["translation"]', str(value), templates
            )
    unknown = [role for role in entry.get("roles", []) if role not in (*ROLES, UNDECLARED)]
    if unknown:
        expected = ", ".join((*ROLES, UNDECLARED))
        raise _wrong("A position names an unknown role", expected, ", ".join(unknown), templates)


def _wrong(problem: str, expected: str, found: str, templates: Templates) -> ConfigurationError:
    where = templates.where(_FILE)
    return ConfigurationError(problem, expected=expected, found=found, where=where, todo=f"correct {_FILE}")
