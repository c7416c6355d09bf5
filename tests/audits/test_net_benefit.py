"""DIS-003 on classifiers whose worth is known."""

from __future__ import annotations

import pytest

from medgan_qa.audits.net_benefit import net_benefit
from medgan_qa.controls.classifiers import Constant, Faithful, RealFake, planted_classifier
from medgan_qa.errors import ConfigurationError


class Turned:
    """Says the contrary."""

    name = "turned"

    def logits(self, images):
        return -Faithful().logits(images)


def test_a_faithful_classifier_is_worth_more_than_treating_all_or_none(classified, value_of):
    findings = net_benefit(classified(people=160))
    assert value_of(findings, "DIS-003.least_gain").interval.low > 0
    assert value_of(findings, "DIS-003.gain[0.5]").value > 0.35
    gains = [value_of(findings, f"DIS-003.gain[{t}]").value for t in ("0.2", "0.3", "0.4", "0.5")]
    assert value_of(findings, "DIS-003.least_gain").value == min(gains)


@pytest.mark.parametrize("classifier", [Turned(), RealFake()])
def test_positive_control_a_score_that_harms_or_knows_nothing(classified, value_of, classifier):
    findings = net_benefit(classified(classifier))
    assert value_of(findings, "DIS-003.least_gain").value < 0
    assert value_of(findings, "DIS-003.least_gain").interval.low < -0.05
    if isinstance(classifier, Turned):
        assert value_of(findings, "DIS-003.least_gain").interval.high < 0


@pytest.mark.parametrize(("logit", "gain"), [(9.0, 0.0), (-9.0, -0.375)])
def test_who_always_or_never_acts_gains_nothing(classified, value_of, logit, gain):
    # at 0.2 treating all is worth 0.5 - 0.5 / 4 here
    findings = net_benefit(classified(Constant(logit)), thresholds="0.2")
    assert value_of(findings, "DIS-003.gain[0.2]").value == pytest.approx(gain)


def test_few_patients_show_nothing(classified, value_of):
    findings = net_benefit(classified(people=4))
    assert value_of(findings, "DIS-003.least_gain").value > 0
    assert value_of(findings, "DIS-003.least_gain").interval.low < 0


def test_the_least_of_more_probabilities_is_less_and_its_bound_lower(classified, value_of):
    run = classified()
    few, many = net_benefit(run, thresholds="0.5"), net_benefit(run, thresholds="0.1,0.3,0.5")
    names = [e.measurement.id for e in many.estimates]
    assert names == ["DIS-003.least_gain", "DIS-003.gain[0.1]", "DIS-003.gain[0.3]", "DIS-003.gain[0.5]"]
    less, more = (value_of(f, "DIS-003.least_gain") for f in (many, few))
    assert less.value <= more.value
    assert less.interval.low <= more.interval.low


@pytest.mark.parametrize("text", ["", "a", "0", "1.0", "0.2;0.3", "0.2, nan"])
def test_thresholds_that_cannot_be_read_are_refused(classified, text):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        net_benefit(classified(people=4), thresholds=text)


def test_the_curve_shows_what_it_is_compared_with(classified):
    findings = net_benefit(classified(comparator=planted_classifier(RealFake())))
    data = findings.exhibits[0].data
    assert [s["name"] for s in data["series"]] == ["model", "comparator", "all", "none"]
    low, high = data["y_range"]
    assert all(low <= y <= high for s in data["series"] for y in s["y"])
