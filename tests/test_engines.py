"""The local engine: order, progress, and errors that pass through."""

from __future__ import annotations

import pytest

from medgan_qa.engines import Engine, LocalEngine


def test_results_come_in_the_order_of_the_items() -> None:
    engine: Engine = LocalEngine()
    assert engine.map(lambda x: x * x, [3, 1, 2], label="Squaring") == [9, 1, 4]


def test_nothing_to_do() -> None:
    told: list[tuple[str, int, int]] = []
    assert LocalEngine(lambda *what: told.append(what)).map(str, [], label="Idling") == []
    assert told == []


def test_progress_is_told_after_each_item() -> None:
    log: list[object] = []

    def work(item: str) -> str:
        log.append(item)
        return item

    LocalEngine(lambda *what: log.append(what)).map(work, ["a", "b"], label="Working")
    assert log == ["a", ("Working", 1, 2), "b", ("Working", 2, 2)]


def test_an_error_ends_the_map_at_its_item() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 2:
            raise KeyError(item)
        done.append(item)

    with pytest.raises(KeyError, match="2"):
        LocalEngine().map(work, [1, 2, 3], label="Working")
    assert done == [1]
