"""The proposal as text: the dataset file with comments where somebody has to look, and its table."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from medgan_qa.cohorts.description import SCHEMA
from medgan_qa.cohorts.proposal.content import Proposal

COLUMNS = (
    *("case_id", "patient_id", "partition", "image", "target", "lesion_mask", "label", "volume", "slice", "study"),
    *("site", "scanner", "acquired"),
)
"""In this order; a column in which nothing stands is left out, but for those that every table has."""
_ALWAYS = ("case_id", "patient_id", "partition", "image")


def rows_text(proposal: Proposal, beside: Path) -> str:
    """The table as CSV, with paths relative to the folder `beside`."""
    attributes = sorted({name for row in proposal.rows for name in row if name.startswith("attr.")})
    filled = {name for row in proposal.rows for name, cell in row.items() if cell}
    columns = [name for name in (*COLUMNS, *attributes) if name in _ALWAYS or name in filled]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    before = Path(os.path.relpath(proposal.folder, beside)).as_posix()
    writer.writerows({**row, **_moved(row, before)} for row in proposal.rows)
    return out.getvalue()


def _moved(row: dict[str, str], before: str) -> dict[str, str]:
    if before == ".":
        return {}
    return {c: f"{before}/{row[c]}" for c in ("image", "target", "lesion_mask") if row.get(c)}


def description(proposal: Proposal, name: str, table_name: str) -> str:
    """The dataset file."""
    lines = [
        *_notes(proposal),
        f'schema = "{SCHEMA}"',
        f"name = {_quoted(name)}",
        f"cases = {_quoted(table_name)}",
        *_span(proposal),
        *_spacing(proposal),
        *_domains(proposal),
        *_identifiers(proposal),
        *_volumes(proposal),
    ]
    return "\n".join(lines) + "\n"


def _notes(proposal: Proposal) -> list[str]:
    """What somebody has to look at, first of all."""
    notes = [*(f"guessed: {text}" for text in proposal.guessed), *(f"fill in: {text}" for text in proposal.to_fill_in)]
    lines = [f"# {_quoted(text)[1:-1]}" for text in notes]
    return ["# Proposed by `medgan-qa data init`; correct it before it is used.", *lines]


def _span(proposal: Proposal) -> list[str]:
    span = proposal.span
    if span.limits is None:
        return [
            "# fill in: what the format or the scanner defines the numbers to span",
            "# value_range = [0.0, 4095.0]",
        ]
    key = "window" if span.windowed else "value_range"
    check = f"  # check: {span.reason}" if span.reason != "as given" else ""
    return [f"{key} = [{span.limits[0]!r}, {span.limits[1]!r}]{check}"]


def _spacing(proposal: Proposal) -> list[str]:
    if proposal.spacing_known:
        return []
    return [
        "# fill in: the files do not carry the distance of pixels in mm (rows, columns)",
        "# spacing_mm = [1.0, 1.0]",
    ]


def _domains(proposal: Proposal) -> list[str]:
    domains = (("source_domain", proposal.source_domain), ("target_domain", proposal.target_domain))
    lines = [f"{key} = {_quoted(value)}" for key, value in domains if value is not None]
    if any(row.get("lesion_mask") for row in proposal.rows):
        lines += ["# fill in: in which of the images lesions can be seen", '# lesion_in = ["source", "target"]']
    return lines


def _identifiers(proposal: Proposal) -> list[str]:
    if proposal.identifiers is None:
        return []
    note = 'check: names taken from files and folders; "codes" prints them as they are'
    return [f'identifiers = "{proposal.identifiers}"  # {note}']


def _volumes(proposal: Proposal) -> list[str]:
    if not proposal.volumes:
        return []
    return ["", "[volumes]", 'plane = "axial"  # check: the plane that the model was made for', "every = 1"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else " " for c in escaped) + '"'
