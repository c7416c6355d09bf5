"""The Markdown summary: what a reviewer reads, and that text from a Record stays text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from medgan_qa.evidence._markdown_text import LONGEST, REST, code, escaped, table
from medgan_qa.evidence.markdown import PHANTOM, WORDS, summary_md
from medgan_qa.record import Record, Verdict

Make = Callable[..., Any]
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
COMMENT = "<!-- -->"


def inlines(text: str) -> list[Token]:
    return [token for token in PARSER.parse(text) if token.type == "inline"]


def plain(inline: Token) -> str:
    """The text that a reader sees; anything but text, code, emphasis and empty comments is refused."""
    shown = []
    for child in inline.children or []:
        assert child.type in ("text", "code_inline", "html_inline", "strong_open", "strong_close", "text_special")
        assert child.type != "html_inline" or child.content == COMMENT
        shown.append("" if child.type == "html_inline" else child.content)
    return "".join(shown)


def rows(text: str) -> list[list[str]]:
    """Cells of every table row as text."""
    found: list[list[str]] = []
    for token in PARSER.parse(text):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and found and token.level > 3:
            found[-1].append(plain(token))
    return found


def flat(text: str) -> str:
    """What is left of a text on one line without control characters."""
    line = " ".join(text.split())
    hidden = {*"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\ufeff", *map(chr, range(0x2060, 0x206A))}
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in hidden else c for c in line)


MARKUP = [
    "*bold* _low_ **x** __y__ ~~gone~~ `code` ``",
    "# heading",
    "#123 org/repo#4 GH-5",
    "@somebody and a@b.example",
    "[text](https://example.org) ![image](x.png) [ref]: x",
    "<script>alert(1)</script> <b>x</b> <!-- hidden --> &lt; &amp;amp;",
    "https://example.org/a?b=c www.example.org WWW.x.y",
    "a | b \\| c \\\\| d || e",
    "- item",
    "+ item",
    "1. item",
    "23) item",
    "> quote",
    "---",
    "===",
    "    code after blanks",
    "first\nsecond\n\n# third\r\n\ttab",
    "{{7*7}} {% raw %} ${x} $$y$$",
    "\\",
    "\\*not\\*",
    "\x00\x1b[31m red \x7f",
    "\u202ereversed\u202c \u2066x\u2069",
    "```\nfence\n```",
    "~~~",
    "x" * LONGEST,
]


@pytest.mark.parametrize("text", MARKUP)
@pytest.mark.parametrize("place", ["{}", "- {}", "### {}", "| a | {} |"])
def test_text_stays_text(text: str, place: str) -> None:
    line = place.format(escaped(text))
    content = f"| x | y |\n| --- | --- |\n{line}" if place.startswith("|") else line
    shown = [plain(inline) for inline in inlines(content)][-1]
    assert shown == flat(text)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_prop_any_text_stays_text(text: str) -> None:
    inline = [plain(token) for token in inlines(f"x\n\n{escaped(text)}")]
    assert inline == (["x", flat(text)] if flat(text) else ["x"])
    assert rows("\n".join(table(("a", "b"), [[escaped(text), "end"]])))[1] == [flat(text), "end"]


@given(st.text(st.sampled_from("ab09._-:,/()[]+ `|*<@#"), max_size=30))
def test_prop_identifiers_stay_text(text: str) -> None:
    assert rows("\n".join(table(("a", "b"), [[code(text), "end"]])))[1] == [flat(text), "end"]


@pytest.mark.parametrize("text", ["@team", "see #12", "http://x.example", "www.x.example"])
def test_nothing_that_a_forge_turns_into_a_reference_is_left(text: str) -> None:
    # A forge looks for these in the text of the page, after Markdown was read, so escapes would not keep them apart.
    parted = [part.lower() for part in escaped(text).split(COMMENT)]
    assert len(parted) == 2
    assert not any(mark in part for part in parted for mark in ("@team", "#12", "://", "www."))


def test_long_texts_are_cut() -> None:
    assert escaped("y" * 5000) == f"{'y' * LONGEST} ... {REST}"


def test_long_texts_are_cut_behind_a_sentence() -> None:
    sentences = [f"Sentence {k} of 3.14 words." for k in range(40)]
    text = escaped(" ".join(sentences))
    kept = text.removesuffix(f" {REST}")
    assert kept == " ".join(sentences[: kept.count("Sentence")])
    assert LONGEST - 30 < len(kept) <= LONGEST
    assert escaped("a. " + "b" * LONGEST) == f"a. {REST}"
    assert escaped("c" * (LONGEST - 1) + ".") == "c" * (LONGEST - 1) + "."


def test_numbers_stay_readable_at_the_beginning_of_a_line() -> None:
    assert [escaped(text) for text in ("54.0 %", "1. item", "12)", "- x", "=")] == [
        *("54.0 %", "1\\. item", "12\\)", "\\- x", "\\=")
    ]


def test_the_verdict_comes_first() -> None:
    assert summary_md(WHOLE).splitlines()[0] == "## Failed: brain T2 to FLAIR 1.4.0, translation"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_no_verdict_but_pass_reads_like_one(make_record: Make, verdict: Verdict) -> None:
    first = summary_md(make_record(verdict, "Why.")).splitlines()[0]
    assert first.startswith(f"## {WORDS[verdict]}: ")
    assert ("Passed" in first) == (verdict is Verdict.PASS)


def test_the_table_of_criteria() -> None:
    found = {row[1]: row for row in rows(summary_md(WHOLE, "ab" * 32))}
    assert found["Share of lesions with inverted contrast (PAT-001.inversion_rate)"] == [
        "AC-02",
        "Share of lesions with inverted contrast (PAT-001.inversion_rate)",
        "160 lesions, 84 patients",
        "1.9 %",
        "10.04 %",
        "at most 10 %",
        "inconclusive",
    ]
    reported = found["Share of annotated lesions that the output lost: site B (PAT-001.removal_rate[site B])"]
    assert reported[-1] == "fail (reported, gates nothing)"


def test_reasons_comparison_attempt_and_where_the_rest_is() -> None:
    text = summary_md(WHOLE, "ab" * 32)
    shown = [plain(token) for token in inlines(text)]
    assert PHANTOM in shown
    for line in (
        "inconclusive DATA-sites, preconditions: 2 of 3 sites; 1 more.",
        "inconclusive AC-02 PAT-001.inversion_rate, PAT-001 Lesion removal: The interval straddles the limit; "
        "about 14 more patients would decide.",
        "Compared with brain T2 to FLAIR 1.2.0 20261102T080000Z-eeee: fail",
        "Modification: MOD-2 Retrained with site C",
        "fail sentinel case-0017 PAT-001: The lesion was lost; contrast recovery 0.0713. In the baseline: kept.",
        "AC-01 PAT-001.removal_rate: The interval straddles the margin of 0.03: 4 of 160 units got worse and 1 better, "
        "in 84 patients. Newly worse: 4 of 160 (case-0017, case-0088, case-0101 and 1 more); newly better: 1.",
        "Subgroups, the worst first:",
    ):
        assert line in shown
    # Estimate, bound and limit of a criterion that failed stand in the table.
    assert not any(line.startswith("fail AC-05") for line in shown)
    assert WHOLE.attempts is not None
    assert WHOLE.attempts.statement in shown
    assert shown[-1].startswith("Run 20261103T101200Z-7f3a: report in report.pdf and report.html")
    assert "ab" * 32 in shown[-1]
    [change] = [row for row in rows(text) if row[0] == "AC-01" and "3.1 %" in row]
    assert change[1:5] == ["PAT-001.removal_rate", "1.4 %", "3.1 %", "1.8 points (0.5 to 3.7)"]
    assert change[5:] == ["3 points", "inconclusive"]
    assert [row for row in rows(text) if row[0] == "AC-04" and row[-1] == "reported"] == [
        ["AC-04", "FID-010.psnr", "31.5 dB", "31.2 dB", "0.2 dB", "-", "reported"]
    ]
    assert [row for row in rows(text) if row[0].endswith("[site B]")] == [
        ["PAT-001.removal_rate[site B]", "4.8 %", "31.3 %", "26.5 points", "6 / 0 of 21", "reported"]
    ]


def test_nothing_is_said_twice(make_record: Make) -> None:
    assert WHOLE.comparison is not None
    compared = "Comparison with the accepted model: not met. Sentinel case-0017 (PAT-001): lost."
    comparison = WHOLE.comparison.model_copy(update={"reason": compared})
    reason = f"{compared} The candidate's own run: Every criterion passed (AC-01)."
    text = summary_md(WHOLE.model_copy(update={"comparison": comparison, "reason": reason}))
    paragraphs = text.split("\n\n")
    assert paragraphs[1:3] == [compared, "The candidate's own run: Every criterion passed (AC-01)."]
    assert text.count("Comparison with the accepted model") == 1
    assert text.count("The lesion was lost; contrast recovery") == 1
    told = escaped("Newly worse: 4 of 160")
    assert text.count(told) == 1


@pytest.mark.parametrize(("worse", "level"), [(0, 3), (1, 0), (12, 4), (30, 0)])
def test_only_the_worst_subgroups_are_listed(worse: int, level: int) -> None:
    assert WHOLE.comparison is not None
    [one] = WHOLE.comparison.subgroups
    groups = [
        one.model_copy(update={"measurement": f"PAT-001.removal_rate[g {k}]", "worsening": by, "worsened": 0})
        for k, by in enumerate([0.2] * worse + [0.0] * level)
    ]
    comparison = WHOLE.comparison.model_copy(update={"subgroups": groups})
    text = summary_md(WHOLE.model_copy(update={"comparison": comparison}))
    listed = [row[0] for row in rows(text) if "[g " in row[0]]
    assert listed == [f"PAT-001.removal_rate[g {k}]" for k in range(min(worse, 12))]
    left = worse + level - len(listed)
    assert (f"{left} more in `report.pdf`." in text) == bool(worse and left)
    assert len(text.splitlines()) < 60


def test_a_run_that_passed_has_no_reasons(make_record: Make) -> None:
    text = summary_md(make_record("pass", "Every criterion passed (AC-01)."))
    assert "What did not pass" not in text
    assert "Compared" not in text
    assert PHANTOM not in text


def test_a_run_without_criteria(make_record: Make, make_audit: Make) -> None:
    assert "No criterion was declared." in summary_md(make_record("inconclusive", "x", audits=[make_audit()]))
