"""The description of a dataset: the TOML file that stands beside its table."""

from __future__ import annotations

import datetime
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from medgan_qa.cohorts._keys import Keys
from medgan_qa.cohorts._problems import collected
from medgan_qa.cohorts.declared import IDENTIFIERS, Identifiers, Independence, Volumes, independence, volumes
from medgan_qa.cohorts.readers import Spacing
from medgan_qa.errors import DatasetError

__all__ = ["SCHEMA", "Description", "Independence", "Volumes", "locate", "read_description"]

SCHEMA = "medgan-qa/dataset/1"
LARGEST_DESCRIPTION = 2**20
"""Bytes that a dataset file may have."""

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
    "volumes",
    "exclude_unreadable",
    "identifiers",
    "augmentation",
    "independence",
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
    volumes: Volumes | None = None
    """How volumes become slices; None: every row holds one slice."""
    exclude_unreadable: float | None = None
    """The share of a partition that may be left out because it cannot be read; None: nothing may."""
    identifiers: Identifiers | None = None
    """Whether the table's identifiers are real ones (`direct`) or `codes`; None: as they look."""
    augmentation: str | None = None
    """`none`: images are declared to be read without augmentation."""
    independence: Independence | None = None
    """What is declared disjoint between the test partition and the others; None: nothing is declared."""


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
        return _content(path).get("schema")
    except (OSError, ValueError, RecursionError):
        return None


def _parse(path: Path) -> dict[str, Any]:
    try:
        return _content(path)
    # tomllib descends into nested arrays by recursion, however deep a file makes them.
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path.name} cannot be read",
            expected=f"a TOML file in UTF-8, of at most {LARGEST_DESCRIPTION} bytes",
            found=f"{type(error).__name__}: {error}",
            where=path,
            todo="Give the dataset's TOML file, not its table, and correct the line named.",
        ) from error


def _content(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(LARGEST_DESCRIPTION + 1)
    if len(text) > LARGEST_DESCRIPTION:
        raise ValueError("the file is larger than that")
    content: dict[str, Any] = _plain(tomllib.loads(text.decode("utf-8-sig")))
    return content


def _plain(value: Any) -> Any:
    """A TOML value with dates as ISO text, as JSON and the digest want them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value


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
    keys = Keys(content, _KEYS, [])
    value_range, window = keys.value_range("value_range"), keys.value_range("window")
    table = keys.table_name("cases")
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
        volumes=volumes(keys.table("volumes"), keys.problems),
        exclude_unreadable=keys.share("exclude_unreadable"),
        identifiers=cast(Identifiers | None, keys.one_of("identifiers", IDENTIFIERS)),
        augmentation=keys.one_of("augmentation", ("none",)),
        independence=independence(keys.table("independence"), keys.problems),
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
