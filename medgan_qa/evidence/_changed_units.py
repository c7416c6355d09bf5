"""The sentence of a gate on the units that got worse or better, and what is read from it again.

A Change has no fields for them: the Record's readers find the sentence at the end of its reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

SHOWN = 10
"""How many units are named; the table beside the Record names all."""
_WORSE = re.compile(r"(?<!\S)Newly worse: ([0-9]+) of ([0-9]+) \(")
_BETTER = re.compile(r"newly better: ([0-9]+)\.$", re.IGNORECASE)
_BEGIN = re.compile(r"(?<!\S)Newly (worse|better): ")


class Counts(NamedTuple):
    """How many units changed."""

    worse: int
    better: int


def sentence(worsened: Sequence[str], improved: int, n: int) -> str:
    """Units that the baseline kept and the candidate lost: a mean that improved does not hide them.

    Args:
        worsened: the units that got worse.
        improved: how many got better.
        n: how many were paired.
    """
    if not worsened:
        return f"Newly better: {improved}." if improved else ""
    more = f" and {len(worsened) - SHOWN} more" if len(worsened) > SHOWN else ""
    named = ", ".join(worsened[:SHOWN]) + more
    return f"Newly worse: {len(worsened)} of {n} ({named}); newly better: {improved}."


def clause(reason: str) -> str:
    """The reason of a change without that sentence."""
    return parts(reason)[0]


def parts(reason: str) -> tuple[str, str]:
    """The reason of a change, and that sentence, each of which may be empty."""
    found = _BEGIN.search(reason)
    place = found.start() if found else len(reason)
    return reason[:place].strip(), reason[place:]


def has_lost(reason: str) -> bool:
    """Whether the reason of a change names units that got worse."""
    return parts(reason)[1].startswith("Newly worse")


def counts(reason: str) -> Counts | None:
    """How many units changed; None where the reason does not say, as with numbers that are withheld."""
    told = parts(reason)[1]
    worse, better = _WORSE.match(told), _BETTER.search(told)
    if better is None or (worse is None and has_lost(reason)):
        return None
    return Counts(int(worse[1]) if worse else 0, int(better[1]))
