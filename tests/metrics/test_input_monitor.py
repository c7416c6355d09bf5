"""The monitor of inputs on images of a domain and on others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.input_monitor import alarms_across_halves, calibrated_monitor
from medgan_qa.metrics.perturbations import block_shuffled, inverted, rotated
from medgan_qa.rng import child


def test_the_monitor_sees_what_is_no_head_and_lets_heads_pass(head):
    monitor = calibrated_monitor([head(k) for k in range(120)], [str(k) for k in range(120)])
    g = child(1, "foreign")

    assert np.mean([monitor.alarm(head(k)) for k in range(1000, 1400)]) < 0.03
    assert monitor.rate == pytest.approx(1 / 121)
    foreign = [g.random((64, 64)), np.zeros((64, 64)), inverted(head()), rotated(head()), block_shuffled(head(), 4, g)]
    assert all(monitor.alarm(image) for image in foreign)


def test_few_images_are_calibrated_at_the_rate_that_they_support(head):
    monitor = calibrated_monitor([head(k) for k in range(10)], [str(k // 2) for k in range(10)])

    assert monitor.rate == pytest.approx(1 / 11)
    with pytest.raises(ValueError, match="four patients"):
        calibrated_monitor([head(k) for k in range(6)], [str(k // 2) for k in range(6)])


def test_a_monitor_of_one_image_repeated_alarms_on_any_other(head):
    monitor = calibrated_monitor([head(0)] * 8, [str(k) for k in range(8)])

    assert not monitor.alarm(head(0))
    assert monitor.alarm(head(1))


@pytest.fixture(scope="module")
def domain(head):
    """Forty patients with two images each."""
    return [head(k) for k in range(80)], [f"p{k // 2:02d}" for k in range(80)]


def test_scores_are_multiples_of_the_median_distance_in_the_domain(head, domain):
    monitor = calibrated_monitor(*domain)
    scores = np.array([monitor.score(head(k)) for k in range(1000, 1200)])

    # The largest of three distances, each of them 1 in the median.
    assert 1 < np.median(scores) < 1.5
    assert monitor.limit > np.quantile(scores, 0.9)
    assert monitor.n == 80


def test_the_false_alarm_rate_that_was_asked_for_is_kept(head):
    monitor = calibrated_monitor([head(k) for k in range(120)], [str(k) for k in range(120)], 0.2)
    alarms = np.mean([monitor.alarm(head(k)) for k in range(2000, 2400)])

    assert monitor.rate == pytest.approx(24 / 121)
    # The rate of one calibration is beta-distributed about the nominal one.
    assert alarms == pytest.approx(0.2, abs=0.1)


def test_across_halves_a_domain_raises_few_alarms(domain):
    assert alarms_across_halves(*domain, 0.05, child(0, "halves")).mean() < 0.15


def test_across_halves_no_monitor_knows_the_patient_that_it_is_shown(domain):
    images, patients = list(domain[0]), domain[1]
    # Alone of their kind: a monitor that had seen one of the two would let the other pass.
    images[6], images[7] = inverted(images[6]), inverted(images[6])
    alarms = alarms_across_halves(images, patients, 0.05, child(0, "halves"))

    assert alarms[6]
    assert alarms[7]
    assert alarms.mean() < 0.15


@pytest.mark.parametrize("people", [4, 7])
def test_across_halves_both_need_their_patients(head, people):
    with pytest.raises(ValueError, match="four patients"):
        alarms_across_halves([head(k) for k in range(people)], list("abcdefg"[:people]), 0.01, child(0, "halves"))


@settings(max_examples=10)
@given(st.permutations(range(16)))
def test_property_alarms_go_with_their_images_in_whatever_order(order):
    values = child(3, "order")
    images = [values.random((16, 16)) * (3 if k == 5 else 1) for k in range(16)]
    patients = [f"p{k // 2}" for k in range(16)]
    first = alarms_across_halves(images, patients, 0.2, child(0, "halves"))
    again = alarms_across_halves([images[k] for k in order], [patients[k] for k in order], 0.2, child(0, "halves"))

    assert first[5]
    # With so few patients each is a fold by itself, and the order of the folds decides nothing.
    np.testing.assert_array_equal(again, first[order])
