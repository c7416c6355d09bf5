"""A Record without its numbers, for runs whose criteria allow developers to see verdicts only.

Who sees how far a model was from its limit on a test set can work towards that test set. Where the criteria declare
`[attempts] feedback = "pass_fail"`, terminal, JUnit, SARIF, test record and Markdown are made from what `withheld`
returns; `record.json`, the report and the tables stay whole, for those who keep the test set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from medgan_qa.record import AuditResult, Change, Comparison, Criterion, Measurement, Record, Sentinel

WITHHELD = "withheld by protocol"
"""Stands where a number is missing because the criteria withhold it."""
WORD = "(withheld)"
_TAIL = ".,;:!?)"

_NO_NUMBERS: dict[str, Any] = {"value": None, "interval": None, "clusters": None}
_NO_CHANGE: dict[str, Any] = {"baseline": None, "candidate": None, "worsening": None, "interval": None, "n": 0}
_NO_CHANGE |= {"worsened": None, "improved": None, "newly_worse": []}


def is_withheld(record: Record) -> bool:
    """Whether the run's criteria withhold its numbers from all but the Record, the report and the tables."""
    attempts = record.context.get("attempts")
    return isinstance(attempts, dict) and attempts.get("feedback") == "pass_fail"


def withheld(record: Record) -> Record:
    """A copy with verdicts and without what was measured: numbers are None, or replaced in texts by `(withheld)`.

    Limits, margins, preconditions on the data and the attempt count stay: they were known before the run. Names that
    hold digits (of criteria, audits, measurements, sentinel cases, the modification) stay in texts too.
    """
    known = _names(record)
    comparison = record.comparison and _comparison(record.comparison, known)
    return record.model_copy(
        update={
            "reason": _redacted(record.reason, known),
            "deviations": [_redacted(text, known) for text in record.deviations],
            "audits": [_audit(audit, known) for audit in record.audits],
            "sentinels": [_sentinel(sentinel, known) for sentinel in record.sentinels],
            "accounting": [],
            "comparison": comparison,
        }
    )


def _names(record: Record) -> re.Pattern[str]:
    audits = record.audits
    comparison = record.comparison
    names = {name for a in audits for name in (a.code, *(c.id for c in a.criteria), *(m.id for m in a.measurements))}
    names |= {c.measurement for a in audits for c in a.criteria} | {p.id for p in record.preconditions}
    names |= {s.case_id for s in [*record.sentinels, *(comparison.sentinels if comparison else [])]}
    names |= {str(comparison.modification.get(key, "")) for key in ("id", "protocol")} if comparison else set()
    # A name without a letter cannot be told from a number.
    return _either(name for name in names if any(character.isalpha() for character in name))


def _either(names: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)" if longest_first else r"(?!)()")


def _redacted(text: str, known: re.Pattern[str]) -> str:
    parts = known.split(text)
    return "".join(part if k % 2 else re.sub(r"\S+", _word, part) for k, part in enumerate(parts))


def _word(match: re.Match[str]) -> str:
    word = match[0]
    if not any(character.isnumeric() for character in word):
        return word
    return WORD + word[len(word.rstrip(_TAIL)) :]


def _audit(audit: AuditResult, known: re.Pattern[str]) -> AuditResult:
    return audit.model_copy(
        update={
            "reason": _redacted(audit.reason, known),
            "measurements": [_measurement(measurement) for measurement in audit.measurements],
            "criteria": [_criterion(criterion, known) for criterion in audit.criteria],
            "exhibits": [],
            "notes": [_redacted(note, known) for note in audit.notes],
        }
    )


def _measurement(measurement: Measurement) -> Measurement:
    return measurement.model_copy(update={**_NO_NUMBERS, "n": 0, "reason": WITHHELD})


def _criterion(criterion: Criterion, known: re.Pattern[str]) -> Criterion:
    reason = _redacted(criterion.reason, known)
    # What Holm's procedure left a criterion tells in which order the others came out.
    gone = {**_NO_NUMBERS, "estimate": None, "n": None, "adjusted_alpha": None}
    return criterion.model_copy(update={**gone, "reason": reason})


def _sentinel(sentinel: Sentinel, known: re.Pattern[str]) -> Sentinel:
    found, reason = _redacted(sentinel.found, known), _redacted(sentinel.reason, known)
    return sentinel.model_copy(update={"found": found, "reason": reason})


def _change(change: Change, known: re.Pattern[str]) -> Change:
    return change.model_copy(update={**_NO_CHANGE, "clusters": None, "reason": _redacted(change.reason, known)})


def _comparison(comparison: Comparison, known: re.Pattern[str]) -> Comparison:
    return comparison.model_copy(
        update={
            "reason": _redacted(comparison.reason, known),
            "changes": [_change(change, known) for change in comparison.changes],
            "subgroups": [_change(change, known) for change in comparison.subgroups],
            "sentinels": [_sentinel(sentinel, known) for sentinel in comparison.sentinels],
        }
    )
