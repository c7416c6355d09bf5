"""PAT-001 on planted defects of known size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.lesions import FLAT, INVERTED, Lesion
from medgan_qa.controls import Attenuate, Constant, Erase, Faithful, Invert

RATE = "PAT-001.removal_rate"


def test_positive_control_an_eraser_fails_with_every_lesion_removed(audited, audit_of, measured):
    result = audited(Erase())

    assert audit_of(result, "PAT-001").verdict == "fail"
    assert measured(result, RATE).value == 1.0
    assert result.record.verdict == "fail"


def test_negative_control_a_faithful_model_passes(audited, audit_of, measured):
    result = audited(Faithful())

    assert audit_of(result, "PAT-001").verdict == "pass"
    assert measured(result, RATE).value == 0.0
    assert result.record.verdict == "pass"


def test_small_n_is_inconclusive_because_the_detector_cannot_be_qualified(audited, audit_of):
    result = audited(Faithful(), people=8)

    audit = audit_of(result, "PAT-001")
    assert audit.verdict == "inconclusive"
    assert "is not shown to read the lesions" in audit.reason
    assert "or more lesions" in audit.reason


def test_zero_losses_in_too_few_patients_name_the_shortfall(audited, audit_of):
    audit = audit_of(audited(Faithful(), people=24), "PAT-001")

    # 18 patients with lesions, none lost: 29 independent patients are needed for 10 % with 95 % confidence.
    assert audit.verdict == "inconclusive"
    assert "0 of" in audit.reason
    assert "29 independent ones are needed" in audit.reason
    assert "11 more" in audit.reason


@pytest.mark.parametrize("dose", [0.2, 0.5, 0.8])
def test_the_interval_covers_the_planted_dose(audited, measured, dose):
    m = measured(audited(Erase(dose=dose)), RATE)

    assert m.interval.low < dose < m.interval.high
    assert m.interval.low < m.value < m.interval.high


def test_an_inverter_is_counted_as_inverted_and_fails(audited, audit_of):
    result = audited(Invert())

    audit = audit_of(result, "PAT-001")
    assert audit.verdict == "fail"
    statuses = {row["status"] for row in result.tables["exhibits/PAT-001-lesions.csv"]}
    assert statuses <= {"inverted", "not read in reference"}


def test_a_weakened_lesion_is_not_called_removed(audited, measured):
    result = audited(Attenuate(kept=0.45), level=0.44)

    found = [r["status"] for r in result.tables["exhibits/PAT-001-lesions.csv"] if r["found_in_output"]]
    assert found.count("weakened") > len(found) / 2


def test_a_constant_image_has_no_lesions_left(audited, measured, audit_of):
    result = audited(Constant())

    assert measured(result, RATE).value == 1.0
    assert audit_of(result, "PAT-001").verdict == "fail"
    assert any("constant image in 120 of 120" in text for text in result.record.deviations)


def test_an_eraser_of_small_lesions_shows_in_its_stratum(audited, measured):
    result = audited(Erase(below_mm=6.0))

    strata = [m for a in result.record.audits for m in a.measurements if m.id.startswith(f"{RATE}[diameter")]
    by_size = {m.stratum: m.value for m in strata}
    assert by_size["diameter 20 mm or more"] < 0.6
    assert by_size["diameter 10-20 mm"] == 1.0


def test_a_blind_detector_may_not_judge(audited, audit_of, measured):
    result = audited(Faithful(), level=99.0)

    for code in ("PAT-001", "PAT-002"):
        assert audit_of(result, code).verdict == "inconclusive"
        assert "blind" in audit_of(result, code).reason
    assert measured(result, RATE).value is None


def test_a_detector_that_marks_everything_may_not_judge(audited, audit_of):
    result = audited(Erase(), level=-99.0)

    for code in ("PAT-001", "PAT-002"):
        assert audit_of(result, code).verdict == "inconclusive"
    # The eraser does not get away: the lesions' contrast needs no detector.
    assert result.record.verdict == "fail"


def test_without_a_detector_the_audit_is_inconclusive_and_says_what_to_give(audited, audit_of):
    audit = audit_of(audited(Faithful(), level=None), "PAT-001")

    assert audit.verdict == "inconclusive"
    assert "--detector" in audit.reason


def test_worst_cases_come_first_by_a_fixed_rule_and_random_ones_beside_them(audited, audit_of):
    audit = audit_of(audited(Erase(dose=0.5)), "PAT-001")

    panel = next(e for e in audit.exhibits if e.kind == "panels")
    rules = [case["rule"] for case in panel.data["cases"]]
    assert rules == ["worst"] * 8 + ["random"] * 4
    assert all(case["label"].startswith(("lost", "inverted")) for case in panel.data["cases"][:8])
    assert len({case["case_id"] for case in panel.data["cases"]}) == 12


def make_lesion(recovery, reference, output):
    return Lesion(
        item=None, number=1, mask=None, diameter_mm=10.0, contrast_reference=0.3, contrast_output=0.0,
        recovery=recovery, found_reference=reference, found_output=output,
    )  # fmt: skip


@given(
    recovery=st.none() | st.floats(-3, 3),
    reference=st.none() | st.booleans(),
    output=st.none() | st.booleans(),
)
@settings(deadline=None)
def test_property_no_lesion_is_kept_against_the_evidence(recovery, reference, output):
    status = make_lesion(recovery, reference, output).status

    if status in ("kept", "weakened"):
        assert output is not False
        assert recovery is None or recovery >= FLAT
    if reference is not False and recovery is not None and recovery <= INVERTED:
        assert status == "inverted"
    assert (status == "not read in reference") == (reference is False)
