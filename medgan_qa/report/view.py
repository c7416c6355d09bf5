"""The Record as the page needs it: every number formatted, every figure drawn, every default spelled out.

Templates only place what stands here. No statistic is computed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from medgan_qa.record import AuditResult, IndexEntry, Record
from medgan_qa.report.annex import CaseTable, FileDigest, Term, case_tables, glossary, sources
from medgan_qa.report.facts import Fact, Grid, fact, grids, plain
from medgan_qa.report.marks import Mark, mark
from medgan_qa.report.view_audits import (
    AuditView,
    CriterionRow,
    MeasurementRow,
    anchor,
    audit_views,
    criterion_rows,
    not_run,
)
from medgan_qa.report.view_facts import (
    card_facts,
    data_facts,
    detector_facts,
    detector_rows,
    full_name,
    lock_facts,
    packages,
    protocol,
    subject_facts,
    tool_facts,
    utc,
    w3c,
)

_OWN_WORDS = "bound interval cluster unit_of_analysis sha-256 inconclusive not_applicable alpha multiplicity partition"


class Notice(NamedTuple):
    """A box on the first page; `grave` ones are set off in colour."""

    title: str
    text: str
    grave: bool


class Identity(NamedTuple):
    """What names the document on every page."""

    suite: str
    model: str
    digest: str
    run: str
    tool: str
    created: str


class IndexRow(NamedTuple):
    """A heading of the scheme that the suite follows, and where it is answered."""

    name: str
    asks: str
    audits: list[tuple[str, str]]
    """Code and anchor."""
    mark: Mark | None
    note: str


class Unrun(NamedTuple):
    """An audit that came to no pass and no fail."""

    code: str
    title: str
    mark: Mark
    reason: str


class View(NamedTuple):
    """All that the templates are given."""

    identity: Identity
    mark: Mark
    sentence: str
    notices: list[Notice]
    cover: list[Fact]
    criteria: list[CriterionRow]
    limits_short: list[str]
    headings: list[IndexRow]
    subject: list[Fact]
    card: list[Fact]
    tool: list[Fact]
    packages: str
    detector: list[MeasurementRow]
    detector_facts: list[Fact]
    data: list[Fact]
    data_tables: list[Grid]
    lock: list[Fact]
    audits: list[AuditView]
    hazards: list[CriterionRow]
    deviations: list[str]
    unrun: list[Unrun]
    limitations: list[str]
    cases: list[CaseTable]
    terms: list[Term]
    files: list[FileDigest]


def build_view(record: Record, folder: Path) -> View:
    """Lay out a Record.

    Args:
        record: the run.
        folder: the run's folder, with `cases.csv` and the arrays of the exhibits.

    Raises:
        RecordError: a file of the folder that the Record names cannot be read.
    """
    rows = criterion_rows(record)
    return View(
        identity=_identity(record),
        mark=mark(record.verdict),
        sentence=record.reason or f"The run came to the verdict {mark(record.verdict).word.lower()}.",
        notices=_notices(record),
        cover=_cover(record),
        criteria=rows,
        limits_short=[_first_sentence(text) for text in record.limitations],
        headings=[_index(entry) for entry in record.index],
        subject=subject_facts(record.subject),
        card=card_facts(record.subject),
        tool=tool_facts(record),
        packages=packages(record.environment),
        detector=detector_rows(record),
        detector_facts=detector_facts(record),
        data=data_facts(record.data),
        data_tables=grids(record.data),
        lock=lock_facts(record.criteria_lock),
        audits=audit_views(record, folder),
        hazards=sorted(rows, key=lambda row: (row.hazard == "none named", row.hazard, row.requirement, row.id)),
        deviations=record.deviations,
        unrun=[_unrun(audit) for audit in not_run(record)],
        limitations=record.limitations,
        cases=case_tables(folder),
        terms=glossary(record, _OWN_WORDS),
        files=sources(record, folder),
    )


def _index(entry: IndexEntry) -> IndexRow:
    shown = None if entry.verdict is None else mark(entry.verdict)
    return IndexRow(entry.name, entry.asks, [(code, anchor(code)) for code in entry.audits], shown, entry.note)


def _unrun(audit: AuditResult) -> Unrun:
    return Unrun(audit.code, audit.title, mark(audit.verdict), audit.reason)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _identity(record: Record) -> Identity:
    time = str(record.run.get("finished_utc") or record.run.get("started_utc") or "")
    return Identity(
        suite=str(record.tool.get("suite_title") or record.suite),
        model=full_name(record.subject),
        digest=str(record.subject.get("sha256") or "")[:16] or "no digest",
        run=str(record.run.get("id") or "not named"),
        tool=full_name(record.tool),
        created=w3c(time),
    )


def _notices(record: Record) -> list[Notice]:
    found = []
    if record.data.get("phantom"):
        text = "The images of this run are computed phantoms. The results show how the model behaves on phantoms only."
        found.append(Notice("Phantom data is no evidence of clinical performance", text, True))
    if record.criteria_lock.get("locked") is not True:
        text = "Nothing shows that the criteria were fixed before the model and its results were seen."
        found.append(Notice("Criteria were not locked before the run", text, True))
    if record.criteria_lock.get("default"):
        text = "Set criteria with a rationale from the risk file before results are used in a claim."
        found.append(Notice("Default criteria of the suite, not set for an intended use", text, False))
    return found


def _cover(record: Record) -> list[Fact]:
    return [
        Fact("Model", full_name(record.subject)),
        fact("Model SHA-256", record.subject.get("sha256")),
        Fact("Data", str(record.data.get("name") or "not named")),
        fact("Data digest", record.data.get("digest")),
        Fact("Protocol", protocol(record.criteria_lock)),
        Fact("Tool", full_name(record.tool)),
        Fact("Run", plain(record.run.get("id")), "mono"),
        Fact("Finished", utc(record.run.get("finished_utc") or record.run.get("started_utc"))),
    ]
