"""DIS-001 on classifiers whose discrimination is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medgan_qa.audits.discrimination import discrimination
from medgan_qa.audits.numbers import ALPHA
from medgan_qa.controls.classifiers import Constant, CornerToken, Faithful, RealFake, planted_classifier
from medgan_qa.criteria import Declared


class Known:
    """Scores that are given, case by case in the order of the run."""

    name = "known"

    def __init__(self, logits):
        self.left = list(logits)

    def logits(self, images):
        out, self.left = self.left[: len(images)], self.left[len(images) :]
        return np.array(out)


def test_a_faithful_classifier_discriminates(classified, value_of):
    run = classified()
    findings = discrimination(run)
    auc = value_of(findings, "DIS-001.auc")

    expected = stats.mannwhitneyu(run.logits[run.positive], run.logits[~run.positive]).statistic / 100**2
    assert auc.value == pytest.approx(expected)
    assert auc.value > 0.93
    assert auc.interval.low > 0.85
    assert value_of(findings, "DIS-001.sensitivity").value == np.mean(run.logits[run.positive] >= 0)
    assert value_of(findings, "DIS-001.specificity").value == np.mean(run.logits[~run.positive] < 0)
    assert findings.missing is None


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_score_of_something_else_does_not(classified, value_of, seed):
    findings = discrimination(classified(RealFake(), seed=seed))
    assert value_of(findings, "DIS-001.auc").interval.high < 0.65


def test_a_token_looks_as_good_as_the_disease_here(classified, value_of):
    # what it reads is the question of another audit
    assert value_of(discrimination(classified(CornerToken(), token=True)), "DIS-001.auc").interval.low > 0.85


def test_the_threshold_of_the_criteria_goes_before_that_of_the_card(classified, value_of):
    run = classified(threshold=0.5)
    low, card, high = (discrimination(run, threshold=t) for t in (0.05, 0.0, 0.95))
    for name, rising in (("sensitivity", -1), ("specificity", 1)):
        values = [value_of(f, f"DIS-001.{name}").value for f in (low, card, high)]
        assert values == sorted(values, reverse=rising < 0)
        assert values[0] != values[2]
    assert "0.05 on, as declared in the criteria file" in low.notes[0]
    assert "0.5 on, as declared in the model card" in card.notes[0]


def test_without_a_threshold_neither_share_is_measured(classified, value_of):
    findings = discrimination(classified(threshold=None))
    for name in ("sensitivity", "specificity"):
        measured = value_of(findings, f"DIS-001.{name}")
        assert measured.value is None
        assert "No threshold was declared before the run" in measured.reason
    assert value_of(findings, "DIS-001.auc").value is not None
    assert {row["status"] for row in findings.rows} == {"no threshold"}
    assert [e.id for e in findings.exhibits] == ["DIS-001-roc"]


def test_every_case_has_its_fate(classified):
    run = classified()
    rows = discrimination(run).rows
    assert [list(row)[:3] for row in rows] == [["case_id", "patient_id", "site"]] * 200
    for row, item in zip(rows, run.items, strict=True):
        called = item.logit >= 0
        assert row["status"] == (
            ("hit" if called else "missed") if item.positive else ("false alarm" if called else "rightly passed")
        )


def test_a_comparator_on_the_same_cases(classified, value_of):
    same = discrimination(classified(comparator=planted_classifier(Faithful())))
    worse = discrimination(classified(comparator=planted_classifier(RealFake())))
    better = discrimination(classified(RealFake(), comparator=planted_classifier(Faithful())))

    assert value_of(same, "DIS-001.auc_difference").value == 0
    assert value_of(same, "DIS-001.auc_difference").interval.low < 0
    assert value_of(worse, "DIS-001.auc_difference").interval.low > 0.3
    assert value_of(better, "DIS-001.auc_difference").value == pytest.approx(
        -value_of(worse, "DIS-001.auc_difference").value
    )
    assert value_of(worse, "DIS-001.auc[comparator]").value == pytest.approx(0.5, abs=0.1)
    assert [s["name"] for s in worse.exhibits[0].data["series"]] == ["model", "comparator", "chance"]


def test_without_a_comparator_it_says_what_is_missing(classified, value_of):
    assert "--comparator" in value_of(discrimination(classified()), "DIS-001.auc_difference").reason


def test_few_patients_have_no_bound(classified, value_of):
    findings = discrimination(classified(people=6))
    assert value_of(findings, "DIS-001.auc").value is not None
    assert value_of(findings, "DIS-001.auc").interval.low is None
    auc = findings.estimates[0]
    claim = Declared("AC", "DIS-001.auc", {"min": 0.8}, "lower")
    assert "too few" in auc.shortfall(claim, ALPHA)


def test_it_says_how_many_more_patients_a_claim_needs(classified, value_of):
    findings = discrimination(classified(people=40))
    auc, sensitivity = findings.estimates[:2]
    low = auc.measurement.interval.low
    claim = Declared("AC", "DIS-001.auc", {"min": (low + auc.measurement.value) / 2}, "lower")
    assert "about" in auc.shortfall(claim, ALPHA)
    beyond = Declared("AC", "DIS-001.auc", {"min": 0.999}, "lower")
    assert "will not carry" in auc.shortfall(beyond, ALPHA)
    share = sensitivity.measurement.value
    assert "more" in sensitivity.shortfall(Declared("AC", "x", {"min": share - 0.02}, "lower"), ALPHA)
    assert "will not carry" in sensitivity.shortfall(Declared("AC", "x", {"min": 0.99}, "lower"), ALPHA)


def test_failures_are_shown_worst_first(classified):
    findings = discrimination(classified())
    shown = next(e for e in findings.exhibits if e.kind == "sheet")
    labels = [g["label"] for g in shown.data["groups"]]
    assert labels[0] == "lesion, missed, least probable first"
    assert labels[1] == "lesion-free, called lesion, most probable first"
    count = sum(g["count"] for g in shown.data["groups"])
    assert findings.arrays[shown.file]["images"].shape == (count, 64, 64)


def test_a_constant_score_is_told_from_a_good_one(classified, value_of):
    findings = discrimination(classified(Constant(1.0)))
    auc = value_of(findings, "DIS-001.auc")
    assert (auc.value, value_of(findings, "DIS-001.specificity").value) == (0.5, 0.0)
    assert auc.interval.low < 0.45


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.floats(0.05, 0.95))
def test_prop_a_probability_as_threshold_is_the_logit_s(classified, seed, cut):
    logits = 3 * np.random.default_rng(seed).standard_normal(40)
    run = classified(Known(logits), people=20)
    findings = discrimination(run, threshold=cut)
    said = 1 / (1 + np.exp(-run.logits)) >= cut
    sensitivity, specificity = (e.measurement.value for e in findings.estimates[1:3])
    assert sensitivity == pytest.approx(said[run.positive].mean())
    assert specificity == pytest.approx((~said[~run.positive]).mean())
