"""Duplicates inside a set, and that they are not charged to a model."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.cohorts.phantom import draw_cohort
from medgan_qa.cohorts.phantom_render import render
from medgan_qa.metrics.copies import aligned_neighbors
from medgan_qa.metrics.duplicates import duplicate_groups, exact_duplicates, joined_groups
from medgan_qa.rng import child


@cache
def phantoms() -> np.ndarray:
    """One slice of each of 40 patients."""
    return np.stack([render(spec, "FLAIR", 64) for spec in draw_cohort(6, "train", 40)[::2]])


def near_copies(images: np.ndarray) -> np.ndarray:
    moved = np.roll(images[:, :, ::-1], (1, -2), axis=(1, 2)) ** 1.1
    return np.clip(moved + child(0, "noise").normal(0, 0.01, moved.shape), 0, 1).astype(np.float32)


def test_exact_duplicates_share_a_label():
    stack = phantoms()[[0, 1, 0, 2, 1, 1]]
    assert exact_duplicates(stack).tolist() == [0, 1, 0, 2, 1, 1]
    assert duplicate_groups(stack).tolist() == [0, 1, 0, 2, 1, 1]
    assert exact_duplicates(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])).tolist() == [0, 0, 1]


def test_near_duplicates_are_found_whatever_was_done_to_them():
    copies = near_copies(phantoms()[:6])
    stack = np.concatenate([phantoms(), copies, phantoms()[:2]])
    labels = duplicate_groups(stack, 0.05)
    assert labels.tolist() == [*range(40), *range(6), 0, 1]


def test_near_duplicates_of_different_origin_stay_apart_when_only_exact_ones_are_asked_for():
    stack = np.concatenate([phantoms()[:4], near_copies(phantoms()[:4])])
    assert duplicate_groups(stack).tolist() == list(range(8))


def test_chains_of_duplicates_are_one_group():
    g = child(0, "chain")
    chain = [phantoms()[0]]
    for _ in range(5):
        chain.append(np.clip(chain[-1] + g.normal(0, 0.01, (64, 64)), 0, 1).astype(np.float32))
    labels = duplicate_groups(np.concatenate([np.stack(chain), phantoms()[1:10]]), 0.05)
    assert labels.tolist() == [0] * 6 + list(range(1, 10))


def test_a_set_with_its_own_duplicates_charges_the_model_with_the_copy_and_not_with_them():
    # 40 images under two patient identifiers each: every copy has a rival as near as its source
    doubled = np.concatenate([phantoms(), near_copies(phantoms())])
    patients = [f"p{number}" for number in range(80)]
    copies, fresh = phantoms()[:8], np.stack([render(s, "FLAIR", 64) for s in draw_cohort(6, "test", 8)[::2]])
    groups = joined_groups(patients, duplicate_groups(doubled, 0.05))
    queries = np.concatenate([copies, fresh])
    found = aligned_neighbors(queries, doubled, reference_groups=groups)
    once = aligned_neighbors(queries, phantoms())
    assert found.ratio[:8].max() < 0.05
    assert found.ratio[8:] == pytest.approx(once.ratio[8:], rel=0.25)
    # undeclared, the duplicate is the nearest rival
    assert aligned_neighbors(copies, doubled).rivals[:, 0].max() < 0.05


@given(a=st.lists(st.integers(0, 4), min_size=1, max_size=15), seed=st.integers(0, 100))
def test_joining_is_transitive_and_minimal(a, seed):
    b = child(seed, "labels").integers(5, size=len(a)).tolist()
    joined = joined_groups(a, b).tolist()
    sets = [{i} for i in range(len(a))]
    for labels in (a, b):
        for i in range(len(a)):
            for j in range(i):
                if labels[i] == labels[j] and sets[i] is not sets[j]:
                    merged = sets[i] | sets[j]
                    for member in merged:
                        sets[member] = merged
    assert all((joined[i] == joined[j]) == (j in sets[i]) for i in range(len(a)) for j in range(len(a)))
    assert joined[0] == 0


def test_small_and_wrong_arguments():
    assert duplicate_groups(phantoms()[:0], 0.1).tolist() == []
    assert duplicate_groups(phantoms()[:1], 0.1).tolist() == [0]
    assert duplicate_groups(phantoms()[[0, 0]], 0.1).tolist() == [0, 0]
    assert joined_groups([], []).tolist() == []
    with pytest.raises(ValueError, match="threshold"):
        duplicate_groups(phantoms()[:3], 0.0)
    with pytest.raises(ValueError, match="one length"):
        joined_groups([1, 2], [1])
    with pytest.raises(ValueError, match="one length"):
        joined_groups()
