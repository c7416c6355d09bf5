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
from medgan_qa.record import Exhibit, Record
from medgan_qa.report import bounds
from medgan_qa.report.case_tables import FIRST_ROWS, MOST_FAILED, MOST_ROWS, CaseTable, case_tables

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


def column(table: CaseTable, title: str) -> list[str]:
    place = [one.title for one in table.columns].index(title)
    return [row[place] for row in table.rows]


def test_audits_of_the_same_cases_stand_side_by_side(tmp_path: Path) -> None:
    both = [
        *rows_of("PAT-001", 4, site=lambda k: "AB"[k % 2], status=lambda k: "kept"),
        *rows_of("FID-010", 4, site=lambda k: "AB"[k % 2], psnr=lambda k: k / 3),
    ]
    [table] = case_tables(write(tmp_path / "cases.csv", both))
    assert [one.title for one in table.columns] == ["Case ID", "Patient ID", "Site", "PSNR"]
    assert [(span.title, span.columns) for span in table.spans] == []
    assert "status kept" in table.said


def test_columns_of_one_name_that_differ_stay_with_their_audit(tmp_path: Path) -> None:
    both = [
        *rows_of("PAT-001", 3, status=lambda k: ["kept", "lost", "kept"][k]),
        *rows_of("PAT-002", 3, status=lambda k: ["clean", "clean", "invented"][k]),
    ]
    [table] = case_tables(write(tmp_path / "cases.csv", both))
    assert [one.title for one in table.columns] == ["Case ID", "Patient ID", "Status", "Status"]
    assert [(span.title, span.columns) for span in table.spans] == [("", 2), ("PAT-001", 1), ("PAT-002", 1)]
    assert table.rows[2] == ["case-2", "p-1", "kept", "invented"]


def test_audits_of_other_cases_have_tables_of_their_own(tmp_path: Path) -> None:
    rows = [
        *rows_of("A-1", 3, x=lambda k: k),
        *rows_of("B-1", 2, x=lambda k: k),
        *[{"audit": "C-1", "case_id": "case-0", "patient_id": "p", "x": k} for k in range(2)],
    ]
    tables = case_tables(write(tmp_path / "cases.csv", rows))
    assert [(table.title, len(table.rows)) for table in tables] == [("A-1", 3), ("B-1", 2), ("C-1", 2)]


def test_columns_that_no_page_holds_go_on_in_another_table(tmp_path: Path) -> None:
    names = [[f"measure_{audit}_{k}" for k in range(14)] for audit in range(3)]
    rows = [row for a, own in enumerate(names) for row in rows_of(f"AUD-{a}", 5, **dict.fromkeys(own, lambda k: k / 7))]
    tables = case_tables(write(tmp_path / "cases.csv", rows))
    assert len(tables) > 1
    assert all(table.wide and len(table.rows) == 5 for table in tables)
    shown = [one.title for table in tables for one in table.columns]
    assert {f"Measure {a} {k}" for a in range(3) for k in range(14)} <= set(shown)
    assert tables[1].title.endswith("continued")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 6),
    cells=st.lists(st.sampled_from(["", "x", "0.5", "12", "-3", "True", "=1", "ä"]), min_size=12, max_size=12),
)
def test_prop_every_filled_cell_is_in_a_row_or_said_of_all(tmp_path: Path, count: int, cells: list[str]) -> None:
    made = [
        *rows_of("A-1", count, alpha=lambda k: cells[k]),
        *rows_of("B-1", count, beta=lambda k: cells[6 + k]),
    ]
    tables = case_tables(write(tmp_path / "cases.csv", made))
    said = " ".join(table.said for table in tables)
    shown = {cell for table in tables for row in table.rows for cell in row}
    # A column may show a whole number with decimals, to have the points of all its numbers below each other.
    whole = {re.sub(r"\.0+$", "", cell) for cell in shown}
    for value in [*cells[:count], *cells[6 : 6 + count]]:
        text = {"True": "yes", "-3": "\u22123"}.get(value, value)
        assert not value or text in shown or f" {text}" in said or text in whole


