from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgan_qa import report
from medgan_qa.errors import IntegrityError
from medgan_qa.evidence import signing
from medgan_qa.record import Record
from medgan_qa.report.clauses import required
from medgan_qa.report.declared import statements
from medgan_qa.report.resources import Templates
from medgan_qa.report.sections import SECTIONS

RunMaker = Callable[..., Record]
EVIL = "{{7*7}}<script>alert(1)</script>\"'></style>&{% raw %}"
NOT_FREE = {
    "schema",
    "verdict",
    "kind",
    "judged_on",
    "better",
    "severity",
    "sided",
    "statistic",
    "limit",
    "file",
    "rule",
}


def visible(html: str) -> str:
    """The page's text, without styles and drawings."""
    bare = re.sub(r"<(style|svg)\b.*?</\1>", "", html, flags=re.S)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)))


def section(html: str, anchor: str) -> str:
    """The visible text from one section's heading to the next."""
    return visible("<h2 " + html.partition(f'<h2 id="{anchor}"')[2].partition("<h2 ")[0])


def texts(value: Any) -> list[str]:
    """Every text inside a JSON value."""
    if isinstance(value, dict):
        return [text for key, item in value.items() if key not in NOT_FREE for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.fixture
def page(make_full_run: RunMaker, tmp_path: Path) -> str:
    return report.render_html(make_full_run(), tmp_path)


def test_every_clause_is_marked_in_its_section(page: str) -> None:
    for clause in required(Templates()):
        assert clause.section in SECTIONS
        within = page.partition(f'id="{clause.section}"')[2].partition("<h2 ")[0]
        assert f'data-clause="{clause.id}"' in within, clause


def test_every_clause_that_a_person_declares_is_required(make_run: RunMaker) -> None:
    assert set(statements(make_run())) <= {clause.id for clause in required(Templates())}


def test_what_was_not_declared_is_said_where_it_belongs_and_listed(make_run: RunMaker, tmp_path: Path) -> None:
    page = report.render_html(make_run(), tmp_path)
    assert "Not declared: intended use." in section(page, "purpose")
    assert "Not declared: independence." in section(page, "data")
    count = int(re.findall(r"(\d+) of \d+ clauses that a person declares were not declared", visible(page))[0])
    listed = section(page, "regulation").partition("Clauses that were not declared")[2]
    assert count == len(re.findall(r"\b(?:Set|Add|List|Describe|None recorded)\b", listed)) > 5
    assert f"{count} clauses not declared" in visible(page).partition("Contents")[0]


def test_what_was_declared_is_no_gap(page: str) -> None:
    # The test data name no sites and no attributes; everything else is declared.
    assert "1 of 17 clauses" in section(page, "summary")
    assert "Not declared: population" in section(page, "data")
    assert page.count("Not declared: population") == 1


@pytest.mark.parametrize(
    ("part", "anchor"),
    [
        ("document", "cover"),
        ("preconditions", "data"),
        ("sentinels", "data"),
        ("hazards", "trace"),
        ("accounting", "data"),
        ("attempts", "deviations"),
        ("comparison", "comparison"),
        ("context", ""),
    ],
)
def test_every_text_of_what_a_record_holds_today_is_printed(
    page: str, make_full_run: RunMaker, part: str, anchor: str
) -> None:
    content = make_full_run().model_dump(mode="json")[part]
    shown = visible(page) if anchor in ("", "cover") else section(page, anchor)
    bare = shown.replace(" ", "")
    hidden = {"record_sha256", "data_digest", "tool_version", "source", "measurement", "unit", "suite", "output_role"}
    for text in texts({part: drop(content, hidden)}):
        text = re.sub(r"(\d)T(\d\d:\d\d:\d\d)Z", r"\1 \2 UTC", text)
        digest = bool(re.fullmatch(r"[0-9a-f]{40,}", text))
        assert (text[:12] if digest else text).replace(" ", "") in bare, text


def drop(value: Any, keys: set[str]) -> Any:
    """A JSON value without some keys at any depth, and without the reason of what passed, which is not printed."""
    if isinstance(value, dict):
        keys = {*keys, "reason"} if value.get("verdict") == "pass" else keys
        return {key: drop(item, keys) for key, item in value.items() if key not in keys}
    return [drop(item, keys) for item in value] if isinstance(value, list) else value


def test_a_record_of_the_first_version_says_what_it_lacks(make_run: RunMaker, tmp_path: Path) -> None:
    page = report.render_html(make_run(), tmp_path)
    assert "Document VR-20261103T101200Z-7f3a, revision not named" in visible(page)
    assert "Tool qualification: none recorded." in visible(page).partition("Contents")[0]
    assert "not locked" in section(page, "criteria")
    assert "entered in no ledger" in section(page, "deviations")
    assert "not held against a baseline" in section(page, "comparison")
    assert "holds no file of criteria" in section(page, "criteria-file")
    assert "Unsigned draft" in section(page, "signatures")


@pytest.mark.parametrize(
    "part", ["context", "preconditions", "sentinels", "hazards", "attempts", "accounting", "comparison"]
)
def test_a_record_that_lacks_one_part_is_laid_out(make_full_run: RunMaker, tmp_path: Path, part: str) -> None:
    empty: Any = {"context": {}, "attempts": None, "comparison": None}.get(part, [])
    page = report.render_html(make_full_run(**{part: empty}), tmp_path)
    assert page.count("<h2 ") == len(SECTIONS) - 1


def test_hazards_are_traced_to_criteria_results_and_files(page: str, make_full_run: RunMaker) -> None:
    record = make_full_run()
    rows = [
        visible(row) for row in re.findall(r"<tr.*?</tr>", page.partition('id="trace"')[2].partition("<h2 ")[0], re.S)
    ]
    first = next(row for row in rows if "HZ-03" in row)
    for text in ("Pathology removed", "paints healthy tissue", "is audited", "SRS-041", "PAT-001", "AC-01", "Pass"):
        assert text in first
    assert f"cases.csv {record.files['cases.csv'][:12]}" in first
    assert any("HZ-90" in row and "no criterion of this run" in row for row in rows)


def test_a_failed_precondition_and_a_lost_sentinel_stand_in_the_summary(page: str) -> None:
    shown = section(page, "summary")
    assert "DATA-sites" in shown
    assert "DATA-patients" not in shown
    assert "case-0006" in shown
    assert "case-0003" not in shown


def test_the_criteria_are_printed_as_they_stand(page: str) -> None:
    assert "[[criterion]]\nid = &#34;AC-01&#34;  # kept &lt;as it stands&gt;" in page
    assert "were locked by Q. Quality on 2026-10-01 08:00:00 UTC" in section(page, "criteria")


def test_criteria_without_a_file_are_printed_from_their_content(make_full_run: RunMaker, tmp_path: Path) -> None:
    record = make_full_run()
    (tmp_path / "criteria.toml").unlink()
    (tmp_path / "criteria.json").write_text(json.dumps({"alpha": 0.05, "criterion": [{"id": "AC-1"}, {"id": "AC-2"}]}))
    page = report.render_html(record.model_copy(update={"files": {}}), tmp_path)
    assert "no file of criteria was given" in section(page, "criteria-file")
    assert (
        "alpha = 0.05\ncriterion = [\n  {&#34;id&#34;: &#34;AC-1&#34;},\n  {&#34;id&#34;: &#34;AC-2&#34;},\n]" in page
    )


def test_a_file_that_changed_since_the_run_is_not_laid_out(make_full_run: RunMaker, tmp_path: Path) -> None:
    record = make_full_run()
    with (tmp_path / "cases.csv").open("a", encoding="utf-8") as stream:
        stream.write("PAT-001,case-9999,patient-999\n")
    with pytest.raises(IntegrityError, match=r"cases\.csv is not the file"):
        report.render_html(record, tmp_path)


def sign(folder: Path, meaning: Any, comment: str = "") -> Path:
    return signing.sign(folder, "R. Reviewer", "Quality", meaning, comment, now=datetime(2026, 11, 5, 10, tzinfo=UTC))


def test_signatures_are_printed_with_their_meaning(make_full_run: RunMaker, tmp_path: Path) -> None:
    record = make_full_run()
    assert "Unsigned draft" in visible(report.render_html(record, tmp_path)).partition("Contents")[0]
    sign(tmp_path, "review", "The sample of site B is small.")
    page = report.render_html(record, tmp_path)
    assert "Signed, not approved" in visible(page).partition("Contents")[0]
    shown = section(page, "signatures")
    for text in ("Review", "R. Reviewer", "Quality", "2026-11-05 10:00:00 UTC", "valid"):
        assert text in shown
    assert "The sample of site B is small." in section(page, "conclusion")
    sign(tmp_path, "approval")
    page = report.render_html(record, tmp_path)
    assert 'class="draft approved" data-clause="status">Approved<' in page
    assert section(page, "signatures").count("R. Reviewer") == 2
    assert "Author" in section(page, "signatures")


def test_a_signature_that_does_not_hold_approves_nothing(make_full_run: RunMaker, tmp_path: Path) -> None:
    record = make_full_run()
    path = sign(tmp_path, "approval")
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AAAA', 1))
    page = report.render_html(record, tmp_path)
    assert "Unsigned draft" in visible(page).partition("Contents")[0]
    assert "A signature or disposition is not valid" in visible(page).partition("Contents")[0]
    assert "not valid:" in section(page, "signatures")


def test_a_disposition_stands_beside_the_verdict_and_leaves_it(make_full_run: RunMaker, tmp_path: Path) -> None:
    record = make_full_run()
    before = section(report.render_html(record, tmp_path), "summary")
    signing.dispose(tmp_path, "AC-05", "accepted-failure", "Corrected downstream.", "R. Reviewer", "Quality")
    page = report.render_html(record, tmp_path)
    assert re.search(r"AC-05 Fail failure accepted Corrected downstream\.", section(page, "conclusion"))
    assert section(page, "summary") == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "pass", "data": {"name": "site A"}}, "supports the claims of section 2"),
        ({"verdict": "pass"}, "no claim about patients"),
        ({"verdict": "pass", "data": {"name": "site A"}, "criteria_lock": {}}, "not locked beforehand"),
        ({"verdict": "fail"}, "does not support the claims"),
        ({"verdict": "inconclusive"}, "decides neither way"),
        ({"verdict": "error"}, "The run broke"),
    ],
)
def test_the_conclusion_says_what_the_verdict_allows(
    make_full_run: RunMaker, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in section(report.render_html(make_full_run(**changes), tmp_path), "conclusion")


def test_subgroups_stand_under_what_became_of_them(page: str) -> None:
    shown = section(page, "comparison")
    worse, better, other = (
        shown.index(f"Subgroups {words}") for words in ("that got worse", "that got better", "without a change")
    )
    assert worse < shown.index("diameter 5-10 mm") < better < shown.index("site A") < other < shown.index("site C")


@pytest.mark.parametrize(
    ("names", "title", "source"),
    [
        (
            "Congruence Coverage Constraint Completeness Consistency Comprehension Compliance",
            "The seven Cs of the synthetic medical data scorecard",
            True,
        ),
        ("Noise Resolution", "Headings of the scheme that the suite follows", False),
    ],
)
def test_headings_of_a_scheme_name_it_and_its_source(
    make_full_run: RunMaker, tmp_path: Path, names: str, title: str, source: bool
) -> None:
    index = [{"name": name, "asks": f"Asks {name}?", "audits": ["PAT-001"], "note": ""} for name in names.split()]
    shown = section(report.render_html(make_full_run(index=index), tmp_path), "summary")
    assert title in shown
    assert ("Zamzmi" in shown) == source
    assert all(f"Asks {name}?" in shown for name in names.split())


def test_audits_of_one_account_and_one_reason_share_a_row(make_full_run: RunMaker, tmp_path: Path) -> None:
    accounts = [
        {"audit": "PAT-001", "enrolled": 8, "excluded": [], "analysed": 8},
        {"audit": "FID-010", "enrolled": 8, "excluded": [{"reason": "too dark", "cases": 1}], "analysed": 7},
        {"audit": "GEO-001", "enrolled": 8, "excluded": [], "analysed": 8},
    ]
    shown = section(report.render_html(make_full_run(accounting=accounts), tmp_path), "data")
    assert "PAT-001, GEO-001 8 none 8" in shown
    assert "FID-010 8 1: too dark 7" in shown


def test_headings_do_not_jump(page: str) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", page)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def poisoned(value: Any, key: str = "") -> Any:
    """A JSON value with a hostile text in the place of every free text, and under every open key."""
    if isinstance(value, dict):
        return {name: poisoned(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    return f"{value} {EVIL}" if isinstance(value, str) and key not in NOT_FREE else value


def test_hostile_text_in_every_field_stays_text(make_full_run: RunMaker, tmp_path: Path) -> None:
    content = make_full_run().model_dump(mode="json", by_alias=True)
    content |= {part: poisoned(content[part]) for part in content if part not in ("schema", "verdict", "files")}
    for part in ("run", "subject", "tool", "environment", "document"):
        content[part][EVIL] = {EVIL: EVIL, "list": [{EVIL: EVIL}]}
    content["files"] = {}
    evil_file = "exhibits/{{7*7}}<script>.npz"
    (tmp_path / "exhibits" / "PAT-001-panels.npz").rename(tmp_path / evil_file)
    content["audits"][0]["exhibits"][0]["file"] = evil_file
    (tmp_path / "cases.csv").write_text(f'audit,case_id,{EVIL.replace(chr(34), "")}\n"{{{{7*7}}}}<b>",<u>,<i>\n')
    page = report.render_html(Record.model_validate(content), tmp_path)
    assert not re.findall(r"<(?:script|b|i|u)\b", page)
    assert page.count("</style>") == 1
    assert page.count("{{7*7}}") > 100
    assert "{% raw %}" in page


def test_a_panel_of_no_cases_is_laid_out(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run(panel_cases=1)
    data = {**record.audits[0].exhibits[0].data, "cases": []}
    exhibit = record.audits[0].exhibits[0].model_copy(update={"data": data})
    audit = record.audits[0].model_copy(update={"exhibits": [exhibit]})
    np.savez(tmp_path / str(exhibit.file), output=np.zeros((0, 4, 4)))
    assert "Exhibit 1." in report.render_html(record.model_copy(update={"audits": [audit]}), tmp_path)
