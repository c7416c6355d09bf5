"""Standardising by the real reference: its scale, the floor, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import zscore

from medgan_qa.features.normalise import LIMIT, RELATIVE_FLOOR, Standardiser


def table(n=50, columns=4, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(g.normal(size=columns) * 100, g.uniform(0.01, 1000, columns), (n, columns))


def test_is_the_z_score_of_the_reference():
    reference, other = table(), table(seed=1)
    scale = Standardiser.fit(reference)
    np.testing.assert_allclose(scale.apply(reference), zscore(reference, ddof=1), atol=1e-12)
    expected = (other - reference.mean(axis=0)) / reference.std(axis=0, ddof=1)
    np.testing.assert_allclose(scale.apply(other), expected, rtol=1e-12)
    assert scale.floored == ()


def test_the_generated_images_have_no_part_in_the_scale():
    reference = table()
    alone = Standardiser.fit(reference).apply(reference[:3])
    scale = Standardiser.fit(reference)
    scale.apply(table(seed=2) * 1e6)
    np.testing.assert_array_equal(scale.apply(reference[:3]), alone)


@pytest.mark.parametrize(("constant", "floor"), [(8.0, 8 * RELATIVE_FLOOR), (-8.0, 8 * RELATIVE_FLOOR), (0.0, 1e-3)])
def test_a_constant_feature_is_floored_and_named(constant, floor):
    reference = np.column_stack([table(columns=1), np.full(50, constant)])
    scale = Standardiser.fit(reference, ["varies", "still"])
    assert scale.floored == ("still",)
    assert scale.scale[1] == pytest.approx(floor)
    np.testing.assert_array_equal(scale.apply(reference)[:, 1], 0)

    departed = np.column_stack([reference[:3, 0], constant + floor * np.array([0.5, -2, 1e9])])
    np.testing.assert_allclose(scale.apply(departed)[:, 1], [0.5, -2, LIMIT], rtol=1e-6)


def test_only_floored_features_are_held_within_the_limit():
    reference = table()
    far = reference + 1000 * reference.std(axis=0)
    assert np.all(Standardiser.fit(reference).apply(far) > 900)


def test_nearly_constant_is_floored_and_just_varying_is_not():
    wiggle = np.resize([-1.0, 1.0], 50)
    reference = np.column_stack([1 + 0.9e-3 * wiggle, 1 + 1.1e-3 * wiggle])
    scale = Standardiser.fit(reference)
    assert scale.floored == ("0",)
    assert np.abs(scale.apply(reference)[:, 0]).max() < 1


def test_a_small_unit_is_no_reason_to_floor():
    assert Standardiser.fit(table() * 1e-9).floored == ()


@given(st.floats(1e-6, 1e6), st.integers(0, 50))
def test_does_not_depend_on_the_unit(factor, seed):
    reference, other = table(seed=seed), table(seed=seed + 1)
    reference[:, 0] = other[0, 0]  # a floored one among them
    plain = Standardiser.fit(reference).apply(other)
    np.testing.assert_allclose(Standardiser.fit(reference * factor).apply(other * factor), plain, rtol=1e-6, atol=1e-9)


def test_numbers_that_are_none_are_refused_with_rows_and_features():
    reference = table()
    broken = reference.copy()
    broken[7, 1], broken[3, 2] = np.nan, np.inf
    for call in (
        lambda: Standardiser.fit(broken, list("abcd")),
        lambda: Standardiser.fit(reference, list("abcd")).apply(broken),
    ):
        with pytest.raises(ValueError, match="features b, c of rows 3, 7;"):
            call()


def test_many_bad_rows_are_counted():
    with pytest.raises(ValueError, match="rows 0, 1, 2, 3, 4 and 45 more"):
        Standardiser.fit(np.full((50, 2), np.nan))


@pytest.mark.parametrize(
    ("reference", "names", "says"),
    [
        (np.zeros((1, 3)), None, "at least two rows"),
        (np.zeros((0, 3)), None, "at least two rows"),
        (np.zeros((5, 0)), None, "at least two rows"),
        (np.zeros(5), None, r"\(N, D\)"),
        (np.zeros((5, 2)), ["a"], "2 features but 1 names"),
    ],
)
def test_what_gives_no_scale_is_refused(reference, names, says):
    with pytest.raises(ValueError, match=says):
        Standardiser.fit(reference, names)


def test_another_number_of_features_is_refused():
    with pytest.raises(ValueError, match="fitted to 4 features, got 3"):
        Standardiser.fit(table()).apply(np.zeros((2, 3)))
    assert Standardiser.fit(table()).apply(np.zeros((0, 4))).shape == (0, 4)
