"""DIS-006 on a score of realism and on one of disease."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medgan_qa.audits.real_fake_score import real_fake_score
from medgan_qa.controls.classifiers import Constant, RealFake


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_score_of_noise(classified, value_of, seed):
    findings = real_fake_score(classified(RealFake(), reads="real_fake", seed=seed))
    area, noise = (value_of(findings, f"DIS-006.{n}") for n in ("disease_auc", "quality_correlation[noise]"))

    assert area.interval.low < 0.5 < area.interval.high
    assert area.interval.high < 0.7
    assert noise.interval.low > 0.7
    assert "real images from generated ones, not disease" in findings.notes[0]
    assert "nothing shows that the score knows of the disease" in findings.notes[1]
    assert findings.exhibits[1].title == "Score over noise"


def test_negative_control_a_score_of_disease(classified, value_of):
    findings = real_fake_score(classified())
    assert value_of(findings, "DIS-006.disease_auc").interval.low > 0.85
    assert abs(value_of(findings, "DIS-006.quality_correlation[noise]").value) < 0.3
    assert len(findings.notes) == 1
    assert "trained to tell disease" in findings.notes[0]


def test_what_the_card_leaves_open_is_said(classified):
    assert "does not declare" in real_fake_score(classified(reads=None)).notes[0]


def test_acquired_and_synthetic_images_are_told_apart_by_realism(classified, value_of):
    run = classified(RealFake())
    marked = [replace(i, case=replace(i.case, synthetic=i.logit < np.median(run.logits))) for i in run.items]
    run.items[:] = marked
    findings = real_fake_score(run)
    assert value_of(findings, "DIS-006.acquired_auc").value == 1.0
    assert value_of(findings, "DIS-006.acquired_auc").interval.low > 0.9
    assert {row["synthetic"] for row in findings.rows} == {True, False}


def test_without_both_kinds_it_says_which_there_is(classified, value_of):
    acquired = value_of(real_fake_score(classified()), "DIS-006.acquired_auc")
    assert acquired.value is None
    assert "All test images are synthetic" in acquired.reason


def test_a_constant_score_goes_with_nothing(classified, value_of):
    findings = real_fake_score(classified(Constant(0.0)))
    assert value_of(findings, "DIS-006.quality_correlation[noise]").value is None
    assert value_of(findings, "DIS-006.disease_auc").value == 0.5


def test_few_patients_have_no_bound(classified, value_of):
    findings = real_fake_score(classified(people=4))
    assert value_of(findings, "DIS-006.disease_auc").interval.low is None
    assert value_of(findings, "DIS-006.quality_correlation[sharpness]").interval.low is None
