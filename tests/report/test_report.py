from __future__ import annotations

import base64
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fontTools.ttLib import TTFont

from medgan_qa import report
from medgan_qa.errors import OutputError, RecordError
from medgan_qa.record import Record
from medgan_qa.report.files import replace_file
from medgan_qa.report.limits import CASE_ROWS_JUDGED
from medgan_qa.report.sections import SECTIONS

RunMaker = Callable[..., Record]


def visible(html: str) -> str:
    """The page's text, without styles and drawings."""
    bare = re.sub(r"<(style|svg)\b.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


@pytest.fixture
def page(make_run: RunMaker, tmp_path: Path) -> str:
    return report.render_html(make_run(), tmp_path)


def test_every_part_of_the_record_is_on_the_page(page: str, make_run: RunMaker) -> None:
    text = visible(page)
    for audit in make_run().audits:
        assert audit.question in text
        for criterion in audit.criteria:
            assert {criterion.id, criterion.hazard, criterion.requirement} <= set(text.split())
            assert criterion.reason in text
        for measurement in audit.measurements:
            assert measurement.id.partition("[")[0] in text
            assert (measurement.stratum or "") in text
        for exhibit in audit.exhibits:
            assert exhibit.title in text


def test_the_verdict_comes_before_everything_else(page: str) -> None:
    text = visible(page.partition("<body>")[2])
    assert text.index("Failed: 1 of 5 criteria failed") < text.index("Model SHA-256") < text.index("Contents")


def test_sections_come_in_the_order_of_the_design_and_development_file(page: str) -> None:
    headings = re.findall(r'<h2 id="[^"]+"><span class="no">([^<]+)</span>([^<]+)</h2>', page)
    assert [number for number, _ in headings] == [*map(str, range(1, 16)), *"ABCDEFG"]
    assert [title for _, title in headings] == [section.title for section in SECTIONS.values()][1:]
    links = re.findall(r'href="#([^"]+)"', page)
    assert set(links) <= set(re.findall(r'id="([^"]+)"', page))


def test_phantom_data_and_open_criteria_are_said_on_the_first_page(make_run: RunMaker, tmp_path: Path) -> None:
    texts = ("no evidence of clinical performance", "not locked before the run", "not set for an intended use")
    cover = visible(report.render_html(make_run(), tmp_path)).partition("Contents")[0]
    assert all(text in cover for text in texts)
    lock = {**make_run().criteria_lock, "locked": True, "default": False}
    quiet = make_run(data={"name": "site A", "phantom": False}, criteria_lock=lock)
    cover = visible(report.render_html(quiet, tmp_path)).partition("Contents")[0]
    assert not any(text in cover for text in texts)


def test_a_missing_number_is_printed_with_its_reason(page: str) -> None:
    assert "not obtained: fewer than 10 lesions of this size" in visible(page)
    assert "not obtained: no annotated lesion at this site" in page


def test_the_limit_of_a_criterion_is_drawn_into_the_plot_of_its_measurement(make_run: RunMaker, tmp_path: Path) -> None:
    content = make_run().model_dump(mode="json", by_alias=True)
    for exhibit in content["audits"][0]["exhibits"]:
        exhibit["data"]["limit"] = None
    assert "limit \u2264 10 %" in report.render_html(make_run(audits=content["audits"]), tmp_path)
    content["audits"][0]["criteria"] = []
    assert "limit \u2264 10 %" not in report.render_html(make_run(audits=content["audits"]), tmp_path)


def test_the_annex_holds_the_cases_with_a_finding(make_run: RunMaker, tmp_path: Path) -> None:
    page = report.render_html(make_run(cases=120), tmp_path)
    annex = page.partition('id="cases"')[2].partition('id="criteria-file"')[0]
    removed = annex.partition("PAT-001")[2].partition("</table>")[0]
    shown = re.findall(r"<td>case-(\d+)</td>", removed)
    assert len(shown) == CASE_ROWS_JUDGED
    # The three that the exhibit shows come first; of the others every third is lost, which goes before weakened.
    assert set(shown[:2]) <= {"0000", "0001", "0002"}
    assert all(int(number) % 3 == 0 for number in shown[3:])
    assert re.search(rf"the first {CASE_ROWS_JUDGED} of 8\d with a finding", annex)
    assert "All rows: cases.csv." in annex


def test_a_run_without_a_case_table_says_so(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run()
    (tmp_path / "cases.csv").unlink()
    assert "holds no table of cases" in report.render_html(record, tmp_path)


def test_a_case_table_without_audits_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run()
    (tmp_path / "cases.csv").write_text("case_id\ncase-1\n", encoding="utf-8")
    with pytest.raises(RecordError, match="table of cases cannot be read"):
        report.render_html(record, tmp_path)


def test_the_page_needs_no_network(page: str) -> None:
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#|data:)""", page)
    assert not re.findall(r"""url\(\s*["']?(?!["']?data:)""", page)
    assert "<script" not in page
    assert "@import" not in page


def test_hostile_text_stays_text(make_run: RunMaker, tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"}</style><img src=x onerror=alert(1)>'
    subject = {**make_run().subject, "name": evil, "card": {evil: evil}}
    record = make_run(subject=subject, reason=evil, deviations=[evil], limitations=[evil], tool={"name": evil})
    (tmp_path / "cases.csv").write_text(f'audit,case_id,{"<b>"}\n{"<i>"},"<u>",1\n', encoding="utf-8")
    page = report.render_html(record, tmp_path)
    assert not re.findall(r"<(?:script|img|b|i|u)\b", page)
    assert page.count("</style>") == 1
    assert "&lt;script&gt;" in page


def test_an_empty_run_is_laid_out_too(make_run: RunMaker, tmp_path: Path) -> None:
    empty: dict[str, Any] = {key: {} for key in ("tool", "run", "subject", "data", "criteria_lock", "environment")}
    record = make_run(**empty, reason="", verdict="error", audits=[], deviations=[], limitations=[])
    text = visible(report.render_html(record, tmp_path))
    assert "The run came to the verdict error." in text
    assert "nothing was judged" in text


def test_the_glossary_explains_the_terms_that_appear(page: str) -> None:
    glossary = page.partition('id="glossary"')[2].partition('id="files"')[0]
    assert "<dt>Contrast recovery</dt>" in glossary
    assert "<dt>Clopper-Pearson interval</dt>" in glossary
    assert "<dt>Jackknife</dt>" not in glossary


def test_the_fonts_hold_every_character_that_the_report_prints(page: str) -> None:
    data = re.findall(r'url\("data:font/woff2;base64,([^"]+)"\)', page)
    assert len(data) == 4
    covered = set(TTFont(BytesIO(base64.b64decode(data[0]))).getBestCmap())
    assert {ord(sign) for sign in "\u2264\u2265\u00b5\u00b1\u2212\u00d7\u202f\u03b1\u0142\u00e9"} <= covered
    assert {ord(sign) for sign in visible(page)} <= covered | {ord("\n")}


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema": "other"}', encoding="utf-8")
    with pytest.raises(RecordError) as raised:
        report.write_reports(tmp_path)
    assert raised.value.where == str(tmp_path / "record.json")


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"report\.html cannot be written"):
        replace_file(tmp_path / "gone" / "report.html", b"")
    assert list(tmp_path.iterdir()) == []
