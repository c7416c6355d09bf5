"""Planted super-resolvers: the defect is there, at its dose, and nothing else is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from medgan_qa.cohorts.degraded import model_input
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainTruths
from medgan_qa.controls.named import TABLES, control_subject, controls
from medgan_qa.controls.super_resolvers import (
    ACQUISITION,
    CONTROLS,
    Consistent,
    NullTexture,
    Truthful,
    Upsampled,
    planted_super_resolver,
)
from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.metrics import body_mask
from medgan_qa.metrics.degradation import declared

COHORT = BrainTruths(people=6, size=48)
COHORT.load = cache(COHORT.load)
OPERATOR = declared(COHORT.degradation, COHORT.scale)


def outputs(subject, cohort=COHORT):
    """By case: truth, input and output, (H, W) and (h, w)."""
    operator = declared(subject.card.degradation, subject.card.scale)
    out = {}
    for case in cohort.cases:
        images = cohort.load(case)
        given = model_input(operator, images, case.case_id)
        out[case.case_id] = (images.image[0].astype(float), given[0], subject.upscale(given[None])[0, 0].astype(float))
    return out


def test_every_control_of_the_suite_has_a_name():
    assert TABLES["super-resolution"] == "medgan_qa.controls.super_resolvers"
    assert controls("super-resolution") is CONTROLS
    for name in CONTROLS:
        subject = control_subject(name, "super-resolution", COHORT)
        for truth, _, output in outputs(subject).values():
            assert output.shape == truth.shape
            assert np.isfinite(output).all()
    assert len({control_subject(n, "super-resolution", COHORT).sha256 for n in CONTROLS}) == len(CONTROLS)


def test_what_agrees_with_the_input_does():
    honest = (Consistent(), NullTexture(0.1), Upsampled(smooth=False), Upsampled(smooth=True, projected=True))
    for defect in honest:
        for _, given, output in outputs(planted_super_resolver(COHORT, defect)).values():
            np.testing.assert_allclose(OPERATOR.apply(output), given, atol=1e-5)


def test_what_is_consistent_holds_the_truths_own_detail():
    for truth, _, output in outputs(planted_super_resolver(COHORT, Consistent())).values():
        np.testing.assert_allclose(OPERATOR.unseen(output), OPERATOR.unseen(truth), atol=1e-5)


def test_null_texture_has_its_amplitude_in_the_body_and_none_outside():
    for truth, _, output in outputs(planted_super_resolver(COHORT, NullTexture(0.05))).values():
        added = OPERATOR.unseen(output) - OPERATOR.unseen(truth)
        inside = body_mask(truth)
        assert np.sqrt(np.mean(np.square(added[inside]))) == pytest.approx(0.05, rel=1e-3)
        assert np.abs(added[:4, :4]).max() < 1e-5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_doses_nest(seed):
    clean = outputs(planted_super_resolver(COHORT, Consistent()))

    def touched(dose):
        made = outputs(planted_super_resolver(COHORT, NullTexture(dose=dose), seed=seed))
        return {k for k in made if np.abs(made[k][2] - clean[k][2]).max() > 1e-4}

    few, more, every = touched(0.3), touched(0.7), touched(1.0)
    assert few <= more <= every == set(clean)
    assert len(more) < 12


def test_a_patch_is_in_one_disc():
    for truth, _, output in outputs(planted_super_resolver(COHORT, NullTexture(0.1, radius_px=5.0))).values():
        added = np.abs(OPERATOR.unseen(output) - OPERATOR.unseen(truth)) > 0.01
        rows, columns = np.nonzero(added)
        # A pixel of the input more on either side, as texture is cut to what the operator does not see.
        assert np.ptp(rows) <= 10 + 2
        assert np.ptp(columns) <= 10 + 2


def test_two_per_cent_are_two_per_cent():
    made = outputs(control_subject("bias-2", "super-resolution", COHORT))
    ratios = [output.sum() / truth.sum() for truth, _, output in made.values()]
    assert np.mean(ratios) == pytest.approx(1.02, abs=0.002)


def test_a_texture_finds_no_room_where_the_operator_sees_everything():
    subject = planted_super_resolver(COHORT, NullTexture(), (1, 1), {})
    for truth, _, output in outputs(subject).values():
        np.testing.assert_allclose(output, truth, atol=1e-6)


def test_refuses_images_that_are_no_input_of_its_cohort():
    subject = planted_super_resolver(COHORT, Truthful())
    with pytest.raises(ModelError, match="no input of its cohort"):
        subject.upscale(np.zeros((1, 1, 24, 24), np.float32))


def test_refuses_cohorts_without_truths_to_degrade():
    with pytest.raises(ConfigurationError, match="can be degraded") as caught:
        planted_super_resolver(BrainPhantoms(people=1), Truthful())
    assert "degrade = false" in caught.value.found
    with pytest.raises(ConfigurationError, match="can be degraded"):
        planted_super_resolver(COHORT, Truthful(), (5, 5))


def test_a_cohort_says_how_it_would_be_acquired():
    thick = BrainTruths(people=1, size=48, scale=(3, 1), degradation={"profile": "gaussian"})
    card = planted_super_resolver(thick, Truthful()).card
    assert (card.scale, card.degradation) == ((3, 1), {"profile": "gaussian"})
    assert planted_super_resolver(COHORT, Truthful()).card.degradation == ACQUISITION[1]
