"""Withholding numbers: verdicts stay, and no measured value is left in anything that developers see."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa import quantities
from medgan_qa.evidence.checks import checks
from medgan_qa.evidence.junit import junit_xml
from medgan_qa.evidence.markdown import summary_md
from medgan_qa.evidence.model_card import model_card_md
from medgan_qa.evidence.rdm import rdm_yaml
from medgan_qa.evidence.sarif import sarif_json
from medgan_qa.evidence.withheld import WITHHELD, WORD, is_withheld, withheld
from medgan_qa.record import Record

Make = Callable[..., Any]
PASS_FAIL = {"attempts": {"max": 3, "feedback": "pass_fail"}}
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8")).model_copy(
    update={"context": PASS_FAIL}
)
TEXTS: list[Callable[[Record], str]] = [junit_xml, sarif_json, rdm_yaml, summary_md, model_card_md]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, False),
        ({"attempts": {}}, False),
        ({"attempts": {"feedback": "full"}}, False),
        ({"attempts": "pass_fail"}, False),
        (PASS_FAIL, True),
    ],
)
def test_the_criteria_say_whether(make_record: Make, context: dict[str, Any], expected: bool) -> None:
    assert is_withheld(make_record(context=context)) is expected


def test_every_verdict_stays() -> None:
    before, after = checks(WHOLE), checks(withheld(WHOLE))
    assert [check[:5] for check in before] == [check[:5] for check in after]
    assert [check.gates for check in before] == [check.gates for check in after]


def test_numbers_are_gone_and_limits_stay() -> None:
    record = withheld(WHOLE)
    for audit in record.audits:
        assert all(
            (m.value, m.interval, m.clusters, m.reason) == (None, None, None, WITHHELD) for m in audit.measurements
        )
        assert all((c.value, c.estimate, c.interval, c.n, c.adjusted_alpha) == (None,) * 5 for c in audit.criteria)
        assert audit.exhibits == []
    assert [c.limit for a in record.audits for c in a.criteria] == [c.limit for a in WHOLE.audits for c in a.criteria]
    assert record.comparison is not None
    for change in [*record.comparison.changes, *record.comparison.subgroups]:
        assert (change.baseline, change.candidate, change.worsening, change.interval, change.n) == (None,) * 4 + (0,)
    assert record.comparison.changes[0].margin == 0.03
    assert (record.preconditions, record.attempts) == (WHOLE.preconditions, WHOLE.attempts)


def test_texts_lose_their_numbers_and_keep_names() -> None:
    record = withheld(WHOLE)
    criteria = {c.measurement: c for audit in record.audits for c in audit.criteria}
    assert criteria["PAT-001.removal_rate[site B]"].reason == (
        f"The whole interval, {WORD} to {WORD}, lies beyond the limit of at most {WORD}."
    )
    assert record.sentinels[0].reason == f"The lesion was lost; contrast recovery {WORD}."
    assert "(AC-05, displacement of edges (withheld) mm" in record.reason
    assert record.comparison is not None
    assert record.comparison.reason.startswith("Modification MOD-2: performance evaluation under protocol VP-012")


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("AC-01: removal rate 0.37", f"AC-01: removal rate {WORD}"),
        ("AC-01.37 and xAC-01 9", f"AC-01{WORD} and {WORD} {WORD}"),
        ("12%, 1,234; -0.5e-3 (3/7) 5mm x=7.", f"{WORD}, {WORD}; {WORD} {WORD}) {WORD} {WORD}."),
        ("\u0663 \u00bd x\u00b2 \u2462", f"{WORD} {WORD} {WORD} {WORD}"),
        ("RuntimeError: out of memory", "RuntimeError: out of memory"),
        ("", ""),
    ],
)
def test_a_word_with_a_digit_is_withheld(
    make_record: Make, make_audit: Make, make_criterion: Make, reason: str, left: str
) -> None:
    audit = make_audit(criteria=[make_criterion("AC-01", "fail", reason)])
    assert withheld(make_record("fail", reason, audits=[audit], context=PASS_FAIL)).reason == left


def test_a_name_that_is_a_number_does_not_shield_numbers(
    make_record: Make, make_audit: Make, make_criterion: Make
) -> None:
    audit = make_audit(criteria=[make_criterion("7", "fail", "It was 7.")])
    assert withheld(make_record("fail", audits=[audit])).audits[0].criteria[0].reason == f"It was {WORD}."


def forms(value: float) -> Iterator[str]:
    """A number as somebody may have written it into a text."""
    yield from (repr(value), f"{value:.4f}", f"{value:.5f}", f"{value:.3e}", f"{100 * value:.3f}")


def measured(record: Record) -> set[float]:
    """Every number in a Record that was measured."""
    content = json.loads(record.to_json())
    fields = {"value", "estimate", "low", "high", "baseline", "candidate", "worsening"}
    found: set[float] = set()
    left: list[Any] = [content["audits"], content["comparison"]]
    while left:
        item = left.pop()
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, value in pairs:
            if key in fields and isinstance(value, float):
                found.add(value)
            left.append(value)
    return found


def as_written(value: float) -> set[str]:
    """A number as an export writes it: as it is, or with unit."""
    units = ("fraction", "percentage points", "mm", "dB")
    return {repr(value), *(quantities.short(quantities.quantity(value, unit)) for unit in units)}


def stands(form: str, text: str) -> bool:
    return re.search(rf"(?<![\d.]){re.escape(form)}(?!\d)", text) is not None


@pytest.mark.parametrize("export", TEXTS)
def test_no_measured_value_is_left_in_an_export(export: Callable[[Record], str]) -> None:
    # Those that are declared as well (a margin of 0.03, a rate of 0.05) may be shown where they were declared.
    values = {v for v in measured(WHOLE) if len(f"{v:g}".lstrip("0.")) > 2}
    assert len(values) > 12
    whole, bare = export(WHOLE.model_copy(update={"context": {}})), export(withheld(WHOLE))
    written = {form for value in values for form in as_written(value)}
    assert len({form for form in written if stands(form, whole)}) > 6
    assert not {form for form in written if stands(form, bare)}
    assert WITHHELD in bare or WORD in bare


numbers = st.integers(10001, 99989).filter(lambda number: number % 10).map(lambda number: number / 100_000)


@settings(max_examples=30)
@given(values=st.lists(numbers, min_size=6, max_size=6), k=st.integers(0, 4), separator=st.sampled_from(" ,;=(/~%\n"))
def test_prop_no_form_of_a_measured_value_is_left(
    make_record: Make, make_audit: Make, make_criterion: Make, values: list[float], k: int, separator: str
) -> None:
    texts = [f"x{separator}{list(forms(value))[k]}{separator}y" for value in values]
    interval = {"low": values[0], "high": values[1], "level": 0.95, "method": "exact", "sided": 1}
    criterion = make_criterion("AC-01", "fail", texts[0], value=values[2], estimate=values[3], interval=interval)
    audit = make_audit(verdict="fail", reason=texts[1], criteria=[criterion], notes=[texts[2]])
    sentinel = {"case_id": "c", "audit": "PAT-001", "found": texts[3], "verdict": "fail", "reason": texts[4]}
    record = make_record(
        "fail", texts[5], audits=[audit], sentinels=[sentinel], deviations=[texts[2]], context=PASS_FAIL
    )
    bare = "\n".join([export(withheld(record)) for export in TEXTS])
    written = {form for value in values for form in forms(value)}
    assert not [form for form in written if form in bare]


def test_the_record_itself_is_not_changed() -> None:
    before = WHOLE.to_json()
    withheld(WHOLE)
    assert WHOLE.to_json() == before
