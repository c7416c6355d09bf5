"""A Record as a Markdown summary for a pull request, and text that stays text in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from medgan_qa.evidence.checks import CLOSES, Check, checks, limit_text, shown
from medgan_qa.evidence.withheld import WITHHELD, is_withheld
from medgan_qa.record import AuditResult, Change, Comparison, Criterion, Record, Verdict

LONGEST = 600
"""Characters of a text from the Record that are shown; what is longer is cut, and stands in the Record as a whole."""
WORDS = {
    Verdict.PASS: "Passed",
    Verdict.FAIL: "Failed",
    Verdict.INCONCLUSIVE: "Inconclusive, which is no pass",
    Verdict.ERROR: "No verdict: a check did not run",
    Verdict.NOT_APPLICABLE: "Nothing was judged",
}
NEWLY_WORSE = "Newly worse"
"""Begins, in the reason of a change, the units that the accepted model kept and the candidate lost."""
PHANTOM = "The images are phantoms: this is no evidence of clinical performance."

# Control characters, and those that change the direction in which a line reads.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_COMMENT = "<!-- -->"
_MARKS = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]~$"}
    # Entities hold where a backslash would not: in cells, in HTML, and in templates that run over the text.
    | {character: f"&#{ord(character)};" for character in "&<>|{}"}
    # An empty comment is no text, and parts what a forge would make a mention or a reference of.
    | {"@": f"@{_COMMENT}", "#": f"#{_COMMENT}"}
)
_SAFE_CODE = re.compile(r"[A-Za-z0-9.:,/()+-][A-Za-z0-9 ._:,/()\[\]+-]*(?<! )")


def escaped(text: str) -> str:
    """Text on one line that Markdown shows as it stands: no markup, HTML, link, mention or reference in it.

    Blanks and line ends become single blanks; control characters and changes of direction become U+FFFD.
    """
    flat = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    if len(flat) > LONGEST:
        flat = f"{flat[:LONGEST]} (cut)"
    marked = flat.translate(_MARKS).replace("://", f":{_COMMENT}//")
    marked = re.sub(r"\bwww\.", lambda match: f"{match[0][:-1]}{_COMMENT}.", marked, flags=re.IGNORECASE)
    # At the beginning of a line these would make a list, a rule or a heading.
    return re.sub(r"^(\d{0,9})([-+=.)])", r"\1\\\2", marked)


def code(text: str) -> str:
    """An identifier in a typewriter face; escaped where it holds anything but letters, digits, `._-:,/()[]+`."""
    return f"`{text}`" if len(text) <= LONGEST and _SAFE_CODE.fullmatch(text) else escaped(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; the cells are Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def criteria_table(record: Record) -> list[str]:
    """Lines of the table of criteria: estimate, bound, n, limit, verdict."""
    columns = ("criterion", "measurement", "n", "estimate", "bound", "limit", "verdict")
    rows = [_criterion_row(record, audit, item) for audit in record.audits for item in audit.criteria]
    return table(columns, rows) if rows else ["No criterion was declared."]


def _criterion_row(record: Record, audit: AuditResult, item: Criterion) -> list[str]:
    measured = next((m for m in audit.measurements if m.id == item.measurement), None)
    label = f"{escaped(measured.label)} ({code(item.measurement)})" if measured else code(item.measurement)
    unit = f" {escaped(measured.unit)}" if measured and measured.unit not in ("1", "count") else ""
    numbers = [_n(item), shown(item.estimate), shown(item.value, *item.limit.values())]
    if is_withheld(record):
        numbers = [WITHHELD] * 3
    reported = "" if item.severity == "gate" else " (reported, gates nothing)"
    return [code(item.id), label, *numbers, f"{limit_text(item.limit)}{unit}", f"{_verdict(item.verdict)}{reported}"]


def _n(item: Criterion) -> str:
    if item.n is None:
        return "-"
    is_own_unit = item.clusters is None or item.unit_of_analysis == "patient"
    patients = "" if is_own_unit else f", {item.clusters} patients"
    return f"{item.n} {escaped(item.unit_of_analysis or '')}{patients}".strip()


def _verdict(verdict: Verdict) -> str:
    words = verdict.replace("_", " ")
    return f"**{words}**" if verdict in CLOSES else words


def summary_md(record: Record, record_sha256: str = "") -> str:
    """The summary for a pull request: verdict, criteria, reasons, comparison, attempt, and where the rest is.

    Args:
        record: the run, or its copy without numbers.
        record_sha256: digest of the run's `record.json`.
    """
    blocks = [
        [f"## {WORDS[record.verdict]}: {escaped(_model(record))}"],
        [escaped(record.reason)] if record.reason else [],
        [f"{PHANTOM}"] if record.data.get("phantom") else [],
        ["Numbers are withheld by protocol; this shows verdicts only."] if is_withheld(record) else [],
        criteria_table(record),
        _reasons(record),
        _comparison(record.comparison, is_withheld(record)) if record.comparison else [],
        [escaped(record.attempts.statement)] if record.attempts else [],
        [_where(record, record_sha256)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _model(record: Record) -> str:
    parts = [record.subject.get("name") or "unnamed model", record.subject.get("version") or ""]
    return f"{' '.join(str(part) for part in parts if part)}, {record.suite}"


def _reasons(record: Record) -> list[str]:
    """Why it did not pass, check by check."""
    open_ = [check for check in checks(record) if check.verdict is not Verdict.PASS and check.kind != "change"]
    if not open_:
        return []
    return ["### What did not pass", "", *(_reason(check) for check in open_)]


def _reason(check: Check) -> str:
    group = "" if check.kind == "run" else f", {escaped(check.group)}"
    return f"- {_verdict(check.verdict)} {code(check.name)}{group}: {escaped(check.reason)}"


def _comparison(comparison: Comparison, is_bare: bool) -> list[str]:
    modification = " ".join(str(comparison.modification.get(key) or "") for key in ("id", "description")).strip()
    told = [str(comparison.baseline.get(key) or "") for key in ("name", "version", "run")]
    accepted = " ".join(part for part in told if part) or "the accepted model"
    lines = [f"### Compared with {escaped(accepted)}: {comparison.verdict.replace('_', ' ')}", ""]
    lines += [escaped(comparison.reason), ""] if comparison.reason else []
    lines += [f"Modification: {escaped(modification)}", ""] if modification else []
    columns = ("criterion", "measurement", "accepted", "candidate", "worse by", "margin", "verdict")
    lines += table(columns, (_change_row(change, is_bare) for change in comparison.changes))
    lost = list(_newly_lost(comparison))
    return [*lines, "", "Newly lost or worse:", "", *lost] if lost else lines


def _newly_lost(comparison: Comparison) -> Iterator[str]:
    """Sentinels that did not pass, changes beyond their margin, and units that only the accepted model kept."""
    for sentinel in comparison.sentinels:
        if sentinel.verdict is not Verdict.PASS:
            yield f"- sentinel {code(sentinel.case_id)}, {code(sentinel.audit)}: {escaped(sentinel.reason)}"
    listed = {(change.criterion, change.measurement): change for change in comparison.changes + comparison.subgroups}
    for change in listed.values():
        if change.verdict in CLOSES or NEWLY_WORSE in change.reason:
            yield f"- {_verdict(change.verdict)} {code(change.measurement)}: {escaped(change.reason)}"


def _change_row(change: Change, is_bare: bool) -> list[str]:
    numbers = [shown(change.baseline), shown(change.candidate), _worsening(change)]
    numbers = [WITHHELD] * 3 if is_bare else numbers
    names = [code(change.criterion) if change.criterion else "-", code(change.measurement)]
    return [*names, *numbers, shown(change.margin), _verdict(change.verdict)]


def _worsening(change: Change) -> str:
    ends = change.interval
    if ends is None:
        return shown(change.worsening, change.margin)
    low, high = shown(ends.low, change.margin), shown(ends.high, change.margin)
    return f"{shown(change.worsening, change.margin)} ({low} to {high})"


def _where(record: Record, record_sha256: str) -> str:
    run = f"Run {code(str(record.run.get('id') or 'without an id'))}: "
    named = f" (SHA-256 `{record_sha256}`)" if record_sha256 else ""
    return f"{run}report in `report.pdf` and `report.html`, every number in `record.json`{named}, in the run's folder."
