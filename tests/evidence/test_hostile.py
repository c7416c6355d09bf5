"""One run whose every text is an attack on some reader: all exports stay parsable, and the text stays text."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
import yaml
from markdown_it import MarkdownIt

from medgan_qa.evidence.exports import EXPORTS, write_exports
from medgan_qa.evidence.records import load_record
from medgan_qa.evidence.tables import cases_csv, read_table
from medgan_qa.record import Record

WHOLE = json.loads((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
HOSTILE = {
    "script": "<script>alert(document.domain)</script><img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt; &amp; &#x41; &nbsp; <!ENTITY x SYSTEM 'file:///etc/passwd'> &x;",
    "cdata": "]]> --> ?> <![CDATA[ <!-- <?php phpinfo(); ?>",
    "template": "{{7*7}} {% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %} ${7*7} #{7*7} {0}",
    "path": "../../etc/passwd",
    "windows": "C:\\Windows\\..\\x\\",
    "url": "javascript:alert(1) https://evil.example/?q=1 www.evil.example file:///etc/passwd",
    "formula": '=HYPERLINK("https://evil.example","open")',
    "sum": "@SUM(1+1)*cmd|' /C calc'!A0",
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "apostrophe": "'=1+1",
    "tab": "\t=1+1",
    "control": "a\x01b\x07\x1b[31mred\x1b[0m\x7f\x85c",
    "nul": "a\x00b",
    "bidi": "\u202egnp.exe \u2066x\u2069 \u200fy",
    "quotes": '"double" \'single\' `back` \u201ccurly\u201d \\"',
    "yaml": "!!python/object/apply:os.system ['echo x'] - &a *a <<: {a: b} # x: |",
    "yaml words": "yes",
    "yaml null": "~",
    "json": '","verdict":"pass","x":"',
    "markdown": "[click](https://evil.example) ![x](https://evil.example/x.png) **b** _i_ `c` | d | ~~e~~ # f",
    "mention": "@security-team org/repo#1 GH-1",
    "lines": "first\nsecond\r\nthird\rfourth\n\n# heading\n- item\n    code\n---\n",
    "key": "[[62304:9.8.g]] [[[FDA-SW:vandv]]]",
    "long": "x" * 10_000,
    "long line": "word " * 2_000,
    "unicode": "Größe 5 µm \u4e2d\u6587 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \U0001f9e0 e\u0301",
    "separators": "a\u2028b\u2029c",
}
NAMES = list(HOSTILE)
NOT_IN_XML = "[\x00-\x08\x0b\x0c\x0e-\x1f]"


def hostile_content(text: str) -> dict[str, Any]:
    """A Record with the text in every place that is free."""
    content: dict[str, Any] = json.loads(json.dumps(WHOLE))
    content |= {"reason": text, "suite": text, "deviations": [text], "limitations": [text]}
    content["subject"] |= {"name": text, "version": text, "file": text, "card": {"licence": text, text: text}}
    content["data"] |= {"name": text, "sites": {text: 3}, "partitions": {text: {text: 1}}}
    content["tool"] |= {"name": text}
    content["run"] |= {"id": text, "command": [text], "started_utc": text}
    content["criteria_lock"] |= {"file": text, "protocol": {"id": text, "title": text}}
    content["context"]["context"] = {"intended_use": text}
    for audit in content["audits"]:
        audit |= {"title": text, "question": text, "reason": text, "notes": [text], "code": f"{audit['code']} {text}"}
        for measurement in audit["measurements"]:
            measurement |= {"label": text, "unit": text, "unit_of_analysis": text, "stratum": text}
        for criterion in audit["criteria"]:
            same = dict.fromkeys(("reason", "rationale", "hazard", "requirement", "claim", "unit_of_analysis"), text)
            criterion |= same | {"id": f"{criterion['id']} {text}"}
    for item in [*content["preconditions"], *content["sentinels"], *content["comparison"]["sentinels"]]:
        item |= {key: text for key in ("id", "case_id", "audit", "found", "reason", "requirement") if key in item}
    comparison = content["comparison"]
    comparison |= {"reason": text, "modification": {"id": text, "description": text, "protocol": text}}
    comparison["baseline"] |= {"name": text, "run": text}
    for change in [*comparison["changes"], *comparison["subgroups"]]:
        change |= {"criterion": text, "reason": text, "newly_worse": [text], "label": text, "unit": text}
    content["attempts"] |= {"statement": text, "ledger": text}
    content["files"] = {}
    return content


@pytest.fixture(scope="module", params=NAMES)
def attack(request: pytest.FixtureRequest) -> str:
    return HOSTILE[request.param]


@pytest.fixture(scope="module")
def run(attack: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with its exports."""
    folder = tmp_path_factory.mktemp("outside") / "run"
    folder.mkdir()
    record = Record.model_validate(hostile_content(attack))
    (folder / "record.json").write_bytes(record.to_json().encode())
    rows = [
        {"audit": "PAT-001", "case_id": attack, "patient_id": attack, "fate": attack, "recovery": -0.5},
        {"audit": "PAT-001", "case_id": "c2", "patient_id": "p2", "fate": None, "recovery": 1.0},
    ]
    (folder / "cases.csv").write_bytes(cases_csv(rows).encode())
    write_exports(folder)
    return folder


