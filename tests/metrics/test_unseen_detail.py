"""Invented detail told from recovered and from missing detail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.morphology import area_opening

from medgan_qa import rng
from medgan_qa.metrics.unseen_detail import (
    energy_ratio,
    invention_map,
    noise_level,
    objects,
    split_detail,
    strength,
)

Float = NDArray[np.float64]
SHAPE = (48, 48)
ALL = np.ones(SHAPE, bool)


def noise(seed: int, sd: float = 1.0) -> Float:
    return sd * rng.child(seed, "noise").standard_normal(SHAPE)


@given(share=st.floats(-1, 2), strange=st.floats(0, 2))
def test_prop_the_parts_add_up(share: float, strange: float) -> None:
    t = noise(0)
    apart = noise(1) - t * float((noise(1) * t).mean() / (t * t).mean())
    d = split_detail(share * t + strange * apart, t, ALL)
    assert d is not None
    kept = min(max(share, 0.0), 1.0)
    assert d.recovered == pytest.approx(kept, abs=1e-9)
    assert d.missing == pytest.approx((1 - kept) ** 2, abs=1e-9)
    whole = strange**2 * float((apart**2).mean() / (t**2).mean())
    assert d.invented == pytest.approx((share - kept) ** 2 + whole, abs=1e-9)
    assert d.energy == pytest.approx(share**2 + whole, abs=1e-9)


def test_nothing_added_has_no_correlation() -> None:
    d = split_detail(np.zeros(SHAPE), noise(0), ALL)
    assert d is not None
    assert (d.energy, d.correlation, d.recovered, d.missing, d.invented) == (0, None, 0, 1, 0)
    assert split_detail(noise(0), np.zeros(SHAPE), ALL) is None


def test_the_noise_level_is_read_through_edges() -> None:
    image = noise(0, 0.03) + (np.indices(SHAPE)[1] > 20) + 0.01 * np.indices(SHAPE)[0]
    assert noise_level(image, ALL) == pytest.approx(0.03, rel=0.06)
    assert noise_level(np.full(SHAPE, 0.3), ALL) == pytest.approx(0, abs=1e-12)


def mapped(unseen: Float, true: Float, sd: float = 0.02, tolerated: float = 0.5) -> Float:
    return invention_map(unseen, true, np.full(SHAPE, sd), ALL, smoothing_px=(2, 2), tolerated=tolerated)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_truth_is_no_invention(share: float) -> None:
    t = noise(0, 0.05)
    np.testing.assert_allclose(mapped(share * t, t), 0, atol=1e-6)


def test_white_noise_without_a_truth_is_what_is_expected() -> None:
    index = mapped(noise(1, 0.02), np.zeros(SHAPE))
    assert np.sqrt(np.mean(index**2)) == pytest.approx(1.0, abs=0.05)


def test_what_is_added_shows_where_it_is() -> None:
    t = noise(0, 0.02)
    added = np.zeros(SHAPE)
    added[20:26, 30:36] = noise(1)[20:26, 30:36] * 0.2
    index = mapped(t + added, t)
    y, x = np.unravel_index(index.argmax(), SHAPE)
    assert 19 <= y <= 26
    assert 29 <= x <= 36
    assert index.max() > 3
    assert index[:10, :20].max() < 0.1


def test_beside_strong_detail_more_is_tolerated() -> None:
    weak, strong = noise(0, 0.02), noise(0, 0.4)
    added = noise(1, 0.08)
    assert np.median(mapped(strong + added, strong)) < 0.5 * np.median(mapped(weak + added, weak))
    alike = mapped(strong + added, strong, tolerated=0.0)
    assert np.median(alike) == pytest.approx(float(np.median(mapped(weak + added, weak, tolerated=0.0))), rel=0.1)


def test_a_level_is_no_detail_to_hide_behind() -> None:
    t = np.full(SHAPE, 0.4)
    added = np.zeros(SHAPE)
    added[20:28, 20:28] = 0.3
    assert mapped(t + added, t)[23, 23] > 5


def test_more_than_the_truth_is_invented() -> None:
    t = noise(0, 0.1)
    assert np.median(mapped(2 * t, t)) > 1


@given(seed=st.integers(0, 10**6), least=st.integers(1, 30))
def test_prop_the_strength_is_that_of_an_opening_by_area(seed: int, least: int) -> None:
    index = np.round(np.abs(rng.child(seed, "map").standard_normal((12, 12))), 2)
    opened = area_opening(index, area_threshold=least, connectivity=2)  # type: ignore[no-untyped-call]
    assert strength(index, least) == opened.max()


def test_objects_are_those_above_the_threshold() -> None:
    index = np.zeros(SHAPE)
    index[2:6, 2:6], index[20:24, 20:24], index[40, 40] = 2.0, 3.0, 9.0
    first, second = objects(index, 1.5, 4)
    assert first[21, 21]
    assert second[3, 3]
    assert [len(objects(index, 1.5, n)) for n in (1, 16, 17)] == [3, 2, 0]
    assert objects(index, 9.0, 1) == []
    assert strength(index, 4) == 3.0
    assert strength(np.zeros(SHAPE), 1) == 0.0
    assert strength(index, SHAPE[0] * SHAPE[1] + 1) == 0.0


def test_the_ratio_of_energies_is_of_the_error() -> None:
    part = np.zeros(SHAPE, bool)
    part[:10] = True
    error = np.where(part, 0.2, 0.1)
    assert energy_ratio(1 + error, np.ones(SHAPE), part, ~part) == pytest.approx(4)
    assert energy_ratio(np.ones(SHAPE), np.ones(SHAPE), part, ~part) is None
    assert energy_ratio(1 + error, np.ones(SHAPE), ~part & part, ~part) is None


def test_refuses_nan() -> None:
    bad = np.full(SHAPE, np.nan)
    for call in (
        lambda: split_detail(bad, noise(0), ALL),
        lambda: noise_level(bad, ALL),
        lambda: mapped(bad, noise(0)),
        lambda: strength(bad, 1),
        lambda: objects(bad, 1, 1),
        lambda: energy_ratio(bad, noise(0), ALL, ALL),
    ):
        with pytest.raises(ValueError, match="NaN"):
            call()
