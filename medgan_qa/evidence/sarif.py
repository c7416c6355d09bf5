"""A Record as SARIF 2.1.0, for viewers of analysis results.

The standard allows a level other than `none` only beside the kind `fail` (section 3.27.10), so what keeps a build from
passing is a `fail` of level `error`, or `warning` where nothing was shown in either direction; the verdict itself
stands among the properties. Services that do not know `kind` take every result for a finding: filter by it before an
upload.
"""

from __future__ import annotations

import json
import re
from pathlib import PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import quote

from medgan_qa import __version__
from medgan_qa.digests import digest
from medgan_qa.evidence.checks import COMPARISON, DATA, RUN, Check, checks
from medgan_qa.record import Record, Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT = "medganQaCheck/v1"
# A text in square brackets with a round bracket behind it is a link in a SARIF message (section 3.11.6).
_LINK = re.compile(r"\[(?=[^\[\]]*\]\()")
_OWN_RULES = {
    DATA: ("Preconditions", "Does what was declared about the data hold?"),
    COMPARISON: ("Comparison", "Is the candidate no worse than the accepted model?"),
    RUN: ("Run", "Did the run come to a verdict?"),
}


class _Kind(NamedTuple):
    kind: str
    level: str


_GATING = {
    Verdict.PASS: _Kind("pass", "none"),
    Verdict.FAIL: _Kind("fail", "error"),
    Verdict.ERROR: _Kind("fail", "error"),
    Verdict.INCONCLUSIVE: _Kind("fail", "warning"),
    Verdict.NOT_APPLICABLE: _Kind("notApplicable", "none"),
}
_REPORTED = {
    **_GATING,
    Verdict.FAIL: _Kind("review", "none"),
    Verdict.ERROR: _Kind("open", "none"),
    Verdict.INCONCLUSIVE: _Kind("open", "none"),
}


def sarif_json(record: Record) -> str:
    """One SARIF run a Record: a rule an audit, a result a precondition, criterion, sentinel and change."""
    found = checks(record)
    rules = _rules(record, found)
    places = {rule["id"]: place for place, rule in enumerate(rules)}
    where = _location(record)
    run = {
        "tool": {"driver": {"name": "medgan-qa", "version": _version(record), "rules": rules}},
        "automationDetails": {"id": f"medgan-qa/{quote(record.suite, safe='')}/"},
        "invocations": [_invocation(record)],
        "columnKind": "utf16CodeUnits",
        "results": [_result(check, places[check.code], where) for check in found],
        "properties": _facts(record),
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _version(record: Record) -> str:
    return str(record.tool.get("version") or __version__)


def _rules(record: Record, found: list[Check]) -> list[dict[str, Any]]:
    texts = {audit.code: (audit.title, audit.question) for audit in record.audits}
    for check in found:
        # A sentinel may name an audit that the run does not hold.
        texts.setdefault(check.code, _OWN_RULES.get(check.code, (check.code, f"Checks of {check.code}.")))
    return [
        {"id": code, "shortDescription": _message(title), "fullDescription": _message(question)}
        for code, (title, question) in texts.items()
    ]


def _message(text: str) -> dict[str, str]:
    """A plain text message: braces doubled (section 3.11.5), and nothing that a viewer would turn into a link."""
    return {"text": _LINK.sub(r"\[", text).replace("{", "{{").replace("}", "}}") or "No text."}


def _invocation(record: Record) -> dict[str, Any]:
    times = {"startTimeUtc": record.run.get("started_utc"), "endTimeUtc": record.run.get("finished_utc")}
    stamped = {key: value for key, value in times.items() if isinstance(value, str) and _is_time(value)}
    # The tool did its work whatever it found; a check that broke is work that it did not do.
    return {"executionSuccessful": record.verdict is not Verdict.ERROR, **stamped}


def _is_time(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text, re.ASCII) is not None


def _location(record: Record) -> str:
    """The criteria file relative to where it was given, or the Record where there is no such file."""
    lock = record.criteria_lock
    file = lock.get("file")
    if lock.get("default") or not isinstance(file, str) or not file.strip():
        return "record.json"
    path = PureWindowsPath(file)  # splits at both kinds of slash
    parts = [part for part in path.parts if part != "."]
    outside = bool(path.anchor) or ".." in parts
    name = path.name if outside else "/".join(parts)
    # A colon before the first slash would read as the scheme of an absolute address.
    return quote(name, safe="/", errors="replace") if name.strip("/.") else "record.json"


def _result(check: Check, rule: int, where: str) -> dict[str, Any]:
    kind = (_GATING if check.gates else _REPORTED)[check.verdict]
    return {
        "ruleId": check.code,
        "ruleIndex": rule,
        "kind": kind.kind,
        "level": kind.level,
        "message": _message(f"{check.name}: {check.reason or check.verdict}"),
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": where}}}],
        "partialFingerprints": {FINGERPRINT: digest([check.kind, check.code, check.group, check.name])},
        "properties": {"check": check.kind, "verdict": check.verdict, **check.facts},
    }


def _facts(record: Record) -> dict[str, Any]:
    facts = {
        "suite": record.suite,
        "verdict": record.verdict,
        "reason": record.reason,
        "model_sha256": record.subject.get("sha256"),
        "data_digest": record.data.get("digest"),
        "criteria_digest": record.criteria_lock.get("digest"),
    }
    return {name: value for name, value in facts.items() if value}
