"""ROB-001 on models that draw noise, answer to their batch, or do neither."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits._pass_differences import Difference
from medgan_qa.audits._passes import Sample, sampled
from medgan_qa.audits.unrepeatable_output import changed_rate, unrepeatable_output
from medgan_qa.controls import Faithful, planted_translator
from medgan_qa.controls.responses import BatchNormalized, Blurred, Noisy, Power, computing_translator
from medgan_qa.rng import child

# The package exports the function under the name of its module.
audit = importlib.import_module("medgan_qa.audits.unrepeatable_output")

CHANGED = "ROB-001.changed_rate"


def causes(findings) -> set[str]:
    return {row["status"] for row in findings.rows} - {"not drawn"}


def test_positive_control_a_model_that_draws_noise_is_found_at_its_dose(run_of, value_of):
    covered = 0
    for seed in range(6):
        findings = unrepeatable_output(run_of(Noisy(sigma=0.02, dose=0.3), seed), cases=0)
        m = value_of(findings, f"{CHANGED}[other seed]")
        # An image changes if it is hit in either of the two passes. Each end holds with 95 %.
        covered += m.interval.low < 1 - 0.7**2 < m.interval.high
        assert m.interval.low > 0.2
        assert value_of(findings, f"{CHANGED}[same seed]").value == 0
        assert causes(findings) == {"draws random numbers", "repeatable"}
    assert covered >= 4


def test_noise_that_no_seed_fixes_is_told_from_noise_that_one_does(run_of):
    assert causes(unrepeatable_output(run_of(Noisy(seeded=False)), cases=16)) == {"not deterministic"}
    assert causes(unrepeatable_output(run_of(Noisy()), cases=16)) == {"draws random numbers"}


def test_positive_control_batch_normalization_in_training_mode_is_named(run_of, value_of):
    findings = unrepeatable_output(run_of(BatchNormalized()), cases=32)

    assert value_of(findings, f"{CHANGED}[alone]").interval.low > 0.5
    assert value_of(findings, f"{CHANGED}[other seed]").value == 0
    assert causes(findings) <= {"batch-dependent", "repeatable"}
    assert any("batch normalization" in note for note in findings.notes)


def test_dependence_on_the_batch_is_found_under_noise_too(run_of, value_of):
    findings = unrepeatable_output(run_of(BatchNormalized(strength=5.0, sigma=0.02)), cases=32)

    assert value_of(findings, f"{CHANGED}[other companions]").value > 0.2
    assert "draws random numbers, batch-dependent" in causes(findings)
    noisy = unrepeatable_output(run_of(Noisy()), cases=32)
    assert value_of(noisy, f"{CHANGED}[other companions]").value == 0


@pytest.mark.parametrize("response", [Power(1.0), Blurred(0.7, 0.4), Noisy(1e-6), Noisy(1e-6, seeded=False)])
def test_negative_controls_are_repeatable(run_of, response, value_of):
    findings = unrepeatable_output(run_of(response), cases=0)

    assert value_of(findings, CHANGED).value == 0
    assert value_of(findings, CHANGED).interval.high < 0.1
    assert value_of(findings, "ROB-001.status_change_rate").value == 0
    assert causes(findings) == {"repeatable"}


def test_a_planted_translator_can_be_passed_again(run_of, kept, value_of):
    findings = unrepeatable_output(run_of(planted_translator(kept(), Faithful())), cases=16)

    assert value_of(findings, CHANGED).value == 0


def test_rounding_is_printed_and_not_counted(run_of, value_of):
    findings = unrepeatable_output(run_of(Noisy(1e-6)), cases=16)

    assert 0 < value_of(findings, "ROB-001.largest_difference").value < 1e-5
    assert value_of(findings, "ROB-001.typical_difference[other seed]").value == pytest.approx(1.41e-6, rel=0.1)


def test_lesions_that_come_and_go_are_counted(run_of, value_of):
    class Flickering:
        name = "flickering"

        def respond(self, x, g):
            return np.minimum(x, np.float32(0.5)) if g.random() < 0.5 else x

    rates = [
        value_of(unrepeatable_output(run_of(Flickering(), seed), cases=0), "ROB-001.status_change_rate")
        for seed in range(3)
    ]
    assert all(m.interval.low > 0.2 for m in rates)


def test_without_a_detector_fates_are_not_told_and_the_rest_is(run_of, value_of):
    findings = unrepeatable_output(run_of(Power(1.0), detector=False), cases=16)

    assert "--detector" in value_of(findings, "ROB-001.status_change_rate").reason
    assert value_of(findings, CHANGED).value == 0


def test_small_n_carries_no_claim(run_of, value_of):
    m = value_of(unrepeatable_output(run_of(Power(1.0)), cases=4), CHANGED)

    assert m.value == 0
    assert m.clusters == 2
    assert m.interval.high > 0.7


def test_a_model_that_refuses_an_image_alone_has_changed(run_of, value_of):
    class Crowded:
        name = "crowded"

        def respond(self, x, g):
            return x if len(x) > 1 else np.full_like(x, np.nan)

    findings = unrepeatable_output(run_of(Crowded()), cases=16)

    assert value_of(findings, f"{CHANGED}[alone]").value == 1
    assert causes(findings) == {"batch-dependent"}


def test_the_other_device_is_tried_where_there_is_one(run_of, monkeypatch, value_of):
    run = run_of(Power(1.0))
    monkeypatch.setattr(audit, "on_other_device", lambda subject: computing_translator(Power(1.1)))
    findings = unrepeatable_output(run, cases=16)

    assert value_of(findings, f"{CHANGED}[other device]").value == 1
    assert causes(findings) == {"device-dependent"}


def test_a_model_without_a_file_is_said_not_to_be_compared_between_devices(run_of):
    findings = unrepeatable_output(run_of(Power(1.0)), cases=16)

    assert any("not compared between devices" in note for note in findings.notes)


def test_cases_are_drawn_by_patient_and_the_others_are_accounted_for(run_of):
    run = run_of(Power(1.0))
    sample = sampled(run, "ROB-001", 15)

    assert len(sample.items) == 16
    assert len(set(sample.patients)) == 8
    assert [i.case.case_id for i in sampled(run, "ROB-001", 15).items] == [i.case.case_id for i in sample.items]
    findings = unrepeatable_output(run, cases=15)
    assert len(findings.rows) == len(run.items)
    assert len(findings.excluded) == len(run.items) - 16


def patients_of(names):
    items = [SimpleNamespace(case=SimpleNamespace(patient_id=p, case_id=f"{p}/{k}")) for k, p in enumerate(names)]
    return Sample(items, [])


def test_the_bound_covers_the_true_rate_with_clustered_patients():
    g, covered = child(5, "coverage"), []
    names = [f"p{k // 3}" for k in range(120)]
    for _ in range(300):
        # Patients differ: the chance of a change is beta-distributed with mean 0.1.
        chance = np.repeat(g.beta(0.5, 4.5, 40), 3)
        m = changed_rate(patients_of(names), list(g.random(120) < chance), None).measurement
        covered.append(m.interval.high >= 0.1)
    assert np.mean(covered) >= 0.93


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_property_a_larger_tolerance_never_counts_more(largest, a, b):
    differences = [Difference(x, x) for x in largest]
    low, high = sorted((a, b))

    assert sum(d.beyond(high) for d in differences) <= sum(d.beyond(low) for d in differences)