def test_the_run_is_whole_and_nothing_lies_outside_of_it(run: Path) -> None:
    assert {path.name for path in run.rglob("*")} == {"record.json", "cases.csv", *EXPORTS}
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_the_record_comes_back(run: Path, attack: str) -> None:
    record = load_record((run / "record.json").read_bytes(), run)
    assert json.loads(record.to_json()) == json.loads(Record.model_validate(hostile_content(attack)).to_json())


def xml_text(text: str) -> str:
    """What XML can hold of a text, and what its readers make of line ends."""
    return re.sub(NOT_IN_XML, "\ufffd", text).replace("\r\n", "\n").replace("\r", "\n")


def test_junit(run: Path, attack: str) -> None:
    root = ET.fromstring((run / "junit.xml").read_bytes())
    assert {element.tag for element in root.iter()} == {
        *("testsuite", "testcase", "properties", "property", "failure", "error", "skipped"),
    }
    outcomes = [element for element in root.iter() if element.tag in ("failure", "error")]
    assert len(outcomes) == int(root.get("failures", "")) + int(root.get("errors", "")) > 4
    whole = [outcome.text for outcome in outcomes if "Newly worse: " not in str(outcome.text)]
    assert set(whole) == {xml_text(attack)}
    values = {p.get("value") for p in root.iter("property") if p.get("name") == "hazard"}
    # Unlike in text, line ends in attributes come back as they were.
    assert values == {re.sub(NOT_IN_XML, "\ufffd", attack)}


def test_sarif(run: Path, attack: str) -> None:
    log = json.loads((run / "results.sarif").read_text(encoding="utf-8"))
    results = log["runs"][0]["results"]
    expected = attack.replace("{", "{{").replace("}", "}}")
    texts = [result["message"]["text"].replace("\\[", "[") for result in results]
    assert all(expected.replace("\\[", "[") in text for text in texts)
    assert not any(re.search(r"(?<!\\)\[[^\[\]]*\]\(", result["message"]["text"]) for result in results)
    uris = {place["physicalLocation"]["artifactLocation"]["uri"] for r in results for place in r["locations"]}
    [uri] = uris
    assert re.fullmatch(r"[A-Za-z0-9%._~/-]+", uri)
    assert not uri.startswith("/")
    assert ".." not in uri.split("/")
    assert {r["properties"]["hazard"] for r in results if "hazard" in r["properties"]} == {attack}


def test_test_record(run: Path, attack: str) -> None:
    text = (run / "test-record.yaml").read_text(encoding="utf-8")
    for event in yaml.parse(text):
        assert not isinstance(event, yaml.AliasEvent)
        assert (getattr(event, "tag", None), getattr(event, "anchor", None)) == (None, None)
    content = yaml.safe_load(text)
    assert len(content) == 14
    for entry in content.values():
        assert list(entry) == ["name", "result", "message", "req_ids", "note"]
        assert (entry["message"] is None) == (entry["result"] == "pass")
    plain = re.sub(r"\[(?=\[)", "[ ", attack)
    moved = f"{plain} Newly worse: 4 of 160 ({plain} and 3 more); newly better: 1."
    assert {e["message"] for e in content.values()} == {None, plain, moved}
    assert not re.search(r"\[\[(?!62304:9\.8\.[a-f]\]\])", " ".join(e["note"] for e in content.values()))


@pytest.mark.parametrize("name", ["summary.md", "model-card.md"])
def test_markdown(run: Path, attack: str, name: str) -> None:
    text = (run / name).read_text(encoding="utf-8")
    assert len(text) < 60_000, "what a forge takes for a comment"
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    block = {token.type for token in tokens}
    assert not block & {"html_block", "fence", "code_block", "hr", "blockquote_open", "ordered_list_open"}
    shown = []
    for inline in (token for token in tokens if token.type == "inline"):
        for child in inline.children or []:
            assert child.type in ("text", "code_inline", "strong_open", "strong_close", "html_inline", "text_special")
            assert child.type != "html_inline" or child.content == "<!-- -->"
        visible = (child.content for child in inline.children or [] if child.type != "html_inline")
        shown.append("".join(visible))
    hidden = "[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
    flat = re.sub(hidden, "\ufffd", " ".join(attack.split()))
    assert any(flat[:600] in line for line in shown)
    assert not re.search(hidden, text.replace("\n", ""))
    headings = [token.tag for token in tokens if token.type == "heading_open"]
    assert headings == (["h2", "h3", "h3"] if name == "summary.md" else ["h2", "h3", "h3", "h3", "h3"])
    # Templates that run over the text find nothing of theirs.
    assert not re.search(r"\{\{|\{%|\$\{|#\{", text)


def test_bill_of_materials(run: Path) -> None:
    content = json.loads((run / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert content["bomFormat"] == "CycloneDX"


def test_cases(run: Path, attack: str) -> None:
    columns, rows = read_table(run / "cases.csv")
    assert columns == ["audit", "case_id", "patient_id", "fate", "recovery"]
    assert [row["case_id"] for row in rows] == [attack, "c2"]
    raw = list(csv.reader(io.StringIO((run / "cases.csv").read_bytes().decode(), newline="")))[1]
    assert raw[4] == "-0.5"
    assert not [cell for cell in raw[:4] if cell.strip(" \x00").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def test_parquet(run: Path, attack: str) -> None:
    first, second = pq.read_table(run / "cases.parquet").to_pylist()
    assert (first["case_id"], first["patient_id"], first["fate"], first["recovery"]) == (attack, attack, attack, -0.5)
    assert (second["case_id"], second["fate"]) == ("c2", None)
