"""Reading a criteria file: every problem of form is found before anything is measured."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medgan_qa.criteria.content import SCHEMA, Criteria
from medgan_qa.criteria.entries import all_declared, all_hazards, all_sentinels
from medgan_qa.criteria.problems import known, problem
from medgan_qa.criteria.tables import matching, parameters, protocol, table
from medgan_qa.errors import ConfigurationError

TOP_KEYS = (
    "schema",
    "protocol",
    "alpha",
    "multiplicity",
    "context",
    "data",
    "reference_standard",
    "statistics",
    "matching",
    "hazard",
    "criterion",
    "sentinel",
    "attempts",
    "modification",
    "parameters",
)
EITHER_PLACE = ("alpha", "multiplicity")
"""Keys that may stand at the top or in [statistics], and not in both."""


def read_criteria(path: Path) -> Criteria:
    """Read a criteria file.

    Raises:
        ConfigurationError: it is missing, no TOML, or says something that cannot be judged.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        content = tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except (OSError, ValueError, RecursionError) as error:  # text, syntax, a number or a nesting beyond all measure
        raise ConfigurationError(
            "The criteria file cannot be read.",
            expected="a TOML file",
            found=str(error),
            where=path,
            todo="Check the path and the line that is named.",
        ) from error
    return replace(parse_criteria(content, str(path)), text=text)


def parse_criteria(content: Mapping[str, Any], where: str, *, default: bool = False) -> Criteria:
    """Check the content of a criteria file; every problem is found before anything is measured.

    Args:
        content: the parsed TOML.
        where: the file, for messages; names that it holds are relative to it.
        default: these are a suite's own.

    Raises:
        ConfigurationError: unknown key, missing key, a value of another kind than its key takes, a limit that does not
            fit the bound, a duplicate id, or a parameter that JSON cannot hold.
    """
    if content.get("schema") != SCHEMA:
        raise problem("The file is no criteria file.", f'schema = "{SCHEMA}"', repr(content.get("schema")), where)
    known(content, TOP_KEYS, where)
    statistics = dict(_statistics(content, where))
    raised = {key: statistics.pop(key) for key in EITHER_PLACE if key in statistics}
    given = {**content, **raised}
    alpha = given.get("alpha", 0.05)
    if not isinstance(alpha, float) or not 0 < alpha < 0.5:
        raise problem("alpha is no usable error rate.", "a number between 0 and 0.5", repr(alpha), where)
    multiplicity = given.get("multiplicity", "none")
    if multiplicity not in ("none", "holm"):
        raise problem("multiplicity is unknown.", '"holm" or "none"', repr(multiplicity), where)
    return Criteria(
        protocol=protocol(content.get("protocol", {}), where),
        alpha=alpha,
        multiplicity=multiplicity,
        declared=all_declared(content.get("criterion"), where),
        parameters=parameters(content.get("parameters", {}), where),
        file=where,
        default=default,
        context=table(content, "context", where),
        data=_data(content, where),
        reference_standard=table(content, "reference_standard", where),
        statistics=table({"statistics": statistics}, "statistics", where),
        hazards=all_hazards(content.get("hazard", []), where),
        sentinels=all_sentinels(content.get("sentinel", []), where),
        attempts=table(content, "attempts", where),
        matching=matching(content.get("matching", {}), where),
        modification=_modification(content, where),
    )


def _statistics(content: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    statistics = content.get("statistics", {})
    if not isinstance(statistics, Mapping):
        raise problem("A table was expected.", "a table [statistics]", repr(statistics), where)
    for key in EITHER_PLACE:
        if key in statistics and key in content:
            both = f"{content[key]!r} at the top and {statistics[key]!r} in [statistics]"
            raise problem(f"{key} is given twice.", f"{key} at the top or in [statistics]", both, where)
    return statistics


def _data(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    data = table(content, "data", where)
    independence = data.get("independence", {})
    if "train_manifest" in independence and "by" not in independence:
        raise problem(
            "train_manifest is given, but not what shall be compared with it.",
            'by = ["patient"], ["site"] or both',
            "no key by",
            f"{where}, [data.independence]",
        )
    return data


def _modification(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    modification = table(content, "modification", where)
    if modification and "id" not in modification:
        found = ", ".join(modification)
        raise problem(
            "The modification lacks 'id'.", "the id that the plan gives it", found, f"{where}, [modification]"
        )
    return modification
