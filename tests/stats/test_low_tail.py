"""A limit from the middle of the scores: closed form, false alarms at the rate asked for, hardly moved by copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medgan_qa import rng
from medgan_qa.stats.low_tail import FEWEST, LEAST_SPREAD, QUARTILE, _deviation, low_tail


def test_equals_the_quantile_of_a_log_normal_distribution() -> None:
    # The exact quantiles of the distribution stand in for a sample.
    scores = stats.lognorm(s=0.3, scale=0.2).ppf((np.arange(20001) + 0.5) / 20001)
    # At one half there is no doubt to allow for.
    found = low_tail(scores, 0.5, 40000)
    assert found.middle == pytest.approx(0.2, rel=1e-4)
    assert found.spread == pytest.approx(0.3, rel=1e-3)
    assert found.threshold == pytest.approx(stats.lognorm(s=0.3, scale=0.2).ppf(0.5 / 40000), rel=1e-2)
    assert stats.norm.ppf(0.75) == pytest.approx(QUARTILE)


@pytest.mark.parametrize("looks", [40, 500])
def test_flags_any_of_many_no_more_often_than_asked_for(looks: int) -> None:
    g = rng.child(0, "low tail")
    flagged = [(s < low_tail(s, 0.1, looks).threshold).any() for s in np.exp(0.4 * g.standard_normal((1000, looks)))]
    assert 0.005 < np.mean(flagged) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 1000)


def test_the_doubt_is_that_of_the_estimate() -> None:
    g, z = rng.child(0, "doubt"), -stats.norm.ppf(0.1 / 100)
    low, middle = np.quantile(g.standard_normal((4000, 400)), (0.25, 0.5), axis=1)
    limits = middle - z * (middle - low) / QUARTILE
    assert _deviation(z) / 20 == pytest.approx(limits.std(), rel=0.06)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.15])
def test_copies_among_the_scores_do_not_hide_themselves(share: float) -> None:
    g = rng.child(0, "contaminated scores")
    scores = 0.25 * np.exp(0.25 * g.standard_normal(2000))
    scores[: round(share * 2000)] = 0.02
    assert scores[0] < low_tail(scores, 0.05, 2000).threshold


def test_scores_of_several_slices_a_patient_give_no_more_false_alarms() -> None:
    g, flagged = rng.child(0, "slices"), []
    for _ in range(300):
        shared = np.repeat(g.standard_normal(150), 4)
        scores = np.exp(0.3 * (np.sqrt(0.7) * shared + np.sqrt(0.3) * g.standard_normal(600)))
        flagged.append((scores < low_tail(scores, 0.05, 600, 150).threshold).any())
    assert np.mean(flagged) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_scores_that_are_all_the_same_have_a_least_spread() -> None:
    found = low_tail(np.full(FEWEST, 0.3), 0.05, 100)
    assert found.spread == LEAST_SPREAD
    assert 0.15 < found.threshold < 0.3


@given(st.floats(0.01, 0.3), st.floats(0.1, 10), st.integers(1, 10**6))
def test_prop_scales_with_the_scores_and_falls_with_the_looks(alpha: float, factor: float, looks: int) -> None:
    scores = np.exp(0.3 * rng.child(1, "scores").standard_normal(100))
    one, scaled = low_tail(scores, alpha, looks), low_tail(factor * scores, alpha, looks)
    assert scaled.threshold == pytest.approx(factor * one.threshold)
    assert low_tail(scores, alpha, looks + 1).threshold <= one.threshold
    assert low_tail(scores, alpha, looks, 50).threshold <= one.threshold


@pytest.mark.parametrize(
    ("scores", "alpha", "looks", "message"),
    [
        (np.ones(FEWEST - 1), 0.05, 1, "at least 20"),
        (np.ones(0), 0.05, 1, "at least"),
        (np.append(np.ones(FEWEST), 0.0), 0.05, 1, "positive"),
        (np.append(np.ones(FEWEST), np.nan), 0.05, 1, "scores"),
        (np.ones(FEWEST), 1.0, 1, "alpha"),
        (np.ones(FEWEST), 0.05, 0, "looks"),
    ],
)
def test_refuses(scores: np.ndarray, alpha: float, looks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        low_tail(scores, alpha, looks)
