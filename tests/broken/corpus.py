"""Every broken input, in order and by name. The same files are made each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.criteria import read_criteria
from medgan_qa.evidence._lock_writing import make_lock
from tests.broken import containers, models, pictures, scans, texts
from tests.broken.mutants import Mutant

RECORD = Path(__file__).parent.parent / "evidence" / "old" / "record-whole.json"
LOCKED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def corpus(folder: Path) -> tuple[Mutant, ...]:
    """All mutants; `folder` is used for making a lock to break."""
    found = [*pictures.mutants(), *scans.mutants(), *containers.mutants(), *texts.mutants(), *_ours(folder)]
    return (*found, *models.mutants())


def _ours(folder: Path) -> Iterator[Mutant]:
    yield from texts.json_mutants("record", "record", "record.json", _record())
    yield from texts.json_mutants("lock", "lock", "criteria.lock.json", lock(folder))


def _record() -> bytes:
    return json.dumps(json.loads(RECORD.read_text(encoding="utf-8"))).encode()


def lock(folder: Path) -> bytes:
    """A lock of the corpus's own criteria and dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    texts.dataset()(folder)
    (folder / "criteria.toml").write_text(texts.CRITERIA, encoding="utf-8")
    cohort = read_dataset(folder / "data.toml")
    made = make_lock(
        read_criteria(folder / "criteria.toml"), "translation", cohort, "data.toml", "A. Person", LOCKED_AT
    )
    return made.to_bytes()


def build(folder: Path, found: tuple[Mutant, ...]) -> dict[str, Path]:
    """Write every mutant into a folder of its own; what to name to its reader, by mutant."""
    paths = {}
    for one in found:
        place = folder / one.name
        place.mkdir(parents=True)
        one.write(place)
        paths[one.name] = place / one.cell
    return paths
