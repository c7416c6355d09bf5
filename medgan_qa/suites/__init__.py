"""Suites: which audits answer for which use, and the default criteria. One TOML a suite.

What several suites ask alike stands once, in `parts/`: audits, limitations, criteria and parameters that are added to a
suite which names the part.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from medgan_qa.audits import AUDITS, Audit
from medgan_qa.criteria import Criteria, parse_criteria
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import IndexEntry


@dataclass(frozen=True)
class Suite:
    """A suite as its TOML declares it."""

    name: str
    title: str
    task: str
    """The task a model's card must name."""
    phantom: str
    """The embedded cohort that it runs on without --data."""
    detector: str | None
    """The shipped detector that reads where the user gives none."""
    audits: tuple[Audit, ...]
    criteria: Criteria
    limitations: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the suite's run takes beside subject, cohort and detector."""
    index: tuple[IndexEntry, ...] = ()
    """Headings of a published scheme, and the audits that stand for them."""
    optional: tuple[Audit, ...] = ()
    """Audits that run where a criterion asks for them, or the user does."""
    beside: frozenset[str] = frozenset()
    """Codes of audits that look at the data and not at the model: where they cannot be carried out, and only optional
    criteria name them, that is printed and holds nothing back."""


def extended(whole: Suite, criteria: Criteria, also: Sequence[str] = ()) -> Suite:
    """A suite with those of its optional audits that criteria, sentinel cases or the user ask for.

    Args:
        whole: as it was read.
        criteria: what is to be judged.
        also: codes of further audits; `all` for every optional one.

    Raises:
        ConfigurationError: `also` names an audit that the suite does not have.
    """
    asked = {declared.measurement.partition(".")[0] for declared in criteria.declared}
    asked |= {sentinel.audit for sentinel in criteria.sentinels}
    known = [audit.code for audit in (*whole.audits, *whole.optional)]
    foreign = [code for code in also if code not in (*known, "all")]
    if foreign:
        raise ConfigurationError(
            f"The suite {whole.name} has no audit {foreign[0]}.",
            expected=f"one of {', '.join(known)}, or all",
            found=foreign[0],
            where="--also",
            todo="`medgan-qa list suites` shows the audits of a suite.",
        )
    more = [a for a in whole.optional if a.code in asked or a.code in also or "all" in also]
    return replace(whole, audits=(*whole.audits, *more))


def names() -> list[str]:
    """The suites that there are."""
    return sorted(f.name.removesuffix(".toml") for f in files("medgan_qa.suites").iterdir() if f.name.endswith(".toml"))


def suite(name: str) -> Suite:
    """Read a suite.

    Raises:
        ConfigurationError: there is no suite of that name.
    """
    if name not in names():
        raise ConfigurationError(
            "There is no such suite.",
            expected=f"one of {', '.join(names())}",
            found=name,
            where="--suite",
            todo="`medgan-qa list suites` shows what there is.",
        )
    content = _content(f"{name}.toml")
    parts = [_content(f"parts/{part}.toml") for part in content.get("parts", [])]
    for part in parts:
        content["audits"] += part["audits"]
        content["limitations"] += part["limitations"]
        content["criteria"]["criterion"] += [_asked(criterion, content) for criterion in part["criterion"]]
        content["criteria"]["parameters"] = {**part.get("parameters", {}), **content["criteria"].get("parameters", {})}
    return Suite(
        name=name,
        title=content["title"],
        task=content["task"],
        phantom=content["phantom"],
        detector=content.get("detector"),
        audits=tuple(AUDITS[code] for code in content["audits"]),
        criteria=parse_criteria(content["criteria"], f"default criteria of suite {name}", default=True),
        limitations=tuple(content["limitations"]),
        options=content.get("run", {}),
        index=tuple(IndexEntry(**entry) for entry in content.get("index", [])),
        optional=tuple(AUDITS[code] for code in content.get("optional", [])),
        beside=frozenset(code for part in parts for code in part["audits"]) - set(content.get("demanded", [])),
    )


def _asked(criterion: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """A criterion of a part, which is not optional where the suite demands its audit."""
    demanded = criterion["measurement"].partition(".")[0] in content.get("demanded", [])
    return {**criterion, "optional": False} if demanded else criterion


def _content(file: str) -> dict[str, Any]:
    return tomllib.loads((files("medgan_qa.suites") / file).read_text(encoding="utf-8"))
