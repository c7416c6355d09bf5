"""The section for a model card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from medgan_qa.evidence.markdown import PHANTOM
from medgan_qa.evidence.model_card import model_card_md
from medgan_qa.record import Record, Verdict

Make = Callable[..., Any]
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
FIRST = Record.from_json((Path(__file__).parent / "old" / "record-first.json").read_text(encoding="utf-8"))


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_says_what_was_tested_and_on_what() -> None:
    text = model_card_md(WHOLE, "cd" * 32)
    for line in (
        "| model | brain T2 to FLAIR 1.4.0 |",
        f"| model SHA-256 | `{WHOLE.subject['sha256']}` |",
        "| intended use | FLAIR-like input of a lesion segmentation |",
        "| criteria | VP-012, B, T2 to FLAIR, brain; locked before the run |",
        f"| criteria SHA-256 | `{WHOLE.criteria_lock['digest']}` |",
        "| data | site-A T2 to FLAIR test set |",
        f"| data digest | `{WHOLE.data['digest']}` |",
        "| partition test | cases 200, patients 100, lesions 160, annotated 200 |",
        f"| Record SHA-256 | `{'cd' * 32}` |",
    ):
        assert line in rows(text)
    assert "Attempt 2 on this test set" in text


def test_the_criteria_with_their_numbers() -> None:
    [row] = [line for line in rows(model_card_md(WHOLE)) if line.startswith("| `AC-05`")]
    assert row.endswith("| 200 images, 100 patients | 1.8 mm | 2.0 mm | at most 1.5 mm | **fail** |")


def test_limitations_preconditions_and_sentinels() -> None:
    text = model_card_md(WHOLE)
    results, limitations = text.split("### Results")[1].split("### Limitations")
    assert "- **inconclusive** `DATA-sites`, preconditions: 2 of 3 sites; 1 more." in results
    assert "- **fail** sentinel `case-0017 PAT-001`: The lesion was lost" in results
    assert "case-0042" not in results
    assert all(f"- {text}" in limitations for text in [*WHOLE.limitations, *WHOLE.deviations])


def test_default_criteria_are_named_as_such() -> None:
    [row] = [line for line in rows(model_card_md(FIRST)) if line.startswith("| criteria |")]
    assert "default criteria, set for no intended use; not locked before the run" in row


@pytest.mark.parametrize("phantom", [True, False])
def test_phantom_data_is_no_clinical_evidence(phantom: bool) -> None:
    record = WHOLE.model_copy(update={"data": {**WHOLE.data, "phantom": phantom}})
    assert (PHANTOM in model_card_md(record)) == phantom


def test_a_record_that_says_little(make_record: Make) -> None:
    record = make_record("pass", "", subject={}, data={}, run={}, tool={}, limitations=[], context={"context": "x"})
    text = model_card_md(record)
    assert text.splitlines()[2] == "**Passed.**"
    assert text.rstrip().endswith("None stated.")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_is_a_section_with_three_tables(verdict: Verdict) -> None:
    record = WHOLE.model_copy(update={"verdict": verdict})
    tokens = MarkdownIt("commonmark").enable("table").parse(model_card_md(record))
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2", "h3", "h3", "h3", "h3"]
    assert sum(token.type == "table_open" for token in tokens) == 3
