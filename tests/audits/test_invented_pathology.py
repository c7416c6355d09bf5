"""PAT-002 on planted defects of known size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.numbers import Noise, rate
from medgan_qa.controls import Erase, Faithful, Insert

RATE = "PAT-002.invention_rate"


def test_positive_control_an_inserter_fails(audited, audit_of, measured):
    result = audited(Insert())

    assert audit_of(result, "PAT-002").verdict == "fail"
    assert measured(result, RATE).value > 0.9
    assert audit_of(result, "PAT-001").verdict == "pass"


def test_negative_control_a_faithful_model_passes(audited, audit_of, measured):
    result = audited(Faithful())

    assert audit_of(result, "PAT-002").verdict == "pass"
    assert measured(result, RATE).value == 0.0


def test_small_n_is_inconclusive(audited, audit_of):
    assert audit_of(audited(Faithful(), people=8), "PAT-002").verdict == "inconclusive"


@pytest.mark.parametrize("dose", [0.25, 0.5])
def test_the_interval_covers_the_planted_dose(audited, measured, dose):
    m = measured(audited(Insert(dose=dose)), RATE)

    assert m.interval.low < dose < m.interval.high


def test_removal_and_invention_are_two_claims_and_do_not_cancel(audited, audit_of):
    erased, inserted = audited(Erase(dose=0.5)), audited(Insert(dose=0.5))

    assert audit_of(erased, "PAT-001").verdict == "fail"
    assert audit_of(erased, "PAT-002").verdict == "pass"
    assert audit_of(inserted, "PAT-001").verdict == "pass"
    assert audit_of(inserted, "PAT-002").verdict == "fail"


def test_false_alarms_on_the_real_image_are_not_charged_to_the_model(audited, measured):
    # At this level the detector marks scalp and cortex in many real images; the faithful model has the same marks.
    result = audited(Faithful(noise=0.0), level=0.5)

    assert measured(result, "PAT-002.detector_false_alarm_rate").value > 0
    rows = [r for r in result.rows if r["audit"] == "PAT-002"]
    assert sum(r["marks_in_reference"] for r in rows) > 0
    assert {r["status"] for r in rows} == {"clean", "clean, beside lesions"}


@given(
    events=st.lists(st.booleans(), min_size=2, max_size=40),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_property_reader_noise_lowers_the_lower_end_only(events, data):
    noise = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    patients = [str(k // 2) for k in range(len(events))]

    plain = rate("X-001.r", "r", events, patients, unit_of_analysis="case").interval_at(0.05)
    noisy = rate("X-001.r", "r", events, patients, unit_of_analysis="case", noise=Noise(noise, patients)).interval_at(
        0.05
    )

    assert noisy.high == plain.high
    assert noisy.low <= plain.low
