"""Tables of a criteria file as plain values that JSON can hold."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from medgan_qa.criteria.keys import PROTOCOL_KEYS, SCALAR, TABLE, TABLES, TEXTS, Kind
from medgan_qa.criteria.problems import known, problem


def table(content: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """The table `name` of a file (dotted below the top), checked key by key; dates become ISO text.

    Raises:
        ConfigurationError: an unknown key, or a value of another kind.
    """
    found, place = content.get(name.rpartition(".")[2], {}), f"{where}, [{name}]"
    known(found, TABLES[name], place)
    for key, value in found.items():
        require(TABLES[name][key], key, value, place)
    return {
        key: table(found, f"{name}.{key}", where) if TABLES[name][key] is TABLE else _plain(value)
        for key, value in found.items()
    }


def require(kind: Kind, key: str, value: Any, place: str) -> None:
    """Refuse a value of another kind.

    Raises:
        ConfigurationError: it does not fit.
    """
    if not kind.fits(value):
        raise problem(f"{key} cannot be used.", kind.expected, repr(value), place)


def protocol(found: Any, where: str) -> dict[str, Any]:
    """The table [protocol]; everything but `approved_by` is text.

    Raises:
        ConfigurationError: an unknown key, or a list or table where a text belongs.
    """
    place = f"{where}, [protocol]"
    known(found, PROTOCOL_KEYS, place)
    for key, value in found.items():
        if key == "approved_by":
            require(TEXTS, key, value, place)
        elif isinstance(value, list | dict):
            raise problem(f"{key} cannot be used.", "a text", repr(value), place)
    return {key: list(value) if key == "approved_by" else str(_plain(value)) for key, value in found.items()}


def matching(found: Any, where: str) -> dict[str, Any]:
    """The table [matching]: parameters by name, whichever audits have them.

    Raises:
        ConfigurationError: it is no table of texts, numbers and booleans.
    """
    place = f"{where}, [matching]"
    if not isinstance(found, Mapping):
        raise problem("A table was expected.", "parameters of audits by name", repr(found), place)
    for key, value in found.items():
        require(SCALAR, key, value, place)
    return dict(found)


def parameters(tables: Any, where: str) -> dict[str, dict[str, Any]]:
    """The tables [parameters.CODE].

    Raises:
        ConfigurationError: they are no tables, or hold what JSON cannot.
    """
    place = f"{where}, [parameters]"
    if not isinstance(tables, Mapping) or not all(isinstance(values, Mapping) for values in tables.values()):
        raise problem("The parameters are no tables.", "one table an audit, [parameters.CODE]", repr(tables), place)
    try:
        # The digest and the Record hold them as JSON, which knows neither NaN nor dates.
        json.dumps(tables, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise problem(
            "A parameter cannot be recorded.", "finite numbers, texts, booleans and lists", str(error), place
        ) from error
    return {code: dict(values) for code, values in tables.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
