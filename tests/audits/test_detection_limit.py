"""PAT-005: what planted lesions say the lesion audits would have caught."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits._planting import Cell
from medgan_qa.audits.detection import Settings, detection, detection_by, detection_sentence, power
from medgan_qa.audits.detection_limit import detection_limit
from medgan_qa.audits.removed_pathology import removed_pathology
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Erase, Faithful, ThresholdDetector, planted_translator
from medgan_qa.controls.planted_lesions import MoveLesions
from medgan_qa.criteria import Declared, judge
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics import MatchingRule
from medgan_qa.suites import suite

SENTENCE = re.compile(
    r"This audit would have caught the (removal|insertion) of an? [\d.]+ mm lesion at \d+ % contrast with probability "
    r"[01]\.\d\d \([01]\.\d\d-[01]\.\d\d\)(: the detector is blind to it)?\."
)


BUDGET = 270
"""Planted images: 15 lesions a cell, so that the file takes seconds."""


@cache
def cohort(people, size=64):
    return BrainPhantoms(people=people, size=size)


def run_of(people=24, level=0.56, seed=0, defect=None, data=None):
    data = data or cohort(people)
    detector = None if level is None else ThresholdDetector(level).subject()
    return TranslationRun(planted_translator(data, defect or Faithful()), data, detector, LocalEngine(), seed)


@cache
def measured(people=24, level=0.56, seed=0, **options):
    return detection_limit(run_of(people, level, seed), **{"budget": BUDGET, **options})


def value(findings, name):
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"PAT-005.{name}")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_large_bright_lesions_are_caught_and_faint_small_ones_are_not(seed):
    findings = measured(seed=seed)

    for fault in ("removal", "insertion"):
        assert value(findings, f"{fault}_power[diameter 24 mm, contrast 50 %]").value > 0.95
        assert value(findings, f"{fault}_power[diameter 10 mm, contrast 10 %]").value < 0.05


def test_power_rises_with_contrast_and_diameter():
    findings = measured()

    for diameter in (10, 16, 24):
        row = [
            value(findings, f"removal_power[diameter {diameter} mm, contrast {c} %]").value for c in (10, 20, 30, 50)
        ]
        assert row == sorted(row)
    series = findings.exhibits[0].data["series"]
    assert findings.exhibits[0].kind == "curves"
    lines = np.array([line["y"] for line in series])
    assert (np.diff(lines, axis=0) >= 0).all()
    assert (np.diff(lines, axis=1) >= 0).all()


def test_a_blind_detector_has_no_power_and_the_sentence_says_so():
    findings = measured(level=99.0)

    m = value(findings, "removal_power")
    assert (m.value, m.interval.low) == (0.0, 0.0)
    assert value(findings, "insertion_power").value == 0.0
    assert "with probability 0.00 (0.00-" in findings.notes[0]
    assert "the detector is blind to it" in findings.notes[0]
    assert {row["found_in_reference"] for row in findings.tables["exhibits/PAT-005-planted.csv"]} == {False}


def test_a_detector_that_marks_everything_has_no_power_to_speak_of():
    findings = measured(level=-99.0)

    m = value(findings, "removal_power")
    assert m.value is None
    assert "marks 100%" in m.reason
    assert "cannot be told" in findings.notes[0]


def test_the_sentences_have_their_form_and_the_measured_numbers():
    findings = measured()

    for note, fault in zip(findings.notes[:2], ("removal", "insertion"), strict=True):
        assert SENTENCE.fullmatch(note)
        m = value(findings, f"{fault}_power")
        assert f"the {fault} of" in note
        assert f"{m.value:.2f} ({m.interval.low:.2f}-{m.interval.high:.2f})" in note


def test_the_reference_point_is_the_lower_quartile_of_the_lesions_and_said():
    findings = measured()
    lesions = removed_pathology(run_of()).tables["exhibits/PAT-001-lesions.csv"]

    quartile = np.quantile([row["diameter_mm"] for row in lesions], 0.25)
    point = findings.tables["exhibits/PAT-005-planted.csv"][0]["diameter_mm"]
    assert point == pytest.approx(quartile, abs=0.51)
    assert f" {point:g} mm lesion at" in findings.notes[2]
    assert "lower quartile of the" in findings.notes[2]


def test_a_given_reference_point_is_used_and_one_that_fits_nowhere_is_missing():
    findings = measured(point_diameter_mm=12.0, point_contrast=0.4)
    assert "a 12 mm lesion at 40 % contrast" in findings.notes[0]
    assert "was given" in findings.notes[2]

    assert "No lesion of the reference point fits" in measured(point_diameter_mm=500.0).missing


def test_the_same_seed_gives_the_same_and_another_seed_other_places():
    def places(findings):
        return [(r["case_id"], r["row"], r["column"]) for r in findings.tables["exhibits/PAT-005-planted.csv"]]

    again = detection_limit(run_of(), budget=BUDGET)
    assert places(again) == places(measured())
    assert [e.measurement for e in again.estimates] == [e.measurement for e in measured().estimates]
    assert places(measured(seed=1)) != places(measured())


def test_lesions_are_planted_inside_the_body_and_clear_of_annotated_ones():
    run = run_of()
    items = {item.case.case_id: item for item in run.items}
    findings = detection_limit(run, budget=BUDGET)

    for row in findings.tables["exhibits/PAT-005-planted.csv"]:
        item = items[row["case_id"]]
        at = row["row"], row["column"]
        assert item.body[at]
        if item.lesion.any():
            away = np.hypot(*((np.argwhere(item.lesion) - at) * item.spacing_mm).T).min()
            assert away > row["diameter_mm"] / 2


def test_the_power_is_what_the_audits_find_when_a_model_does_it():
    # The same detector, on a model that erases every real lesion: what is not caught there was not read either.
    findings = removed_pathology(run_of(60, defect=Erase()))
    rows = findings.tables["exhibits/PAT-001-lesions.csv"]
    caught = np.mean([row["status"] in ("lost", "inverted") for row in rows])

    m = value(measured(60), "removal_power")
    assert m.interval.low - 0.1 < caught
    assert abs(caught - m.value) < 0.1


@pytest.mark.parametrize("defect", [Erase(), MoveLesions()], ids=lambda d: d.name)
def test_nothing_of_the_model_enters(defect):
    of_model = detection_limit(run_of(defect=defect), budget=BUDGET)
    assert [e.measurement for e in of_model.estimates] == [e.measurement for e in measured().estimates]


def test_the_budget_bounds_what_is_read_and_the_point_takes_twice_a_cell():
    run = run_of()
    found = detection(run, Settings(budget=300))

    assert found.images <= 300
    assert {len(planted) for planted in found.grid.values()} == {300 // (len(found.grid) + 6)}
    assert len(found.at_point) == 2 * (300 // (len(found.grid) + 6))


def test_it_is_computed_once_a_run_and_shared_with_the_other_audits():
    run = run_of(12)
    detection_limit(run, budget=BUDGET)
    [held] = vars(run)["_detection"].values()

    assert detection_by(run, MatchingRule(), 3) is held
    assert detection_sentence(detection_by(run, MatchingRule(), 3)).startswith(
        "This audit would have caught the removal"
    )
    # Another rule is another chain.
    assert detection_by(run, MatchingRule("centroid"), 3) is not held


def test_cells_too_small_for_the_pixels_are_left_out_and_named():
    findings = measured()
    assert not [e for e in findings.estimates if "diameter 4 mm" in e.measurement.id]
    assert "diameter 4 mm; diameter 6 mm" in findings.notes[-1]

    fine = detection_limit(run_of(data=cohort(4, 128)), budget=100)
    assert [e for e in fine.estimates if "diameter 6 mm" in e.measurement.id]


def test_small_n_gives_a_wide_interval_and_does_not_meet_a_limit():
    few = measured(6)
    m = value(few, "removal_power")
    assert m.clusters == 6
    # Six patients with nothing but catches: 0.05 ** (1 / 6).
    assert m.interval.low <= 0.61

    def verdict(findings, measurement):
        declared = Declared("AC-1", measurement, {"min": 0.8}, "lower")
        criteria = replace(suite("translation").criteria, declared=(declared,))
        return judge(criteria, {e.measurement.id: e for e in findings.estimates})[0].verdict

    assert verdict(few, "PAT-005.removal_power") == "inconclusive"
    assert verdict(measured(60), "PAT-005.removal_power") == "pass"
    assert verdict(measured(), "PAT-005.removal_power[diameter 10 mm, contrast 10 %]") == "fail"


def test_without_a_detector_or_annotated_cases_the_input_is_missing():
    assert "--detector" in detection_limit(run_of(level=None)).missing

    run = run_of(6)
    vars(run)["items"] = [replace(item, lesion=None) for item in run.items]
    assert "annotated for lesions" in detection_limit(run).missing


def test_without_annotated_lesions_the_point_is_a_default_and_said():
    run = run_of(6)
    vars(run)["items"] = [item for item in run.items if not item.lesion.any()]
    findings = detection_limit(run, budget=BUDGET)

    assert "a 10 mm lesion at 30 % contrast" in findings.notes[0]
    assert "a default, as the data hold no annotated lesion" in findings.notes[2]


def test_lesions_that_are_dark_in_the_data_are_planted_dark():
    run = run_of(12)
    vars(run)["items"] = [
        replace(item, reference=1 - item.reference, channels=(item.channels[0], 1 - item.channels[1]))
        for item in run.items
    ]
    found = detection(run, Settings(budget=100))
    assert found.habits.sign == -1
    # The detector reads bright lesions only.
    assert power(found, "removal", found.point, found.at_point, None).measurement.value in (0.0, None)


@pytest.mark.parametrize("text", ["", "six", "0 4", "4; 6", "2000"])
def test_diameters_that_are_no_numbers_are_refused(text):
    with pytest.raises(ConfigurationError, match="diameters_mm"):
        detection_limit(run_of(6), diameters_mm=text)


def test_every_case_has_a_row_and_those_without_a_planted_lesion_a_reason():
    run = run_of()
    findings = detection_limit(run, budget=30)
    assert [row["case_id"] for row in findings.rows] == [item.case.case_id for item in run.items]
    for row in findings.rows:
        assert (row["planted"] == 0) == (row["case_id"] in findings.excluded)


def test_the_interval_covers_the_power_where_lesions_share_patients():
    # A power between 0 and 1 that differs from patient to patient; small samples of patients are drawn from many.
    chosen = Settings(diameters_mm=(16.0,), contrasts=(0.3,), point_diameter_mm=16.0, point_contrast=0.3, budget=1260)
    pool = detection(run_of(60), chosen)
    by_patient = {}
    for planted in pool.at_point:
        by_patient.setdefault(planted.item.case.patient_id, []).append(planted)
    truth = power(pool, "removal", pool.point, pool.at_point, None).measurement.value
    assert 0.6 < truth < 0.97
    assert min(map(len, by_patient.values())) >= 4

    g = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        drawn = g.choice(sorted(by_patient), size=12)
        # A patient that is drawn twice is two patients.
        sample = [
            p._replace(item=replace(p.item, case=replace(p.item.case, patient_id=f"{k}")))
            for k, name in enumerate(drawn)
            for p in by_patient[name]
        ]
        interval = power(pool, "removal", pool.point, sample, None).measurement.interval
        inside.append(interval.low <= truth <= interval.high)
    # Each end holds at 95 %, both together at 90 % or more; less three standard errors of 400 draws.
    assert np.mean(inside) > 0.9 - 3 * np.sqrt(0.09 / 400)


@given(diameter=st.sampled_from([10.0, 16.0]), contrast=st.floats(0.05, 0.6), seed=st.integers(0, 50))
@settings(max_examples=10)
def test_property_a_removal_is_caught_only_if_the_lesion_was_read(diameter, contrast, seed):
    found = detection(
        run_of(8, seed=seed),
        Settings(diameters_mm=(diameter,), contrasts=(contrast,), budget=60),
    )
    assert set(found.grid) <= {Cell(diameter, contrast)}
    for planted in [*found.at_point, *(p for group in found.grid.values() for p in group)]:
        assert planted.seen or not planted.caught["removal"]
