"""What pseudonyms of a dataset stand for, on the machine that has the key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.description import locate, read_description
from medgan_qa.cohorts.pseudonyms import Pseudonyms, protected
from medgan_qa.cohorts.table import FILE_COLUMNS, Row, read_cases


def meanings(data: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """What each name stands for, one line a fact; empty where it is none of this dataset's.

    Args:
        data: the dataset file, or its folder.
        names: pseudonyms of cases, patients, studies, volumes or files; also plain identifiers.

    Raises:
        DatasetError: the dataset file or its table cannot be read.
        ConfigurationError, OutputError: the key cannot be read or made.
    """
    description = read_description(locate(data))
    cases, rows = read_cases(description.table)
    shown = protected(cases, description.identifiers)
    volumes = Pseudonyms({"volume": {case.case_id for case in cases}})
    found: dict[str, list[str]] = {}
    for name in names:
        # A slice of a volume is named after its row: the row is what the table knows.
        head = re.sub(r"/\d+$", "", name)
        lines = [
            line
            for case, public, row in zip(cases, shown, rows, strict=True)
            if head in _names(case, public, volumes)
            for line in _told(case, row, head, public)
        ]
        found[name] = lines or list(_files(description.path, rows, name))
    return found


def _names(case: Case, public: Case, volumes: Pseudonyms) -> set[str | None]:
    plain = {case.case_id, case.patient_id, case.study, case.volume}
    return plain | {public.case_id, public.patient_id, public.study, public.volume, volumes.of("volume", case.case_id)}


def _told(case: Case, row: Row, name: str, public: Case) -> Iterator[str]:
    facts = {"case": case.case_id, "patient": case.patient_id, "study": case.study, "volume": case.volume}
    listed = ", ".join(f"{kind} {text}" for kind, text in facts.items() if text is not None)
    yield f"row {row.number}: {listed}"
    if name != public.patient_id:
        yield from (f"{column}: {row.cells[column]}" for column in FILE_COLUMNS if column in row.cells)


def _files(place: Path, rows: Sequence[Row], name: str) -> Iterator[str]:
    """The file that a pseudonym of a path stands for: one that the table names, or the dataset file itself."""
    cells = {row.cells[column] for row in rows for column in FILE_COLUMNS if column in row.cells}
    pseudonyms = Pseudonyms({"file": {*cells, *(PurePosixPath(cell).name for cell in cells), place.name}})
    # A file's name keeps its ending behind the pseudonym.
    meant = pseudonyms.original(name.partition(".")[0])
    if meant is not None:
        yield f"file: {meant[1]}"
