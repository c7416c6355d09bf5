"""What lies in which ball, for whole sets and halves, kept in memory or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from medgan_qa.metrics import neighbourhood, search
from medgan_qa.metrics.balls import Balls
from medgan_qa.rng import child


def sets(kind):
    rng = child(0, "balls", kind)
    real, generated = rng.standard_normal((60, 5)), 1.2 * rng.standard_normal((50, 5))
    if kind == "all at the centre":
        generated *= 1e-3
    if kind == "ties":
        real, generated = np.round(real), np.round(generated)
    return real, generated


def counted(near, squared_radii, of_real, of_generated):
    """Brute force over the distinct points."""
    squares = cdist(near.real.points.values, near.generated.points.values, "sqeuclidean")
    inside = squares[None] <= np.where(of_real > 0, squared_radii, -1)[:, :, None]
    return (inside * of_generated[:, None]).sum(2) * (of_real > 0), (inside * of_real[:, :, None]).sum(1)


@pytest.mark.parametrize("most", [10, search.MOST_PAIRS])
@pytest.mark.parametrize("keep", [2, 6, 32])
@pytest.mark.parametrize("kind", ["spread", "all at the centre", "ties"])
def test_counts_are_those_of_brute_force(kind, keep, most, monkeypatch):
    monkeypatch.setattr(search, "MOST_PAIRS", most)
    monkeypatch.setattr(search, "PRUNE_AT", most)
    rng = child(1, "radii", kind)
    near = neighbourhood(*sets(kind), keep=keep, side=16)
    assert (near.pairs.listed is None) == (most == 10)
    of_real = near.real.weights(rng.random((5, 60)) < 0.5, "real")
    of_generated = near.generated.weights(rng.random((5, 50)) < 0.5, "generated")
    radii = near.real.squared_radii(of_real, 5)
    near.pairs.reach_further(radii.max(axis=0), np.full(of_generated.shape[1], -1.0))
    held, holding = near.pairs.count(radii, of_real, of_generated)
    expected = counted(near, radii, of_real, of_generated)
    assert (held == expected[0]).all()
    assert (holding == expected[1]).all()


def test_both_sides_see_the_same_pairs():
    near = neighbourhood(*sets("spread"), keep=6)
    real, generated = near.real.weights(None, "real"), near.generated.weights(None, "generated")
    radii = near.generated.squared_radii(generated, 3)
    held, holding = near.pairs.flipped().count(radii, generated, real)
    squares = cdist(near.generated.points.values, near.real.points.values, "sqeuclidean")
    assert (held[0] == (squares <= radii[0][:, None]).sum(axis=1)).all()
    assert (holding[0] == (squares <= radii[0][:, None]).sum(axis=0)).all()


def test_a_list_that_outgrows_memory_is_read_in_pieces(monkeypatch):
    near = neighbourhood(*sets("spread"), keep=2)
    assert near.pairs.listed is not None
    monkeypatch.setattr(search, "MOST_PAIRS", len(near.pairs.listed.i) + 20)
    near.pairs.reach_further(near.pairs.reach_a * 9, near.pairs.reach_b)
    assert near.pairs.listed is None
    ones = near.real.weights(None, "real"), near.generated.weights(None, "generated")
    held, _ = near.pairs.count(near.pairs.reach_a[None], *ones)
    squares = cdist(near.real.points.values, near.generated.points.values, "sqeuclidean")
    assert (held[0] == (squares <= near.pairs.reach_a[:, None]).sum(axis=1)).all()


def test_no_pair_stands_twice_after_reaching_further():
    near = neighbourhood(*sets("spread"), keep=3)
    near.pairs.reach_further(near.pairs.reach_a * 4, near.pairs.reach_b * 2)
    near.pairs.reach_further(near.pairs.reach_a, near.pairs.reach_b * 2)
    listed = near.pairs.listed
    assert len(np.unique(listed.i * 1000 + listed.j)) == len(listed.i)
    squares = cdist(near.real.points.values, near.generated.points.values, "sqeuclidean")
    within = (squares <= near.pairs.reach_a[:, None]) | (squares <= near.pairs.reach_b)
    assert within.sum() <= len(listed.i)
    marked = np.zeros_like(within)
    marked[listed.i, listed.j] = True
    assert (marked | ~within).all()


@pytest.mark.parametrize("keep", [2, 4, 30])
def test_pairs_among_real_points_have_every_tie(keep):
    real = np.concatenate([np.eye(12), 5 + child(2, "rest").standard_normal((10, 12)), np.eye(12)[:3]])
    near = neighbourhood(real, real[:4], keep=keep)
    pairs = near.real_pairs()
    assert isinstance(pairs, Balls)
    ones = near.real.weights(None, "real") > 0
    held, _ = pairs.count(pairs.reach_a[None], ones.astype(int), ones.astype(int))
    points = near.real.points.values
    squares = cdist(points, points, "sqeuclidean")
    np.fill_diagonal(squares, np.inf)
    assert (held[0] == (squares <= pairs.reach_a[:, None] * (1 + 1e-12)).sum(axis=1)).all()
