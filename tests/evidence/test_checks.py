"""The list of checks: everything with a verdict is in it once, and a run that did not pass always closes a build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.evidence.checks import CLOSES, checks
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
