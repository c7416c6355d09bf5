"""PAT-003 on planted attenuation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.numbers import median
from medgan_qa.controls import Attenuate, Erase, Faithful, Invert

MEDIAN = "PAT-003.contrast_recovery"


@pytest.mark.parametrize("kept", [0.1, 0.4, 0.7])
def test_positive_control_attenuation_is_measured_as_planted(audited, measured, kept):
    m = measured(audited(Attenuate(kept=kept)), MEDIAN)

    # The planted rim reaches one pixel beyond the mask; the ring begins there, so a small part of the ring changes too.
    assert m.value == pytest.approx(kept, abs=0.06)


def test_attenuation_to_four_tenths_fails_without_any_detector(audited, audit_of):
    assert audit_of(audited(Attenuate(kept=0.4), level=None), "PAT-003").verdict == "fail"


def test_negative_control_a_faithful_model_passes(audited, audit_of, measured):
    result = audited(Faithful())

    assert audit_of(result, "PAT-003").verdict == "pass"
    assert measured(result, MEDIAN).value == pytest.approx(1.0, abs=0.02)


def test_small_n_has_no_bound_and_is_inconclusive(audited, audit_of):
    audit = audit_of(audited(Faithful(), people=4), "PAT-003")

    assert audit.verdict == "inconclusive"
    assert "too few" in audit.reason


def test_inversion_has_the_opposite_sign_and_fails(audited, audit_of, measured):
    result = audited(Invert())

    assert measured(result, MEDIAN).value == pytest.approx(-1.0, abs=0.1)
    assert measured(result, "PAT-003.inverted_rate").value > 0.95
    assert audit_of(result, "PAT-003").verdict == "fail"


def test_erased_lesions_are_flat(audited, measured):
    assert measured(audited(Erase()), "PAT-003.flat_rate").value > 0.95


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=30), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_property_the_interval_holds_the_median_and_follows_a_shift(values, per_patient):
    patients = [str(k // per_patient) for k in range(len(values))]

    def run(shift):
        shifted = [v + shift for v in values]
        return median("X-001.m", "m", shifted, patients, unit="1", unit_of_analysis="lesion", better="none").measurement

    here, there = run(0.0), run(5.0)
    assert there.value == pytest.approx(here.value + 5.0)
    if here.interval.low is not None:
        assert here.interval.low <= here.value <= here.interval.high
