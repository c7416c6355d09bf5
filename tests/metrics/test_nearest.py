"""The nearest neighbours are those of brute force, whatever the points and the tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medgan_qa.metrics import nearest as module
from medgan_qa.metrics import search
from medgan_qa.metrics.nearest import mutual, nearest
from medgan_qa.metrics.points import framed
from medgan_qa.rng import child


def clusters(count, depth, centres, spread, seed=0):
    rng = child(seed, "clusters")
    middle = 5 * rng.standard_normal((centres, depth))
    return (middle[np.arange(count) % centres] + spread * rng.standard_normal((count, depth))).astype(np.float32)


def brute(a, b, keep, own=None):
    squares = cdist(a.astype(float), b.astype(float), "sqeuclidean")
    if own is not None:
        squares[np.arange(len(a)), own] = np.inf
    order = np.argsort(squares, axis=1, kind="stable")[:, :keep]
    return order, np.take_along_axis(squares, order, axis=1)


POINTS = {
    "normal": lambda: child(0, "normal").standard_normal((150, 6)),
    "offset": lambda: child(0, "offset").standard_normal((150, 40)).astype(np.float32) + 1000,
    "lattice": lambda: child(0, "lattice").integers(0, 4, (150, 3)).astype(float),
    "one hot": lambda: np.eye(150),
    "copies": lambda: np.repeat(child(0, "copies").standard_normal((5, 4)), 30, axis=0),
    "one point": lambda: np.full((150, 3), 0.1),
    "tight clusters": lambda: clusters(150, 64, 3, 1e-3),
    "tighter clusters": lambda: clusters(150, 8, 2, 1e-6).astype(float),
    "one outlier": lambda: np.concatenate([1e-9 * child(0, "rest").standard_normal((149, 5)), np.ones((1, 5))]),
}


@pytest.mark.parametrize("crowd", [-10_000, 0, 128])
@pytest.mark.parametrize("side", [37, 1024])
@pytest.mark.parametrize("name", POINTS)
def test_mutual_neighbours_are_those_of_brute_force(name, side, crowd, monkeypatch):
    monkeypatch.setattr(search, "CROWD", crowd)
    values = POINTS[name]()
    (points,) = framed(values)
    for keep in (1, 7):
        found = mutual(points, keep, side=side)
        index, squares = brute(values, values, keep, np.arange(len(values)))
        assert found.squares == pytest.approx(squares, rel=1e-9, abs=0)
        if name not in ("one hot", "lattice"):
            assert (found.indices == index).all()


@pytest.mark.parametrize("name", POINTS)
def test_neighbours_in_another_set_are_those_of_brute_force(name):
    values = POINTS[name]()
    near, of = framed(values, values[::3] + (0.5 if name == "lattice" else 0.0))
    found = nearest(of, near, 5, side=41)
    squares = brute(of.values, near.values, 5)[1]
    assert found.squares == pytest.approx(squares, rel=1e-9, abs=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 60), st.integers(1, 70))
def test_values_do_not_depend_on_the_tiles(seed, count, side):
    rng = child(seed, "sides")
    values = rng.integers(0, 5, (count + 1, 2)).astype(float) if seed % 2 else rng.standard_normal((count + 1, 3))
    (points,) = framed(values)
    keep = min(4, count)
    assert (mutual(points, keep, side=side).squares == mutual(points, keep).squares).all()


def test_ties_go_to_the_lower_index():
    near, of = framed(np.array([[1.0], [-1.0], [1.0], [3.0]]), np.array([[0.0]]))
    assert nearest(of, near, 4).indices.tolist() == [[0, 1, 2, 3]]


def test_crowded_rows_take_the_second_way_and_only_a_shell_the_third(monkeypatch):
    taken = {"pivot": 0, "plain": 0}
    about, plainly = module._about_pivot, module._plainly

    def count(name, function):
        def counted(*arguments):
            taken[name] += 1
            return function(*arguments)

        return counted

    monkeypatch.setattr(module, "_about_pivot", count("pivot", about))
    monkeypatch.setattr(module, "_plainly", count("plain", plainly))
    monkeypatch.setattr(search, "CROWD", 0)
    mutual(framed(clusters(150, 64, 3, 1e-3))[0], 3)
    assert taken == {"pivot": 3, "plain": 0}
    mutual(framed(np.eye(40))[0], 3)
    assert taken == {"pivot": 4, "plain": 40}


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_small_sets(keep):
    (points,) = framed(np.array([[0.0], [1.0], [5.0]]))
    found = mutual(points, keep)
    assert found.indices.tolist() == [row[:keep] for row in [[1, 2], [0, 2], [1, 0]]]
    assert found.squares.tolist() == [row[:keep] for row in [[1, 25], [1, 16], [16, 25]]]
