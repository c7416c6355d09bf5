"""The list of checks: everything with a verdict is in it once, and a run that did not pass always closes a build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.evidence.checks import CLOSES, checks, limit_text, shown
from medgan_qa.record import Record, Verdict

Make = Callable[..., Any]
WHOLE = Record.from_json((Path(__file__).parent / "old" / "record-whole.json").read_text(encoding="utf-8"))
verdicts = st.sampled_from(list(Verdict))


def test_holds_everything_that_has_a_verdict() -> None:
    found = [(check.kind, check.name, str(check.verdict)) for check in checks(WHOLE)]
    assert found == [
        ("precondition", "DATA-patients", "pass"),
        ("precondition", "DATA-sites", "inconclusive"),
        ("criterion", "AC-01 PAT-001.removal_rate", "pass"),
        ("criterion", "AC-01 PAT-001.removal_rate[site B]", "fail"),
        ("criterion", "AC-02 PAT-001.inversion_rate", "inconclusive"),
        ("criterion", "AC-03 PAT-001.contrast_recovery", "pass"),
        ("criterion", "AC-04 FID-010.psnr", "pass"),
        ("criterion", "AC-05 GEO-001.shift", "fail"),
        ("audit", "ran", "error"),
        ("sentinel", "case-0017 PAT-001", "fail"),
        ("sentinel", "case-0042 PAT-001", "pass"),
        ("change", "AC-01 PAT-001.removal_rate", "inconclusive"),
        ("change", "AC-04 FID-010.psnr", "not_applicable"),
    ]
    assert [check.name for check in checks(WHOLE) if not check.gates] == ["AC-01 PAT-001.removal_rate[site B]"]


def test_a_sentinel_that_only_the_run_lost_is_not_hidden_by_the_comparison() -> None:
    assert WHOLE.comparison is not None
    kept = [s.model_copy(update={"verdict": Verdict.PASS}) for s in WHOLE.comparison.sentinels]
    record = WHOLE.model_copy(update={"comparison": WHOLE.comparison.model_copy(update={"sentinels": kept})})
    lost = [check for check in checks(record) if check.kind == "sentinel" and check.closes]
    assert [check.name for check in lost] == ["case-0017 PAT-001"]


@given(run=verdicts, judged=st.lists(st.tuples(verdicts, st.sampled_from(["gate", "report"])), max_size=4))
def test_prop_a_run_that_did_not_pass_closes(
    make_record: Make, make_audit: Make, make_criterion: Make, run: Verdict, judged: list[tuple[Verdict, str]]
) -> None:
    criteria = [make_criterion(f"C{k}", verdict, severity=severity) for k, (verdict, severity) in enumerate(judged)]
    found = checks(make_record(run, audits=[make_audit(criteria=criteria)]))
    assert any(check.closes for check in found) or run is Verdict.PASS
    if run is Verdict.PASS:
        gating = [verdict for verdict, severity in judged if severity == "gate"]
        assert any(check.closes for check in found) == any(verdict in CLOSES for verdict in gating)


@pytest.mark.parametrize(
    ("value", "limits", "text"),
    [
        (None, (), "-"),
        (0.1, (), "0.1"),
        (160, (), "160"),
        (0.123456, (0.1,), "0.1235"),
        (0.100004, (0.1,), "0.100004"),
        (0.0999999999, (0.1,), "0.0999999999"),
        (1.99996, (2.0, None), "1.99996"),
        (-0.00012346, (), "-0.0001235"),
        (1e-300, (0.0,), "1e-300"),
    ],
)
def test_a_number_reads_on_its_side_of_the_limit(
    value: float | None, limits: tuple[float | None, ...], text: str
) -> None:
    assert shown(value, *limits) == text


@given(value=st.floats(allow_nan=False, allow_infinity=False), limit=st.floats(-1e6, 1e6))
def test_prop_rounding_never_changes_sides(value: float, limit: float) -> None:
    read = float(shown(value, limit))
    assert (read > limit, read < limit) == (value > limit, value < limit)


def test_limits_in_words() -> None:
    assert limit_text({"max": 0.1}) == "at most 0.1"
    assert limit_text({"max": 1.1, "min": 0.9}) == "at least 0.9 and at most 1.1"
