"""A Record as a Markdown summary for a pull request, and text that stays text in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from medgan_qa import quantities
from medgan_qa.evidence.checks import CLOSES, Check, checks
from medgan_qa.evidence.withheld import WITHHELD, is_withheld
from medgan_qa.record import AuditResult, Criterion, Record, Verdict

LONGEST = 600
"""Characters of a text from the Record that are shown; of what is longer, the sentences that fit."""
REST = "The rest stands in record.json."
WORDS = {
    Verdict.PASS: "Passed",
    Verdict.FAIL: "Failed",
    Verdict.INCONCLUSIVE: "Inconclusive, which is no pass",
    Verdict.ERROR: "No verdict: a check did not run",
    Verdict.NOT_APPLICABLE: "Nothing was judged",
}
PHANTOM = "The images are phantoms: this is no evidence of clinical performance."

# Control characters, and those that change the direction in which a line reads.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SENTENCE_END = re.compile(r"[.!?](?= )")
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
    marked = _shortened(flat).translate(_MARKS).replace("://", f":{_COMMENT}//")
    marked = re.sub(r"\bwww\.", lambda match: f"{match[0][:-1]}{_COMMENT}.", marked, flags=re.IGNORECASE)
    # At the beginning of a line these would make a list, a rule or a heading.
    return re.sub(r"^(\d{0,9})([-+=.)])", r"\1\\\2", marked)


def _shortened(flat: str) -> str:
    """The sentences that fit; where the first one does not, as much of it as does."""
    if len(flat) <= LONGEST:
        return flat
    ends = [match.end() for match in _SENTENCE_END.finditer(flat, 0, LONGEST + 1)]
    return f"{flat[: ends[-1]]} {REST}" if ends else f"{flat[:LONGEST]} ... {REST}"


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


def marked(verdict: Verdict) -> str:
    """A verdict in words, bold where it closes a gate."""
    words = verdict.replace("_", " ")
    return f"**{words}**" if verdict in CLOSES else words


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
