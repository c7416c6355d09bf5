"""Planted samplers: each does the one thing that it says, and the same latent vector gives the same image."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from medgan_qa import rng
from medgan_qa.cohorts.cohort import subset
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm
from medgan_qa.controls import samplers
from medgan_qa.controls.named import control_subject
from medgan_qa.controls.samplers import (
    PLANS_BY_NAME,
    TRANSFORMS,
    Checkerboard,
    Clipped,
    Copies,
    Dropped,
    DuplicatedTraining,
    Fixed,
    Independent,
    Pasted,
    Shrunken,
    disguised,
    planted_sampler,
)
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics import components, equivalent_diameter


@cache
def cohort(modes: bool = False) -> BrainSlices:
    return BrainSlices(people=8, modes=modes)


def training() -> np.ndarray:
    return np.stack([cohort().load(case).image[0] for case in subset(cohort().cases, "train")])


def sample(plan, n=24, seed=0) -> np.ndarray:
    return planted_sampler(cohort(), plan).sample(n, seed)[:, 0]


def test_one_latent_vector_gives_one_image():
    subject = planted_sampler(cohort(), Independent())

    np.testing.assert_array_equal(subject.sample(4, 0), subject.sample(6, 0)[:4])
    assert not np.array_equal(subject.sample(4, 0), subject.sample(4, 1))


def test_independent_samples_are_nobody_of_the_cohort_and_all_different():
    images = sample(Independent())
    held = np.stack([cohort().load(case).image[0] for case in cohort().cases])
    apart = np.abs(images[:, None] - held[None]).mean(axis=(2, 3))
    among = np.abs(images[:, None] - images[None]).mean(axis=(2, 3)) + np.eye(len(images))

    assert apart.min() > 0.01
    assert among.min() > 0.01


def test_copies_are_training_images_and_doses_nest():
    few, many, none = sample(Copies(0.2), 64), sample(Copies(0.6), 64), sample(Copies(0.0), 64)
    known = {image.tobytes() for image in training()}
    in_few = np.array([image.tobytes() in known for image in few])
    in_many = np.array([image.tobytes() in known for image in many])

    assert 5 <= in_few.sum() <= 22
    assert (in_many[in_few]).all()
    np.testing.assert_array_equal(few[~in_few], none[~in_few])
    assert not any(image.tobytes() in known for image in none)


@pytest.mark.parametrize("disguise", TRANSFORMS)
def test_a_disguise_changes_the_image_and_keeps_its_size(disguise):
    image = training()[0]
    other = disguised(image, disguise, rng.child(0, "disguise"))

    assert other.shape == image.shape
    assert not np.array_equal(other, image)


def test_an_unknown_disguise_is_refused():
    with pytest.raises(ValueError, match="no such disguise"):
        disguised(training()[0], "hat", rng.child(0, "x"))


def test_a_pasted_patch_is_a_training_patients():
    pasted, clean = sample(Pasted(1.0), 8), sample(Pasted(0.0), 8)
    changed = pasted != clean

    for image, mask in zip(pasted, changed, strict=True):
        assert 5 < mask.sum() < 1500
        assert any(np.array_equal(image[mask], other[mask]) for other in training())


def test_shrunken_samples_hardly_differ():
    assert sample(Shrunken()).std(axis=0).mean() < 0.05 * training().std(axis=0).mean()


def test_fixed_clipped_and_checkered_samples_are_what_they_say():
    assert np.ptp(sample(Fixed(0.3), 4)) == 0
    assert 0 < np.isnan(sample(Fixed(float("nan"), dose=0.5), 24)).all(axis=(1, 2)).sum() < 24
    assert (sample(Clipped(), 4) == 1).mean() > 0.05
    difference = sample(Checkerboard(0.02), 4) - sample(Independent(), 4)
    assert np.abs(difference).max() == pytest.approx(0.02, abs=1e-6)


def test_a_dropped_subgroup_is_not_drawn():
    world_ages = []
    plan = Dropped(older=40)
    subject = planted_sampler(cohort(), plan)
    original = plan._outside

    class Spy(Dropped):
        def _outside(self, spec):
            kept = original(spec)
            if kept:
                world_ages.append(spec.patient.age_years)
            return kept

    planted_sampler(cohort(), Spy(older=40)).sample(40, 0)
    assert world_ages
    assert max(world_ages) < 40
    assert subject.card.task == "synthesis"


def test_the_dropped_lesions_are_those_whose_mask_is_large_and_some_slices_show_one(monkeypatch):
    def largest(spec) -> float:
        masks, spacing = components(anatomy(spec, 64).mask), pixel_mm(64)
        return max((equivalent_diameter(mask, (spacing, spacing)) for mask in masks), default=0.0)

    drawn = []
    rendered = samplers.render
    monkeypatch.setattr(samplers, "render", lambda spec, *given: drawn.append(spec) or rendered(spec, *given))
    sample(Independent(), 256)
    assert 5 <= sum(largest(spec) >= 40 for spec in drawn) <= 30

    drawn.clear()
    sample(PLANS_BY_NAME["dropped"][1], 256)
    sizes = [largest(spec) for spec in drawn]
    assert len(sizes) == 256
    assert 30 < max(sizes) < 40


@pytest.mark.parametrize("name", PLANS_BY_NAME)
def test_every_control_draws_images_of_its_cohorts_size(name):
    images = control_subject(name, "synthesis", cohort(modes=name in ("weights",) or name.startswith("modes"))).sample(
        2, 0
    )

    assert images.shape == (2, 1, 64, 64)


def test_an_unknown_control_and_a_cohort_that_cannot_be_drawn_from_are_refused():
    with pytest.raises(ConfigurationError, match="no control"):
        control_subject("perfect", "synthesis", cohort())
    with pytest.raises(ConfigurationError, match="embedded cohort"):
        control_subject("independent", "synthesis", BrainPhantoms(people=2))


def test_duplicated_training_images_are_the_same_pixels_under_other_patients():
    doubled = DuplicatedTraining(cohort(), share=0.25, times=3)
    train = subset(doubled.cases, "train")
    again = [case for case in train if "again" in case.case_id]

    assert len(again) == 2 * 4
    assert len(train) == 16 + 8
    first = doubled.load(again[0]).image
    assert any(np.array_equal(first, image[None]) for image in training())
    assert {case.patient_id for case in again}.isdisjoint(case.patient_id for case in cohort().cases)
    assert doubled.digest() != cohort().digest()
    assert doubled.name == cohort().name
