"""The degradation operator against dense matrices, and what linear algebra promises of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.metrics.degradation import SEEN, Degradation, KSpace, declared

Float = NDArray[np.float64]

BOX = {"box": [0.25, 0.2, 0.6, 0.7]}
WITHOUT_MISSING: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({}, (1, 1)),
    ({}, (2, 3)),
    ({"profile": "point"}, (3, 2)),
    ({"profile": "gaussian", "profile_fwhm": 1.3}, (4, 1)),
    ({"blur_sd": [0.8, 0.0]}, (2, 2)),
    ({"blur_sd": 1.5}, (1, 1)),
    ({"kspace": {"kept": 0.5}}, (1, 1)),
    ({"kspace": {"kept": 0.4, "centre": 0.2, "axis": "columns"}, "blur_sd": 0.5}, (2, 1)),
]
WITH_MISSING: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({"missing": BOX}, (1, 1)),
    ({"missing": BOX}, (2, 2)),
    ({"missing": BOX, "profile": "gaussian"}, (1, 2)),
]
OPERATORS = WITHOUT_MISSING + WITH_MISSING
SHAPE = (12, 12)


def dense(operator: Degradation, shape: tuple[int, int] = SHAPE) -> Float:
    """The matrix (h w, H W), from unit images."""
    units = np.eye(shape[0] * shape[1]).reshape(-1, *shape)
    return operator.apply(units).reshape(len(units), -1).T


def images(n: int = 3, shape: tuple[int, int] = SHAPE) -> Float:
    return rng.child(0, "images", *shape).standard_normal((n, *shape))


@pytest.mark.parametrize(("table", "scale"), OPERATORS)
def test_solves_as_the_pseudo_inverse_of_the_matrix(table: dict[str, Any], scale: tuple[int, int]) -> None:
    operator = declared(table, scale)
    matrix = dense(operator)
    inverse = np.linalg.pinv(matrix, rcond=SEEN)
    x = images()
    y = operator.apply(x)
    expected = (y.reshape(3, -1) @ inverse.T).reshape(x.shape)
    np.testing.assert_allclose(operator.solve(y, SHAPE), expected, atol=1e-6)
    seen = (x.reshape(3, -1) @ (inverse @ matrix).T).reshape(x.shape)
    np.testing.assert_allclose(operator.observable(x), seen, atol=1e-6)
    np.testing.assert_allclose(operator.unseen(x), x - seen, atol=1e-6)


@pytest.mark.parametrize(("table", "scale"), OPERATORS)
def test_the_adjoint_is_the_transposed_matrix(table: dict[str, Any], scale: tuple[int, int]) -> None:
    operator = declared(table, scale)
    y = rng.child(1, "y").standard_normal(operator.apply(images(1)[0]).shape)
    expected = dense(operator).T @ y.ravel()
    np.testing.assert_allclose(operator.adjoint(y, SHAPE).ravel(), expected, atol=1e-12)


@pytest.mark.parametrize(("table", "scale"), WITHOUT_MISSING)
def test_the_share_of_noise_that_is_unseen_is_the_diagonal(table: dict[str, Any], scale: tuple[int, int]) -> None:
    operator = declared(table, scale)
    matrix = dense(operator)
    expected = 1 - np.diag(np.linalg.pinv(matrix, rcond=SEEN) @ matrix).reshape(SHAPE)
    np.testing.assert_allclose(operator.unseen_share(SHAPE), expected, atol=1e-9)


def test_pixels_that_are_missing_are_unseen() -> None:
    operator = declared({"missing": BOX}, (2, 2))
    units = np.eye(144).reshape(-1, *SHAPE)
    expected = np.diag(operator.unseen(units).reshape(144, 144)).reshape(SHAPE)
    np.testing.assert_allclose(operator.unseen_share(SHAPE), expected, atol=1e-9)
    assert (operator.unseen_share(SHAPE)[4:6, 4:6] == 1).all()


tables = st.fixed_dictionaries(
    {},
    optional={
        "blur_sd": st.floats(0, 2),
        "profile": st.sampled_from(["box", "gaussian", "point"]),
        "kspace": st.builds(
            lambda kept, seed, axis: {"kept": kept, "centre": kept / 3, "seed": seed, "axis": axis},
            st.floats(0.2, 1),
            st.integers(0, 99),
            st.sampled_from(["rows", "columns"]),
        ),
    },
)
scales = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40)
@given(table=tables, scale=scales, seed=st.integers(0, 10**6))
def test_prop_the_four_parts_fit_together(table: dict[str, Any], scale: tuple[int, int], seed: int) -> None:
    operator = declared(table, scale)
    g = rng.child(seed, "images")
    x, z = g.standard_normal((2, 12, 18))
    y = operator.apply(x)
    w = g.standard_normal(y.shape)
    np.testing.assert_allclose(np.vdot(y, w), np.vdot(x, operator.adjoint(w, (12, 18))), atol=1e-9)
    hidden = operator.unseen(x)
    # A A+ A is A but for singular values that are too small to be seen.
    lost = np.linalg.norm(operator.apply(hidden))
    assert lost <= SEEN * np.linalg.norm(x) + 1e-9
    np.testing.assert_allclose(operator.unseen(hidden), hidden, atol=1e-9)
    np.testing.assert_allclose(np.vdot(hidden, operator.observable(z)), 0, atol=1e-8)
    np.testing.assert_allclose(np.vdot(hidden, z), np.vdot(x, operator.unseen(z)), atol=1e-8)
    np.testing.assert_allclose(operator.solve(y, (12, 18)), operator.observable(x), atol=1e-6)


@settings(max_examples=15)
@given(scale=scales, box=st.lists(st.floats(0, 1), min_size=4, max_size=4, unique=True), seed=st.integers(0, 999))
def test_prop_a_missing_region_leaves_a_projection(scale: tuple[int, int], box: list[float], seed: int) -> None:
    (top, bottom), (left, right) = sorted(box[:2]), sorted(box[2:])
    operator = declared({"missing": {"box": [top, left, bottom, right]}}, scale)
    x = rng.child(seed, "images").standard_normal((12, 18))
    hidden = operator.unseen(x)
    np.testing.assert_allclose(operator.unseen(hidden), hidden, atol=1e-6)
    np.testing.assert_allclose(operator.apply(hidden), 0, atol=1e-6)


def test_a_box_is_the_mean_over_its_pixels() -> None:
    x = images(1, (6, 8))[0]
    blocks = x.reshape(3, 2, 2, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(declared({}, (2, 4)).apply(x), blocks)


def test_a_point_is_the_value_in_the_middle() -> None:
    x = np.arange(12.0)[:, None] * np.ones(2)
    np.testing.assert_allclose(declared({"profile": "point"}, (3, 1)).apply(x)[:, 0], [1, 4, 7, 10])
    np.testing.assert_allclose(declared({"profile": "point"}, (4, 1)).apply(x)[:, 0], [1.5, 5.5, 9.5])


@pytest.mark.parametrize(("table", "scale"), WITHOUT_MISSING)
def test_a_constant_stays_what_it_is(table: dict[str, Any], scale: tuple[int, int]) -> None:
    np.testing.assert_allclose(declared(table, scale).apply(np.full(SHAPE, 0.4)), 0.4)


def test_channels_and_cases_are_images_of_their_own() -> None:
    operator = declared({"blur_sd": 0.7}, (2, 1))
    x = images(6).reshape(2, 3, *SHAPE)
    np.testing.assert_allclose(operator.apply(x)[1, 2], operator.apply(x[1, 2]))
    np.testing.assert_allclose(operator.unseen(x)[1, 2], operator.unseen(x[1, 2]))


@pytest.mark.parametrize("n", [1, 2, 7, 64, 65])
def test_lines_of_k_space_come_in_pairs_about_the_centre(n: int) -> None:
    kept = KSpace(0.5, 0.1, seed=3).lines(n)
    mirrored = np.roll(kept[::-1], 1)
    assert (kept == mirrored).all()
    assert kept[0]
    assert 0.5 * n - 1 <= kept.sum() <= 0.5 * n + 1.5
    assert not (KSpace(0.5, 0.1, seed=4).lines(64) == KSpace(0.5, 0.1, seed=3).lines(64)).all()


def test_noise_is_where_something_was_measured() -> None:
    operator = declared({"missing": BOX, "kspace": {"kept": 0.5}, "noise_sd": 0.1}, (1, 1))
    draws = np.stack([operator.noise((60, 60), rng.child(k, "noise")) for k in range(20)])
    there = operator.measured((60, 60))
    assert (draws[:, ~there] == 0).all()
    assert draws[:, there].std() == pytest.approx(operator.noise_rms((60, 60)), rel=0.05)
    assert declared({"noise_sd": 0.1}, (1, 1)).noise((200, 200), rng.child(0, "noise")).std() == pytest.approx(
        0.1, rel=0.02
    )


@pytest.mark.parametrize(("table", "scale"), OPERATORS)
def test_its_table_declares_it_again(table: dict[str, Any], scale: tuple[int, int]) -> None:
    operator = declared(table, scale)
    told = operator.as_dict()
    assert tuple(told.pop("scale")) == scale
    assert declared(told, scale) == operator


def test_says_what_it_does() -> None:
    said = declared({"blur_sd": 1, "noise_sd": 0.01, "missing": BOX, "kspace": {}}, (3, 1)).sentence()
    assert said == (
        "The input is the truth blurred by 1 x 1 pixels, averaged over 3 x 1 pixels, left 50% of the rows of k-space, "
        "with 8% about the centre, emptied in a box from 25%, 20% to 60%, 70%, with noise of 1 % of the range."
    )
    assert declared({}, (1, 1)).sentence() == "The input is the truth taken as it is, with no noise."


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"blur": 1}, "degradation has no key blur, only blur_sd, profile"),
        ({"blur_sd": -1}, "blur_sd must be a number from 0 to 100 pixels, got -1"),
        ({"blur_sd": [1, 2, 3]}, r"blur_sd must be a number or \[rows, columns\]"),
        ({"blur_sd": True}, "blur_sd must be a number"),
        ({"profile": "sinc"}, "profile must be one of box, gaussian, point, got 'sinc'"),
        ({"profile_fwhm": 2}, "profile_fwhm belongs to profile gaussian"),
        ({"profile": "gaussian", "profile_fwhm": 0}, "profile_fwhm must be a number above 0"),
        ({"kspace": 0.5}, "kspace must be a table, got 0.5"),
        ({"kspace": {"lines": 3}}, "kspace has no key lines"),
        ({"kspace": {"kept": 0}}, "kspace.kept must be a number above 0"),
        ({"kspace": {"kept": 0.1, "centre": 0.2}}, "kspace.centre must be a number from 0 to kept"),
        ({"kspace": {"seed": -1}}, "kspace.seed must be a whole number"),
        ({"kspace": {"axis": "z"}}, "kspace.axis must be one of rows, columns"),
        ({"missing": {}}, r"missing.box must be \[top, left, bottom, right\], got None"),
        ({"missing": {"box": [0, 0, 1, 1]}}, "leave something"),
        ({"missing": {"box": [0.5, 0, 0.5, 1]}}, "top < bottom"),
        ({"missing": {"box": [0, 0, 2, 1]}}, "shares from 0 to 1"),
        ({"noise_sd": 1}, "noise_sd must be a number from 0 to below 1"),
        ({"noise_sd": float("nan")}, "noise_sd must be a number"),
        ({"noise_sd": "0.1"}, "noise_sd must be a number"),
    ],
)
def test_refuses_a_malformed_table(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        declared(table, (2, 2))


def test_refuses_images_that_do_not_fit() -> None:
    operator = declared({}, (2, 3))
    with pytest.raises(ValueError, match="x must be a multiple of 2 x 3 pixels in size, got 4 x 4"):
        operator.apply(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"y must be \(2, 2\) for a truth of \(4, 6\), got \(2, 3\)"):
        operator.solve(np.zeros((2, 3)), (4, 6))
    with pytest.raises(ValueError, match=r"y must be \(2, 2\) for a truth of \(4, 7\)"):
        operator.adjoint(np.zeros((2, 2)), (4, 7))
    with pytest.raises(ValueError, match="x must be finite"):
        operator.unseen(np.full((4, 6), np.nan))
    with pytest.raises(ValueError, match=r"x must be images \(\.\.\., H, W\), got shape \(6,\)"):
        operator.apply(np.zeros(6))
