"""Inputs that are made from truths, and the embedded cohorts of truths."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.cohorts.degraded import model_input
from medgan_qa.cohorts.phantom import EMBEDDED, BrainPhantoms, BrainTruths, phantom_cohort
from medgan_qa.metrics.degradation import declared


def truth(channels: int = 1) -> CaseImages:
    g = np.random.default_rng(0)
    image = g.random((channels, 40, 40)).astype(np.float32)
    return CaseImages(image, image, None, (1.0, 1.0), degrade=True)


def test_an_input_is_the_degraded_truth_with_noise() -> None:
    images, operator = truth(2), declared({"noise_sd": 0.05}, (2, 1))
    x = model_input(operator, images, "a")
    assert x.shape == (2, 20, 40)
    assert x.dtype == np.float32
    difference = x - operator.apply(images.image)
    assert difference.std() == pytest.approx(0.05, rel=0.05)
    assert abs(np.corrcoef(difference.reshape(2, -1))[0, 1]) < 0.1


def test_noise_depends_on_the_case_alone() -> None:
    images, operator = truth(), declared({"noise_sd": 0.05}, (2, 2))
    np.testing.assert_array_equal(model_input(operator, images, "a"), model_input(operator, images, "a"))
    assert not np.array_equal(model_input(operator, images, "a"), model_input(operator, images, "b"))


def test_an_input_that_was_acquired_is_taken_as_it_is() -> None:
    image = truth().image
    paired = CaseImages(image, None, None, (1.0, 1.0))
    for operator in (None, declared({"noise_sd": 0.05}, (2, 2))):
        assert model_input(operator, paired, "a") is image


def test_a_truth_cannot_be_degraded_without_an_operator() -> None:
    with pytest.raises(ValueError, match="no operator is declared"):
        model_input(None, truth(), "a")
    with pytest.raises(ValueError, match="multiple of 3 x 3"):
        model_input(declared({}, (3, 3)), truth(), "a")


def test_truths_are_the_phantoms_of_one_contrast() -> None:
    cohort = BrainTruths(people=2)
    images = cohort.load(cohort.cases[0])
    assert images.degrade
    assert images.image is images.target
    pair = BrainPhantoms("T2", "FLAIR", size=72, people=2)
    np.testing.assert_array_equal(images.image, pair.load(pair.cases[0]).target)
    assert cohort.digest() != BrainPhantoms("FLAIR", "FLAIR", size=72, people=2).digest()
    assert cohort.describe()["source_domain"] == "FLAIR degraded"


@pytest.mark.parametrize("name", ["phantom:brain-sr", "phantom:brain-thick"])
def test_embedded_truths_can_be_degraded_by_usual_scales(name: str) -> None:
    cohort = phantom_cohort(name)
    assert isinstance(cohort, BrainTruths)
    images = cohort.load(cohort.cases[0])
    for scale in ((2, 2), (3, 3), (4, 4), cohort.scale):
        operator = declared(cohort.degradation, scale)
        height, width = images.image.shape[1:]
        assert model_input(operator, images, "a").shape == (1, height // scale[0], width // scale[1])
    assert name in EMBEDDED


def test_thick_slices_cross_planes_of_a_millimetre() -> None:
    cohort = phantom_cohort("phantom:brain-thick")
    assert cohort.load(cohort.cases[0]).spacing_mm == pytest.approx((1.0, 1.0), abs=0.02)
