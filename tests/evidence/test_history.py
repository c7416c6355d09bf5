"""Earlier uses of a dataset are counted by its digest, whatever the suite, and by its name beside that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medgan_qa.audits.history import History
from medgan_qa.evidence.history import history_of
from medgan_qa.evidence.ledger import Ledger
from medgan_qa.record import Verdict

DATA, OTHER = "dd" * 32, "ee" * 32


def enter(path: Path, **changes: Any) -> None:
    facts = {
        "run": "r",
        "suite": "translation",
        "model": "m",
        "model_sha256": "ab" * 32,
        "criteria_digest": "cc" * 32,
        "data_digest": DATA,
        "data": "site A",
        "lock_sha256": None,
        "seed": 0,
        "verdict": Verdict.FAIL,
        "tool_version": "0.1.0",
    }
    with Ledger(path).entry() as entry:
        entry.append("ee" * 32, **{**facts, **changes})


def test_no_ledger_is_no_history(tmp_path: Path) -> None:
    assert history_of(Ledger(tmp_path / "ledger.jsonl"), DATA, "site A") == History(0)


def test_runs_on_the_same_data_are_counted_whatever_the_suite(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    enter(path)
    enter(path, suite="synthesis", model_sha256="cd" * 32)
    enter(path, data_digest=OTHER)
    enter(path, data_digest=OTHER, data="site B")
    found = history_of(Ledger(path), DATA, "site A")
    assert (found.runs, found.models, found.same_name) == (2, 2, 1)
    assert found.days == (Ledger(path).check()[0].time_utc[:10],) * 2
    assert found.first == found.days[0]
    assert History(0).first is None
