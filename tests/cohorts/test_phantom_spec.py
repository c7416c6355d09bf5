"""Drawing: patients are independent, reproducible, and recorded in full."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
from medgan_qa.cohorts.phantom_spec import SITES, SPEC_VERSION, draw_lesion, draw_patient, draw_slices

PARTITIONS = ("train", "train-target", "detector-train", "test")


def test_partitions_share_no_patient() -> None:
    drawn = {partition: draw_cohort(COHORT_SEED, partition, 40) for partition in PARTITIONS}
    identifiers = {spec.patient.patient_id for specs in drawn.values() for spec in specs}
    seeds = {spec.patient.seed for specs in drawn.values() for spec in specs}
    anatomies = {spec.patient.warp_mm for specs in drawn.values() for spec in specs}
    assert len(identifiers) == len(seeds) == len(anatomies) == 40 * len(PARTITIONS)


def test_a_patient_does_not_depend_on_how_many_are_drawn() -> None:
    assert draw_cohort(3, "test", 12)[:8] == draw_cohort(3, "test", 4)


def test_another_seed_draws_other_patients() -> None:
    first, second = draw_cohort(3, "test", 8), draw_cohort(4, "test", 8)
    assert {spec.patient.warp_mm for spec in first}.isdisjoint(spec.patient.warp_mm for spec in second)


def test_case_identifiers_are_unique_and_two_slices_share_a_patient() -> None:
    specs = draw_cohort(COHORT_SEED, "test", 20)
    assert len({spec.case_id for spec in specs}) == 40
    for first, second in zip(specs[::2], specs[1::2], strict=True):
        assert first.patient == second.patient
        assert (first.index, second.index) == (0, 1)


def test_what_is_recorded_is_json_and_draws_the_same_again() -> None:
    first, again = draw_cohort(COHORT_SEED, "test", 8), draw_cohort(COHORT_SEED, "test", 8)
    texts = [json.dumps(spec.as_dict(), allow_nan=False) for spec in first]
    assert texts == [json.dumps(spec.as_dict(), allow_nan=False) for spec in again]
    assert len(set(texts)) == 16
    assert all(json.loads(text)["version"] == SPEC_VERSION for text in texts)


def test_a_lesion_leaves_the_anatomy_as_it_is() -> None:
    healthy, ill = draw_patient(5, "p", lesion=False), draw_patient(5, "p", lesion=True)
    assert healthy.lesion is None
    assert dataclasses.replace(ill, lesion=None) == healthy


@pytest.mark.parametrize(("lesion", "plan"), [(True, "none"), (False, "one"), (False, "both")])
def test_a_plan_that_does_not_fit_the_patient_is_refused(lesion: bool, plan) -> None:
    with pytest.raises(ValueError, match=f"plan '{plan}' does not fit a patient"):
        draw_slices(1, draw_patient(1, "p", lesion=lesion), plan)


def test_age_widens_ventricles_and_sulci() -> None:
    people = [draw_patient(1, f"p{k}", lesion=False) for k in range(200)]
    ages = [p.age_years for p in people]
    # Expected from the slopes and spreads that are drawn from: 0.61 and 0.83, a little less where values are clipped.
    assert np.corrcoef(ages, [p.ventricles for p in people])[0, 1] > 0.45
    assert np.corrcoef(ages, [p.atrophy for p in people])[0, 1] > 0.65


def test_sexes_and_sites_all_occur_and_heads_of_men_are_larger() -> None:
    people = [draw_patient(1, f"p{k}", lesion=False) for k in range(200)]
    assert {p.site for p in people} == set(SITES)
    size = {sex: np.mean([p.scale[1] * p.scale[2] for p in people if p.sex == sex]) for sex in ("F", "M")}
    assert size["M"] > size["F"]


@given(st.integers(0, 2**63), st.text(max_size=20))
def test_prop_lesions_stay_within_their_ranges(seed: int, patient_id: str) -> None:
    lesion = draw_lesion(seed, patient_id)
    assert 8.0 <= lesion.radius_mm <= 26.0
    assert 4.0 < lesion.centre_mm[0] < 38.0
    assert 0.35 <= lesion.core_share <= 0.65
    assert 0.7 <= lesion.contrast <= 1.1
    assert 0.0 <= lesion.mass_effect <= 0.3
    assert len(lesion.outline) == 4
