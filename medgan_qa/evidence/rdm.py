"""A Record as a test record in YAML, in the form that Innolitics' RDM takes test results in.

A mapping of test names to `{name, result, message, req_ids, note}`, where `result` is `pass` or `fail`. RDM looks for
audit keys such as `[[62304:9.8.a]]` in what it renders; IEC 62304 clause 9.8 asks of a test record: (a) results, (b)
anomalies, (c) the version tested, (d) hardware and software configuration, (e) tools, (f) date, (g) who tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from medgan_qa.evidence.checks import Check, checks
from medgan_qa.record import Record, Verdict

# Line ends that the other styles of YAML would fold into blanks.
_LINE_ENDS = re.compile("[\r\x85\u2028\u2029]")
_IDENTIFIER = re.compile(r"(?=\S*\d)[^\W\d_][\w.:/-]*")


def _represented(dumper: Any, text: str) -> Any:
    style = '"' if _LINE_ENDS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper: Any = type("_Dumper", (yaml.SafeDumper,), {})
_Dumper.add_representer(str, _represented)


def rdm_yaml(record: Record, testers: Sequence[str] = ()) -> str:
    """One entry for the run and one a precondition, criterion, sentinel and change.

    Only the verdict `pass` is a `pass`; every other one is a `fail` with the verdict in its note.

    Args:
        record: the run.
        testers: who answers for the run, e.g. the names of those who signed it as authors; clause 9.8 (g) stays
            unanswered without.
    """
    entries = {_plain(f"medgan-qa {record.suite}"): _run_entry(record, testers)}
    for check in checks(record):
        entries[_free(_plain(check.name), entries)] = _entry(check)
    named = {name: {"name": name, **entry} for name, entry in entries.items()}
    text: str = yaml.dump(named, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _free(name: str, taken: dict[str, Any]) -> str:
    """The name, with a number behind it where it is taken: a later entry must not replace an earlier one."""
    name, number = name or "unnamed", 1
    free = name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _entry(check: Check) -> dict[str, Any]:
    passed = check.verdict is Verdict.PASS
    identifiers = _requirements(check.requirement)
    notes = [f"Verdict: {check.verdict} [[62304:9.8.a]]"]
    notes += [] if check.gates else ["reported, gates nothing"]
    notes += [f"{name}: {_note(value)}" for name, value in check.facts.items() if name != "requirement"]
    notes += [f"requirement: {_note(check.requirement)}"] if check.requirement and not identifiers else []
    return {
        "result": "pass" if passed else "fail",
        "message": None if passed else _plain(check.reason),
        "req_ids": identifiers,
        "note": "; ".join(notes),
    }


def _requirements(text: str) -> list[str]:
    """Identifiers separated by commas or blanks; none where the requirement is given as a sentence."""
    parts = [part for part in re.split(r"[,;\s]+", text) if part]
    return parts if parts and all(_IDENTIFIER.fullmatch(part) for part in parts) else []


def _run_entry(record: Record, testers: Sequence[str]) -> dict[str, Any]:
    passed = record.verdict is Verdict.PASS
    return {
        "result": "pass" if passed else "fail",
        "message": None if passed else _plain(record.reason),
        "req_ids": [],
        "note": "; ".join(_answers(record, testers)),
    }


def _answers(record: Record, testers: Sequence[str]) -> list[str]:
    """What clause 9.8 asks for, each line with its key."""
    subject, run, tool, where = record.subject, record.run, record.tool, record.environment
    criteria = record.criteria_lock
    answers = {
        "a": f"Result: {record.verdict}; the entries below hold it check by check",
        "b": f"Anomalies: {_anomalies(record)}",
        "c": f"Version tested: {_told(subject, 'name', 'version', 'file', 'sha256')}",
        "d": f"Configuration: data {_told(record.data, 'name', 'digest')}; criteria "
        f"{_told(criteria, 'file', 'digest')}; {_told(run, 'seed', 'device', 'command')}; "
        f"{_told(where, 'python', 'platform', 'hardware', 'threads', 'determinism')}",
        "e": f"Tools: {_told(tool, 'name', 'version')}; {_told(where, 'packages', 'commit')}",
        "f": f"Date: {_told(run, 'started_utc', 'finished_utc')}",
    }
    lines = [f"{_note(text)} [[62304:9.8.{letter}]]" for letter, text in answers.items()]
    if not testers:
        return [*lines, "Tester: nobody has signed for this run yet"]
    return [*lines, f"Tester: {_note(', '.join(testers))} [[62304:9.8.g]]"]


def _anomalies(record: Record) -> str:
    broken = [f"{audit.code}: {audit.reason}" for audit in record.audits if audit.verdict is Verdict.ERROR]
    return "; ".join([*record.deviations, *broken]) or "none"


def _told(facts: dict[str, Any], *names: str) -> str:
    told = [f"{name} {_value(facts[name])}" for name in names if facts.get(name) not in (None, "", [], {})]
    return ", ".join(told) or "not stated"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    """Text from the Record, which must not pass for an audit key."""
    return re.sub(r"\[(?=\[)", "[ ", text)


def _note(value: object) -> str:
    """Part of a note, on one line: RDM's templates put notes into cells of a table."""
    return _plain(" ".join(str(value).split()))
