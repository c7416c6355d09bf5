"""Planted volumes: which slices are shown under which name, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.controls.stacks import Stacks


def shown(stacks: Stacks, name: str) -> np.ndarray:
    return stacks.load(next(case for case in stacks.cases if case.case_id == name)).image


def test_a_leaked_volume_shows_the_slices_of_train() -> None:
    stacks = Stacks({0: "same slices", 1: "reversed", 2: "between"}, people=4, slices=3)
    for number, places in ((0, (0, 1, 2)), (1, (2, 1, 0))):
        for index, place in enumerate(places):
            one = shown(stacks, f"test-stack-000{number}/00{index}")
            assert np.array_equal(one, shown(stacks, f"train-stack-000{number}/00{place}"))
    between = shown(stacks, "test-stack-0002/000")
    apart = [float(np.abs(between - shown(stacks, f"train-stack-000{k}/000")).mean()) for k in (2, 3)]
    assert 0 < apart[0] < apart[1]
    assert not np.array_equal(shown(stacks, "test-stack-0003/000"), shown(stacks, "train-stack-0003/000"))


def test_slices_know_their_volume_and_place() -> None:
    stacks = Stacks(people=2, slices=3)
    assert len(stacks.cases) == 12
    assert [(case.volume, case.slice_index) for case in stacks.cases[:4]] == [
        ("train-stack-0000-volume", 0),
        ("train-stack-0000-volume", 1),
        ("train-stack-0000-volume", 2),
        ("train-stack-0001-volume", 0),
    ]
    assert stacks.load(stacks.cases[0]).slice_mm == 4.0


def test_the_digest_says_what_leaked() -> None:
    digests = {Stacks(leaks, people=2, slices=2).digest() for leaks in ({}, {0: "same slices"}, {0: "between"})}  # type: ignore[arg-type]
    assert len(digests) == 3


@pytest.mark.parametrize("leaks", [{9: "between"}, {0: "beside"}])
def test_a_leak_that_there_is_not_is_refused(leaks: dict[int, str]) -> None:
    with pytest.raises(ValueError, match="leaks must name volumes"):
        Stacks(leaks, people=2)  # type: ignore[arg-type]
