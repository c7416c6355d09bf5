"""The position of an image is read from what upright images look like; a symmetric one has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics._alignment import INVERSE, ORIENTATIONS, oriented
from medgan_qa.metrics.orientation import composed, generated_group, orientation_reader

CODES = st.integers(0, 7)


def letters(n: int, seed: int = 0, symmetric: bool = False) -> np.ndarray:
    """(n, 32, 32) a thick F, or a T, at slightly different places under noise."""
    g = np.random.default_rng(seed)
    images = np.zeros((n, 32, 32), np.float32)
    images[:, 6:26, 14:18] = 1
    images[:, 6:10, 8 if symmetric else 14 : 24] = 1
    if not symmetric:
        images[:, 14:18, 14:20] = 1
    images = np.stack([np.roll(image, g.integers(-1, 2, 2), axis=(0, 1)) for image in images])
    return (images + 0.2 * g.standard_normal(images.shape)).astype(np.float32)


READER = orientation_reader(letters(40))


@pytest.mark.parametrize("code", range(8))
def test_every_position_of_an_asymmetric_image_is_read(code):
    read = READER.scores(oriented(letters(30, 1), code)).argmax(axis=1)
    assert (read == code).all()


def test_a_mirror_image_of_a_symmetric_one_is_read_as_often_as_the_image():
    reader = orientation_reader(letters(60, symmetric=True))
    scores = reader.scores(letters(200, 1, symmetric=True))
    read = scores.argmax(axis=1)
    assert set(read) == {0, 1}
    assert 0.25 < (read == 1).mean() < 0.75
    # Which of the two is chance; that it is one of them is not.
    assert abs((scores[:, 1] - scores[:, 0]).mean()) < 0.1 * (scores[:, 0] - scores[:, 3]).mean()


@given(CODES, CODES)
def test_prop_scores_of_a_turned_image_are_those_of_the_image_in_another_order(code, other):
    images = oriented(letters(3, 2), other)
    np.testing.assert_allclose(
        READER.scores(oriented(images, code)), READER.turned(READER.scores(images), code), atol=1e-3
    )
    np.testing.assert_allclose(
        READER.likeness(oriented(images, code)), READER.turned(READER.likeness(images), code), atol=1e-5
    )


def test_a_negative_is_like_no_real_image_in_any_position():
    assert READER.likeness(letters(20, 1))[:, 0].min() > 0.7
    assert READER.likeness(1 - letters(20, 1)).max() < 0.3


@given(CODES, CODES, CODES)
def test_prop_positions_are_a_group(a, b, c):
    assert composed(a, composed(b, c)) == composed(composed(a, b), c)
    assert composed(a, INVERSE[a]) == composed(INVERSE[a], a) == 0
    assert composed(a, 0) == composed(0, a) == a


@given(st.sets(CODES))
def test_prop_a_generated_group_is_closed_and_the_smallest(codes):
    group = generated_group(codes)
    assert {composed(a, b) for a in group for b in group} == group
    assert 8 % len(group) == 0
    assert generated_group(group) == group >= codes


def test_groups_of_what_is_alike():
    assert generated_group([]) == {0}
    assert generated_group([1]) == {0, 1}
    assert generated_group([5]) == {0, 3, 5, 6}
    assert generated_group([1, 5]) == set(range(len(ORIENTATIONS)))


def test_images_that_are_not_square_have_four_positions():
    reader = orientation_reader(letters(20)[:, :, :24])
    assert reader.codes == (0, 1, 2, 3)
    assert reader.scores(letters(5)[:, :, :24]).shape == (5, 4)


@pytest.mark.parametrize(("images", "penalty"), [(np.zeros((0, 8, 8)), 0.01), (letters(3), 0.0)])
def test_nothing_to_learn_from_is_refused(images, penalty):
    with pytest.raises(ValueError, match="images and a penalty"):
        orientation_reader(images, penalty)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="images"):
        READER.scores(np.zeros((1, 16, 16)))
