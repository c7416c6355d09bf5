"""A Record as a Markdown summary for a pull request: the verdict and its reasons first, a minute to read."""

from __future__ import annotations

from medgan_qa import quantities
from medgan_qa.evidence._markdown_comparison import comparison_lines
from medgan_qa.evidence._markdown_text import code, escaped, marked, table
from medgan_qa.evidence.checks import Check, checks
from medgan_qa.evidence.withheld import WITHHELD, is_withheld
from medgan_qa.record import AuditResult, Criterion, Record, Verdict

WORDS = {
    Verdict.PASS: "Passed",
    Verdict.FAIL: "Failed",
    Verdict.INCONCLUSIVE: "Inconclusive, which is no pass",
    Verdict.ERROR: "No verdict: a check did not run",
    Verdict.NOT_APPLICABLE: "Nothing was judged",
}
PHANTOM = "The images are phantoms: this is no evidence of clinical performance."
BARE = "Numbers are withheld by protocol; this shows verdicts only."


def summary_md(record: Record, record_sha256: str = "") -> str:
    """The summary: verdict, why, criteria, what else did not pass, comparison, attempt, and where the rest is.

    Args:
        record: the run, or its copy without numbers.
        record_sha256: digest of the run's `record.json`.
    """
    is_bare, compared, told = is_withheld(record), record.comparison, reasons(record)
    blocks = [
        [f"## {WORDS[record.verdict]}: {escaped(_model(record))}"],
        *([text] for text in why(record)),
        [PHANTOM] if record.data.get("phantom") else [],
        [BARE] if is_bare else [],
        criteria_table(record),
        ["### What did not pass", "", *told] if told else [],
        comparison_lines(compared, record, is_bare=is_bare) if compared else [],
        [escaped(record.attempts.statement)] if record.attempts else [],
        [_where(record, record_sha256)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _model(record: Record) -> str:
    parts = [record.subject.get("name") or "unnamed model", record.subject.get("version") or ""]
    return f"{' '.join(str(part) for part in parts if part)}, {record.suite}"


def _where(record: Record, record_sha256: str) -> str:
    run = f"Run {code(str(record.run.get('id') or 'without an id'))}: "
    named = f" (SHA-256 `{record_sha256}`)" if record_sha256 else ""
    return f"{run}report in `report.pdf` and `report.html`, every number in `record.json`{named}, in the run's folder."


def criteria_table(record: Record) -> list[str]:
    """Lines of the table of criteria: estimate, bound, n, limit, verdict."""
    columns = ("criterion", "measurement", "n", "estimate", "bound", "limit", "verdict")
    rows = [_criterion_row(record, audit, item) for audit in record.audits for item in audit.criteria]
    return table(columns, rows) if rows else ["No criterion was declared."]


def _criterion_row(record: Record, audit: AuditResult, item: Criterion) -> list[str]:
    measured = next((m for m in audit.measurements if m.id == item.measurement), None)
    label = f"{escaped(measured.label)} ({code(item.measurement)})" if measured else code(item.measurement)
    unit = measured.unit if measured else "1"
    numbers = [WITHHELD] * 3 if is_withheld(record) else [escaped(text) for text in _numbers(item, unit)]
    allowed = escaped(quantities.allowed(item.limit, unit))
    reported = "" if item.severity == "gate" else " (reported, gates nothing)"
    return [code(item.id), label, *numbers, allowed, f"{marked(item.verdict)}{reported}"]


def _numbers(item: Criterion, unit: str) -> list[str]:
    """How many went in, estimate, and the bound with digits that show its side of the limit."""
    sample = quantities.sample(item.n, item.unit_of_analysis, item.clusters).replace(";", ",")
    estimate = "-" if item.estimate is None else quantities.quantity(item.estimate, unit)
    bound = "-" if item.value is None else quantities.against(item.value, item.limit.values(), unit)
    return [sample or "-", estimate, bound]


def why(record: Record) -> list[str]:
    """Paragraphs that say what the verdict rests on: the comparison's first, then the run's own."""
    compared = record.comparison.reason if record.comparison else ""
    own = record.reason.removeprefix(compared).strip()
    paragraphs = [compared, own] if compared and record.reason.startswith(compared) else [record.reason]
    return [escaped(text) for text in paragraphs if text.strip()]


def reasons(record: Record) -> list[str]:
    """One line for each check that did not pass and that the table of criteria does not tell wholly."""
    open_ = [check for check in checks(record) if check.verdict is not Verdict.PASS and check.kind != "change"]
    return [_reason(check) for check in open_ if not _told(check)]


def _told(check: Check) -> bool:
    """A whole interval beyond the limit: estimate, bound and limit stand in the table, and there is nothing to add."""
    is_shown = {"estimate", "bound", "interval_method"} <= check.facts.keys()
    return check.kind == "criterion" and check.verdict is Verdict.FAIL and is_shown


def _reason(check: Check) -> str:
    name = f"sentinel {code(check.name)}" if check.kind == "sentinel" else code(check.name)
    group = "" if check.kind in ("run", "sentinel") else f", {escaped(check.group)}"
    return f"- {marked(check.verdict)} {name}{group}: {escaped(check.reason)}"
