"""The first page and the words that stand on every page."""

from __future__ import annotations

from typing import NamedTuple

from medgan_qa.record import Record
from medgan_qa.report.company import Company, document_id
from medgan_qa.report.declared import Statement
from medgan_qa.report.facts import Fact, fact, plain
from medgan_qa.report.resources import Templates
from medgan_qa.report.view_facts import commit, full_name, protocol, utc, w3c
from medgan_qa.report.view_signing import Signing

NO_QUALIFICATION = "Tool qualification: none recorded"
_DEFAULT_ID = "VR-{run}"


class Notice(NamedTuple):
    """A box on the first page; `grave` ones are set off in colour."""

    title: str
    text: str
    grave: bool


class Identity(NamedTuple):
    """What names the document on every page."""

    document: str
    revision: str
    suite: str
    model: str
    digest: str
    run: str
    tool: str
    created: str


def identity(record: Record, company: Company, templates: Templates) -> Identity:
    """Name the document, the model and the run.

    Raises:
        ConfigurationError: the company's pattern of document ids names something that does not exist.
    """
    time = str(record.run.get("finished_utc") or record.run.get("started_utc") or "")
    run = str(record.run.get("id") or "not named")
    return Identity(
        document=_document(record, run, time, company, templates),
        revision=str(record.document.get("revision") or company.revision or "not named"),
        suite=str(record.tool.get("suite_title") or record.suite),
        model=full_name(record.subject),
        digest=str(record.subject.get("sha256") or "")[:16] or "no digest",
        run=run,
        tool=full_name(record.tool),
        created=w3c(time),
    )


def _document(record: Record, run: str, time: str, company: Company, templates: Templates) -> str:
    if record.document.get("id"):
        return str(record.document["id"])
    named = record.criteria_lock.get("protocol")
    protocol_of = named if isinstance(named, dict) else {}
    names = {
        "run": run,
        "protocol": str(protocol_of.get("id") or "none"),
        "protocol_revision": str(protocol_of.get("revision") or "none"),
        "model": str(record.subject.get("name") or "none"),
        "version": str(record.subject.get("version") or "none"),
        "suite": record.suite,
        "attempt": str(record.attempts.number) if record.attempts else "none",
        "date": time[:10] or "none",
    }
    return document_id(company.document_id_pattern or _DEFAULT_ID, names, templates)


def cover_facts(record: Record, named: Identity) -> list[Fact]:
    """What is on the first page beside verdict, model and tool."""
    return [
        Fact("Document", f"{named.document}, revision {named.revision}"),
        Fact("Data", str(record.data.get("name") or "not named")),
        fact("Data digest", record.data.get("digest")),
        Fact("Protocol", protocol(record.criteria_lock)),
        fact("Criteria digest", record.criteria_lock.get("digest")),
        Fact("Attempt", _attempt(record)),
        Fact("Run", plain(record.run.get("id")), "mono"),
        Fact("Finished", utc(record.run.get("finished_utc") or record.run.get("started_utc"))),
    ]


def model_facts(record: Record) -> list[Fact]:
    """The model on the first page."""
    return [Fact("Model", full_name(record.subject)), fact("Model SHA-256", record.subject.get("sha256"))]


def tool_line(record: Record, qualification: Statement) -> str:
    """The tool on the first page, with its commit and whether it was qualified."""
    named = record.environment.get("commit")
    short = f"commit {commit(record.environment)[:12]}" if named else "commit not known"
    changed = ", with changed files" if named and record.environment.get("dirty") else ""
    said = NO_QUALIFICATION if qualification.missing else f"Tool qualification: {qualification.text}"
    return f"{full_name(record.tool)}, {short}{changed}. {said}."


def _attempt(record: Record) -> str:
    if record.attempts is None:
        return "not entered in a ledger"
    allowed = f" of {record.attempts.maximum} allowed" if record.attempts.maximum else ""
    return f"{record.attempts.number}{allowed} on this test set"


def notices(record: Record, signed: Signing, open_points: int) -> list[Notice]:
    """What a reader must see before the results."""
    found = []
    if signed.broken:
        found.append(Notice("A signature or disposition is not valid", " ".join(signed.broken), True))
    if record.data.get("phantom"):
        text = "The images of this run are computed phantoms. The results show how the model behaves on phantoms only."
        found.append(Notice("Phantom data is no evidence of clinical performance", text, True))
    if record.criteria_lock.get("locked") is not True:
        text = "Nothing shows that the criteria were fixed before the model and its results were seen."
        found.append(Notice("Criteria were not locked before the run", text, True))
    if record.criteria_lock.get("default"):
        text = "Set criteria with a rationale from the risk file before results are used in a claim."
        found.append(Notice("Default criteria of the suite, not set for an intended use", text, False))
    if open_points:
        text = "What was not declared is printed as such where it belongs; annex E lists it."
        found.append(Notice(f"{open_points} clause{'s' if open_points > 1 else ''} not declared", text, False))
    return found
