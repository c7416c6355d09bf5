"""Tiles of distances: bounds that hold, every pair once, and float64 where a decision hangs on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medgan_qa.metrics.balls import bounded
from medgan_qa.metrics.pairs import squared_distances, tiles
from medgan_qa.metrics.points import framed
from medgan_qa.rng import child


def whole(a, b, side=1024, own=None):
    """Lower and upper bounds of all squared distances; NaN where no tile came, infinity where a pair was left out."""
    low = np.full((len(a), len(b)), np.nan)
    for tile in tiles(a, b, own=own, side=side):
        assert np.isnan(low[tile.rows, tile.columns]).all(), "a pair came twice"
        low[tile.rows, tile.columns] = -tile.nearness
    unit = float(a.frame.halved(1.0))
    return low / unit, (low + a.slack[:, None] + b.slack) / unit


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**20), st.sampled_from([1, 2, 3, 100, 2049, 5000]), st.sampled_from([1e-40, 1e-3, 1.0, 1e30]),
    st.sampled_from([0.0, 1.0, 1e4]), st.booleans(),
)  # fmt: skip
def test_bounds_hold_whatever_the_scale_the_offset_and_the_depth(seed, depth, scale, offset, single):
    rng = child(seed, "bounds")
    a = (rng.standard_normal((17, depth)) + offset) * scale * rng.choice([1, 1e-3, 30], (17, 1))
    b = (rng.standard_normal((13, depth)) + offset) * scale
    b[:3] = a[:3]
    if single:
        a, b = a.astype(np.float32), b.astype(np.float32)
    exact = cdist(a.astype(float), b.astype(float), "sqeuclidean")
    low, high = whole(*framed(a, b))
    assert (low <= exact).all()
    assert (exact <= high).all()


def test_the_error_bound_does_not_grow_with_the_depth():
    rng = child(0, "depth")
    widths = []
    for depth in (2048, 40 * 2048):
        (points,) = framed(rng.standard_normal((4, depth)).astype(np.float32))
        widths.append((points.slack / points.norms).max())
    assert widths[1] < 1.05 * widths[0] < 1.5e-4


def test_tiles_cover_every_pair_once_and_leave_out_what_is_own():
    rng = child(0, "tiles")
    a, b = framed(rng.standard_normal((23, 4)), rng.standard_normal((31, 4)))
    for side in (1, 5, 7, 100):
        assert not np.isnan(whole(a, b, side)[0]).any()
    own = np.arange(23) % 5 - 1
    low = whole(a, b, 6, own)[0]
    assert (np.isinf(low) == (own[:, None] == np.arange(31))).all()


def test_tiles_of_one_set_meet_the_upper_triangle_without_the_diagonal():
    (a,) = framed(child(0, "triangle").standard_normal((20, 3)))
    low = whole(a, a, 6)[0]
    assert not np.isnan(low[np.triu_indices(20)]).any()
    assert np.isinf(np.diag(low)).all()
    assert np.isinf(low).sum() == 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [1, 3, 2048, 20_001])
def test_distances_do_not_depend_on_order_or_company(dtype, depth):
    rng = child(1, "squares")
    a = rng.standard_normal((6, depth)).astype(dtype)
    b = np.concatenate([a[:2], rng.standard_normal((3, depth)).astype(dtype)])
    i, j = np.divmod(np.arange(30), 5)
    squares = squared_distances(a, b, i, j)
    assert (squares == squared_distances(b, a, j, i)).all()
    assert (squares[::-1] == squared_distances(a, b, i[::-1], j[::-1])).all()
    assert (squares == [squared_distances(a, b, i[[p]], j[[p]])[0] for p in range(30)]).all()
    assert squares.reshape(6, 5) == pytest.approx(cdist(a.astype(float), b.astype(float), "sqeuclidean"), rel=1e-12)
    assert squares[0] == squares[6] == 0.0


def test_distances_in_threads_equal_those_without():
    rng = child(2, "threads")
    a = rng.standard_normal((300, 64)).astype(np.float32)
    i, j = rng.integers(0, 300, (2, 20_000))
    expected = ((a[i].astype(float) - a[j]) ** 2).sum(axis=1)
    assert squared_distances(a, a, i, j) == pytest.approx(expected, rel=1e-13)


def test_bounds_of_listed_pairs_are_in_the_unit_of_the_features():
    (a,) = framed(child(3, "unit").standard_normal((10, 5)) * 1e-30)
    (tile,) = tiles(a, a)
    listed = bounded(a, a, np.array([0, 2]), np.array([4, 9]), -tile.nearness[[0, 2], [4, 9]])
    exact = squared_distances(a.values, a.values, listed.i, listed.j)
    assert (listed.low <= exact).all()
    assert (exact <= listed.high).all()
    assert (listed.high - listed.low < 1e-3 * exact).all()
