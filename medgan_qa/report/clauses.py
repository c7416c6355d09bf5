"""Required clauses: what every report says, whatever templates it was made with.

`clauses.toml` lists them; templates mark the element that answers one with `data-clause="ID"`. A page that lacks one,
or leaves one empty, is refused: a company's template may rearrange the report, but drop nothing from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from typing import NamedTuple

from medgan_qa.errors import ConfigurationError
from medgan_qa.report.resources import Templates
from medgan_qa.report.sections import SECTIONS

_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_SILENT = frozenset(("style", "script", "svg", "template"))
_KEYS = {"id", "title", "section"}


class Clause(NamedTuple):
    """Something that the report has to say."""

    id: str
    title: str
    section: str
    """Anchor of the section that it belongs to."""

    @property
    def place(self) -> str:
        """Where it belongs, in words."""
        section = SECTIONS.get(self.section)
        return f"{section.name} ({section.title})" if section else self.section


def required(templates: Templates) -> list[Clause]:
    """The clauses of the package, and those that a company adds.

    Raises:
        ConfigurationError: the company's list has an entry that is malformed or takes the place of one of the package.
    """
    shipped = [Clause(**entry) for entry in templates.shipped_table("clauses.toml")["clause"]]
    if templates.own("clauses.toml") is None:
        return shipped
    known = {clause.id for clause in shipped}
    added = []
    for entry in templates.table("clauses.toml").get("clause", []):
        if set(entry) != _KEYS or not all(isinstance(value, str) and value for value in entry.values()):
            raise _refused("A clause is malformed", f"the keys {', '.join(sorted(_KEYS))}", str(entry), templates)
        if entry["id"] in known:
            raise _refused("A clause of the package is listed again", "clauses to add", entry["id"], templates)
        known.add(entry["id"])
        added.append(Clause(**entry))
    return [*shipped, *added]


def _refused(problem: str, expected: str, found: str, templates: Templates) -> ConfigurationError:
    where = templates.where("clauses.toml")
    return ConfigurationError(problem, expected=expected, found=found, where=where, todo="correct clauses.toml")


def require_clauses(page: str, clauses: Sequence[Clause], templates: Templates) -> None:
    """Refuse a page that lacks a clause.

    Raises:
        ConfigurationError: a clause is not on the page, or is empty there.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    for clause in clauses:
        if clause.id in reader.said:
            continue
        empty = clause.id in reader.seen
        raise ConfigurationError(
            f"The report lacks the clause {clause.id}: {clause.title}",
            expected=f'an element with data-clause="{clause.id}" and a text, in {clause.place}',
            found="the element, without a text" if empty else "no such element",
            where=templates.folder or "the templates of the package",
            todo="put the clause back into the template; parts/ of the package shows how each is written",
        )


class _Reader(HTMLParser):
    """Collects the clauses of a page, and which of them have a text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: set[str] = set()
        self.said: set[str] = set()
        self._open: list[tuple[str, str]] = []
        self._waiting: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            return
        clause = next((value or "" for name, value in attrs if name == "data-clause"), "")
        self._open.append((tag, clause))
        if clause:
            self.seen.add(clause)
            self._waiting.append(clause)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # As in `<path/>` of a drawing: it holds nothing.
        return

    def handle_endtag(self, tag: str) -> None:
        if not any(name == tag for name, _ in self._open):
            return
        while self._open:
            name, clause = self._open.pop()
            if clause in self._waiting:
                self._waiting.remove(clause)
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._waiting and data.strip() and not any(name in _SILENT for name, _ in self._open):
            self.said.update(self._waiting)
            self._waiting.clear()
