"""What BIDS says beside the images: `participants.tsv`, and the scanner in an image's JSON file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from medgan_qa.cohorts.proposal.content import Proposal

_MISSING = {"", "n/a", "na", "nan", "unknown"}
_LARGEST = 2**20  # bytes of a JSON file that is read
_ATTRIBUTES = ("sex", "age", "group", "handedness")


def add(proposal: Proposal) -> None:
    """Fill site, scanner and attributes into the rows where files beside the images say them."""
    people = _participants(proposal.folder / "participants.tsv")
    for row in proposal.rows:
        person = people.get(row["patient_id"], {})
        row["site"] = person.get("site", "")
        row.update({f"attr.{name}": person[name] for name in _ATTRIBUTES if name in person})
        row["scanner"] = _scanner(proposal.folder / row["image"])
    if people:
        proposal.understood.append(f"participants.tsv: {', '.join(sorted({k for p in people.values() for k in p}))}")
    scanners = {row["scanner"] for row in proposal.rows} - {""}
    if scanners:
        proposal.understood.append(f"scanners from the JSON files: {', '.join(sorted(scanners))}")


def _participants(path: Path) -> dict[str, dict[str, str]]:
    """Site and attributes by subject; columns that are not used stay where they are."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, ValueError, csv.Error):
        return {}
    return {row["participant_id"]: _known(row) for row in rows if row.get("participant_id")}


def _known(row: dict[str, str]) -> dict[str, str]:
    lower = {str(name).lower(): str(cell).strip() for name, cell in row.items()}
    kept = {name: lower.get(name, "") for name in ("site", *_ATTRIBUTES)}
    return {name: cell for name, cell in kept.items() if cell.lower() not in _MISSING}


def _scanner(image: Path) -> str:
    """Manufacturer and model; never the station's name or the device's number."""
    path = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        if path.stat().st_size > _LARGEST:
            return ""
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(content, dict):
        return ""
    parts = (content.get(key) for key in ("Manufacturer", "ManufacturersModelName"))
    return " ".join(part.strip() for part in parts if isinstance(part, str))
