from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medgan_qa import report
from medgan_qa.evidence.tables import cases_csv
from medgan_qa.record import AuditResult, Criterion, Exhibit, Record, Verdict
from medgan_qa.report import bounds, limits
from medgan_qa.report.case_tables import CaseTable, case_tables

RunMaker = Callable[..., Record]


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text(cases_csv(list(rows)), encoding="utf-8")
    return path


def rows_of(audit: str, count: int, **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    return [
        {
            "audit": audit,
            "case_id": f"case-{k}",
            "patient_id": f"p-{k // 2}",
            **{n: make(k) for n, make in columns.items()},
        }
        for k in range(count)
    ]


def audit(code: str, worst: Iterable[str] = (), judged: bool = False) -> AuditResult:
    cases = [{"case_id": name, "rule": "worst"} for name in worst] + [{"case_id": "case-5", "rule": "random"}]
    criterion = Criterion(
        id="AC-1",
        measurement=f"{code}.x",
        limit={"max": 1.0},
        judged_on="value",
        value=0.0,
        verdict=Verdict.PASS,
        reason="",
        rationale="",
        hazard="",
        requirement="",
    )
    return AuditResult(
        code=code,
        title="An audit",
        question="",
        verdict=Verdict.PASS,
        reason="",
        parameters={},
        seconds=0.0,
        measurements=[],
        criteria=[criterion] if judged else [],
        exhibits=[exhibit("panels", {"cases": cases})],
        notes=[],
    )


def exhibit(kind: Any, data: dict[str, Any]) -> Exhibit:
    return Exhibit(id="x", kind=kind, title="x", caption="", data=data)


def column(table: CaseTable, title: str) -> list[str]:
    place = [one.title for one in table.columns].index(title)
    return [row[place] for row in table.rows]


def test_each_audit_has_a_table_in_the_order_of_the_audits(tmp_path: Path) -> None:
    rows = [*rows_of("B-1", 3, x=lambda k: k), *rows_of("A-1", 2, x=lambda k: k), *rows_of("C-1", 2, x=lambda k: k)]
    tables = case_tables(write(tmp_path / "cases.csv", rows), [audit("A-1"), audit("B-1")])
    assert [(table.title, len(table.rows)) for table in tables] == [
        ("A-1 An audit", 2),
        ("B-1 An audit", 3),
        ("C-1", 2),
    ]


def test_a_table_of_few_rows_is_whole_and_in_order(tmp_path: Path) -> None:
    count = limits.CASE_ROWS_OTHER
    path = write(tmp_path / "cases.csv", rows_of("A-1", count, status=lambda k: "lost" if k % 2 else "kept"))
    [table] = case_tables(path, [audit("A-1", ["case-7"])])
    assert column(table, "Case ID") == [f"case-{k}" for k in range(count)]
    assert table.said == f"{count} rows, all shown."


def test_a_long_table_shows_findings_worst_first(tmp_path: Path) -> None:
    found = {70: "weak", 30: "unheard of", 120: "inverted", 199: "lost, beside others", 12: "lost"}
    path = write(tmp_path / "cases.csv", rows_of("A-1", 200, status=lambda k: found.get(k, "kept")))
    [table] = case_tables(path, [audit("A-1", ["case-9", "case-120"])], sentinels={"case-150"})
    expected = [150, 9, 120, 12, 199, 70, 30]
    assert column(table, "Case ID") == [f"case-{k}" for k in expected]
    assert table.said.startswith("Of 200 rows all 7 with a finding. All rows: cases.csv.")


@pytest.mark.parametrize("judged", [True, False])
def test_no_more_rows_than_the_limit_are_shown(tmp_path: Path, judged: bool) -> None:
    path = write(tmp_path / "cases.csv", rows_of("A-1", 300, status=lambda k: "lost"))
    [table] = case_tables(path, [audit("A-1", judged=judged)])
    most = limits.CASE_ROWS_JUDGED if judged else limits.CASE_ROWS_OTHER
    assert len(table.rows) == most
    assert f"the first {most} of 300 with a finding" in table.said


@pytest.mark.parametrize("status", ["kept", "not drawn", "no reference", "in place", "lesion-free", "too few windows"])
def test_a_long_table_without_findings_says_so(tmp_path: Path, status: str) -> None:
    path = write(tmp_path / "cases.csv", rows_of("A-1", 400, status=lambda k: status))
    [table] = case_tables(path, [audit("A-1")])
    assert not table.rows
    assert table.said == "None of 400 rows holds a finding. All rows: cases.csv."


def test_a_word_that_only_begins_like_a_settled_one_is_a_finding(tmp_path: Path) -> None:
    path = write(tmp_path / "cases.csv", rows_of("A-1", 60, status=lambda k: "noisy" if k == 40 else "no reference"))
    [table] = case_tables(path, [audit("A-1")])
    assert column(table, "Case ID") == ["case-40"]


def test_rows_without_a_status_come_in_order_after_the_worst(tmp_path: Path) -> None:
    path = write(tmp_path / "cases.csv", rows_of("A-1", 60, score=lambda k: k))
    [table] = case_tables(path, [audit("A-1", ["case-33"])])
    assert column(table, "Case ID")[:3] == ["case-33", "case-0", "case-1"]
    assert "without a status" in table.said


def test_columns_that_no_page_holds_are_named(tmp_path: Path) -> None:
    names = [f"measure_with_a_name_{k}" for k in range(30)]
    path = write(tmp_path / "cases.csv", rows_of("A-1", 5, **dict.fromkeys(names, lambda k: k / 7)))
    [table] = case_tables(path, [audit("A-1")])
    shown = [one.title for one in table.columns]
    assert shown[:2] == ["Case ID", "Patient ID"]
    assert 5 < len(shown) < 32
    assert "Columns that stand in cases.csv only: " in table.said
    assert len(shown) - 2 + table.said.partition("only: ")[2].count("measure") == 30


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 6),
    cells=st.lists(st.sampled_from(["", "x", "0.5", "12", "-3", "True", "=1", "\u00e4"]), min_size=12, max_size=12),
)
def test_prop_every_filled_cell_is_in_a_row_or_said_of_all(tmp_path: Path, count: int, cells: list[str]) -> None:
    made = rows_of("A-1", count, alpha=lambda k: cells[k], beta=lambda k: cells[6 + k])
    [table] = case_tables(write(tmp_path / "cases.csv", made), [])
    shown = {cell for row in table.rows for cell in row}
    # A column may show a whole number with decimals, to have the points of all its numbers below each other.
    whole = {re.sub(r"\.0+$", "", cell) for cell in shown}
    for value in [*cells[:count], *cells[6 : 6 + count]]:
        text = {"True": "yes", "-3": "\u22123"}.get(value, value)
        assert not value or text in shown or f" {text}" in table.said or text in whole


