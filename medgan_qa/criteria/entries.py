"""The lists of a criteria file: criteria, hazards, sentinels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medgan_qa.criteria.content import Declared, DeclaredHazard, DeclaredSentinel, Strata
from medgan_qa.criteria.keys import HAZARD_KEYS, NAME, SENTINEL_KEYS, TEXT, TEXTS, is_number, one_of
from medgan_qa.criteria.known_hazards import catalogue
from medgan_qa.criteria.problems import known, problem
from medgan_qa.criteria.tables import require

KEYS = (
    "id",
    "measurement",
    "limit",
    "judged_on",
    "rationale",
    "hazard",
    "requirement",
    "severity",
    "claim",
    "margin",
    "strata",
    "optional",
)
SEVERITY = one_of("gate", "report")


def all_declared(entries: Any, where: str) -> tuple[Declared, ...]:
    """The criteria, at least one.

    Raises:
        ConfigurationError: there is none, one cannot be judged, or an id stands twice.
    """
    if not isinstance(entries, list) or not entries:
        found = "none" if not entries else repr(entries)
        raise problem("The file declares no criterion.", "at least one [[criterion]]", found, where)
    declared = tuple(_declared(entry, where) for entry in entries)
    _once([d.id for d in declared], "Two criteria have one id.", where)
    expanded = tuple(f"{d.id}[" for d in declared if d.strata != Strata())
    taken = [d.id for d in declared if d.id.startswith(expanded)]
    if taken:
        raise problem(
            "The id of a criterion is that of another one's stratum.",
            "ids that do not begin with the id of a criterion with strata and a bracket",
            ", ".join(taken),
            where,
        )
    return declared


def _declared(entry: Any, where: str) -> Declared:
    known(entry, KEYS, f"{where}, [[criterion]]")
    place = f"{where}, criterion {entry.get('id', '(without id)')}"
    for key in ("id", "measurement", "limit", "judged_on"):
        if entry.get(key) in (None, ""):
            raise problem(
                f"A criterion lacks {key!r}.", "id, measurement, limit and judged_on", ", ".join(entry), place
            )
    texts = {k: str(entry.get(k, "")) for k in ("rationale", "hazard", "requirement", "claim")}
    severity = entry.get("severity", "gate")
    require(SEVERITY, "severity", severity, place)
    if not isinstance(entry.get("optional", False), bool):
        raise problem("optional is neither true nor false.", "true or false", repr(entry["optional"]), place)
    return Declared(
        str(entry["id"]),
        str(entry["measurement"]),
        _limit(entry["limit"], entry["judged_on"], place),
        entry["judged_on"],
        severity=severity,
        margin=_margin(entry.get("margin"), place),
        strata=_strata(entry.get("strata", {}), str(entry["measurement"]), place),
        optional=entry.get("optional", False),
        **texts,
    )


def _limit(limit: Any, judged_on: Any, place: str) -> dict[str, float]:
    known(limit, ("max", "min"), f"{place}, limit")
    if not limit or not all(is_number(v) for v in limit.values()):
        raise problem("The limit is no number.", "limit = {max = 0.05} or {min = 0.7} or both", repr(limit), place)
    if "min" in limit and "max" in limit and limit["min"] > limit["max"]:
        raise problem("No number can meet the limit.", "min at most max", repr(limit), place)
    if judged_on not in ("upper", "lower", "both", "value"):
        raise problem("judged_on is unknown.", "upper, lower, both or value", repr(judged_on), place)
    # A criterion must be held against the bound that is unfavourable to the model; the other one would pass on
    # ignorance.
    needs = {"upper": {"max"}, "lower": {"min"}}.get(judged_on)
    if needs is not None and set(limit) != needs:
        raise problem(
            "The limit does not fit the bound it is judged on.",
            'max with "upper", min with "lower", either or both with "both" and "value"',
            f"{limit} judged on {judged_on!r}",
            place,
        )
    return {k: float(v) for k, v in limit.items()}


def _margin(margin: Any, place: str) -> float | None:
    if margin is None:
        return None
    if not is_number(margin) or margin < 0:
        raise problem(
            "The margin cannot be used.", "a number of at least 0, in the unit of the measurement", repr(margin), place
        )
    return float(margin)


def _strata(strata: Any, measurement: str, place: str) -> Strata:
    known(strata, ("gate", "report"), f"{place}, strata")
    for key, kinds in strata.items():
        require(TEXTS, key, kinds, f"{place}, strata")
    named = [kind for kinds in strata.values() for kind in kinds]
    if not all(kind.strip() for kind in named) or len(set(named)) < len(named):
        raise problem("The strata cannot be told apart.", "every kind of stratum once", repr(strata), place)
    if named and "[" in measurement:
        raise problem("A stratum has no strata.", f"the measurement {measurement.split('[')[0]}", measurement, place)
    return Strata(tuple(strata.get("gate", ())), tuple(strata.get("report", ())))


def all_hazards(entries: Any, where: str) -> tuple[DeclaredHazard, ...]:
    """The file's own hazards.

    Raises:
        ConfigurationError: an entry without id, a new hazard without a name, or an id that stands twice.
    """
    found = [_texts(entry, HAZARD_KEYS, ("id",), where, "hazard") for entry in _list(entries, where, "hazard")]
    for hazard in found:
        if not hazard.get("name") and hazard["id"] not in catalogue():
            raise problem(
                "A hazard lacks 'name'.",
                "a name, unless the id is one of the shipped catalogue",
                hazard["id"],
                f"{where}, [[hazard]]",
            )
        if any(c.isspace() or c in ",;" for c in hazard["id"]):
            raise problem(
                "The id of a hazard cannot be referred to.",
                "no blank, comma or semicolon in it",
                repr(hazard["id"]),
                f"{where}, [[hazard]]",
            )
    _once([hazard["id"] for hazard in found], "Two hazards have one id.", where)
    return tuple(DeclaredHazard(**hazard) for hazard in found)


def all_sentinels(entries: Any, where: str) -> tuple[DeclaredSentinel, ...]:
    """The sentinels.

    Raises:
        ConfigurationError: an entry without case or audit, or a case that stands twice for one audit.
    """
    needed = ("case", "audit")
    found = [_texts(e, SENTINEL_KEYS, needed, where, "sentinel") for e in _list(entries, where, "sentinel")]
    _once([f"{s['case']} in {s['audit']}" for s in found], "A sentinel is declared twice.", where)
    return tuple(DeclaredSentinel(**sentinel) for sentinel in found)


def _list(entries: Any, where: str, name: str) -> list[Any]:
    if not isinstance(entries, list):
        raise problem(f"The file has no list of {name}s.", f"one [[{name}]] each", repr(entries), where)
    return entries


def _texts(entry: Any, keys: Sequence[str], needed: Sequence[str], where: str, name: str) -> dict[str, str]:
    place = f"{where}, [[{name}]]"
    known(entry, keys, place)
    for key in needed:
        if key not in entry:
            raise problem(f"A {name} lacks {key!r}.", ", ".join(needed), ", ".join(entry), place)
    for key, value in entry.items():
        require(NAME if key in needed else TEXT, key, value, place)
    return dict(entry)


def _once(names: Sequence[str], text: str, where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise problem(text, "every id once", f"{', '.join(twice)} more than once", where)
