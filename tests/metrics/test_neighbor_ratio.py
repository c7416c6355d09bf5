"""The ratio of the nearest distance to the next ones, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics.neighbor_ratio import neighbor_ratio
from medgan_qa.rng import child


def by_loop(distances, neighbors, groups, count):
    ratios = []
    for row, index in zip(distances, neighbors, strict=True):
        others = [d for d, i in zip(row, index, strict=True) if groups[i] != groups[index[0]] and d > 0][:count]
        ratios.append(row[0] / np.mean(others) if others else np.nan)
    return np.array(ratios)


@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 8),
    labels=st.integers(1, 6),
    count=st.one_of(st.none(), st.integers(1, 4)),
)
def test_equals_a_plain_loop(seed, k, labels, count):
    g = child(seed, "ratio")
    distances = np.sort(np.round(g.random((7, k)), 1), axis=1)
    neighbors = np.stack([g.permutation(12)[:k] for _ in range(7)])
    groups = g.integers(labels, size=12)
    expected = by_loop(distances, neighbors, groups, count)
    found = neighbor_ratio(distances, neighbors, groups.tolist(), count=count)
    assert found == pytest.approx(expected, nan_ok=True)
    assert not (found > 1 + 1e-12).any()


def test_without_groups_each_reference_is_its_own():
    assert neighbor_ratio([[1.0, 2.0, 4.0]]) == pytest.approx([1 / 3])
    assert neighbor_ratio([[1.0, 2.0, 4.0]], count=1) == pytest.approx([0.5])


def test_a_copy_is_zero_however_often_the_training_set_repeats_its_source():
    distances = [[0.0, 0.0, 0.0, 0.8, 1.2]]
    assert neighbor_ratio(distances) == 0.0
    assert neighbor_ratio(distances, [[0, 1, 2, 3, 4]], [7, 7, 7, 8, 9]) == 0.0


def test_duplicates_of_the_nearest_do_not_make_it_ordinary():
    distances = [[0.1, 0.1, 0.1, 1.0, 1.0]]
    neighbors, groups = [[0, 1, 2, 3, 4]], ["p", "p", "p", "q", "r"]
    assert neighbor_ratio(distances) > 0.15
    assert neighbor_ratio(distances, neighbors, groups) == pytest.approx([0.1])


def test_no_other_group_no_ratio():
    assert np.isnan(neighbor_ratio([[0.5]])).all()
    assert np.isnan(neighbor_ratio([[0.0, 0.0]])).all()
    assert np.isnan(neighbor_ratio([[0.2, 0.3]], [[0, 1]], ["p", "p"])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[2.0, 1.0]],), "ascending"),
        (([[-1.0, 1.0]],), ">= 0"),
        (([[np.nan, 1.0]],), "finite"),
        (([1.0, 2.0],), r"\(Q, K\)"),
        (([[1.0, 2.0]], [[0, 1]]), "go together"),
        (([[1.0, 2.0]], [[0, 5]], ["a", "b"]), "must lie in 0 ... 1"),
        (([[1.0, 2.0]], [[0.0, 1.0]], ["a", "b"]), "integers"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        neighbor_ratio(*arguments)


def test_count_must_be_positive():
    with pytest.raises(ValueError, match="count"):
        neighbor_ratio([[1.0, 2.0]], count=0)