def test_a_table_of_few_rows_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "cases.csv", rows_of("PAT-001", MOST_ROWS, status=lambda k: "lost" if k % 2 else "kept"))
    [table] = case_tables(path)
    assert len(table.rows) == MOST_ROWS
    assert table.said == f"{MOST_ROWS} rows."


def test_a_long_table_shows_the_first_the_failed_and_the_sentinels(tmp_path: Path) -> None:
    failed = {700: "lost", 1200: "inverted", 1999: "invented, beside lesions"}
    path = write(tmp_path / "cases.csv", rows_of("PAT-001", 2000, status=lambda k: failed.get(k, "kept")))
    [table] = case_tables(path, sentinels={"case-1500"})
    expected = [*range(FIRST_ROWS), 700, 1200, 1500, 1999]
    assert column(table, "Case ID") == [f"case-{k}" for k in expected]
    assert table.said.startswith(
        "Shown are the first 100 of 2\u202f000 rows and 4 others with a status that begins with"
    )
    assert "All stand in cases.csv" in table.said


def test_a_long_table_without_failures_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "cases.csv", rows_of("PAT-001", 400, status=lambda k: "kept" if k % 2 else "weak"))
    [table] = case_tables(path)
    assert len(table.rows) == FIRST_ROWS
    assert "no other has a status" in table.said


def test_five_thousand_cases_are_bounded(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run(cases=5000)
    page = report.render_html(record, tmp_path)
    annex = page.partition('id="cases"')[2].partition('id="criteria-file"')[0]
    assert annex.count("<tr>") == FIRST_ROWS + MOST_FAILED + 2
    assert f"no more than {MOST_FAILED} of them" in annex
    assert len(page) < 2_000_000


def points(count: int, lost: int) -> list[dict[str, Any]]:
    return [{"x": k, "y": k, "group": "lost" if k < lost else "kept", "case_id": str(k)} for k in range(count)]


def exhibit(kind: Any, data: dict[str, Any]) -> Exhibit:
    return Exhibit(id="x", kind=kind, title="x", caption="", data=data)


@pytest.mark.parametrize("lost", [0, 100, 4000])
def test_a_plot_of_many_points_draws_a_fixed_share_and_says_so(lost: int) -> None:
    shown, words = bounds.bounded(exhibit("scatter", {"points": points(5000, lost)}))
    assert len(shown["points"]) <= bounds.MOST_POINTS
    assert len(shown["points"]) > bounds.MOST_POINTS // 2
    assert f"Drawn are {len(shown['points'])} of 5\u202f000 points" in words
    assert sum(point["group"] == "lost" for point in shown["points"]) >= min(lost, 100)
    assert [point["x"] for point in shown["points"]] == sorted(point["x"] for point in shown["points"])


def test_what_fits_is_drawn_whole() -> None:
    data = {"points": points(bounds.MOST_POINTS, 10)}
    assert bounds.bounded(exhibit("scatter", data)) == (data, "")
    line = {"series": [{"name": "a", "x": [0, 1], "y": [2, 3]}]}
    assert bounds.bounded(exhibit("curves", line)) == (line, "")


def test_a_long_line_keeps_its_ends() -> None:
    steps = list(range(10_000))
    entry = {"name": "a", "x": steps, "y": steps, "low": None, "high": steps}
    shown, _ = bounds.bounded(exhibit("curves", {"series": [entry]}))
    [line] = shown["series"]
    assert len(line["x"]) == len(line["y"]) == len(line["high"]) == bounds.MOST_STEPS
    assert (line["x"][0], line["x"][-1]) == (0, 9999)
    assert line["low"] is None


def test_rows_cases_and_images_beyond_the_bound_are_named() -> None:
    rows = [{"label": str(k), "value": 0.1} for k in range(500)]
    shown, words = bounds.bounded(exhibit("forest", {"rows": rows}))
    assert len(shown["rows"]) == bounds.MOST_STRATA
    assert words == f"The first {bounds.MOST_STRATA} of 500 rows are shown."
    assert "40 of 50 cases" in bounds.bounded(exhibit("panels", {"cases": [{}] * 50}))[1]
    assert "first 120 images" in bounds.bounded(exhibit("sheet", {"groups": [{"label": "a", "count": 121}]}))[1]
