"""FID-001 on samplers that are and are not distributed as patients are."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from medgan_qa.audits.realism import FEWEST, realism
from medgan_qa.controls.samplers import Clipped, Independent, Shrunken

RATIO = "FID-001.frechet_ratio[radiomic]"
REAL = "radiomic, real against real"


@pytest.fixture(scope="module")
def audit(sampled):
    """FID-001 on a planted sampler, once."""

    @cache
    def run(plan, people=100, **options):
        return realism(sampled(plan, people=people, resamples=40, **options))

    return run


def test_negative_control_other_patients_are_as_near_as_patients(audit, value_of):
    ratio = value_of(audit(Independent(), people=150), RATIO)

    assert 0.6 < ratio.value < 1.6
    assert ratio.interval.low < 1 < ratio.interval.high
    assert ratio.interval.high < 3


@pytest.mark.parametrize("plan", [Shrunken(), Clipped()], ids=lambda plan: plan.name)
def test_positive_control_a_defect_of_the_distribution_is_far_off(audit, value_of, plan):
    findings = audit(plan)

    assert value_of(findings, RATIO).interval.low > 3
    for distance in (
        "frechet_distance",
        "frechet_distance_infinity",
        "kernel_distance_polynomial",
        "kernel_distance_rbf",
    ):
        samples, real = (value_of(findings, f"FID-001.{distance}[{side}]") for side in ("radiomic", REAL))
        assert samples.interval.low > real.interval.high
    patches, real = (value_of(findings, f"FID-001.sliced_wasserstein[patches{x}]") for x in ("", ", real against real"))
    assert patches.interval.low > real.interval.high


def test_every_distance_is_named_with_its_features_and_stands_beside_the_real_one(audit):
    findings = audit(Independent(), people=150)

    strata = {e.measurement.stratum for e in findings.estimates}
    assert strata == {"radiomic", REAL, "patches", "patches, real against real"}
    assert all(f"[{e.measurement.stratum}]" in e.measurement.id for e in findings.estimates)
    names = [e.measurement.id.partition("[")[0] for e in findings.estimates]
    assert len(set(names)) == 6
    assert all(names.count(name) == (1 if name.endswith("ratio") else 2) for name in names)


def test_without_a_train_partition_there_is_no_ratio_and_a_note_says_so(audit):
    findings = audit(Independent(), people=60, train=False)

    ids = [e.measurement.id for e in findings.estimates]
    assert findings.missing is None
    assert "FID-001.frechet_distance[radiomic]" in ids
    assert not any("ratio" in name or "real against real" in name for name in ids)
    assert any("no train partition" in note for note in findings.notes)


@pytest.mark.parametrize(("people", "samples"), [(FEWEST - 1, 60), (45, FEWEST - 1), (1, 60)])
def test_small_n_is_said_and_nothing_measured(sampled, people, samples):
    findings = realism(sampled(Independent(), people=people, samples=samples))

    assert f"{FEWEST} of each are needed" in findings.missing
    assert not findings.estimates


def test_more_samples_than_training_images_are_cut_for_the_ratio_only(audit, value_of):
    findings = audit(Independent(), people=45, samples=150)

    assert value_of(findings, "FID-001.frechet_distance[radiomic]").n == 150
    assert value_of(findings, RATIO).n == 90
    assert 0.4 < value_of(findings, RATIO).value < 2.5


def test_training_images_that_are_the_test_images_leave_no_ratio_to_take(sampled, value_of):
    run = sampled(Independent(), people=45, seed=3, resamples=20)
    run.__dict__["train"] = run.reference
    findings = realism(run)

    ratio = value_of(findings, RATIO)
    assert ratio.value is None
    assert "do not differ" in ratio.reason
    assert value_of(findings, f"FID-001.frechet_distance[{REAL}]").value == pytest.approx(0.0, abs=1e-6)


def test_property_samples_are_shown_as_they_were_drawn(audit, sampled):
    findings = audit(Independent(), people=150)

    shown = findings.arrays["exhibits/FID-001-samples.npz"]["images"]
    np.testing.assert_array_equal(shown[:30], sampled(Independent(), people=150, resamples=40).generated.grey[:30])
