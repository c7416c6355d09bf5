"""A Record as JUnit XML, the form that every CI server reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from medgan_qa.record import AuditResult, Record, Verdict

# XML 1.0 has no way to write these; a model's error message may hold them (colour codes of a terminal).
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

TAGS = {
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
    Verdict.INCONCLUSIVE: "error",
    Verdict.NOT_APPLICABLE: "skipped",
}


def junit_xml(record: Record) -> str:
    """One test suite a run, one test case a criterion; an audit that broke without a criterion is a case of its own.

    `fail` is a failure; `error` and `inconclusive` are errors, so that no CI server counts them as passed;
    `not_applicable` is skipped. A run that did not pass although nothing in it failed (no criterion applied) is a case
    of its own, an error. Measurements are properties.
    """
    cases = [_case(a, c.verdict, f"{c.id} {c.measurement}", c.reason) for a in record.audits for c in a.criteria]
    broken = (Verdict.ERROR, Verdict.INCONCLUSIVE)
    cases += [_case(a, a.verdict, "ran", a.reason) for a in record.audits if not a.criteria and a.verdict in broken]
    if record.verdict is not Verdict.PASS and not _count(cases, "failure", "error"):
        cases.append(
            _outcome(ET.Element("testcase", classname="run", name="verdict"), "error", record.verdict, record.reason)
        )
    suite = ET.Element(
        "testsuite",
        name=_text(f"medgan-qa {record.suite}"),
        tests=str(len(cases)),
        failures=str(_count(cases, "failure")),
        errors=str(_count(cases, "error")),
        skipped=str(_count(cases, "skipped")),
        time=str(record.run.get("seconds", 0)),
        timestamp=str(record.run.get("started_utc", "")).removesuffix("Z"),
    )
    properties = ET.SubElement(suite, "properties")
    head = {"verdict": record.verdict, "model_sha256": record.subject.get("sha256"), "data": record.data.get("digest")}
    values = {m.id: m.value for audit in record.audits for m in audit.measurements}
    for name, value in {**head, **values}.items():
        ET.SubElement(properties, "property", name=_text(name), value="" if value is None else _text(str(value)))
    suite.extend(cases)
    ET.indent(suite)
    # ElementTree would declare the encoding of the locale; the text is written as UTF-8 whatever that is.
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suite, encoding="unicode")}\n'


def _count(cases: list[ET.Element], *tags: str) -> int:
    return sum(case.find(tag) is not None for case in cases for tag in tags)


def _case(audit: AuditResult, verdict: Verdict, name: str, reason: str) -> ET.Element:
    case = ET.Element("testcase", classname=_text(f"{audit.code} {audit.title}"), name=_text(name))
    return _outcome(case, TAGS.get(verdict), verdict, reason)


def _outcome(case: ET.Element, tag: str | None, verdict: Verdict, reason: str) -> ET.Element:
    if tag is not None:
        first = reason.splitlines()[0] if reason else ""
        ET.SubElement(case, tag, message=_text(f"{verdict}: {first}")).text = _text(reason)
    return case


def _text(text: str) -> str:
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
