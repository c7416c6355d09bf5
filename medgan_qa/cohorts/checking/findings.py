"""What a check of a dataset found, and what it understood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SHOWN = 5
"""Offenders of one kind that are named; the rest is counted."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One kind of fault, with everything that has it."""

    kind: str
    """Short and stable, for machines: `missing-file`."""
    severity: Severity
    """An error keeps the data from being used; a warning is for somebody to look at."""
    problem: str
    """What is wrong, in words that need no count."""
    count: int
    offenders: tuple[str, ...]
    """The first ones: row and column, or the case."""
    todo: str
    left: int = 0
    """How many more there are than `offenders` tells of."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def finding(kind: str, severity: Severity, problem: str, offenders: Iterable[str], todo: str) -> list[Finding]:
    """One finding of all `offenders`, or none where there are none."""
    found = list(offenders)
    return (
        [Finding(kind, severity, problem, len(found), tuple(found[:SHOWN]), todo, max(0, len(found) - SHOWN))]
        if found
        else []
    )


@dataclass(frozen=True)
class PartitionFacts:
    """What one partition holds, as it was read."""

    partition: str
    cases: int
    patients: int
    volumes: int
    sizes: tuple[str, ...]
    """`rows x columns`, the most frequent first."""
    spacing_mm: tuple[float, float, float, float] | None
    """Smallest and largest dy, smallest and largest dx; None where no file and no dataset file says it."""
    found_range: tuple[float, float] | None
    """Smallest and largest stored number, within the window where there is one."""
    lesions: int
    """Cases whose mask is not empty."""
    annotated: int
    targets: int
    labels: dict[str, int]
    sites: dict[str, int]
    scanners: dict[str, int]


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A case as it is shown."""

    name: str
    """As every output names the case."""
    partition: str
    image: NDArray[np.uint8]
    """(H, W) or (H, W, 3), already on a grid with square pixels."""
    target: NDArray[np.uint8] | None
    mask: NDArray[np.bool_] | None
    """On the grid of `target` where there is one, else of `image`."""


@dataclass
class Checked:
    """The outcome of a check."""

    name: str
    file: str
    """The dataset file's name, without its folder."""
    declared_range: tuple[float, float] | None = None
    windowed: bool = False
    findings: list[Finding] = field(default_factory=list)
    partitions: list[PartitionFacts] = field(default_factory=list)
    thumbnails: list[Thumbnail] = field(default_factory=list)
    complete: bool = True
    """False where the description or the table could not be read, so that no image was looked at."""

    @property
    def errors(self) -> list[Finding]:
        """What keeps the data from being used."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """What somebody should look at."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; thumbnails are left out."""
        return {
            "name": self.name,
            "file": self.file,
            "usable": not self.errors,
            "complete": self.complete,
            "window" if self.windowed else "value_range": self.declared_range,
            "findings": [finding.as_dict() for finding in self.findings],
            "partitions": [asdict(facts) for facts in self.partitions],
        }


def most(counts: dict[str, int], shown: int = 3) -> str:
    """The most frequent entries in one line: `256 x 256 (12), 512 x 512 (3), 2 more`."""
    ordered: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{name} ({number})" for name, number in ordered[:shown]]
    return ", ".join([*parts, f"{len(ordered) - shown} more"] if len(ordered) > shown else parts)
