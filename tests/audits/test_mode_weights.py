"""COV-004 on a sampler with the wrong weights, and on one with those of the population."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits.mode_coverage import mode_coverage
from medgan_qa.audits.mode_weights import FEWEST, _distance, _distances, mode_weights
from medgan_qa.controls.samplers import Independent, ModesReweighted, Shrunken

SHARE = "COV-004.misplaced_share[radiomic]"
DIFFERENT = "COV-004.different_modes[radiomic]"


@pytest.fixture(scope="module")
def audit(sampled):
    """COV-004 on a planted sampler, once."""

    @cache
    def run(plan, modes=True, **options):
        return mode_weights(sampled(plan, modes=modes, **options))

    return run


def test_positive_control_weights_of_ninety_nine_to_one_are_found_where_recall_sees_nothing(audit, sampled, value_of):
    findings = audit(ModesReweighted())

    assert value_of(findings, SHARE).interval.low > 0.25
    assert value_of(findings, SHARE).value == pytest.approx(0.49, abs=0.1)
    assert value_of(findings, DIFFERENT).value >= 5
    recall = value_of(mode_coverage(sampled(ModesReweighted(), modes=True)), "COV-001.recall[radiomic]")
    assert recall.value >= 0.8


def test_positive_control_one_image_has_all_its_weight_in_one_mode(audit, value_of):
    findings = audit(Shrunken(), modes=False)

    assert value_of(findings, SHARE).interval.low > 0.7
    assert value_of(findings, "COV-004.jensen_shannon[radiomic]").value > 0.5


@pytest.mark.parametrize("modes", [False, True])
def test_negative_control_other_patients_have_the_weights_of_patients(audit, value_of, modes):
    findings = audit(Independent(), modes=modes)
    samples, real = (value_of(findings, f"COV-004.misplaced_share[radiomic{x}]") for x in ("", ", real against real"))

    assert samples.interval.high < 0.25
    assert samples.value == pytest.approx(real.value, abs=0.06)
    assert value_of(findings, DIFFERENT).value == 0


def test_the_table_has_every_mode_largest_first(audit):
    table = audit(ModesReweighted()).exhibits[0]

    shares = [float(row[1].removesuffix(" %")) for row in table.data["rows"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=1)
    assert sum(row[4] == "differs" for row in table.data["rows"]) >= 5


@pytest.mark.parametrize(("people", "samples"), [(FEWEST - 1, 100), (FEWEST, FEWEST - 1), (1, 100)])
def test_small_n_is_said_and_nothing_measured(sampled, people, samples):
    findings = mode_weights(sampled(Independent(), people=people, samples=samples))

    assert f"{FEWEST} of each are needed" in findings.missing
    assert not findings.estimates


def test_without_a_train_partition_there_are_no_modes(sampled):
    assert "no train partition" in mode_weights(sampled(Independent(), people=60, train=False)).missing


def test_identical_samples_are_misplaced(sampled, value_of):
    run = sampled(Independent(), people=60, seed=4)
    drawn = run.sampled
    run.__dict__["sampled"] = type(drawn)(np.repeat(drawn.images[:1], len(drawn), axis=0), drawn.names, drawn.patients)
    findings = mode_weights(run)

    assert value_of(findings, SHARE).interval.low > 0.5


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_property_the_misplaced_share_is_a_distance_within_zero_and_one(first, second):
    a, b = np.array(first), np.array(second)

    assert 0 <= _distance(a, b, 6) <= 1 + 1e-12
    assert _distance(a, b, 6) == pytest.approx(_distance(b, a, 6))
    assert _distance(a, np.tile(a, 3), 6) == pytest.approx(0)
    whole = _distances(a, b, 6, np.ones((1, len(a)), bool), np.ones((1, len(b)), bool))
    assert whole[0] == pytest.approx(_distance(a, b, 6))
