"""The units that got worse or better under a gate, in words."""

from __future__ import annotations

from medgan_qa.record import Change

SHOWN = 10
"""How many units are named; the table beside the Record names all."""


def told(change: Change) -> str:
    """Units that the baseline kept and the candidate lost: a mean that improved does not hide them.

    Empty where no unit changed, or units cannot be told apart so.
    """
    if change.worsened is None or change.improved is None:
        return ""
    if not change.worsened:
        return f"Newly better: {change.improved}." if change.improved else ""
    more = f" and {change.worsened - len(change.newly_worse)} more" if change.worsened > len(change.newly_worse) else ""
    named = ", ".join(change.newly_worse) + more
    return f"Newly worse: {change.worsened} of {change.n} ({named}); newly better: {change.improved}."


def reason(change: Change) -> str:
    """The reason of a change, with the units that changed."""
    return " ".join(part for part in (change.reason, told(change)) if part)