def test_five_thousand_cases_are_bounded(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run(cases=5000)
    page = report.render_html(record, tmp_path)
    annex = page.partition('id="cases"')[2].partition('id="criteria-file"')[0]
    assert annex.count("<tr>") <= 3 * (limits.CASE_ROWS_JUDGED + 1)
    assert "\u202f000 rows" in annex
    assert len(page) < 1_000_000


def points(count: int, lost: int) -> list[dict[str, Any]]:
    return [{"x": k, "y": k, "group": "lost" if k < lost else "kept", "case_id": str(k)} for k in range(count)]


@pytest.mark.parametrize("lost", [0, 100, 4000])
def test_a_plot_of_many_points_draws_a_fixed_share_and_says_so(lost: int) -> None:
    shown, words = bounds.bounded(exhibit("scatter", {"points": points(5000, lost)}))
    assert len(shown["points"]) <= limits.MOST_POINTS
    assert len(shown["points"]) > limits.MOST_POINTS // 2
    assert f"Drawn are {len(shown['points'])} of 5\u202f000 points" in words
    assert sum(point["group"] == "lost" for point in shown["points"]) >= min(lost, 100)
    assert [point["x"] for point in shown["points"]] == sorted(point["x"] for point in shown["points"])


def test_what_fits_is_drawn_whole() -> None:
    data = {"points": points(limits.MOST_POINTS, 10)}
    assert bounds.bounded(exhibit("scatter", data)) == (data, "")
    line = {"series": [{"name": "a", "x": [0, 1], "y": [2, 3]}]}
    assert bounds.bounded(exhibit("curves", line)) == (line, "")


def test_a_long_line_keeps_its_ends() -> None:
    steps = list(range(10_000))
    entry = {"name": "a", "x": steps, "y": steps, "low": None, "high": steps}
    shown, _ = bounds.bounded(exhibit("curves", {"series": [entry]}))
    [line] = shown["series"]
    assert len(line["x"]) == len(line["y"]) == len(line["high"]) == limits.MOST_STEPS
    assert (line["x"][0], line["x"][-1]) == (0, 9999)
    assert line["low"] is None


def test_rows_cases_and_images_beyond_the_bound_are_named() -> None:
    rows = [{"label": str(k), "value": 0.1} for k in range(500)]
    shown, words = bounds.bounded(exhibit("forest", {"rows": rows}))
    assert len(shown["rows"]) == limits.MOST_STRATA
    assert words == f"The first {limits.MOST_STRATA} of 500 rows are shown."
    assert "40 of 50 cases" in bounds.bounded(exhibit("panels", {"cases": [{}] * 50}))[1]
    assert "first 120 images" in bounds.bounded(exhibit("sheet", {"groups": [{"label": "a", "count": 121}]}))[1]
