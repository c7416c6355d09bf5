"""Reading the share of an attribute among unlabelled images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.metrics import attribute_score, prevalence, prevalence_replicates


def drawn(seed: int, n: int, share: float, gap: float = 2.0, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    g = rng.child(seed, "prevalence", n, round(1000 * share))
    labels = g.random(n) < share
    features = g.standard_normal((n, d))
    features[labels, 0] += gap
    return features, labels


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 60)])
def test_the_score_is_ridge_regression_of_the_label(n, d):
    x, y = drawn(0, n, 0.3, d=d)
    other, _ = drawn(1, 20, 0.3, d=d)
    (score,) = attribute_score(x, y, other, penalty=0.1)

    centred, target = (x - x.mean(0)) / x.std(0), y - y.mean()
    stacked = np.vstack([centred, np.sqrt(0.1 * len(x)) * np.eye(x.shape[1])])
    weights = np.linalg.lstsq(stacked, np.concatenate([target, np.zeros(x.shape[1])]), rcond=None)[0]
    np.testing.assert_allclose(score, (other - x.mean(0)) / x.std(0) @ weights, atol=1e-10)


def test_units_of_the_features_and_constant_ones_do_not_matter():
    x, y = drawn(0, 100, 0.3)
    other, _ = drawn(1, 20, 0.3)
    units = 10.0 ** np.arange(-6, 6)
    (score,) = attribute_score(x, y, other)
    (scaled,) = attribute_score(
        np.hstack([x * units, np.full((100, 1), 3.0)]), y, np.hstack([other * units, other[:, :1]])
    )

    np.testing.assert_allclose(score, scaled, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5])
def test_the_share_is_found_whatever_it_is_in_the_reference(share):
    train, reference = drawn(0, 2000, 0.3), drawn(1, 2000, 0.2)
    x, truth = drawn(2, 4000, share)
    score, other = attribute_score(*train, reference[0], x)
    found = prevalence(score, reference[1], other)

    assert found.value == pytest.approx(truth.mean(), abs=0.05)
    assert found.reference == reference[1].mean()
    assert found.separation > 1


def test_what_leaves_no_trace_does_not_separate():
    train, reference = drawn(0, 1000, 0.3, gap=0.0), drawn(1, 1000, 0.3, gap=0.0)
    score, _ = attribute_score(*train, reference[0], reference[0])

    assert abs(prevalence(score, reference[1], score).separation) < 0.3


def test_replicates_are_the_estimate_on_each_half():
    x, y = drawn(3, 60, 0.4)
    u, _ = drawn(4, 40, 0.2)
    g = rng.child(0, "halves")
    a, b = g.random((7, 60)) < 0.5, g.random((7, 40)) < 0.5
    found = prevalence_replicates(x[:, 0], y, u[:, 0], a, b)

    for k in range(7):
        one = prevalence(x[a[k], 0], y[a[k]], u[b[k], 0])
        np.testing.assert_allclose(found[k], [one.value, one.reference])


def test_a_half_without_a_kind_of_label_has_no_value():
    labels = np.array([True, False, False, False])
    halves = np.array([[False, True, True, False]])

    assert np.isnan(prevalence_replicates(np.arange(4.0), labels, np.arange(3.0), halves, np.ones((1, 3), bool))[0, 0])


@pytest.mark.parametrize("labels", [np.zeros(5, bool), np.ones(5, bool)])
def test_labels_all_alike_are_refused(labels):
    with pytest.raises(ValueError, match="both"):
        attribute_score(np.ones((5, 2)), labels, np.ones((1, 2)))
    with pytest.raises(ValueError, match="both"):
        prevalence(np.arange(5.0), labels, np.arange(5.0))


@given(st.floats(0.1, 10), st.floats(-5, 5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_scale_and_origin_of_the_score_do_not_matter(scale, origin, seed):
    x, y = drawn(seed, 50, 0.5)
    u, _ = drawn(seed + 100, 30, 0.3)
    first = prevalence(x[:, 0], y, u[:, 0])
    second = prevalence(scale * x[:, 0] + origin, y, scale * u[:, 0] + origin)

    assert second.value == pytest.approx(first.value, abs=1e-6)
