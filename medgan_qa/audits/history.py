"""What the ledger shows of earlier uses of a dataset, as audits are told it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class History:
    """Earlier runs on the same data; a run of any suite and any criteria is one use."""

    runs: int
    """Runs on data of this digest, before this one."""
    days: tuple[str, ...] = ()
    """(runs,) day of each, `YYYY-MM-DD` in UTC as the machines' clocks had it, in the order of the ledger."""
    models: int = 0
    """Distinct models among them, by SHA-256."""
    same_name: int = 0
    """Runs on data of the same name and another digest: an edited table, or another dataset."""

    @property
    def first(self) -> str | None:
        """The earliest day; None where there was no run."""
        return min(self.days, default=None)
