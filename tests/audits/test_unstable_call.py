"""ROB-004 on classifiers whose answer to a changed image is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.unstable_call import perturbations, unstable_call
from medgan_qa.controls.classifiers import Constant, Faithful, Fragile, air_noise
from medgan_qa.errors import ConfigurationError

KINDS = ("noise", "bias field", "shift", "gamma", "rounding")


class Noise:
    """Calls what has more noise in its air than any slice of this cohort."""

    name = "noise"

    def logits(self, images):
        return 1e4 * (air_noise(images) - 0.06)


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_call_that_hangs_on_the_last_digits(classified, value_of, seed):
    findings = unstable_call(classified(Fragile(), seed=seed))
    assert value_of(findings, "ROB-004.flip_rate").interval.low > 0.1
    assert value_of(findings, "ROB-004.flip_rate[rounding]").value > 0.04


@pytest.mark.parametrize("seed", range(3))
def test_negative_control_a_faithful_one_keeps_its_calls(classified, value_of, seed):
    findings = unstable_call(classified(people=100, seed=seed))
    assert value_of(findings, "ROB-004.flip_rate").value < 0.1
    assert value_of(findings, "ROB-004.flip_rate[rounding]").interval.high < 0.05


def test_each_perturbation_is_counted_alone(classified, value_of):
    findings = unstable_call(classified(Noise()), noise_sigma=0.1)
    assert value_of(findings, "ROB-004.flip_rate[noise]").value == 1
    assert value_of(findings, "ROB-004.flip_rate").value == 1
    assert value_of(findings, "ROB-004.flip_rate[shift]").value == 0
    assert {row["flipped_by"] for row in findings.rows} == {"noise"}
    assert [e.measurement.stratum for e in findings.estimates] == [None, *KINDS, *KINDS]


def test_a_constant_score_never_flips(classified, value_of):
    findings = unstable_call(classified(Constant(1.0)))
    assert value_of(findings, "ROB-004.flip_rate").value == 0
    assert value_of(findings, "ROB-004.logit_change[noise]").value == 0
    assert not any(e.kind == "panels" for e in findings.exhibits)


def test_without_a_threshold_only_logits_are_compared(classified, value_of):
    findings = unstable_call(classified(threshold=None))
    assert value_of(findings, "ROB-004.flip_rate").value is None
    assert "No threshold" in value_of(findings, "ROB-004.flip_rate").reason
    assert value_of(findings, "ROB-004.logit_change[gamma]").value > 0
    assert not findings.exhibits


def test_cases_are_drawn_by_patient(classified):
    run = classified()
    findings = unstable_call(run, cases=40)
    drawn = {row["patient_id"] for row in findings.rows}
    assert len(findings.rows) == 40
    assert len(drawn) == 20
    assert list(findings.excluded.values()) == ["not drawn"] * 160
    again = unstable_call(classified(), cases=40)
    assert [row["case_id"] for row in again.rows] == [row["case_id"] for row in findings.rows]


def test_few_patients_have_a_wide_bound(classified, value_of):
    assert value_of(unstable_call(classified(people=4)), "ROB-004.flip_rate").interval.high > 0.3


def test_the_largest_changes_are_shown(classified):
    findings = unstable_call(classified(Fragile()), shown=3)
    exhibit = next(e for e in findings.exhibits if e.kind == "panels")
    assert len(exhibit.data["cases"]) == 3
    assert all(c["label"].startswith(KINDS) for c in exhibit.data["cases"])


def asked(**changes):
    return perturbations(**{
        "noise": "rician", "noise_sigma": 0.015, "bias": 0.08, "shift_px": 1, "gamma": 0.05, "bits": 8, **changes,
    })  # fmt: skip


def test_a_size_of_nothing_leaves_a_perturbation_out():
    assert [p.name for p in asked(bias=0.0, shift_px=0)] == ["noise", "gamma", "rounding"]


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": "speckle"},
        {"bits": 30},
        {"noise_sigma": 0.0, "bias": 0.0, "shift_px": 0, "gamma": 0.0, "bits": 0},
    ],
)
def test_perturbations_that_cannot_be_made_are_refused(changes):
    with pytest.raises(ConfigurationError, match="cannot be made"):
        asked(**changes)


@given(st.integers(1, 16))
def test_prop_rounding_moves_a_pixel_by_half_a_step_at_most(bits):
    image = np.random.default_rng(bits).random((1, 8, 8), dtype=np.float32)
    rounded = asked(bits=bits)[-1].apply(image, np.random.default_rng(0))
    assert np.abs(rounded - image).max() <= 0.5 / (2**bits - 1) + 1e-6
    assert len(np.unique(rounded)) <= 2**bits


@settings(max_examples=2, deadline=None)
@given(factor=st.floats(0.1, 10))
def test_prop_flips_do_not_depend_on_the_scale_of_the_logits(classified, factor):
    class Scaled:
        name = "scaled"

        def logits(self, images):
            return factor * Faithful().logits(images)

    one, other = (unstable_call(classified(c, people=20)).rows for c in (Faithful(), Scaled()))
    assert [r["flipped_by"] for r in one] == [r["flipped_by"] for r in other]
