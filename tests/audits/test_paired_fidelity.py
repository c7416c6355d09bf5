"""FID-010 against direct computation, and on planted defects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from medgan_qa.audits.numbers import mean
from medgan_qa.controls import Constant, Erase, Faithful


def test_positive_control_an_eraser_is_far_from_the_lesions_and_near_the_body(audited, measured):
    eraser, faithful = audited(Erase()), audited(Faithful())

    assert measured(eraser, "FID-010.mae_lesion").value > 5 * measured(faithful, "FID-010.mae_lesion").value
    assert measured(eraser, "FID-010.ssim_body").value > 0.9


def test_negative_control_noise_of_one_percent_is_measured_as_such(audited, measured):
    m = measured(audited(Faithful(noise=0.01)), "FID-010.mae_body")

    # Mean absolute value of a normal deviate: sigma * sqrt(2 / pi).
    assert m.value == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.02)


def test_small_n_gives_a_value_and_no_verdict(audited, audit_of):
    audit = audit_of(audited(Faithful(), people=4), "FID-010")

    assert audit.verdict == "not_applicable"
    assert "without a criterion" in audit.reason


def test_ssim_is_the_librarys(audited, measured, cohort):
    result = audited(Constant())
    row = next(r for r in result.rows if r["audit"] == "FID-010")
    case = next(c for c in cohort(60).cases if c.case_id == row["case_id"])
    target = cohort(60).load(case).target[0]

    _, similarity = structural_similarity(
        np.full_like(target, 0.5), target, data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    from medgan_qa.metrics import body_mask

    assert row["ssim_body"] == pytest.approx(similarity[body_mask(target)].mean(), abs=1e-4)


def test_identical_outputs_have_no_finite_psnr_and_say_so(audited, audit_of):
    audit = audit_of(audited(Faithful(noise=0.0), people=24), "FID-010")

    psnr = next(m for m in audit.measurements if m.id == "FID-010.psnr_body")
    assert psnr.value is None
    assert any("infinite" in note for note in audit.notes)


def test_lpips_without_its_weights_is_said_to_be_not_computed(audited, audit_of, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("MEDGAN_QA_WEIGHTS", raising=False)
    audit = audit_of(audited(Faithful(noise=0.02), people=4), "FID-010")

    lpips = next(m for m in audit.measurements if m.id == "FID-010.lpips")
    assert lpips.value is None
    assert any("MEDGAN_QA_WEIGHTS" in note for note in audit.notes)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
@settings(deadline=None, max_examples=30)
def test_property_the_interval_lies_within_the_values(values):
    patients = [str(k) for k in range(len(values))]
    m = mean("X-001.m", "m", values, patients, unit="1", unit_of_analysis="image", better="none", seed=1).measurement

    assert min(values) - 1e-9 <= m.interval.low <= m.interval.high <= max(values) + 1e-9
