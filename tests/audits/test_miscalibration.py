"""DIS-002 on classifiers whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.miscalibration import miscalibration
from medgan_qa.controls.classifiers import Constant, Faithful, Overconfident, spot_level, tissue_level
from medgan_qa.criteria import Declared


class Shifted:
    """The faithful one's logits, moved and scaled."""

    name = "shifted"

    def __init__(self, scale=1.0, shift=0.0):
        self.scale, self.shift = scale, shift

    def logits(self, images):
        return self.scale * Faithful().logits(images) + self.shift


class Truth:
    """Knows which of its cases have a lesion: classes apart."""

    name = "truth"

    def logits(self, images):
        return 50 * (spot_level(images) / tissue_level(images) - 1.1)


def test_a_faithful_classifier_is_calibrated(classified, value_of):
    findings = miscalibration(classified(people=160))
    slope, error = value_of(findings, "DIS-002.slope"), value_of(findings, "DIS-002.ece")

    assert slope.interval.low < 1 < slope.interval.high
    assert slope.interval.low > 0.7
    assert error.value < 0.05
    assert error.interval.high < 0.1
    assert value_of(findings, "DIS-002.brier").value < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_logits_three_times_as_large(classified, value_of, seed):
    run, clean = classified(Overconfident(), seed=seed), classified(seed=seed)
    findings, honest = miscalibration(run), miscalibration(clean)
    slope = value_of(findings, "DIS-002.slope")

    assert slope.value == pytest.approx(value_of(honest, "DIS-002.slope").value / 3, rel=1e-3)
    assert slope.interval.high < 0.7
    assert value_of(findings, "DIS-002.brier").value > value_of(honest, "DIS-002.brier").value


def test_probabilities_that_are_too_low_raise_the_intercept(classified, value_of):
    honest, low = (miscalibration(classified(Shifted(shift=s))) for s in (0.0, -2.0))
    raised = value_of(low, "DIS-002.intercept")
    assert raised.value == pytest.approx(value_of(honest, "DIS-002.intercept").value + 2, abs=1e-4)
    assert raised.interval.low > 0.5
    assert value_of(low, "DIS-002.ece").value > 2 * value_of(honest, "DIS-002.ece").value


def test_separated_classes_have_no_slope_and_it_says_so(classified, value_of):
    findings = miscalibration(classified(Truth(), people=40))
    slope = value_of(findings, "DIS-002.slope")
    assert slope.value is None
    assert "completely" in slope.reason
    assert value_of(findings, "DIS-002.intercept").value is not None


def test_a_constant_score_has_no_slope(classified, value_of):
    findings = miscalibration(classified(Constant(0.0)))
    assert "same score" in value_of(findings, "DIS-002.slope").reason
    assert value_of(findings, "DIS-002.ece").value == 0
    assert value_of(findings, "DIS-002.brier").value == 0.25


def test_few_patients_have_no_bound(classified):
    findings = miscalibration(classified(people=6))
    for estimate in findings.estimates[:3]:
        if estimate.measurement.value is not None:
            assert estimate.measurement.interval.high is None
            claim = Declared("AC", estimate.measurement.id, {"max": 1.0}, "upper")
            assert "too few" in estimate.shortfall(claim, 0.05)


def test_bins_hold_all_cases_and_stand_in_the_rows(classified):
    run = classified()
    findings = miscalibration(run, bins=5)
    assert {row["bin"] for row in findings.rows} == {1, 2, 3, 4, 5}
    first, last = ([r["probability"] for r in findings.rows if r["bin"] == k] for k in (1, 5))
    assert max(first) <= min(last)
    series = findings.exhibits[0].data["series"][0]
    assert all(low <= y <= high for low, y, high in zip(series["low"], series["y"], series["high"], strict=True))
    assert len(series["x"]) == 5


@settings(max_examples=5, deadline=None)
@given(scale=st.floats(0.2, 5.0))
def test_prop_the_slope_is_inverse_to_the_scale(classified, scale):
    one, other = (miscalibration(classified(Shifted(s), people=40)).estimates[0].measurement for s in (1.0, scale))
    if one.value is not None:
        assert other.value * scale == pytest.approx(one.value, rel=1e-3)
        assert np.sign(other.interval.low) == np.sign(one.interval.low)
