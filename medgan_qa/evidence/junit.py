"""A Record as JUnit XML, the form that every CI server reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from medgan_qa.evidence.checks import Check, checks
from medgan_qa.evidence.withheld import WITHHELD
from medgan_qa.record import Measurement, Record, Verdict

# XML 1.0 has no way to write these; a model's error message may hold them (colour codes of a terminal).
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

TAGS = {
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
    Verdict.INCONCLUSIVE: "error",
    Verdict.NOT_APPLICABLE: "skipped",
}


def junit_xml(record: Record) -> str:
    """One test suite a run, one test case a precondition, criterion, sentinel and change of a comparison.

    `fail` is a failure; `error` and `inconclusive` are errors, so that no CI server counts them as passed;
    `not_applicable` is skipped, and so is a criterion of severity `report` that did not pass. An audit that broke
    without a criterion is a case of its own, and so is a run that did not pass although nothing in it failed (no
    criterion applied). Measurements are properties of the suite; what a case was judged on are properties of the case.
    """
    found = checks(record)
    # A run that judged nothing stands as an error, whatever its verdict is called.
    cases = [_case(check, "error" if check.kind == "run" else _tag(check)) for check in found]
    suite = ET.Element(
        "testsuite",
        name=_text(f"medgan-qa {record.suite}"),
        tests=str(len(cases)),
        failures=str(_count(cases, "failure")),
        errors=str(_count(cases, "error")),
        skipped=str(_count(cases, "skipped")),
        time=_text(str(record.run.get("seconds", 0))),
        timestamp=_text(str(record.run.get("started_utc", ""))).removesuffix("Z"),
    )
    head = {"verdict": record.verdict, "model_sha256": record.subject.get("sha256"), "data": record.data.get("digest")}
    values = {m.id: _value(m) for audit in record.audits for m in audit.measurements}
    _add_properties(suite, {**head, **values})
    suite.extend(cases)
    ET.indent(suite)
    # ElementTree would declare the encoding of the locale; the text is written as UTF-8 whatever that is.
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suite, encoding="unicode")}\n'


def _value(measurement: Measurement) -> object:
    return WITHHELD if measurement.reason == WITHHELD else measurement.value


def _tag(check: Check) -> str | None:
    if check.verdict is Verdict.PASS:
        return None
    return TAGS[check.verdict] if check.gates else "skipped"


def _count(cases: list[ET.Element], tag: str) -> int:
    return sum(case.find(tag) is not None for case in cases)


def _case(check: Check, tag: str | None) -> ET.Element:
    case = ET.Element("testcase", classname=_text(check.group), name=_text(check.name))
    if check.facts:
        _add_properties(case, check.facts)
    if tag is not None:
        first = check.reason.splitlines()[0] if check.reason else ""
        told = check.verdict if check.gates else f"{check.verdict} (reported, gates nothing)"
        ET.SubElement(case, tag, message=_text(f"{told}: {first}")).text = _text(check.reason)
    return case


def _add_properties(parent: ET.Element, facts: Mapping[str, object]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=_text(name), value="" if value is None else _text(str(value)))


def _text(text: str) -> str:
    return NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
