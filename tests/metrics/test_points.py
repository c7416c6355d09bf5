"""Sets of points: what is refused, what counts as equal, and in which frame they are computed."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.metrics.points import distinct, features, framed, own_frame, runs, same_width, spread
from medgan_qa.rng import child


def test_features_keep_float32_and_widen_the_rest():
    assert features(np.zeros((2, 3), np.float32), "x").dtype == np.float32
    assert features(np.zeros((2, 3), np.float16), "x").dtype == np.float32
    assert features(np.zeros((2, 3), int), "x").dtype == np.float64
    assert features([[1, 2]], "x").dtype == np.float64


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 0), (2, 2, 2)])
def test_features_refuse_other_shapes(shape):
    with pytest.raises(ValueError, match=r"x must be features \(N, D\)"):
        features(np.zeros(shape), "x")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_name_rows_that_are_not_finite(dtype, bad):
    values = np.ones((9, 4), dtype)
    values[[3, 7], [0, 2]] = bad
    with pytest.raises(ValueError, match=r"x holds NaN.* in 2 rows, first \[3, 7\]"):
        features(values, "x")


def test_features_take_magnitudes_whose_squares_fit_float64_only():
    assert features(np.full((2, 3), 3e38, np.float32), "x").shape == (2, 3)
    assert features(np.full((2, 3), 9e149), "x").shape == (2, 3)
    with pytest.raises(ValueError, match="above 1e150"):
        features(np.full((2, 3), 1.1e150), "x")


def test_widths_must_agree():
    with pytest.raises(ValueError, match="got 3 and 4"):
        same_width(np.zeros((1, 3)), np.zeros((1, 4)), "a and b")


@pytest.mark.parametrize("width", [1, 7, 129, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_finds_equal_rows_wherever_they_stand(width, dtype):
    rng = child(0, "distinct", width)
    values = rng.standard_normal((12, width)).astype(dtype)[rng.integers(0, 12, 60)]
    found = distinct(framed(values)[0])
    expected, group = np.unique(values, axis=0, return_inverse=True)
    assert len(found.first) == len(expected)
    same = group.ravel()[:, None] == group.ravel()
    assert ((found.group[:, None] == found.group) == same).all()
    assert (found.first == [np.flatnonzero(found.group == g)[0] for g in range(len(expected))]).all()
    assert (np.diff(found.first) > 0).all()


def test_distinct_of_equal_norms_are_kept_apart_and_zeros_of_both_signs_are_one():
    assert len(distinct(framed(np.eye(5))[0]).first) == 5
    assert distinct(framed(np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0]]))[0]).group.tolist() == [0, 0, 1]


@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1.0, 1e25, 1e140])
def test_norms_stay_within_float32_at_any_scale(scale):
    values = child(0, "scale").standard_normal((20, 5)) * scale
    (points,) = framed(values)
    assert 1e-20 < points.norms.max() < 1e30
    centred = (values - points.frame.centre) * points.frame.scale
    assert points.norms == pytest.approx((centred**2).sum(axis=1), rel=1e-5)
    assert points.frame.halved(4.0) == 2 * points.frame.scale**2


def test_a_set_far_from_the_frame_gets_its_own():
    rng = child(0, "frame")
    near, far = framed(rng.standard_normal((30, 4)), rng.standard_normal((30, 4)) + 50)
    assert own_frame(near) is near
    assert own_frame(far).norms.max() < 0.1 * far.norms.min()


def test_runs_cover_everything_once():
    assert [(run.start, run.stop) for run in runs(10, 4)] == [(0, 3), (3, 6), (6, 10)]
    assert runs(0, 4) == []


def test_spread_keeps_the_order_in_threads_and_without():
    for cost in (1, 1 << 20):
        parts = spread(lambda part: np.arange(part.start, part.stop), 1001, cost)
        assert (np.concatenate(parts) == np.arange(1001)).all()
        assert len(parts) == (1 if cost == 1 else 4)
