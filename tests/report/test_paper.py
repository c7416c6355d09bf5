"""What goes on paper and what stays on screen: bounded, told, and nothing lost between the two."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgan_qa import report
from medgan_qa.errors import ConfigurationError
from medgan_qa.record import AuditResult, Exhibit, Record
from medgan_qa.report import limits
from medgan_qa.report.figures_sheet import sheet
from medgan_qa.report.paper import on_paper, printed_cases, printed_exhibits
from medgan_qa.report.view_measurements import measured

RunMaker = Callable[..., Record]


def exhibit(kind: Any, rows: int = 99) -> Exhibit:
    data: dict[str, Any] = {"columns": ["a"], "rows": [[1]] * rows} if kind == "counts" else {}
    return Exhibit(id="x", kind=kind, title="x", caption="", data=data)


def audit_of(record: Record, kinds: str, judged: bool) -> AuditResult:
    update: dict[str, Any] = {"exhibits": [exhibit(kind) for kind in kinds.split()]}
    return record.audits[0].model_copy(update=update if judged else {**update, "criteria": []})


def cases(worst: int, random: int) -> list[dict[str, Any]]:
    return [{"rule": "worst"}] * worst + [{"rule": "random"}] * random


def strata(record: Record, count: int, **changes: Any) -> AuditResult:
    """An audit with one overall measurement and strata whose values rise."""
    first = next(item for item in record.audits[0].measurements if item.value is not None and not item.stratum)
    base = {"id": "PAT-001.share", "label": "A share", "interval": None, "better": "lower", **changes}
    overall = first.model_copy(update=base)
    made = [
        overall.model_copy(
            update={"id": f"PAT-001.share[s{k}]", "stratum": f"s{k}", "value": k / 100, "n": 100 + k // 2}
        )
        for k in range(count)
    ]
    return record.audits[0].model_copy(update={"measurements": [*made, overall], "criteria": []})


@pytest.mark.parametrize(
    ("kinds", "judged", "expected"),
    [
        ("forest scatter forest panels curves", True, [0, 1, 3]),
        ("scatter scatter scatter scatter", True, [0, 1, 2]),
        ("forest panels scatter", False, [2]),
        ("scatter curves", False, [1]),
        ("forest forest", False, [0]),
        ("forest counts", False, [1]),
        ("", False, []),
    ],
)
def test_the_exhibits_on_paper_are_of_each_kind_or_the_most_telling(
    make_run: RunMaker, kinds: str, judged: bool, expected: list[int]
) -> None:
    chosen = printed_exhibits(audit_of(make_run(), kinds, judged))
    assert [k for k, shown in enumerate(chosen) if shown] == expected


def test_a_small_table_of_counts_is_always_on_paper(make_run: RunMaker) -> None:
    audit = audit_of(make_run(), "scatter counts", judged=False)
    small = audit.model_copy(update={"exhibits": [audit.exhibits[0], exhibit("counts", limits.PAPER_ROWS_OTHER)]})
    assert printed_exhibits(small) == [True, True]


@pytest.mark.parametrize("judged", [True, False])
@pytest.mark.parametrize(("worst", "random"), [(0, 0), (12, 0), (0, 12), (8, 4), (2, 10), (20, 1), (1, 1)])
def test_cases_on_paper_are_bounded_and_not_the_worst_alone(worst: int, random: int, judged: bool) -> None:
    most = limits.PAPER_CASES_JUDGED if judged else limits.PAPER_CASES_OTHER
    shown = printed_cases(cases(worst, random), judged)
    assert sum(shown) == min(most, worst + random)
    assert shown[:worst] == sorted(shown[:worst], reverse=True)
    assert any(shown[worst:]) == bool(random)


def test_the_worst_strata_are_on_paper_in_the_order_of_the_record(make_run: RunMaker) -> None:
    table = measured(strata(make_run(), 20))
    shown = [row.stratum for row in table.rows if row.paper]
    assert shown == ["", "s17", "s18", "s19"]
    assert len(table.rows) == 21
    assert table.left.startswith("17 more rows of strata in report.html and record.json")
    higher = measured(strata(make_run(), 20, better="higher"))
    assert [row.stratum for row in higher.rows if row.paper] == ["", "s0", "s1", "s2"]


def test_each_row_on_paper_has_its_sample_on_paper(make_run: RunMaker) -> None:
    rows = measured(strata(make_run(), 20)).rows
    said = ""
    for row, number in zip((row for row in rows if row.paper), (None, 108, 109, 109), strict=True):
        said = row.sample or said
        assert number is None or str(number) in said


def test_a_table_of_few_strata_is_whole(make_run: RunMaker) -> None:
    table = measured(strata(make_run(), limits.PAPER_STRATA_OTHER))
    assert all(row.paper for row in table.rows)
    assert table.left == ""


def test_a_remark_on_many_rows_is_said_once(make_run: RunMaker) -> None:
    audit = strata(make_run(), 4, reason="The map says where to look.")
    table = measured(audit)
    assert table.remarks == [("1", "The map says where to look.")]
    assert {row.note for row in table.rows} == {""}
    assert all(row.method.endswith("1") for row in table.rows)


def test_what_is_left_out_on_paper_is_on_screen_and_told(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run(panel_cases=12)
    audits = [record.audits[0].model_copy(update={"criteria": []}), *record.audits[1:]]
    page = report.render_html(record.model_copy(update={"audits": audits}), tmp_path)
    paper = on_paper(page)
    assert page.count("<!--screen-->") == page.count("<!--/screen-->") > 0
    assert "<!--" not in paper.partition("<body>")[2]
    assert len(paper) < len(page)
    numbers = re.findall(r"<strong>Exhibit (\d+)\.</strong>", page)
    assert numbers == [str(k + 1) for k in range(sum(len(audit.exhibits) for audit in audits))]
    missing = set(numbers) - set(re.findall(r"<strong>Exhibit (\d+)\.</strong>", paper))
    told = " ".join(re.findall(r"In report.html only: [^<]+", paper))
    assert missing
    assert all(f"exhibit {number}," in told for number in missing)


def test_a_bounded_panel_names_what_it_shows(make_run: RunMaker, tmp_path: Path) -> None:
    page = report.render_html(make_run(panel_cases=12), tmp_path)
    assert f"Printed: {limits.PAPER_CASES_JUDGED} of 12 cases; report.html shows all." in page
    body = page.partition('class="exhibit panels"')[2].partition("</table>")[0]
    assert body.count('class="words"') == 12
    assert on_paper(body).count('class="words"') == limits.PAPER_CASES_JUDGED


def test_a_clause_for_the_screen_alone_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    record = make_run()
    (tmp_path / "company" / "parts").mkdir(parents=True)
    part = '<!--screen-->{% include "shipped/parts/signatures.j2" %}<!--/screen--><h2 id="signatures">S</h2>'
    (tmp_path / "company" / "parts" / "signatures.j2").write_text(part, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="lacks the clause signatures"):
        report.render_html(record, tmp_path, tmp_path / "company")


@pytest.mark.parametrize(
    ("groups", "columns", "rows"),
    [
        ([("a", 4), ("b", 4), ("c", 4), ("d", 4)], 4, 2),
        ([("a", 1), ("b", 1)], 5, 1),
        ([("a", 30), ("b", 30)], 10, 2),
        ([("a label that is wider than its one small image", 1), ("b", 1)], 8, 2),
    ],
)
def test_small_groups_of_a_sheet_stand_side_by_side(
    tmp_path: Path, groups: list[tuple[str, int]], columns: int, rows: int
) -> None:
    count = sum(held for _, held in groups)
    np.savez(tmp_path / "s.npz", images=np.zeros((count, 4, 4)))
    data = {"groups": [{"label": label, "count": held} for label, held in groups], "columns": columns}
    drawn = sheet(Exhibit(id="x", kind="sheet", title="x", caption="", data=data, file="s.npz"), tmp_path)
    assert len(drawn) == rows
    assert sum(str(one).count("<image") for one in drawn) == count
    assert all(f"{label}: {held} images" in " ".join(map(str, drawn)) for label, held in groups)
