"""Areas under the ROC curve against counting pairs, other packages, and simulation with clustered patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medgan_qa.stats.roc import LOGIT, PAIRS, placements, roc_area, roc_area_difference, roc_curve

PLANS = np.array([[1, 1], [1, 0], [1, 0], [0, 0]], bool)
"""Two units a patient: half of all units are positive, patients have either kind or both."""


def drawn(g, people, shift, between=0.6):
    """Scores with a patient's own part, labels, and patients."""
    positive = np.tile(PLANS, (people // 4, 1))
    own = math.sqrt(between) * g.standard_normal((len(positive), 1))
    scores = shift * positive + own + math.sqrt(1 - between) * g.standard_normal(positive.shape)
    return scores.ravel(), positive.ravel(), np.repeat(np.arange(len(positive)), 2)


def counted(scores, positive):
    """Every pair of a positive and a negative, ties half."""
    return np.mean([(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]])


scored = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 9)), min_size=2, max_size=40)


@given(scored)
def test_prop_the_area_is_the_share_of_pairs_in_order(rows):
    scores, positive, patients = (np.array(column) for column in zip(*rows, strict=True))
    area = roc_area(scores, positive, patients)
    if positive.all() or not positive.any():
        assert area.value is None
        assert area.low is None
        return
    assert area.value == pytest.approx(counted(scores, positive))
    assert area.value == pytest.approx(
        stats.mannwhitneyu(scores[positive], scores[~positive]).statistic / (positive.sum() * (~positive).sum())
    )
    reversed_ = roc_area(-scores, positive, patients)
    assert reversed_.value == pytest.approx(1 - area.value)
    if area.low is not None:
        assert 0 <= area.low <= area.value + 1e-12
        assert area.value - 1e-12 <= area.high <= 1
        assert area.low == pytest.approx(1 - reversed_.high, abs=1e-9)


@given(scored)
def test_prop_only_the_order_of_scores_counts(rows):
    scores, positive, patients = (np.array(column) for column in zip(*rows, strict=True))
    assert roc_area(scores, positive, patients) == roc_area(np.exp(scores / 2.0), positive, patients)


def test_a_curve_has_the_same_area():
    g = np.random.default_rng(3)
    scores, positive, patients = drawn(g, 40, 1.0)
    scores = scores.round(1)
    curve = roc_curve(scores, positive)

    assert np.trapezoid(curve.true_positives, curve.false_positives) == pytest.approx(
        roc_area(scores, positive, patients).value
    )
    assert (curve.false_positives[0], curve.true_positives[-1]) == (0, 1)
    assert len(curve.thresholds) == len(set(scores)) + 1


def test_the_standard_error_is_delongs_where_every_patient_has_one_unit():
    g = np.random.default_rng(5)
    positive = np.arange(120) % 3 == 0
    scores = g.standard_normal(120) + 1.2 * positive
    own = placements(scores, positive)
    expected = math.sqrt(own[positive].var(ddof=1) / positive.sum() + own[~positive].var(ddof=1) / (~positive).sum())

    assert roc_area(scores, positive, range(120)).se == pytest.approx(expected)


def test_the_standard_error_agrees_with_the_jackknife_by_patient():
    scores, positive, patients = drawn(np.random.default_rng(7), 120, 1.0)
    left_out = []
    for patient in set(patients.tolist()):
        keep = patients != patient
        left_out.append(roc_area(scores[keep], positive[keep], patients[keep]).value)
    count = len(left_out)
    jackknife = math.sqrt((count - 1) / count * np.sum((left_out - np.mean(left_out)) ** 2))

    assert roc_area(scores, positive, patients).se == pytest.approx(jackknife, rel=0.03)


def test_units_of_one_patient_that_say_the_same_count_once():
    g = np.random.default_rng(9)
    positive = np.arange(60) % 2 == 0
    scores = g.standard_normal(60) + positive
    once = roc_area(scores, positive, range(60))
    thrice = roc_area(np.repeat(scores, 3), np.repeat(positive, 3), np.repeat(np.arange(60), 3))

    assert thrice.se == pytest.approx(once.se)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize("people", [8, 30, 200])
def test_complete_separation_is_no_certainty(people):
    positive = np.arange(2 * people) < people
    area = roc_area(positive.astype(float), positive, range(2 * people))

    assert (area.value, area.high) == (1.0, 1.0)
    # the chance that so many independent pairs are all in order
    assert area.low == pytest.approx(0.05 ** (1 / people))
    assert area.method == PAIRS


def test_one_pair_out_of_order_never_claims_more_than_none():
    positive = np.arange(60) < 30
    scores = positive + 0.01 * np.arange(60)
    perfect = roc_area(scores, positive, range(60)).low
    scores[0], scores[59] = scores[59], scores[0]
    assert roc_area(scores, positive, range(60)).low <= perfect


