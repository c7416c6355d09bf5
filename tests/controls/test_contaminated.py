"""Planted contamination: the share that was asked for, of the kind that was asked for, the same every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medgan_qa import rng
from medgan_qa.cohorts.cohort import subset
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import KINDS, Contaminated, Kind, augmented, moved

CLEAN = BrainSlices(people=10)
OUTPUTS = np.full((2, 1, 64, 64), 0.5, np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_of_test_cases_shows_something_else(kind: Kind) -> None:
    planted = Contaminated(CLEAN, kind, 0.2, OUTPUTS)
    changed = set()
    for case in planted.cases:
        first, second = planted.load(case).image, planted.load(case).image
        clean = CLEAN.load(case).image
        changed |= {case.case_id} if (first != clean).any() or (second != clean).any() else set()
        assert first.dtype == np.float32
        assert (kind == "unstable" and case.case_id in planted.source) or np.array_equal(first, second)
    assert changed == set(planted.source)
    assert len(changed) == 4
    assert changed <= {case.case_id for case in subset(CLEAN.cases, "test")}


def test_sources_are_other_cases_of_the_partition_that_the_kind_says() -> None:
    by_kind = {"flip": Contaminated(CLEAN, "flip", 0.2), "relabelled": Contaminated(CLEAN, "relabelled", 0.2)}
    for kind, partition in (("flip", "test"), ("relabelled", "train")):
        sources = by_kind[kind].source
        assert {case.partition for case in sources.values()} == {partition}
        assert all(case_id != source.case_id for case_id, source in sources.items())
        assert not set(sources) & {source.case_id for source in sources.values()}
    case = next(c for c in CLEAN.cases if c.case_id in by_kind["flip"].source)
    source = by_kind["flip"].source[case.case_id]
    assert np.array_equal(by_kind["flip"].load(case).image, CLEAN.load(source).image[..., ::-1])


def test_the_digest_says_what_was_planted() -> None:
    digests = {Contaminated(CLEAN, kind, 0.2, OUTPUTS).digest() for kind in KINDS}
    assert len(digests | {CLEAN.digest()}) == len(KINDS) + 1
    assert Contaminated(CLEAN, "flip", 0.2).digest() == Contaminated(CLEAN, "flip", 0.2).digest()
    assert Contaminated(CLEAN, "flip", 0.2).name == CLEAN.name


def test_moving_by_nothing_is_nothing_and_a_quarter_turn_is_one() -> None:
    image = CLEAN.load(CLEAN.cases[0]).image[0]
    assert np.allclose(moved(image, 0.0, 1.0), image, atol=1e-6)
    assert np.allclose(moved(image, 90.0, 1.0)[1:-1, 1:-1], np.rot90(image, -1)[1:-1, 1:-1], atol=1e-5)
    assert np.array_equal(augmented(image, "copied", rng.child(0, "x")), image)


@pytest.mark.parametrize(("kind", "share"), [("flop", 0.1), ("flip", 0.0), ("flip", 0.6)])
def test_refuses_what_it_cannot_plant(kind: Any, share: float) -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        Contaminated(CLEAN, kind, share)


def test_needs_images_to_pass_off_as_real() -> None:
    with pytest.raises(ValueError, match="images that a model made"):
        Contaminated(CLEAN, "generated", 0.1)
