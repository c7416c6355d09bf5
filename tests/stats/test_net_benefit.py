"""Decision curves against counting, and their intervals by simulation with clustered patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from medgan_qa.stats.net_benefit import decision_curve, net_benefit_gain

rows = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


@given(rows, st.floats(0.01, 0.99))
def test_prop_net_benefit_is_counted(cases, t):
    p, y = (np.array(column) for column in zip(*cases, strict=True))
    curve = decision_curve(p, y, [t])
    hits, false_alarms = int((y & (p >= t)).sum()), int((~y & (p >= t)).sum())

    assert curve.model[0] == pytest.approx((hits - false_alarms * t / (1 - t)) / len(y))
    assert curve.treat_all[0] == pytest.approx((y.sum() - (~y).sum() * t / (1 - t)) / len(y))
    assert curve.gain[0] == pytest.approx(curve.model[0] - max(0.0, curve.treat_all[0]))
    low, high = net_benefit_gain(p, y, range(len(y)), t)
    assert low <= curve.gain[0] + 1e-9
    assert high >= curve.gain[0] - 1e-9


def test_who_always_or_never_acts_gains_nothing():
    y = np.arange(100) < 30
    thresholds = [0.1, 0.3, 0.7]
    assert decision_curve(np.ones(100), y, thresholds).gain[0] == pytest.approx(0)
    assert decision_curve(np.zeros(100), y, thresholds).gain.tolist()[2] == pytest.approx(0)
    # acting on nobody where everybody should be treated costs what treating all is worth
    assert decision_curve(np.zeros(100), y, [0.1]).gain[0] == pytest.approx(-(0.3 - 0.7 / 9))


def test_a_perfect_model_is_worth_the_prevalence():
    y = np.arange(100) < 30
    assert decision_curve(y.astype(float), y, [0.2, 0.5]).model.tolist() == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize("people", [1, 2, 5])
def test_few_patients_show_no_gain(people):
    y = np.arange(20) < 10
    low, high = net_benefit_gain(y.astype(float), y, np.arange(20) % people, 0.3)
    assert low < 0
    assert high > 0.2


@pytest.mark.parametrize(
    ("p", "y", "t"),
    [([1.5], [1], 0.5), ([math.nan], [1], 0.5), ([0.5], [2], 0.5), ([0.5], [1], 0.0), ([0.5], [1], 1.0), ([], [], 0.5)],
)
def test_what_is_no_probability_is_refused(p, y, t):
    with pytest.raises(ValueError, match=r"probabilit|false or true|finite"):
        net_benefit_gain(p, y, range(len(p)), t)


@pytest.mark.parametrize(("people", "t"), [(40, 0.1), (40, 0.5), (160, 0.2)])
def test_the_interval_covers_under_clustering(people, t):
    g, found = np.random.default_rng(people), []
    many = 2.0 * np.random.default_rng(0).standard_normal(400_000)
    p, share = special.expit(many), special.expit(many)
    worth = share - (1 - share) * t / (1 - t)
    truth = np.mean(worth * (p >= t)) - max(0.0, worth.mean())
    for _ in range(100):
        shared = g.standard_normal((people, 1))
        logits = 2.0 * (math.sqrt(0.6) * shared + math.sqrt(0.4) * g.standard_normal((people, 2)))
        chance = special.ndtr(math.sqrt(0.5) * (g.standard_normal((people, 1)) + g.standard_normal((people, 2))))
        y = chance < special.expit(logits)
        low, high = net_benefit_gain(special.expit(logits).ravel(), y.ravel(), np.repeat(np.arange(people), 2), t)
        found.append((low <= truth, high >= truth))
    assert (np.mean(found, axis=0) >= 0.94).all()
