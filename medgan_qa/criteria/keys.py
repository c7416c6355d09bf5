"""The tables of a criteria file that describe the claim: which keys they have, and what stands under each."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

LARGEST_SEED = 2**63 - 1


class Kind(NamedTuple):
    """What a value has to be."""

    expected: str
    fits: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """A finite number; TOML has nan, inf and booleans, and Python counts the last as integers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _whole(value: Any, least: int, most: int | None = None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least and (most is None or value <= most)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _date(value: Any) -> bool:
    if isinstance(value, datetime.date):
        return True
    try:
        return isinstance(value, str) and bool(datetime.date.fromisoformat(value))
    except ValueError:
        return False


def _relative(value: Any) -> bool:
    if not isinstance(value, str) or not value.strip():
        return False
    return not (PurePosixPath(value).is_absolute() or PureWindowsPath(value).anchor)


def _scalar(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and math.isfinite(value))


def one_of(*names: str) -> Kind:
    """One of some texts."""
    return Kind(" or ".join(f'"{name}"' for name in names), lambda value: isinstance(value, str) and value in names)


def _some_of(*names: str) -> Kind:
    def fits(value: Any) -> bool:
        return _texts(value) and bool(value) and len(set(value)) == len(value) and set(value) <= set(names)

    return Kind(f"a list of {' and '.join(names)}, each at most once", fits)


TEXT = Kind("a text", lambda value: isinstance(value, str))
NAME = Kind("a text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()))
TEXTS = Kind("a list of texts", _texts)
COUNT = Kind("a whole number of at least 1", lambda value: _whole(value, 1))
SEED = Kind("a whole number from 0 to 2^63 - 1", lambda value: _whole(value, 0, LARGEST_SEED))
DATE = Kind("a date, e.g. 2026-03-01", _date)
FILE = Kind("the name of a file relative to the criteria file", _relative)
SCALAR = Kind("a text, a finite number or a boolean", _scalar)
TABLE = Kind("a table", lambda value: isinstance(value, Mapping))

TABLES: dict[str, dict[str, Kind]] = {
    "context": {
        "suite": NAME,
        "intended_use": TEXT,
        "output_role": one_of("viewed", "pipeline_input", "training_only", "discriminator_only"),
        "anatomy": TEXT,
        "user": TEXT,
        "claims": TEXTS,
        "out_of_scope": TEXTS,
    },
    "data": {"min": TABLE, "allowed_processing": TEXTS, "independence": TABLE, "sequestration": TABLE},
    "data.min": {"patients": COUNT, "lesions": COUNT, "sites": COUNT},
    "data.independence": {"by": _some_of("patient", "site"), "train_manifest": FILE, "statement": TEXT},
    "data.sequestration": {"since": DATE, "custodian": TEXT, "statement": TEXT},
    "reference_standard": {
        "labels": TEXT,
        "annotators": COUNT,
        "qualification": TEXT,
        "adjudication": TEXT,
        "variability": TEXT,
    },
    "statistics": {"bound": one_of("one-sided", "two-sided"), "cluster": one_of("patient"), "seed": SEED},
    "attempts": {"max": COUNT, "feedback": one_of("full", "pass_fail")},
    "modification": {"id": NAME, "description": TEXT, "protocol": TEXT},
}
"""Keys by table; a key of kind TABLE is a table of its own, under its dotted name."""

PROTOCOL_KEYS = ("id", "revision", "title", "rationale", "approved_by")
HAZARD_KEYS = ("id", "name", "situation", "control")
SENTINEL_KEYS = ("case", "audit", "rationale")
