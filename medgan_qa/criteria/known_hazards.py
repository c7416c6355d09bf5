"""The shipped catalogue of hazards, and those that criteria trace to."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from medgan_qa.criteria.content import Criteria, DeclaredHazard
from medgan_qa.criteria.problems import hint
from medgan_qa.record import Hazard

CATALOGUE = "catalogue"
"""Source of a hazard of the shipped list."""
LOOKS_LIKE_ID = re.compile(r"HZ-\d+")


@dataclass(frozen=True)
class KnownHazard:
    """A hazard of the shipped catalogue."""

    id: str
    name: str
    situation: str
    """How it reaches a patient."""
    control: str
    """What of this tool or of the process controls it."""
    audits: tuple[str, ...]
    """Codes of the audits that do; empty where only labelling or the process can."""


@cache
def catalogue() -> Mapping[str, KnownHazard]:
    """The shipped hazards by id, in their order."""
    content = tomllib.loads((files("medgan_qa.criteria") / "hazards.toml").read_text(encoding="utf-8"))
    entries = [KnownHazard(**{**entry, "audits": tuple(entry["audits"])}) for entry in content["hazard"]]
    return MappingProxyType({entry.id: entry for entry in entries})


def hazards(criteria: Criteria) -> list[Hazard]:
    """The hazards that criteria refer to: in the order of the catalogue, then the file's own.

    A criterion refers to a hazard by its id, or by a text that begins with one (`HZ-03 pathology removed`); several
    ids stand side by side (`HZ-03, HZ-05`). What the file says of a hazard of the catalogue takes its place.
    """
    own = {hazard.id: hazard for hazard in criteria.hazards}
    referred = {i for d in criteria.declared for i in referred_ids(d.hazard, criteria)}
    order = dict.fromkeys([*catalogue(), *own])
    return [_hazard(name, own.get(name), criteria.file) for name in order if name in referred]


def referred_ids(text: str, criteria: Criteria) -> list[str]:
    """The known ids that a criterion's `hazard` begins with."""
    known, found = {*catalogue(), *(h.id for h in criteria.hazards)}, []
    for word in _words(text):
        if word not in known:
            break
        found.append(word)
    return found


def unknown_hazards(criteria: Criteria) -> Iterator[tuple[str, str]]:
    """Criteria that refer to a hazard nobody declared: their id, and what is wrong."""
    known = [*catalogue(), *(h.id for h in criteria.hazards)]
    for declared in criteria.declared:
        referred = referred_ids(declared.hazard, criteria)
        strange = [word for word in LOOKS_LIKE_ID.findall(declared.hazard) if word not in known]
        if strange:
            yield declared.id, f"unknown hazard {strange[0]!r}{hint(strange[0], known)}"
        elif declared.hazard.strip() and not referred:
            first = _words(declared.hazard)[:1] or [declared.hazard]
            yield declared.id, f"its hazard {declared.hazard!r} begins with no known id{hint(first[0], known)}"


def _words(text: str) -> list[str]:
    words = (word.rstrip(":.") for word in re.split(r"[\s,;]+", text))
    return [word for word in words if word]


def _hazard(name: str, own: DeclaredHazard | None, file: str) -> Hazard:
    shipped = catalogue().get(name)
    texts = {
        key: (getattr(own, key) if own else "") or (getattr(shipped, key) if shipped else "")
        for key in ("name", "situation", "control")
    }
    return Hazard(id=name, source=CATALOGUE if own is None else file, **texts)
