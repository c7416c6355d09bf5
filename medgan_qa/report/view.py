"""The Record as the page needs it: every number formatted, every figure drawn, every default spelled out.

Templates only place what stands here. No statistic is computed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from medgan_qa.record import Accounting, AuditResult, Exclusion, IndexEntry, Precondition, Record, Verdict
from medgan_qa.report import view_facts as of
from medgan_qa.report.annex import FileDigest, Term, Verbatim, criteria_text, file_digests, glossary
from medgan_qa.report.case_tables import CaseTable, case_tables
from medgan_qa.report.clauses import Clause
from medgan_qa.report.company import Company
from medgan_qa.report.declared import Statement, as_mapping, output_role, statements
from medgan_qa.report.facts import Fact, Grid, Pair, facts, grids, pairs
from medgan_qa.report.marks import Mark, mark
from medgan_qa.report.positions import Positions, positions
from medgan_qa.report.regulations import RegulationMap, regulation_map
from medgan_qa.report.resources import Templates
from medgan_qa.report.sections import SECTIONS, Section
from medgan_qa.report.view_audits import AuditView, anchor, audit_views, not_run
from medgan_qa.report.view_changes import (
    AttemptsView,
    ComparisonView,
    SentinelRow,
    attempts_view,
    comparison_view,
    sentinel_rows,
)
from medgan_qa.report.view_cover import Identity, Notice, cover_facts, identity, model_facts, notices, tool_line
from medgan_qa.report.view_criteria import CriterionRow, criterion_rows
from medgan_qa.report.view_measurements import MeasurementRow
from medgan_qa.report.view_methods import Methods, methods
from medgan_qa.report.view_residual import Residual, residual
from medgan_qa.report.view_signing import Signing, signing
from medgan_qa.report.view_trace import HazardView, hazard_views

_OWN_WORDS = (
    "bound interval cluster unit_of_analysis sha-256 inconclusive not_applicable alpha multiplicity partition "
    "precondition sentinel disposition baseline attempt"
)


_SCHEMES: dict[tuple[str, ...], tuple[str, str]] = {
    ("Congruence", "Coverage", "Constraint", "Completeness", "Consistency", "Comprehension", "Compliance"): (
        "The seven Cs of the synthetic medical data scorecard",
        "Headings after Zamzmi et al. 2025 (Communications Engineering 4:130). The measurements are this tool's own: "
        "features are normalised by the real reference alone, and a copy of the training set scores nothing.",
    )
}
"""Title and source of a published scheme, by its headings: a Record holds the headings alone."""


class Gap(NamedTuple):
    """A clause that was not declared."""

    title: str
    section: Section
    todo: str


class IndexRow(NamedTuple):
    """A heading of the scheme that the suite follows, and where it is answered."""

    name: str
    asks: str
    audits: list[tuple[str, str]]
    """Code and anchor."""
    mark: Mark | None
    note: str


class Unrun(NamedTuple):
    """Audits that came to no pass and no fail for one reason."""

    audits: list[tuple[str, str]]
    """Code and title."""
    mark: Mark
    reason: str


class Account(NamedTuple):
    """What became of the enrolled cases, in audits where it is the same."""

    audits: list[str]
    enrolled: int
    excluded: list[Exclusion]
    analysed: int


class Condition(NamedTuple):
    """A precondition on the data."""

    id: str
    requirement: str
    found: str
    mark: Mark
    reason: str


class Configured(NamedTuple):
    """How an audit was set."""

    code: str
    parameters: list[Fact]
    tables: list[Grid]
    seconds: str


class View(NamedTuple):
    """All that the templates are given."""

    identity: Identity
    company: Company
    sections: dict[str, Section]
    mark: Mark
    sentence: str
    notices: list[Notice]
    model: list[Fact]
    tool_line: str
    cover: list[Fact]
    criteria: list[CriterionRow]
    conditions: list[Condition]
    conditions_open: list[Condition]
    sentinels: list[SentinelRow]
    sentinels_open: list[SentinelRow]
    limits_short: list[str]
    headings: list[IndexRow]
    scheme: tuple[str, str]
    """Title of the scheme that the headings belong to, and what is to be said of it."""
    said: dict[str, Statement]
    gaps: list[Gap]
    positions: Positions
    references: list[Fact]
    subject: list[Pair]
    card: list[Pair]
    tool: list[Pair]
    determinism: list[Pair]
    command: str
    packages: str
    detector: list[MeasurementRow]
    detector_facts: list[Pair]
    extractors: list[list[Pair]]
    data: list[Pair]
    data_tables: list[Grid]
    leakage: str
    accounting: list[Account]
    lock: list[Pair]
    lock_sentence: str
    methods: Methods
    audits: list[AuditView]
    hazards: list[HazardView]
    deviations: list[str]
    limitations: list[str]
    unrun: list[Unrun]
    attempts: AttemptsView | None
    comparison: ComparisonView | None
    residual: Residual
    signing: Signing
    cases: list[CaseTable]
    criteria_text: Verbatim
    configured: list[Configured]
    qualification: list[Fact]
    regulation: RegulationMap
    terms: list[Term]
    files: list[FileDigest]
    template_files: list[FileDigest]


def build_view(record: Record, folder: Path, company: Company, clauses: list[Clause], templates: Templates) -> View:
    """Lay out a Record.

    Args:
        record: the run.
        folder: the run's folder, with `cases.csv`, criteria, signatures and the arrays of the exhibits.
        company: how the company wants its reports.
        clauses: what the report has to say.
        templates: where tables are read from.

    Raises:
        RecordError: a file of the folder that the Record names cannot be read.
        ConfigurationError: a table of the company's cannot be used.
    """
    rows = criterion_rows(record)
    said = statements(record)
    signed = signing(record, folder)
    titles = {clause.id: clause for clause in clauses}
    undeclared = [(titles[statement.clause], statement.missing) for statement in said.values() if statement.missing]
    gaps = [Gap(clause.title, SECTIONS[clause.section], todo) for clause, todo in undeclared]
    named = identity(record, company, templates)
    conditions = [_condition(item) for item in record.preconditions]
    sentinels = sentinel_rows(record.sentinels)
    hazards = hazard_views(record, rows)
    return View(
        identity=named,
        company=company,
        sections=SECTIONS,
        mark=mark(record.verdict),
        sentence=record.reason or f"The run came to the verdict {mark(record.verdict).word.lower()}.",
        notices=notices(record, signed, len(gaps)),
        model=model_facts(record),
        tool_line=tool_line(record, said["qualification"]),
        cover=cover_facts(record, named),
        criteria=rows,
        conditions=conditions,
        conditions_open=[item for item in conditions if item.mark.name != "pass"],
        sentinels=sentinels,
        sentinels_open=[item for item in sentinels if item.mark.name != "pass"],
        limits_short=[_first_sentence(text) for text in record.limitations[:3]],
        headings=[_index(entry) for entry in record.index],
        scheme=_SCHEMES.get(tuple(e.name for e in record.index), ("Headings of the scheme that the suite follows", "")),
        said=said,
        gaps=gaps,
        positions=positions(templates, record.suite, output_role(record)),
        references=_references(record, rows),
        subject=pairs(of.subject_facts(record.subject)),
        card=pairs(of.card_facts(record.subject)),
        tool=pairs(of.tool_facts(record)),
        determinism=pairs(of.determinism_facts(record.environment)),
        command=of.command(record),
        packages=of.packages(record.environment),
        detector=of.detector_rows(record),
        detector_facts=pairs(of.detector_facts(record)),
        extractors=[pairs(listed) for listed in of.extractor_facts(record)],
        data=pairs(of.data_facts(record.data)),
        data_tables=grids(record.data),
        leakage=_leakage(record),
        accounting=_accounts(record.accounting),
        lock=pairs(of.lock_facts(record.criteria_lock)),
        lock_sentence=of.lock_sentence(record.criteria_lock),
        methods=methods(record),
        audits=audit_views(record, folder),
        hazards=hazards,
        deviations=record.deviations,
        limitations=record.limitations,
        unrun=_unrun(not_run(record)),
        attempts=attempts_view(record.attempts),
        comparison=comparison_view(record.comparison),
        residual=residual(record, rows, hazards),
        signing=signed,
        cases=case_tables(folder / "cases.csv", record.audits, {item.case_id for item in record.sentinels}),
        criteria_text=criteria_text(folder),
        configured=[_configured(audit) for audit in record.audits],
        qualification=_qualification(record),
        regulation=regulation_map(templates, {clause.id: clause.title for clause, _ in undeclared}, titles),
        terms=glossary(record, _OWN_WORDS, templates),
        files=file_digests(record, folder),
        template_files=[FileDigest(name, digest) for name, digest in templates.digests().items()],
    )


def _condition(item: Precondition) -> Condition:
    return Condition(item.id, item.requirement, item.found, mark(item.verdict), item.reason)


def _unrun(audits: list[AuditResult]) -> list[Unrun]:
    held: dict[tuple[Verdict, str], list[tuple[str, str]]] = {}
    for audit in audits:
        held.setdefault((audit.verdict, audit.reason), []).append((audit.code, audit.title))
    return [Unrun(named, mark(verdict), reason) for (verdict, reason), named in held.items()]


def _accounts(listed: list[Accounting]) -> list[Account]:
    made: list[Account] = []
    for item in listed:
        own = Account([item.audit], item.enrolled, item.excluded, item.analysed)
        same = next((one for one in made if one[1:] == own[1:]), None)
        if same is None:
            made.append(own)
        else:
            same.audits.append(item.audit)
    return made


def _index(entry: IndexEntry) -> IndexRow:
    shown = None if entry.verdict is None else mark(entry.verdict)
    return IndexRow(entry.name, entry.asks, [(code, anchor(code)) for code in entry.audits], shown, entry.note)


def _configured(audit: AuditResult) -> Configured:
    settings = facts(audit.parameters, capital=False, tables=False)
    return Configured(audit.code, settings, grids(audit.parameters), f"{audit.seconds:.1f} s")


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _references(record: Record, rows: list[CriterionRow]) -> list[Fact]:
    """Documents beside the protocol that the run refers to."""
    requirements = list(dict.fromkeys(row.requirement for row in rows))
    hazards = list(dict.fromkeys(row.hazard for row in rows))
    modification = as_mapping(record.context.get("modification"))
    told = [
        Fact("Requirements", "; ".join(text.rstrip(".") for text in requirements) or "none named"),
        Fact("Hazards", "; ".join(hazards) or "none named"),
    ]
    return [*told, *facts({f"modification_{key}": value for key, value in modification.items() if value})]


def _leakage(record: Record) -> str:
    shared = record.data.get("patients_in_several_partitions")
    told = f"Patients in several partitions: {shared}. " if isinstance(shared, int) else ""
    found = [audit for audit in record.audits if audit.code.startswith("HYG")]
    if not found:
        return f"{told}No audit of this run searched the images for augmented or leaked cases."
    return told + " ".join(f"{a.code} {a.title}: {mark(a.verdict).word.lower()}. {a.reason}" for a in found)


def _qualification(record: Record) -> list[Fact]:
    named = record.tool.get("qualification")
    if isinstance(named, dict):
        return facts(named)
    return [Fact("Qualification", str(named))] if named else []
