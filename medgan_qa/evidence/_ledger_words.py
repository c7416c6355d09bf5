"""The attempts on a test set, in words."""

from __future__ import annotations

from collections import Counter

from medgan_qa.record import Verdict
from medgan_qa.stats import repeated_testing

LISTED_ONE_BY_ONE = 5
"""So many earlier verdicts are told in order; more of them are counted."""


def statement(earlier: list[Verdict], chances: int, alpha: float, maximum: int | None) -> str:
    """Which attempt a run is, and the error rate after it.

    Args:
        earlier: verdicts of the runs before on the same test set, oldest first.
        chances: different tests so far, this one included.
        alpha: error rate of one test.
        maximum: how many attempts the criteria allow; None: not declared.
    """
    number = len(earlier) + 1
    allowed = "" if maximum is None else f" The criteria allow {counted(maximum, 'attempt')}."
    if maximum is not None and number > maximum:
        allowed = f" This is beyond the {counted(maximum, 'attempt')} that the criteria allow."
    if not earlier:
        return f"Attempt 1: no earlier run on this test set is in the ledger.{allowed}"
    begin = f"Attempt {number} on this test set (earlier: {_listed(earlier)});"
    each = f"a model that does not meet a limit pass with probability at most {_percent(alpha)}"
    if chances == 1:
        return f"{begin} the same model, criteria and seed each time, which is one test. It lets {each}.{allowed}"
    rate = repeated_testing(alpha, chances)
    return (
        f"{begin} {chances} different tests so far. Each test lets {each}; over {chances} tests the chance of at least "
        f"one such pass is at most {_percent(rate.bound)} ({_percent(rate.independent)} if they were independent)."
        f"{allowed}"
    )


def _listed(verdicts: list[Verdict]) -> str:
    words = [verdict.value.replace("_", " ") for verdict in verdicts]
    if len(words) <= LISTED_ONE_BY_ONE:
        return ", ".join(words)
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 1 else f"{percent:.1f}".removesuffix(".0") + " %"


def counted(number: int, thing: str) -> str:
    """A number with its noun, in the plural where it is not one."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
