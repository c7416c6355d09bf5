"""How work is mapped over images. One small interface, so that a distributed engine can take the local one's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[str, int, int], None]
"""Told after each item: what is going on, items done, items in all."""


class Engine(Protocol):
    """Maps a function over items; results come back in the order of the items."""

    def map(self, function: Callable[[T], R], items: Sequence[T], *, label: str) -> list[R]:
        """Apply `function` to every item; `label` says what is going on, for a progress display."""


class LocalEngine:
    """One after the other in this process; torch and NumPy use the cores inside each item."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress

    def map(self, function: Callable[[T], R], items: Sequence[T], *, label: str) -> list[R]:
        """Apply `function` to every item in order."""
        results = []
        for done, item in enumerate(items):
            results.append(function(item))
            if self.progress is not None:
                self.progress(label, done + 1, len(items))
        return results
