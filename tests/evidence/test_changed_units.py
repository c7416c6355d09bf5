"""The units that changed, in words."""

from __future__ import annotations

from typing import Any

import pytest

from medgan_qa.evidence._changed_units import reason, told
from medgan_qa.record import Change, Verdict


def change(**facts: Any) -> Change:
    given: dict[str, Any] = {"measurement": "PAT-001.removal_rate", "label": "x", "unit": "fraction", "better": "lower"}
    given |= {"baseline": 0.1, "candidate": 0.2, "worsening": 0.1, "n": 40, "verdict": Verdict.FAIL, "reason": "Worse."}
    return Change(**{**given, **facts})


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"worsened": 0, "improved": 0}, ""),
        ({"worsened": 0, "improved": 3}, "Newly better: 3."),
        ({"worsened": 1, "improved": 0, "newly_worse": ["c1"]}, "Newly worse: 1 of 40 (c1); newly better: 0."),
        (
            {"worsened": 12, "improved": 3, "newly_worse": [f"c{k}" for k in range(10)]},
            "Newly worse: 12 of 40 (c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more); newly better: 3.",
        ),
    ],
)
def test_the_first_ten_are_named_and_the_others_counted(facts: dict[str, Any], words: str) -> None:
    assert told(change(**facts)) == words
    assert reason(change(**facts)) == f"Worse. {words}".strip()
