"""Planted samplers that draw on demand: each does the one thing that it says, at its dose."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from medgan_qa.cohorts.cohort import subset
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.controls.labelled_samplers import (
    CLASSES,
    CONTROLS,
    PLANS_BY_NAME,
    Faithful,
    LabelledCopies,
    LabelledPlan,
    LabelledWorld,
    Noise,
    OneClass,
    WrongLabels,
    labelled_sampler,
)
from medgan_qa.controls.named import control_subject
from medgan_qa.errors import ConfigurationError


@cache
def cohort() -> BrainSlices:
    return BrainSlices(people=8)


def sample(plan: LabelledPlan, n: int = 40, seed: int = 0, label: str | None = None) -> np.ndarray:
    return labelled_sampler(cohort(), plan).sample(n, seed, label=label)[:, 0]


def bright(images: np.ndarray) -> np.ndarray:
    """The largest mean of 3 x 3 pixels, which lesions of FLAIR phantoms raise."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    return windows.mean(axis=(3, 4)).max(axis=(1, 2))


def test_one_latent_vector_and_one_class_give_one_image():
    np.testing.assert_array_equal(sample(Faithful(), 6), sample(Faithful(), 8)[:6])
    assert not np.array_equal(sample(Faithful(), 6), sample(Faithful(), 6, seed=1))


def test_classes_come_in_turn_and_on_demand():
    subject, in_turn = labelled_sampler(cohort(), Faithful()), sample(Faithful(), 12)

    assert subject.card.classes == CLASSES
    for k, label in enumerate(CLASSES):
        asked = sample(Faithful(), 12, label=label)
        np.testing.assert_array_equal(in_turn[k::2], asked[k::2])


def test_lesions_are_where_they_are_asked_for():
    with_, without = (bright(sample(Faithful(), label=label)) for label in ("lesion", "lesion-free"))

    assert np.median(with_) > np.quantile(without, 0.95)


def test_a_wrong_label_shows_the_other_class_in_the_asked_share_and_doses_nest():
    none, some, all_ = (sample(WrongLabels(dose)) for dose in (0.0, 0.3, 1.0))
    changed = np.array([not np.array_equal(a, b) for a, b in zip(none, some, strict=True)])

    assert 0.1 < changed.mean() < 0.5
    for image, other in zip(some[changed], all_[changed], strict=True):
        np.testing.assert_array_equal(image, other)
    free = bright(all_[1::2])
    assert np.median(free) < np.median(bright(none[1::2]))


def test_copies_are_training_images_of_the_class():
    world, images = LabelledWorld(cohort()), sample(LabelledCopies(0.5))
    known = {
        label: {world.training_images(case).image[0].tobytes() for case in world.by_label[label]} for label in CLASSES
    }
    copies = [image.tobytes() in known[CLASSES[k % 2]] for k, image in enumerate(images)]

    assert 0.25 < np.mean(copies) < 0.75
    assert sum(map(len, known.values())) == len(subset(cohort().cases, "train"))
    assert not any(image.tobytes() in known["lesion"] | known["lesion-free"] for image in sample(LabelledCopies(0.0)))


def test_one_class_has_no_lesion_and_noise_no_patient():
    free = bright(sample(Faithful(), label="lesion-free"))

    assert np.median(bright(sample(OneClass(), label="lesion"))) < np.quantile(free, 0.9)
    noise = sample(Noise(), 4)
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert abs(np.corrcoef(noise[0].ravel()[:-1], noise[0].ravel()[1:])[0, 1]) < 0.1


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_can_be_had_by_name(name):
    subject = control_subject(name, "augmentation", cohort())

    assert subject.sample(2, 0).shape == (2, 1, 64, 64)
    assert subject.card.extra["control"] == repr(PLANS_BY_NAME[name][1])


@pytest.mark.parametrize("other", [BrainPhantoms(people=2), BrainSlices(people=2, modes=True)])
def test_other_cohorts_are_refused(other):
    with pytest.raises(ConfigurationError, match="embedded cohort"):
        control_subject("independent", "augmentation", other)
