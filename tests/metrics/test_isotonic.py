"""Monotone smoothing on a grid, against a brute-force solver and by its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import LinearConstraint, minimize

from medgan_qa.metrics.isotonic import isotonic_grid


def test_what_is_monotone_stays():
    y = np.array([[0.0, 0.2, 0.2], [0.1, 0.3, 0.9]])
    assert np.allclose(isotonic_grid(y, np.ones_like(y)), y)


def test_two_neighbours_out_of_order_take_their_weighted_mean():
    assert np.allclose(isotonic_grid([[0.6, 0.0]], [[1.0, 2.0]]), 0.2)
    assert np.allclose(isotonic_grid([[0.6], [0.0]], [[1.0], [2.0]]), 0.2)


def test_a_general_solver_finds_the_same_fit():
    g = np.random.default_rng(4)
    y, w = g.random((3, 4)), 1 + g.random((3, 4))
    steps = []
    for r in range(3):
        for c in range(4):
            for r2, c2 in ((r + 1, c), (r, c + 1)):
                if r2 < 3 and c2 < 4:
                    row = np.zeros((3, 4))
                    row[r2, c2], row[r, c] = 1, -1
                    steps.append(row.ravel())
    best = minimize(
        lambda x: float((w.ravel() * (x - y.ravel()) ** 2).sum()),
        np.linspace(0, 1, 12),
        constraints=LinearConstraint(np.array(steps), 0, np.inf),
        tol=1e-12,
    )
    assert np.allclose(isotonic_grid(y, w).ravel(), best.x, atol=1e-4)


@given(arrays(float, (3, 5), elements=st.floats(0, 1)), arrays(float, (3, 5), elements=st.integers(1, 100)))
def test_property_the_fit_falls_along_neither_axis_and_keeps_the_mean(y, w):
    fit = isotonic_grid(y, w)
    assert np.diff(fit, axis=0).min() > -1e-6
    assert np.diff(fit, axis=1).min() > -1e-6
    assert np.average(fit, weights=w) == pytest.approx(np.average(y, weights=w), abs=1e-6)
    assert y.min() - 1e-6 <= fit.min()
    assert fit.max() <= y.max() + 1e-6


def test_a_cell_without_weight_is_filled_in():
    fit = isotonic_grid([[0.2, 0.9, 0.6]], [[10, 0, 10]])
    assert fit[0, [0, 2]] == pytest.approx([0.2, 0.6], abs=1e-5)
    assert 0.2 <= fit[0, 1] <= 0.6 + 1e-5


@pytest.mark.parametrize(("y", "w"), [([[np.nan]], [[1]]), ([[1.0]], [[0]]), ([1.0], [1]), ([[1.0]], [[-1]])])
def test_what_cannot_be_fitted_is_refused(y, w):
    with pytest.raises(ValueError, match=r"values"):
        isotonic_grid(y, w)
