"""The planted pairs do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Constant, Erase, Faithful
from medgan_qa.controls.cycles import cheating_pair, collapsed_translator, honest_pair, planted_where


@pytest.fixture(scope="module")
def cohort():
    return BrainPhantoms(people=4)


def images(cohort):
    return [cohort.load(case) for case in cohort.cases]


def test_an_honest_inverse_undoes_the_contrast_of_any_image(cohort):
    pair = honest_pair(cohort)
    for one in images(cohort):
        assert np.allclose(pair.inverse.translate(pair.translate(one.image[None])), one.image, atol=1e-6)
    noise = np.random.default_rng(0).random((2, 1, 64, 64)).astype(np.float32)
    assert pair.inverse.translate(noise).shape == noise.shape


def test_the_cheat_hides_the_source_within_a_grey_level_of_an_image_without_lesions(cohort):
    pair, visible = cheating_pair(cohort), Erase()
    for one in images(cohort):
        output = pair.translate(one.image[None])[0]
        back = pair.inverse.translate(output[None])[0]
        shown = visible.apply(one.target[0], one.lesion_mask, np.random.default_rng(0))
        means = shown.reshape(32, 2, 32, 2).mean(axis=(1, 3))
        assert np.abs(output[0].reshape(32, 2, 32, 2).mean(axis=(1, 3)) - means).max() < 1e-5
        assert np.abs(output[0] - np.kron(means, np.ones((2, 2)))).max() <= 3 / 255 + 1e-6
        assert np.abs(back - one.image).mean() < 0.03


def test_a_defect_of_one_group_leaves_the_others_alone(cohort):
    subject = planted_where(cohort, Constant(), lambda case: case.attributes["sex"] == "F", Faithful(noise=0.0))
    for case, one in zip(cohort.cases, images(cohort), strict=True):
        output = subject.translate(one.image[None])[0]
        assert (np.ptp(output) == 0) == (case.attributes["sex"] == "F")
        if case.attributes["sex"] != "F":
            assert np.array_equal(output, one.target)


def test_the_collapsed_translator_gives_one_image(cohort):
    outputs = collapsed_translator(cohort).translate(np.stack([one.image for one in images(cohort)]))

    assert (outputs == outputs[0]).all()
    assert np.ptp(outputs[0]) > 0.3
