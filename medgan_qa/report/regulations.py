"""The regulation map: what laws, standards and guidance ask of such a report, and where it answers.

Editions and dates change, so they stand in a table, `regulations.toml`, that a company lays its own over. The report
prints the table with its edition and is silent on what it does not hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from medgan_qa.errors import ConfigurationError
from medgan_qa.report.resources import Templates
from medgan_qa.report.sections import SECTIONS, Section

CHECK = "Check before relying on it."
_FILE = "regulations.toml"
_NEEDED = {"source", "status", "clause", "asks", "section"}
_ALLOWED = _NEEDED | {"note", "check", "clauses"}


class Requirement(NamedTuple):
    """What a source asks, and where it is answered."""

    clause: str
    asks: str
    section: Section
    note: str
    gaps: list[str]
    """Titles of what the report has to leave open here, because it was not declared."""


class Source(NamedTuple):
    """A law, standard or guidance."""

    name: str
    status: str
    requirements: list[Requirement]


class RegulationMap(NamedTuple):
    """The whole map."""

    edition: str
    date: str
    sources: list[Source]


def regulation_map(templates: Templates, gaps: Mapping[str, str], known: Collection[str]) -> RegulationMap:
    """Read the map.

    Args:
        templates: where the table is read from.
        gaps: titles of the clauses that the run did not declare, by clause.
        known: every clause of the report.

    Raises:
        ConfigurationError: an entry is malformed, or names a section or clause that the report does not have.
    """
    table = templates.table(_FILE)
    edition, date = (table.get(key) for key in ("edition", "date"))
    if not edition or not date:
        raise _wrong("The regulation map has no edition", "edition and date", str(sorted(table)), templates)
    if "position" in table:
        expected = "entries on positions in positions.toml, where sources, suites and roles have their place"
        raise _wrong("The regulation map holds positions", expected, f"position in {_FILE}", templates)
    made: dict[tuple[str, str], list[Requirement]] = {}
    for entry in table.get("entry", []):
        _check(entry, known, templates)
        status = f"{entry['status']}{f' {CHECK}' if entry.get('check') else ''}"
        made.setdefault((entry["source"], status), []).append(_requirement(entry, gaps))
    return RegulationMap(str(edition), str(date), [Source(*named, asked) for named, asked in made.items()])


def _requirement(entry: Mapping[str, Any], gaps: Mapping[str, str]) -> Requirement:
    open_ones = [gaps[clause] for clause in entry.get("clauses", []) if clause in gaps]
    return Requirement(
        entry["clause"], entry["asks"], SECTIONS[entry["section"]], str(entry.get("note", "")), open_ones
    )


def _check(entry: Mapping[str, Any], known: Collection[str], templates: Templates) -> None:
    if not _NEEDED <= set(entry) <= _ALLOWED:
        expected = f"the keys {', '.join(sorted(_NEEDED))}, and of the others {', '.join(sorted(_ALLOWED - _NEEDED))}"
        raise _wrong("An entry of the regulation map is malformed", expected, str(sorted(entry)), templates)
    if entry["section"] not in SECTIONS:
        found = f"{entry['section']}, in {entry['source']}, {entry['clause']}"
        raise _wrong("The regulation map names an unknown section", ", ".join(SECTIONS), found, templates)
    foreign = [clause for clause in entry.get("clauses", []) if clause not in known]
    if foreign:
        found = f"{', '.join(foreign)}, in {entry['source']}, {entry['clause']}"
        raise _wrong("The regulation map names an unknown clause", "clauses of clauses.toml", found, templates)


def _wrong(problem: str, expected: str, found: str, templates: Templates) -> ConfigurationError:
    where = templates.where(_FILE)
    return ConfigurationError(problem, expected=expected, found=found, where=where, todo=f"correct {_FILE}")