def test_a_constant_score_gets_no_narrow_interval():
    positive = np.arange(40) < 20
    area = roc_area(np.zeros(40), positive, range(40))
    assert area.value == 0.5
    assert area.low < 0.35
    assert area.high > 0.65


@pytest.mark.parametrize("people", [0, 1, 2, 7])
def test_few_patients_have_no_interval(people):
    positive = np.arange(2 * people) < people
    area = roc_area(np.arange(2.0 * people), positive, range(2 * people))
    assert (area.value is None) == (people == 0)
    assert area.low is None
    assert area.high is None


def test_pairs_are_disjoint_by_patient():
    # three patients with both kinds can give one pair and no second
    area = roc_area([1.0, 0.0] * 3, [1, 0] * 3, [0, 0, 1, 1, 2, 2])
    assert area.disjoint_pairs == 1
    assert roc_area([1.0, 0.0] * 3, [1, 0] * 3, range(6)).disjoint_pairs == 3


@pytest.mark.parametrize(
    ("scores", "positive", "patients"),
    [
        ([1.0, math.nan], [0, 1], [0, 1]),
        ([1.0, 2.0], [0, 2], [0, 1]),
        ([1.0, 2.0], [0], [0, 1]),
        ([1.0, 2.0], [0, 1], [0]),
        ([1.0, 2.0], [0, 1], [0, None]),
    ],
)
def test_what_is_no_score_is_refused(scores, positive, patients):
    with pytest.raises(ValueError, match=r"finite|positive|cluster|missing"):
        roc_area(scores, positive, patients)


@pytest.mark.parametrize(("people", "shift"), [(40, 1.0), (40, 2.2), (100, 2.2), (100, 0.0)])
def test_the_interval_covers_under_clustering(people, shift):
    g, runs = np.random.default_rng(people + round(10 * shift)), 300
    truth = stats.norm.cdf(shift / math.sqrt(2))
    areas = [roc_area(*drawn(g, people, shift)) for _ in range(runs)]

    # a bound of 95 % that covers 92.5 % of 300 times is within two standard errors
    assert np.mean([a.low <= truth for a in areas]) >= 0.925
    assert np.mean([a.high >= truth for a in areas]) >= 0.925
    assert all(a.method == LOGIT for a in areas if 0 < a.value < 1)


def paired(g, people, first, second):
    """Two scores of the same units that share the patients' part."""
    scores, positive, patients = drawn(g, people, 0.0)
    return (
        scores + first * positive,
        scores + second * positive + 0.5 * g.standard_normal(len(scores)),
        positive,
        patients,
    )


def test_a_difference_of_paired_areas_covers():
    g, found = np.random.default_rng(11), []
    truth = stats.norm.cdf(1.5 / math.sqrt(2)) - stats.norm.cdf(1.0 / math.sqrt(2.5))
    for _ in range(300):
        first, second, positive, patients = paired(g, 80, 1.5, 1.0)
        d = roc_area_difference(first, second, positive, patients)
        found.append((d.low <= truth, d.high >= truth, d.value - truth))
    low, high, error = np.mean(found, axis=0)
    assert low >= 0.92
    assert high >= 0.92
    assert abs(error) < 0.01


def test_a_difference_is_that_of_the_areas_and_knows_its_sign():
    first, second, positive, patients = paired(np.random.default_rng(13), 80, 2.0, 0.5)
    d = roc_area_difference(first, second, positive, patients)
    alone = [roc_area(s, positive, patients).value for s in (first, second)]
    back = roc_area_difference(second, first, positive, patients)

    assert d.value == pytest.approx(alone[0] - alone[1])
    assert (back.value, back.low) == pytest.approx((-d.value, -d.high))
    assert d.low > 0


def test_two_classifiers_that_agree_everywhere_are_not_shown_to_be_equal():
    positive = np.arange(60) < 30
    d = roc_area_difference(np.arange(60.0)[::-1], np.arange(60.0)[::-1] ** 3, positive, range(60))
    assert d.value == 0
    assert (d.low, d.high) == pytest.approx((0.05 ** (1 / 30) - 1, 1 - 0.05 ** (1 / 30)))


@settings(max_examples=40)
@given(st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_prop_a_smaller_error_rate_has_a_wider_interval(one, other):
    scores, positive, patients = drawn(np.random.default_rng(1), 40, 1.0)
    narrow, wide = (roc_area(scores, positive, patients, alpha=a) for a in sorted((one, other), reverse=True))
    assert wide.low <= narrow.low
    assert wide.high >= narrow.high
