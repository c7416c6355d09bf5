"""Each sampler augments the share that it says, and at every dose the same patients."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.augmenting_samplers import CONTROLS, DOSES, KINDS, LABELLED, Augmented, LabelledAugmented
from medgan_qa.controls.labelled_samplers import Faithful, labelled_sampler
from medgan_qa.controls.named import control_subject, controls
from medgan_qa.controls.samplers import Independent, planted_sampler


@cache
def cohort() -> BrainSlices:
    return BrainSlices(people=8)


@cache
def images(kind: str, dose: float, n: int = 40) -> np.ndarray:
    return planted_sampler(cohort(), Augmented(kind, dose)).sample(n, 0)[:, 0]


@cache
def clean(n: int = 40) -> np.ndarray:
    return planted_sampler(cohort(), Independent()).sample(n, 0)[:, 0]


def changed(one: np.ndarray, other: np.ndarray) -> set[int]:
    return set(np.flatnonzero((one != other).any(axis=(1, 2))).tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_doses_nest_and_the_rest_is_what_a_clean_sampler_draws(kind):
    some, more, every = (changed(images(kind, dose), clean()) for dose in (0.1, 0.3, 1.0))
    assert some < more < every == set(range(40))
    assert 5 <= len(more) <= 20
    shared = sorted(some)
    np.testing.assert_array_equal(images(kind, 0.1)[shared], images(kind, 1.0)[shared])


def test_rotations_are_equally_frequent_and_exact():
    pairs = zip(images("rotated", 1.0), clean(), strict=True)
    turns = [next(k for k in range(1, 4) if np.array_equal(one, np.rot90(other, k))) for one, other in pairs]
    assert {turns.count(k) > 6 for k in (1, 2, 3)} == {True}


def test_a_square_is_cut_out():
    cut = images("cut-out", 1.0)
    pieces = [np.argwhere(one != other) for one, other in zip(cut, clean(), strict=True)]
    spans = [piece.max(axis=0) - piece.min(axis=0) + 1 for piece in pieces]
    assert all(span.min() >= 10 and span.max() <= 22 for span in spans)


def test_labelled_samplers_augment_as_well():
    plain, half = (
        labelled_sampler(cohort(), p).sample(20, 0)[:, 0] for p in (Faithful(), LabelledAugmented("flipped", 0.5))
    )
    assert 3 < len(changed(plain, half)) < 17


@pytest.mark.parametrize(("suite", "table"), [("synthesis", CONTROLS), ("augmentation", LABELLED)])
def test_controls_are_known_by_name(suite, table):
    assert {f"{kind}-{round(100 * dose)}" for kind in KINDS for dose in DOSES} == set(table)
    assert set(table) < set(controls(suite))
    assert "independent" in controls(suite)
    assert len({control_subject(name, suite, cohort()).sha256 for name in table}) == len(table)
    assert "5 %" in controls(suite)["rotated-5"].title
