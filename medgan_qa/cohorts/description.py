"""The description of a dataset: the TOML file that stands beside its table."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgan_qa.cohorts._problems import collected, is_absolute, unknown
from medgan_qa.cohorts.readers import Spacing
from medgan_qa.errors import DatasetError

SCHEMA = "medgan-qa/dataset/1"

_KEYS = (
    "schema",
    "name",
    "cases",
    "value_range",
    "window",
    "spacing_mm",
    "source_domain",
    "target_domain",
    "lesion_in",
    "scale",
    "degrade",
)


@dataclass(frozen=True)
class Description:
    """What the TOML file says."""

    path: Path
    content: dict[str, Any]
    """The whole file, as parsed."""
    name: str
    table: Path
    value_range: tuple[float, float] | None
    """Either `value_range` or `window`; None where neither is given."""
    windowed: bool
    """Stored numbers are clipped to the range before they are mapped."""
    spacing_mm: Spacing | None
    source_domain: str | None
    target_domain: str | None
    lesion_in: tuple[str, ...]
    scale: tuple[int, int] = (1, 1)
    """How many times the rows and columns of `image` the target and the mask have."""
    degrade: bool = False
    """Images are the truth of a super-resolution; its inputs are made from them as the model's card declares."""


def locate(path: Path) -> Path:
    """The dataset file that `path` means: itself, or the one file of this schema in a folder.

    Raises:
        DatasetError: there is nothing, or the folder holds none or several.
    """
    if path.is_file():
        return path
    candidates = sorted(path.glob("*.toml")) if path.is_dir() else []
    matching = [candidate for candidate in candidates if _schema_of(candidate) == SCHEMA]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(candidate.name for candidate in matching or candidates) or "no TOML file"
    raise DatasetError(
        f"no dataset at {path.name}",
        expected=f'a TOML file with schema = "{SCHEMA}", or a folder with exactly one',
        found=f"a folder with {listed}" if path.is_dir() else "nothing there",
        where=path,
        todo="Name the dataset's TOML file.",
    )


def _schema_of(path: Path) -> object:
    try:
        return tomllib.loads(path.read_text("utf-8-sig")).get("schema")
    except (OSError, ValueError):
        return None


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path.name} cannot be read",
            expected="a TOML file in UTF-8",
            found=f"{type(error).__name__}: {error}",
            where=path,
            todo="Give the dataset's TOML file, not its table, and correct the line named.",
        ) from error


def read_description(path: Path) -> Description:
    """Read a dataset file; whether the files that it names are there is not looked at.

    Raises:
        DatasetError: no TOML, another schema, or every key that is unknown, missing or malformed.
    """
    content = _parse(path)
    if content.get("schema") != SCHEMA:
        raise DatasetError(
            f"{path.name} is no dataset file of this version",
            expected=f'schema = "{SCHEMA}"',
            found=f"schema = {json.dumps(content.get('schema'), default=str)}",
            where=path,
            todo="Add or correct the schema line.",
        )
    keys = _Keys(content)
    value_range, window = keys.value_range("value_range"), keys.value_range("window")
    table = keys.table("cases")
    for one, other in (("value_range", "window"), ("scale", "degrade")):
        if one in content and other in content:
            keys.problems.append(f"{one} and {other} are both given; keep the one that applies")
    description = Description(
        path=path,
        content=content,
        name=keys.text("name", required=True) or "",
        table=path.parent / table,
        value_range=value_range or window,
        windowed="window" in content,
        spacing_mm=keys.spacing("spacing_mm"),
        source_domain=keys.text("source_domain"),
        target_domain=keys.text("target_domain"),
        lesion_in=keys.lesion_in("lesion_in"),
        scale=keys.scale("scale"),
        degrade=keys.boolean("degrade"),
    )
    if keys.problems:
        raise collected(
            f"{path.name}: {len(keys.problems)} problem(s) in the dataset file",
            keys.problems,
            expected=f"the keys of {SCHEMA}",
            where=path,
            todo="Correct these lines.",
        )
    return description


class _Keys:
    """Takes typed values out of a parsed TOML file and gathers what is wrong with them."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content
        self.problems = list(unknown(content, _KEYS, "key"))

    def text(self, key: str, *, required: bool = False) -> str | None:
        value = self._content.get(key)
        if value is None and not required:
            return None
        if isinstance(value, str) and value.strip():
            return value
        self._report(key, "text", value)
        return None

    def table(self, key: str) -> str:
        name = self.text(key, required=True)
        if name is None:
            return ""
        if Path(name).suffix.lower() not in (".csv", ".parquet"):
            self._report(key, "a .csv or .parquet file", name)
        if is_absolute(name):
            self._report(key, "a path relative to the dataset file", name)
        return name

    def value_range(self, key: str) -> tuple[float, float] | None:
        return self._pair(key, "[low, high] with low < high", lambda low, high: low < high)

    def spacing(self, key: str) -> Spacing | None:
        return self._pair(key, "[dy, dx], two positive numbers in mm", lambda dy, dx: dy > 0 and dx > 0)

    def lesion_in(self, key: str) -> tuple[str, ...]:
        value = self._content.get(key, [])
        if isinstance(value, list) and all(item in ("source", "target") for item in value):
            return tuple(dict.fromkeys(value))
        self._report(key, 'a list of "source" and "target"', value)
        return ()

    def scale(self, key: str) -> tuple[int, int]:
        value = self._content.get(key, 1)
        factors = value if isinstance(value, list) else [value, value]
        if len(factors) == 2 and all(type(factor) is int and factor >= 1 for factor in factors):
            return factors[0], factors[1]
        self._report(key, "a whole number of at least 1, or [rows, columns] of such", value)
        return 1, 1

    def boolean(self, key: str) -> bool:
        value = self._content.get(key, False)
        if isinstance(value, bool):
            return value
        self._report(key, "true or false", value)
        return False

    def _pair(self, key: str, wanted: str, valid: Callable[[float, float], bool]) -> tuple[float, float] | None:
        value = self._content.get(key)
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            first, second = float(value[0]), float(value[1])
            if valid(first, second):
                return first, second
        self._report(key, wanted, value)
        return None

    def _report(self, key: str, wanted: str, value: object) -> None:
        found = "nothing" if value is None else json.dumps(value, default=str)
        self.problems.append(f"{key}: expected {wanted}, found {found}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
