"""CON-002 on planted super-resolvers: what is added unseen is found, what is only missing is not charged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits import AUDITS, data_inconsistency, unseen_invention
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.cohorts.phantom import BrainTruths
from medgan_qa.controls.super_resolvers import (
    Consistent,
    NullTexture,
    Rescaled,
    Smoothed,
    Truthful,
    Upsampled,
    planted_super_resolver,
)
from medgan_qa.engines import LocalEngine

KINDS = {
    "twofold": {},
    "fourfold": {"scale": (4, 4)},
    "lines": {"scale": (1, 1), "degradation": {"kspace": {"kept": 0.5}, "noise_sd": 0.01}},
    "region": {"scale": (1, 1), "degradation": {"missing": {"box": [0.4, 0.3, 0.6, 0.6]}, "noise_sd": 0.01}},
    "blurred": {"scale": (1, 1), "degradation": {"blur_sd": 1.0, "noise_sd": 0.01}},
}


@cache
def cohort(kind, people):
    data = BrainTruths(people=people, size=48, **KINDS[kind])
    # The same images serve many runs; drawing them is what takes the time.
    data.load = cache(data.load)
    return data


@cache
def run_of(defect, kind="twofold", people=10, seed=0):
    data = cohort(kind, people)
    return SuperResolutionRun(planted_super_resolver(data, defect, seed=seed), data, None, LocalEngine(), seed)


@cache
def audited(defect, kind="twofold", people=10, seed=0, **parameters):
    return unseen_invention(run_of(defect, kind, people, seed), **parameters)


def value(findings, name):
    return next(e.measurement.value for e in findings.estimates if e.measurement.id == f"CON-002.{name}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("defect", [Truthful(), Consistent()], ids=["faithful", "consistent"])
def test_negative_control_the_truth_with_noise_passes(kind, defect):
    findings = audited(defect, kind)
    assert value(findings, "invented_object_rate") == 0
    assert value(findings, "recovered_share") > 0.99
    assert value(findings, "missing_energy") < 1e-3


@pytest.mark.parametrize(
    "defect",
    [Upsampled(smooth=True), Upsampled(smooth=False), Smoothed(), Rescaled()],
    ids=["bicubic", "nearest", "smooth", "2 % too bright"],
)
def test_negative_control_what_is_missing_or_seen_is_no_invention(defect):
    findings = audited(defect)
    assert value(findings, "invented_object_rate") == 0
    if not isinstance(defect, Rescaled):
        assert value(findings, "recovered_share") < 0.5
        assert value(findings, "missing_energy") > 0.25


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("kind", "amplitude"), [("twofold", 0.06), ("fourfold", 0.08), ("lines", 0.06), ("region", 0.06), ("blurred", 0.06)]
)
def test_positive_control_texture_in_the_null_space_is_found(kind, amplitude, seed):
    findings = audited(NullTexture(amplitude), kind, seed=seed)
    assert value(findings, "invented_object_rate") >= 0.95
    assert value(findings, "recovered_share") > 0.9
    assert value(findings, "unseen_error_share") > 0.02


def test_positive_control_is_not_seen_by_data_consistency():
    consistency = data_inconsistency(run_of(NullTexture(0.06)))
    assert consistency.estimates[0].measurement.value == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_rate_follows_the_dose(seed):
    findings = audited(NullTexture(0.08, dose=0.4), people=30, seed=seed)
    rate = findings.estimates[0].measurement
    assert rate.interval.low <= 0.4 <= rate.interval.high
    assert 0.2 < rate.value < 0.6


def test_an_object_is_shown_where_it_was_invented():
    run, findings = run_of(NullTexture(0.12, radius_px=5.0)), audited(NullTexture(0.12, radius_px=5.0))
    assert value(findings, "invented_object_rate") > 0.9
    exhibit = next(e for e in findings.exhibits if e.kind == "panels")
    arrays = findings.arrays[exhibit.file]
    operator = run.operator
    for k in range(4):
        added = np.abs(operator.unseen(arrays["output"][k]) - operator.unseen(arrays["reference"][k]))
        y, x = np.unravel_index(arrays["source"][k].argmax(), (48, 48))
        assert added[y - 3 : y + 4, x - 3 : x + 4].max() > 0.1


def test_texture_as_faint_as_the_truths_own_noise_is_not_told_from_it():
    findings = audited(NullTexture(0.02))
    assert value(findings, "invented_object_rate") < 0.1
    assert value(findings, "invented_energy") > 0.05
    assert any("would have caught unseen texture of 5 % of the range" in note for note in findings.notes)


def test_what_the_map_finds_grows_with_what_is_planted():
    findings = audited(Truthful(), people=30)
    seen = [value(findings, f"planted_seen[{name} % of the range]") for name in ("5", "10")]
    assert 0.2 < seen[0] < seen[1]
    assert seen[1] > 0.7
    assert value(findings, "false_alarm_rate") < 0.15


def test_second_acquisitions_of_other_patients_are_rarely_objects():
    alarms = [value(audited(Truthful(), seed=seed), "false_alarm_rate") for seed in range(2)]
    assert np.mean(alarms) < 0.08


@dataclass(frozen=True)
class OtherLesion:
    """The consistent output with the lesion's unseen part taken away, and the share of it that is left."""

    left: float
    name: str = "fader"

    def apply(self, scene, g):
        operator = scene.operator
        return operator.solve(scene.given, scene.truth.shape) + self.left * operator.unseen(scene.truth)


