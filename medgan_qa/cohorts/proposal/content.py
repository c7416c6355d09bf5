"""What `data init` was asked for, what it found in the folder, and what it proposes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PARTITION = "test"
"""The partition of everything in a folder that says nothing about partitions."""


@dataclass(frozen=True)
class Wishes:
    """What the user said beforehand."""

    value_range: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    source: str | None = None
    """Contrast (NIfTI, images) or series (DICOM) of the source images."""
    target: str | None = None
    """Contrast or series of the paired reference images."""
    series: str | None = None
    """DICOM: part of the description, or the modality, of the series to take."""


@dataclass(frozen=True)
class Range:
    """What the stored numbers span, or None where nothing says it."""

    limits: tuple[float, float] | None
    windowed: bool
    """Numbers beyond the limits are clipped."""
    reason: str
    """Where the limits come from."""


@dataclass
class Proposal:
    """A dataset file and its table, before they are written."""

    folder: Path
    layout: str
    """What kind of folder it is, in a few words."""
    rows: list[dict[str, str]]
    """Cells by column. Files are relative to `folder`, with forward slashes."""
    span: Range
    volumes: bool
    """Some rows hold several slices."""
    spacing_known: bool
    """The files carry their pixel spacing."""
    source_domain: str | None = None
    target_domain: str | None = None
    identifiers: str | None = None
    """What the dataset file says of the identifiers in its table."""
    understood: list[str] = field(default_factory=list)
    """What the files or their names say."""
    guessed: list[str] = field(default_factory=list)
    """What was concluded from names by pattern, and may be wrong."""
    to_fill_in: list[str] = field(default_factory=list)
    """What nothing in the folder says."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many files are in no row, by reason."""
