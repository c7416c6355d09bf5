"""The run of super-resolution: items on the output's grid, inputs, comparators, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.cohorts.degraded import model_input
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainTruths
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.super_resolvers import Truthful, Upsampled, planted_super_resolver
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import DatasetError, ModelError
from medgan_qa.metrics.degradation import declared
from medgan_qa.metrics.upsampling import bicubic, repeated

COHORT = BrainTruths(people=3, size=48)


def run(subject=None, cohort=COHORT, detector=None):
    subject = subject or planted_super_resolver(cohort, Truthful(0.0))
    return SuperResolutionRun(subject, cohort, detector, LocalEngine(), 0)


def changed(subject, **card):
    return replace(subject, card=replace(subject.card, **card))


class Paired(BrainPhantoms):
    """Inputs of half the size with their truths, as a dataset with `scale = 2` holds them."""

    def load(self, case):
        images = super().load(case)
        small = declared({}, (2, 2)).apply(images.target).astype(np.float32)
        mask = images.lesion_mask
        return CaseImages(small, images.target, mask, (2 * images.spacing_mm[0], 2 * images.spacing_mm[1]))


class Blank:
    """A network that answers with zeros of a size of its own."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x, seed):
        return np.zeros((*x.shape[:2], self.factor * x.shape[2], self.factor * x.shape[3]), np.float32)


def test_items_are_on_the_grid_of_the_output():
    made = run()
    made.dry_run()
    for item in made.items:
        images = COHORT.load(item.case)
        given = model_input(made.operator, images, item.case.case_id)
        np.testing.assert_array_equal(made.inputs[item.case.case_id], given)
        np.testing.assert_array_equal(item.output, images.image[0])
        np.testing.assert_array_equal(item.reference, images.image[0])
        np.testing.assert_array_equal(item.source, bicubic(given[0], (2, 2)))
        np.testing.assert_array_equal(made.truth(item.case.case_id), images.image)
        assert item.spacing_mm == images.spacing_mm
    assert made.paired == made.items
    assert made.options == {"degradation": made.operator.as_dict()}
    assert made.deviations() == []


def test_comparators_are_the_input_without_learning():
    made = run()
    assert set(made.comparators) == {"bicubic", "nearest"}
    case_id = made.items[1].case.case_id
    np.testing.assert_array_equal(made.comparators["nearest"][case_id], repeated(made.inputs[case_id][0], (2, 2)))
    np.testing.assert_array_equal(made.comparators["bicubic"][case_id], bicubic(made.inputs[case_id][0], (2, 2)))


def test_on_one_grid_the_source_is_the_input():
    cohort = BrainTruths(people=1, size=48, scale=(1, 1), degradation={"kspace": {"kept": 0.5}})
    made = run(cohort=cohort)
    for item in made.items:
        np.testing.assert_allclose(item.source, made.inputs[item.case.case_id][0], atol=1e-6)
        np.testing.assert_array_equal(made.comparators["nearest"][item.case.case_id], item.source)


def test_an_anisotropic_model_has_rows_of_its_own():
    cohort = BrainTruths(people=1, size=48, scale=(3, 1), degradation={"profile": "gaussian"})
    made = run(cohort=cohort)
    assert made.inputs[made.items[0].case.case_id].shape == (1, 16, 48)
    assert made.items[0].output.shape == (48, 48)


def test_inputs_that_were_acquired_are_taken_as_they_are():
    cohort = Paired("FLAIR", "FLAIR", people=2, size=48)
    subject = changed(planted_super_resolver(COHORT, Truthful()), degradation=None)
    made = run(replace(subject, network=Blank(2)), cohort)
    made.dry_run()
    item = made.items[0]
    assert made.operator is None
    assert made.options == {}
    assert made.inputs[item.case.case_id].shape == (1, 24, 24)
    assert item.reference.shape == item.lesion.shape == item.output.shape == (48, 48)
    assert item.spacing_mm == pytest.approx((224 / 48, 224 / 48))
    assert "constant image in 4 of 4 cases" in made.deviations()[0]


def test_refuses_truths_without_a_declared_degradation():
    with pytest.raises(ModelError, match="does not say how the inputs") as caught:
        run(changed(planted_super_resolver(COHORT, Truthful()), degradation=None)).dry_run()
    assert "degradation" in caught.value.expected


def test_refuses_truths_that_are_no_multiple_of_the_scale():
    subject = changed(planted_super_resolver(COHORT, Truthful()), scale=(5, 5))
    with pytest.raises(DatasetError, match="cannot be degraded") as caught:
        run(subject).dry_run()
    assert "48 x 48" in caught.value.found
    assert "multiples of 5" in caught.value.expected


def test_refuses_an_output_of_another_size():
    subject = replace(planted_super_resolver(COHORT, Truthful()), network=Blank(3))
    with pytest.raises(ModelError, match="output of another shape"):
        run(subject).dry_run()


def test_refuses_truths_on_another_grid():
    cohort = Paired("FLAIR", "FLAIR", people=2, size=48)
    subject = changed(planted_super_resolver(COHORT, Truthful()), scale=(3, 3))
    with pytest.raises(DatasetError, match="not on the grid of the model's output") as caught:
        run(replace(subject, network=Blank(3)), cohort).dry_run()
    assert "72 rows x 72 columns" in caught.value.expected
    assert "48 rows x 48 columns" in caught.value.found


def test_the_detector_reads_on_the_grid_of_the_output():
    made = run(planted_super_resolver(COHORT, Upsampled(smooth=True)), detector=ThresholdDetector().subject())
    made.dry_run()
    reading = made.readings[made.items[0].case.case_id]
    assert reading.output.shape == reading.reference.shape == (48, 48)


def test_outputs_do_not_depend_on_the_runs_seed():
    subject = planted_super_resolver(COHORT, Truthful())
    first, second = (SuperResolutionRun(subject, COHORT, None, LocalEngine(), seed) for seed in (0, 7))
    for a, b in zip(first.items, second.items, strict=True):
        np.testing.assert_array_equal(a.output, b.output)