@settings(max_examples=6)
@given(left=st.floats(0, 1))
def test_prop_a_share_of_the_truth_is_recovered_and_never_invented(left):
    findings = audited(OtherLesion(left), people=4)
    assert value(findings, "recovered_share") == pytest.approx(left, abs=1e-3)
    assert value(findings, "invented_energy") == pytest.approx(0, abs=1e-4)
    assert value(findings, "invented_object_rate") == 0


def test_without_a_truth_only_the_outputs_own_share_is_told():
    class Untold(BrainTruths):
        def load(self, case):
            return CaseImages(inputs[case.case_id], None, None, (6.2, 6.2))

    whole = run_of(Truthful(), people=4)
    _ = whole.items
    inputs = whole.inputs
    run = SuperResolutionRun(whole.subject, Untold(people=4, size=48), None, LocalEngine(), 0)
    findings = unseen_invention(run)
    assert "has a truth" in findings.missing
    assert [e.measurement.id for e in findings.estimates] == ["CON-002.output_unseen_energy"]
    assert 0.01 < findings.estimates[0].measurement.value < 0.1


def test_is_inconclusive_for_one_patient_and_without_an_operator():
    assert "Fewer than two patients" in audited(Truthful(), people=1).missing
    run = SuperResolutionRun(run_of(Truthful()).subject, cohort("twofold", 10), None, LocalEngine(), 0)
    run.operator = None
    assert "does not say how its inputs come" in unseen_invention(run).missing


def test_does_not_apply_where_the_operator_sees_everything():
    data = BrainTruths(people=2, scale=(1, 1), degradation={"noise_sd": 0.01})
    run = SuperResolutionRun(planted_super_resolver(data, Truthful()), data, None, LocalEngine(), 0)
    assert "sees everything" in unseen_invention(run).not_applicable


def test_two_runs_with_one_seed_are_one():
    first, second = (unseen_invention(run_of(NullTexture(), people=4)) for _ in range(2))
    assert [e.measurement for e in first.estimates] == [e.measurement for e in second.estimates]
    assert first.rows == second.rows


def test_rows_and_exhibits_say_what_was_seen():
    findings = audited(NullTexture(0.06))
    assert list(findings.rows[0])[:2] == ["case_id", "patient_id"]
    assert {row["status"] for row in findings.rows} == {"invented objects"}
    assert all(row["largest_mm"] > 3 for row in findings.rows)
    assert [e.kind for e in findings.exhibits] == ["scatter", "forest", "panels"]
    labels = [row["label"] for row in findings.exhibits[1].data["rows"]]
    assert labels == [
        "Cases with invented unseen detail",
        "Cases with invented unseen detail, lesion-free",
        "Cases with invented unseen detail, lesions",
        "Second acquisitions that show an object",
    ]


def test_makes_the_measurements_that_the_catalogue_names():
    made = {e.measurement.id.split("[")[0] for e in audited(Truthful()).estimates}
    assert made == {f"CON-002.{name}" for name in AUDITS["CON-002"].measures}
