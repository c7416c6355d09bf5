"""Intervals over fits and test patients: they cover, know both sources of chance, and never claim certainty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.metrics.class_scores import area_over_pairs
from medgan_qa.stats import draw_halves
from medgan_qa.stats.repeated_fits import repeated_fits_interval

SCORES = st.floats(0.5, 0.99)


def interval(values, replicates, **more):
    given_ = {"clusters": 60, "independent": 30, "kind": "share", **more}
    return repeated_fits_interval(values, replicates, **given_)


@pytest.mark.parametrize("kind", ["share", "difference"])
def test_covers_over_fits_and_clustered_test_patients(kind):
    """Learners on bootstraps of a training set, which is one of several; truth is over many fits and patients."""
    g, patients, fits = rng.child(5, kind), 70, 5
    labels = np.arange(2 * patients) % 2
    held = draw_halves((np.arange(2 * patients) // 2).tolist(), 60, g)
    below = above = 0
    for _ in range(5):
        trained = [_features(g, n) for n in ((20, 60) if kind == "difference" else (20,))]
        truth = _truth(g, trained)
        for _ in range(40):
            x = _features(g, patients)
            arms = [_bootstrapped(g, train, fits, x, labels, held) for train in trained]
            values, replicates = arms[-1]
            if kind == "difference":
                values, replicates = values - arms[0][0], replicates - arms[0][1]
            found = repeated_fits_interval(
                values, replicates, clusters=patients, independent=patients // 2, kind=kind, lower=0.8, alpha=0.05
            )
            below += truth < found.low
            above += truth > found.high

    # 95 % one-sided; 200 repetitions of 5 % give at most 16 with probability 0.97.
    assert below <= 16
    assert above <= 16


DIM = 4


def _features(g: np.random.Generator, patients: int) -> np.ndarray:
    """Two images a patient, one of each class, that share half of their variance."""
    shared = np.repeat(g.normal(size=(patients, DIM)), 2, axis=0)
    x = np.sqrt(0.5) * shared + np.sqrt(0.5) * g.normal(size=(2 * patients, DIM))
    x[1::2, 0] += 1.2
    return x


def _bootstrapped(g, train, fits, x, labels, held):
    """Areas of `fits` learners, each on a bootstrap of the patients of `train`, and their mean on half samples."""
    values, replicates, n = [], [], len(train) // 2
    for _ in range(fits):
        drawn = g.integers(n, size=n)
        score = x @ (train[2 * drawn + 1].mean(axis=0) - train[2 * drawn].mean(axis=0))
        both = np.stack([-score, score], axis=1)
        values.append(area_over_pairs(both, labels)[0])
        replicates.append(area_over_pairs(both, labels, held))
    return np.array(values), np.mean(replicates, axis=0)


def _truth(g: np.random.Generator, trained: list[np.ndarray]) -> float:
    """The expectation over fits and patients, by a large simulation."""
    x, labels = _features(g, 1000), np.arange(2000) % 2
    areas = [_bootstrapped(g, train, 100, x, labels, np.ones((1, 2000), bool))[0].mean() for train in trained]
    return float(areas[-1] - areas[0]) if len(areas) > 1 else float(areas[0])


def test_fits_that_differ_widen_the_interval_and_more_of_them_narrow_it():
    replicates = 0.8 + 0.01 * rng.child(0, "replicates").standard_normal(200)
    alike, apart, many = (interval(values, replicates) for values in ([0.8] * 4, [0.7, 0.9] * 2, [0.7, 0.9] * 200))

    assert alike.se_fits == 0
    assert apart.se_fits == pytest.approx(np.std([0.7, 0.9] * 2, ddof=1) / 2)
    assert apart.high - apart.low > 2 * (alike.high - alike.low)
    assert many.high - many.low < 0.6 * (apart.high - apart.low)


def test_agreement_of_all_is_no_certainty():
    perfect = interval([1.0] * 5, np.ones(50))
    same = interval([0.0] * 5, np.zeros(50), kind="difference")

    assert perfect.high == 1.0
    assert perfect.low == pytest.approx(0.05 ** (1 / 30))
    assert same.high == -same.low == pytest.approx(1 - 0.05 ** (1 / 30))
    # Nor is one that is all but perfect surer than a perfect one.
    assert interval([1.0] * 4 + [0.9999], np.ones(50)).low <= perfect.low


def test_where_errors_are_plenty_the_variance_of_a_difference_is_believed():
    fits, halves = [0.01, 0.012, 0.011, 0.009], 0.0105 + 0.002 * rng.child(1, "halves").standard_normal(100)
    few, many = (interval(fits, halves, kind="difference", lower=lower) for lower in (0.95, 0.8))

    assert few.high - few.value == pytest.approx(1 - 0.05 ** (1 / 30))
    assert many.high - many.value < 0.01


def test_few_patients_and_halves_without_a_class_give_no_ends():
    for found in (interval([0.8, 0.9], np.full(10, 0.85), clusters=7), interval([0.8, 0.9], [0.8, np.nan])):
        assert found.low is None
        assert found.high is None
        assert found.value == pytest.approx(0.85)
        assert found.method.startswith("none")


@given(st.lists(SCORES, min_size=2, max_size=6), st.lists(SCORES, min_size=4, max_size=8), st.floats(0.001, 0.4))
def test_prop_ends_enclose_the_value_and_widen_with_confidence(values, replicates, alpha):
    for kind, lowest in (("share", 0.0), ("difference", -1.0)):
        at, surer = (interval(values, replicates, kind=kind, alpha=a) for a in (alpha, alpha / 2))
        assert lowest <= surer.low <= at.low <= at.value <= at.high <= surer.high <= 1.0


@pytest.mark.parametrize(
    "more",
    [
        {"values": [0.5]},
        {"values": [0.5, np.nan]},
        {"values": [0.5, 1.5]},
        {"values": [-0.5, 0.5]},
        {"replicates": [0.5]},
        {"independent": 0},
        {"alpha": 0.7},
    ],
)
def test_arguments_that_make_no_sense_are_refused(more):
    given_ = {"values": [0.5, 0.6], "replicates": [0.5, 0.6], **more}
    with pytest.raises(ValueError, match=r"."):
        interval(given_.pop("values"), given_.pop("replicates"), **given_)
