"""What clinical experts saw and said of synthetic images: a TOML file that a person fills in after a reading.

The tool shows no images to anybody and judges no expert. It checks that the counts can be true, keeps the file's
digest, and holds the reading against the model that it was made of.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgan_qa.criteria.keys import DATE, NAME, Kind, is_number
from medgan_qa.criteria.problems import hint
from medgan_qa.errors import ConfigurationError

SCHEMA = "medgan-qa/expert-reading/1"
MOST_SHOWN = 20
"""Problems listed in one message."""

MOST = 1_000_000
"""Images that a count may name; nobody reads more."""


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def _day(value: Any) -> bool:
    """A date as TOML has it, or as ISO text with dashes; no date with a time."""
    return DATE.fits(value) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)) is not None


_COUNT = Kind(f"a whole number from 0 to {MOST}", lambda v: _whole(v, 0))
_SOME = Kind(f"a whole number from 1 to {MOST}", lambda v: _whole(v, 1))
_DAY = Kind(DATE.expected, _day)
_YEARS = Kind("a number of years, 0 to 80", lambda v: is_number(v) and 0 <= v <= 80)
_TRUTH = Kind("true or false", lambda v: isinstance(v, bool))
_SHA = Kind("64 hexadecimal digits", lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-fA-F]{64}", v) is not None)

TOP = {"question": NAME, "protocol": NAME, "date": _DAY, "model_sha256": _SHA}
READER = {"id": NAME, "role": NAME, "years": _YEARS}
SEEN = {"synthetic": _SOME, "real": _COUNT, "blinded": _TRUTH}
RESULT = {"reader": NAME, "synthetic_seen": _SOME, "accepted": _COUNT, "unrealistic": _COUNT, "label_wrong": _COUNT}
WITH_REAL = {"synthetic_called_real": _COUNT, "real_seen": _SOME, "real_accepted": _COUNT, "real_called_real": _COUNT}
"""Keys of a result that are there exactly if real images were among those shown."""


@dataclass(frozen=True)
class Reader:
    """A person who read."""

    id: str
    role: str
    years: float
    """Of experience in the role."""


@dataclass(frozen=True)
class ReaderResult:
    """What one reader said, in counts of images."""

    reader: str
    synthetic_seen: int
    accepted: int
    """Synthetic images judged usable for what the question asks."""
    unrealistic: int
    """Synthetic images turned down because they do not show what occurs; one may be in `label_wrong` too."""
    label_wrong: int
    """Synthetic images turned down because they do not show what their label says."""
    synthetic_called_real: int | None = None
    real_seen: int = 0
    real_accepted: int | None = None
    real_called_real: int | None = None


@dataclass(frozen=True)
class ExpertReading:
    """A whole reading."""

    file: str
    sha256: str
    """Of the file's bytes."""
    model_sha256: str
    """Of the model, or digest of the stored set, whose images were read."""
    question: str
    protocol: str
    date: str
    readers: tuple[Reader, ...]
    synthetic: int
    """Different synthetic images that were shown."""
    real: int
    """Different real images among them."""
    blinded: bool
    """Readers did not know which images were synthetic."""
    results: tuple[ReaderResult, ...]
    """One a reader, in the order of the readers."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a Record says of it."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "protocol": self.protocol,
            "date": self.date,
            "question": self.question,
            "readers": [{"id": r.id, "role": r.role, "years": r.years} for r in self.readers],
        }


def read_expert_reading(path: Path) -> ExpertReading:
    """Read a file of expert readings.

    Raises:
        ConfigurationError: it cannot be read, has another schema, or everything that is missing, unknown, malformed or
            cannot be true together.
    """
    try:
        raw = path.read_bytes()
        content = tomllib.loads(raw.decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise _refused(path, "a TOML file in UTF-8", f"{type(error).__name__}: {error}") from error
    if content.get("schema") != SCHEMA:
        raise _refused(path, f'schema = "{SCHEMA}"', f"schema = {content.get('schema')!r}")
    problems = list(_shape(content)) or list(_sense(content))
    if problems:
        more = [f"and {len(problems) - MOST_SHOWN} more"] if len(problems) > MOST_SHOWN else []
        raise _refused(path, f"the keys of {SCHEMA}, with counts that fit", "; ".join([*problems[:MOST_SHOWN], *more]))
    results = {result["reader"]: ReaderResult(**result) for result in content["result"]}
    readers = tuple(Reader(r["id"], r["role"], float(r["years"])) for r in content["reader"])
    return ExpertReading(
        file=path.name,
        sha256=hashlib.sha256(raw).hexdigest(),
        model_sha256=content["model_sha256"].lower(),
        question=content["question"],
        protocol=content["protocol"],
        date=str(content["date"]),
        readers=readers,
        synthetic=content["seen"]["synthetic"],
        real=content["seen"]["real"],
        blinded=content["seen"]["blinded"],
        results=tuple(results[reader.id] for reader in readers),
    )


def _refused(path: Path, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        "The expert reading cannot be used.",
        expected=expected,
        found=found,
        where=path,
        todo="Correct the file; docs/how-to/augmentation.md has one to start from.",
    )


def _shape(content: Mapping[str, Any]) -> Iterator[str]:
    """Keys that are missing or unknown, and values of another kind."""
    parts = ("schema", "seen", "reader", "result")
    yield from _table({k: v for k, v in content.items() if k not in parts}, TOP, "", parts)
    seen = content.get("seen")
    yield from _table(seen, SEEN, "seen") if isinstance(seen, Mapping) else iter(["seen: expected a table [seen]"])
    with_real = isinstance(seen, Mapping) and isinstance(seen.get("real"), int) and seen["real"] > 0
    for name, keys in (("reader", READER), ("result", {**RESULT, **(WITH_REAL if with_real else {})})):
        entries = content.get(name)
        if not isinstance(entries, list) or not entries or not all(isinstance(e, Mapping) for e in entries):
            yield f"{name}: expected at least one table [[{name}]]"
            continue
        for number, entry in enumerate(entries, start=1):
            yield from _table(entry, keys, f"{name} {number}")


def _table(table: Mapping[str, Any], keys: Mapping[str, Kind], where: str, also: Sequence[str] = ()) -> Iterator[str]:
    head = f"{where}, " if where else ""
    for key in table:
        if key not in keys:
            why = "; no real images were shown" if key in WITH_REAL else ""
            yield f"{head}{key}: unknown key{hint(key, [*keys, *also])}{why}"
    for key, kind in keys.items():
        if key not in table:
            yield f"{head}{key}: missing, expected {kind.expected}"
        elif not kind.fits(table[key]):
            yield f"{head}{key}: expected {kind.expected}, found {table[key]!r}"


def _sense(content: Mapping[str, Any]) -> Iterator[str]:
    """Counts and names that cannot be true together."""
    names = [reader["id"] for reader in content["reader"]]
    told = [result["reader"] for result in content["result"]]
    for kind, listed in (("reader", names), ("result", told)):
        yield from (f"{kind}: {name} stands more than once" for name in sorted(set(listed)) if listed.count(name) > 1)
    yield from (f"result: {name} is none of the readers" for name in sorted(set(told) - set(names)))
    yield from (f"reader: {name} has no result" for name in sorted(set(names) - set(told)))
    seen = content["seen"]
    for result in content["result"]:
        yield from (f"result of {result['reader']}: {problem}" for problem in _impossible(result, seen))
    for kind in ("synthetic", "real"):
        read = sum(result.get(f"{kind}_seen", 0) for result in content["result"])
        if read < seen[kind]:
            yield f"seen, {kind}: {seen[kind]} images were shown, and readers read {read} in all"


def _impossible(result: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[str]:
    rejected = result["synthetic_seen"] - result["accepted"]
    limits = [
        ("synthetic_seen", seen["synthetic"], "synthetic images shown"),
        ("accepted", result["synthetic_seen"], "synthetic_seen"),
        ("unrealistic", max(rejected, 0), "images not accepted"),
        ("label_wrong", max(rejected, 0), "images not accepted"),
    ]
    if "real_seen" in result:
        limits += [
            ("synthetic_called_real", result["synthetic_seen"], "synthetic_seen"),
            ("real_seen", seen["real"], "real images shown"),
            ("real_accepted", result["real_seen"], "real_seen"),
            ("real_called_real", result["real_seen"], "real_seen"),
        ]
    for key, most, of_what in limits:
        if result[key] > most:
            yield f"{key} is {result[key]}, more than the {most} {of_what}"
