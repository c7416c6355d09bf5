"""A section for a model card: what was tested, on what data, with what result and which limits."""

from __future__ import annotations

from typing import Any

from medgan_qa.evidence._markdown_text import code, escaped, table
from medgan_qa.evidence.markdown import BARE, PHANTOM, WORDS, criteria_table, reasons, why
from medgan_qa.evidence.withheld import is_withheld
from medgan_qa.record import Record


def model_card_md(record: Record, record_sha256: str = "") -> str:
    """The section, in Markdown.

    Args:
        record: the run, or its copy without numbers.
        record_sha256: digest of the run's `record.json`.
    """
    blocks = [
        ["## Validation"],
        [f"**{WORDS[record.verdict]}.**"],
        *([text] for text in why(record)),
        [PHANTOM] if record.data.get("phantom") else [],
        ["### What was tested", "", *_facts(record, record_sha256)],
        ["### On what data", "", *_data(record)],
        ["### Results", "", *_results(record)],
        ["### Limitations", "", *_limitations(record)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _facts(record: Record, record_sha256: str) -> list[str]:
    subject, run, tool, context = record.subject, record.run, record.tool, record.context.get("context") or {}
    facts = {
        "model": _named(subject),
        "model SHA-256": subject.get("sha256"),
        "intended use": context.get("intended_use") if isinstance(context, dict) else None,
        "suite": record.suite,
        "criteria": _protocol(record.criteria_lock),
        "criteria SHA-256": record.criteria_lock.get("digest"),
        "tested with": _named(tool),
        "date": run.get("started_utc"),
        "attempt": record.attempts.statement if record.attempts else None,
        "Record SHA-256": record_sha256,
    }
    return _rows(facts)


def _rows(facts: dict[str, Any]) -> list[str]:
    told = {name: str(value) for name, value in facts.items() if value not in (None, "")}
    return table(("", ""), [[name, escaped(text) if " " in text else code(text)] for name, text in told.items()])


def _named(facts: dict[str, Any]) -> str:
    return " ".join(str(facts[key]) for key in ("name", "version") if facts.get(key))


def _protocol(lock: dict[str, Any]) -> str:
    protocol = lock.get("protocol") or {}
    named = ", ".join(str(protocol[key]) for key in ("id", "revision", "title") if protocol.get(key))
    states = [
        "the suite's default criteria, set for no intended use" if lock.get("default") else "",
        "locked before the run" if lock.get("locked") else "not locked before the run",
    ]
    return "; ".join(part for part in (named, *states) if part)


def _data(record: Record) -> list[str]:
    data = record.data
    facts = {
        "data": data.get("name"),
        "data digest": data.get("digest"),
        "source domain": data.get("source_domain"),
        "target domain": data.get("target_domain"),
        "sites": _counts(data.get("sites")),
        **{f"partition {escaped(str(name))}": _counts(counts) for name, counts in _partitions(data)},
    }
    return _rows(facts)


def _partitions(data: dict[str, Any]) -> list[tuple[str, Any]]:
    partitions = data.get("partitions")
    return list(partitions.items()) if isinstance(partitions, dict) else []


def _counts(counts: Any) -> str:
    if not isinstance(counts, dict):
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items() if value is not None)


def _results(record: Record) -> list[str]:
    open_ = reasons(record)
    bare = ["", BARE] if is_withheld(record) else []
    return [*criteria_table(record), *bare, *(["", *open_] if open_ else [])]


def _limitations(record: Record) -> list[str]:
    stated = [*record.limitations, *record.deviations]
    return [f"- {escaped(text)}" for text in stated] or ["None stated."]
