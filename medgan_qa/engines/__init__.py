"""How work is mapped over images. One small interface, so that a distributed engine can take the local one's place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Out = TypeVar("Out", covariant=True)

Progress = Callable[[str, int, int], None]
"""Told after each item: what is going on, items done, items in all."""


class Items(Protocol[Out]):
    """What work is mapped over: a list, or anything that knows how many there are and makes them one by one."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Out]:
        """One after the other."""


class Streamed(Generic[T]):
    """A known number of items that are made when they are asked for, so that they are never held all at once.

    Args:
        items: gives `count` items; they can be taken once.
        count: how many.
    """

    def __init__(self, items: Iterable[T], count: int) -> None:
        self._items, self._count = items, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)


class Engine(Protocol):
    """Maps a function over items; results come back in the order of the items."""

    def map(self, function: Callable[[T], R], items: Items[T], *, label: str) -> list[R]:
        """Apply `function` to every item; `label` says what is going on, for a progress display."""


class LocalEngine:
    """One after the other in this process; torch and NumPy use the cores inside each item."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress

    def map(self, function: Callable[[T], R], items: Items[T], *, label: str) -> list[R]:
        """Apply `function` to every item in order; no item is kept once it is done."""
        results, total = [], len(items)
        for done, item in enumerate(items):
            results.append(function(item))
            if self.progress is not None:
                self.progress(label, done + 1, total)
        return results
