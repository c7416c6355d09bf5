"""COV-001 on samplers that leave modes out, and on one that does not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from medgan_qa.audits.mode_coverage import KINDS, mode_coverage
from medgan_qa.controls.samplers import Independent, ModesKept, ModesReweighted, Shrunken

COVERAGE = "COV-001.clipped_coverage[radiomic]"


@pytest.fixture(scope="module")
def audit(sampled):
    """COV-001 on a planted sampler, once."""

    @cache
    def run(plan, people=150, modes=False, **options):
        return mode_coverage(sampled(plan, people=people, modes=modes, **options))

    return run


def test_negative_control_other_patients_cover_the_population(audit, value_of):
    findings = audit(Independent())

    for name in ("clipped_coverage", "clipped_density", "density"):
        assert value_of(findings, f"COV-001.{name}[radiomic]").value == pytest.approx(1.0, abs=0.15)
    assert value_of(findings, "COV-001.coverage[radiomic]").value > 0.93
    for name in ("recall", "precision"):
        samples, real = (value_of(findings, f"COV-001.{name}[radiomic{x}]") for x in ("", ", real against real"))
        assert samples.value == pytest.approx(real.value, abs=0.1)


def test_positive_control_half_of_the_modes_cover_half(audit, value_of):
    findings = audit(ModesKept(5), modes=True)
    coverage = value_of(findings, COVERAGE)

    assert coverage.value == pytest.approx(0.5, abs=0.1)
    assert coverage.interval.high < 0.8
    assert value_of(findings, "COV-001.recall[radiomic]").interval.high < 0.6
    assert value_of(findings, "COV-001.clipped_density[radiomic]").value > 0.8


def test_positive_control_a_spread_of_a_hundredth_covers_nothing(audit, value_of):
    findings = audit(Shrunken())

    for kind in KINDS:
        assert value_of(findings, f"COV-001.{kind.name}[radiomic]").value < 0.05
    assert value_of(findings, COVERAGE).interval.high < 0.8


def test_wrong_weights_do_not_lower_recall(audit, value_of):
    assert value_of(audit(ModesReweighted(), modes=True), "COV-001.recall[radiomic]").value >= 0.8


def test_everything_stands_beside_real_against_real(audit):
    findings = audit(Independent())

    strata = [e.measurement.stratum for e in findings.estimates]
    assert strata == ["radiomic", "radiomic, real against real"] * len(KINDS)
    forest = next(e for e in findings.exhibits if e.kind == "forest")
    assert len(forest.data["rows"]) == 2 * len(KINDS)
    assert any("Coverage expected of 300 samples" in note for note in findings.notes)


def test_without_a_train_partition_the_real_values_are_left_out(audit):
    findings = audit(Independent(), people=40, train=False)

    assert [e.measurement.stratum for e in findings.estimates] == ["radiomic"] * len(KINDS)


@pytest.mark.parametrize(("people", "samples"), [(23, 60), (40, 23), (1, 60)])
def test_small_n_is_said_and_nothing_measured(sampled, people, samples):
    findings = mode_coverage(sampled(Independent(), people=people, samples=samples))

    assert "24 of each are needed for 5 neighbours" in findings.missing
    assert not findings.estimates


def test_identical_samples_cover_no_more_than_one_image_does(sampled, value_of):
    run = sampled(Independent(), people=40, seed=4)
    drawn = run.sampled
    run.__dict__["sampled"] = drawn.take(np.zeros(len(drawn), np.intp))
    run.__dict__["sampled"] = type(drawn)(run.sampled.images, drawn.names, drawn.patients)
    findings = mode_coverage(run)

    assert value_of(findings, COVERAGE).value < 0.3
    assert value_of(findings, "COV-001.coverage[radiomic]").value < 0.3


@pytest.mark.parametrize("kept", [3, 7])
def test_property_the_share_of_modes_kept_is_the_share_covered(audit, value_of, kept):
    coverage = value_of(audit(ModesKept(kept), modes=True), COVERAGE)

    assert coverage.value == pytest.approx(kept / 10, abs=0.12)
    assert 0 <= coverage.interval.low <= coverage.value <= coverage.interval.high
